"""Checked access to a config.json: every field is read once, by name, and a bad one is an error that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from sizer.errors import InvalidConfig

# Beyond these no published model goes; a larger value is a damaged or hostile config, not a model.
MAX_DIMENSION = 2**26
MAX_LAYERS = 4096


class Config(Mapping[str, Any]):
    """A config.json (or one of its sub-configs) over the defaults of its `model_type`.

    `fields` are what the file says, `defaults` what transformers' config class takes for a field that the file leaves
    out, `path` the prefix for error messages (`text_config.`).
    """

    def __init__(self, fields: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, path: str = "") -> None:
        self.fields = fields
        self.defaults = defaults or {}
        self.path = path

    def __getitem__(self, name: str) -> Any:
        if name in self.fields:
            return self.fields[name]
        return self.defaults[name]

    def __iter__(self) -> Iterator[str]:
        yield from {**self.defaults, **self.fields}

    def __len__(self) -> int:
        return len({**self.defaults, **self.fields})

    def first(self, *names: str) -> tuple[str, Any]:
        """The first of `names` that the file sets to something, else the first default, else (names[0], None)."""
        for source in (self.fields, self.defaults):
            for name in names:
                if source.get(name) is not None:
                    return name, source[name]
        return names[0], None

    def size(self, *names: str, default: int | None = None, minimum: int = 1) -> int:
        """A whole number of at least `minimum`, under any of `names`; missing without a `default` is an error."""
        name, value = self.first(*names)
        if value is None:
            if default is None:
                raise InvalidConfig(f"config field {self.path + name!r} is missing.", "The model's size needs it.")
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= MAX_DIMENSION:
            raise InvalidConfig(
                f"config field {self.path + name!r} is {value!r}.",
                f"It must be a whole number from {minimum} to {MAX_DIMENSION}.",
            )
        return value

    def optional_size(self, *names: str, minimum: int = 1) -> int | None:
        """As `size`, but None where the field is missing or null."""
        return None if self.first(*names)[1] is None else self.size(*names, minimum=minimum)

    def number(self, *names: str, default: float) -> float:
        """A finite number under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MAX_DIMENSION:
            raise InvalidConfig(f"config field {self.path + name!r} is {value!r}.", "It must be a number.")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """A boolean under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if not isinstance(value, (bool, int)):
            raise InvalidConfig(f"config field {self.path + name!r} is {value!r}.", "It must be true or false.")
        return bool(value)

    def text(self, *names: str, default: str = "") -> str:
        """A string under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise InvalidConfig(f"config field {self.path + name!r} is {value!r}.", "It must be a string.")
        return value

    def sequence(self, name: str) -> tuple[Any, ...] | None:
        """A list, as a tuple, or None where the field is missing."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            raise InvalidConfig(f"config field {self.path + name!r} is {value!r}.", "It must be a list.")
        return tuple(value)

    def layers(self, *names: str) -> int:
        """The number of layers, within reason."""
        count = self.size(*names or ("num_hidden_layers", "n_layer", "num_layers", "n_layers"))
        if count > MAX_LAYERS:
            raise InvalidConfig(
                f"config field {self.path + 'num_hidden_layers'!r} is {count}.", "No model has so many."
            )
        return count

    def sub(self, name: str) -> Config:
        """A sub-config (`text_config`), over the defaults of its own model_type."""
        value = self.fields.get(name)
        default = self.defaults.get(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise InvalidConfig(f"config field {self.path + name!r} is {value!r}.", "It must be an object.")
        model_type = value.get("model_type") or (default or {}).get("model_type", "")
        defaults = class_defaults(model_type) or (default if isinstance(default, Mapping) else {})
        return Config(value, defaults, f"{self.path}{name}.")


@lru_cache(maxsize=64)
def class_defaults(model_type: str) -> Mapping[str, Any]:
    """The defaults of transformers' config class for a model_type, from `data/config_defaults/`; empty if unknown."""
    from sizer.tables import data_path, read_json

    if not model_type or not model_type.replace("_", "").replace("-", "").replace(".", "").isalnum():
        return {}
    if not data_path(f"config_defaults/{model_type}.json").is_file():
        return {}
    fields: Mapping[str, Any] = read_json(f"config_defaults/{model_type}.json")
    return fields
