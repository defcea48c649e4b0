"""From an architecture, a precision and a device to memory and speed. Pure arithmetic."""
