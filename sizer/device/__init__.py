"""From a device's name, or this machine, to a `Device` with its memory, bandwidth and compute."""
