"""From what a user types to an architecture: names, headers, the hub, the catalogue."""
