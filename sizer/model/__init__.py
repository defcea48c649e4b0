"""From a name, a config, a header or a hub repository to an `Architecture`."""
