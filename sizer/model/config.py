"""Checked access to a config.json: every field is read once, by name, and a bad one is an error that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from functools import lru_cache
from typing import Any

from sizer.errors import InvalidConfig
from sizer.frozen import dataclass
from sizer.printable import shown

# Beyond these no published model goes; a larger value is a damaged or hostile config, not a model.
MAX_DIMENSION = 2**26
MAX_LAYERS = 4096
MAX_COUNT = 16384

TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
"""Where the config of a model that sees or hears keeps its text part."""
MIN_RATIO = 0.001
"""The least ratio of two widths that a config may state: a smaller one leaves nothing of a layer."""

# Layer kinds renamed by transformers 5; old files hold the left names.
LEGACY_LAYER_TYPES = {
    "mamba": "linear_attention",
    "attention": "full_attention",
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}


# Sizes that no flat config.json may leave to a class default: a missing one means a damaged file, not a known model.
ESSENTIAL = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "intermediate_size",
    "moe_intermediate_size",
)


# Fields that decide cache, experts a token, loops or context, whatever the parameters are: a count never reveals them.
DECISIVE = frozenset({
    "sliding_window", "layer_types", "sliding_window_pattern", "use_sliding_window", "attention_window_size",
    "attention_chunk_size", "local_attention", "global_attn_every_n_layers", "full_attention_interval",
    "num_kv_shared_layers", "attn_layer_period", "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k",
    "moe_top_k", "top_k_experts", "total_ut_steps", "num_loops", "max_position_embeddings", "n_positions", "seq_length",
})  # fmt: skip

# Fields that parameters do reveal, but a user's own file that lacks one shows to nobody.
SHAPING = frozenset({
    "num_attention_heads", "num_key_value_heads", "tie_word_embeddings", "num_experts", "num_local_experts",
    "n_routed_experts",
})  # fmt: skip

_taken: ContextVar[dict[str, Any] | None] = ContextVar("defaults_taken", default=None)


@contextmanager
def defaults_taken() -> Iterator[dict[str, Any]]:
    """What the reads inside take from class defaults: decisive and shaping fields that the file lacks, by their full
    names."""
    found: dict[str, Any] = {}
    token = _taken.set(found)
    try:
        yield found
    finally:
        _taken.reset(token)


class Config(Mapping[str, Any]):
    """A config.json (or one of its sub-configs) over the defaults of its `model_type`.

    `fields` are what the file says, `path` the prefix for error messages (`text_config.`). `defaults` are what
    transformers' config class takes for a field that the file leaves out; its `aliases` (`hidden_size` -> `n_embd`)
    make every spelling of a field reach the same value. An explicit null counts: it hides the default. In a flat
    config the essential sizes have no default.
    """

    def __init__(self, fields: Mapping[str, Any], defaults: ClassDefaults | None = None, path: str = "") -> None:
        self.class_defaults = defaults or ClassDefaults()
        self.path = path
        aliases = self.class_defaults.aliases
        named = [
            name for name in aliases if fields.get(name) is not None or (name in fields and aliases[name] not in fields)
        ]
        self.fields = {**fields, **{aliases[name]: fields[name] for name in named}} if named else fields
        self.written = {aliases[name]: name for name in named}
        self.defaults: Mapping[str, Any] = self.class_defaults.fields
        self.required: frozenset[str] = frozenset() if path else frozenset(aliases.get(n, n) for n in ESSENTIAL)

    @classmethod
    def of(cls, fields: Mapping[str, Any], model_type: str) -> Config:
        """A whole config.json over the class defaults of `model_type`."""
        return cls(fields, class_defaults(model_type))

    def __getitem__(self, name: str) -> Any:
        name = self.class_defaults.aliases.get(name, name)
        if name in self.fields:
            return self.fields[name]
        return self.defaults[name]

    def __iter__(self) -> Iterator[str]:
        yield from {**self.defaults, **self.fields}

    def __len__(self) -> int:
        return len({**self.defaults, **self.fields})

    def first(self, *names: str) -> tuple[str, Any]:
        """The first of `names` that the file sets to something, else the first default, else (names[0], None).

        A null in the file hides the default of that name.
        """
        aliases = self.class_defaults.aliases
        real = [aliases.get(name, name) for name in names] if aliases else names
        for name in real:
            if self.fields.get(name) is not None:
                return name, self.fields[name]
        for name in real:
            if name not in self.fields and name not in self.required and self.defaults.get(name) is not None:
                self._take(name, self.defaults[name])
                return name, self.defaults[name]
        if real[0] not in self.fields:
            self._take(real[0], None)
        return real[0], None

    def _take(self, name: str, value: Any) -> None:
        found = _taken.get()
        if found is not None and (name in DECISIVE or name in SHAPING):
            found[self.path + name] = value

    def error(self, name: str, why: str) -> InvalidConfig:
        """The error to raise for a field that contradicts another: quotes its value and says why."""
        return self._wrong(*self.first(name), why)

    def _wrong(self, name: str, value: object, why: str) -> InvalidConfig:
        """The error that names a field as the file spells it, and tells a value of the file from its class's own."""
        field = self.path + self.written.get(name, name)
        if name in self.fields or value is None:
            return InvalidConfig(f"config field {field!r} is {shown(value, 80)}.", why)
        return InvalidConfig(f"config field {field!r} is missing, and its class takes {shown(value, 40)}.", why)

    def _missing(self, name: str) -> InvalidConfig:
        other = ", ".join(repr(alias) for alias, real in self.class_defaults.aliases.items() if real == name)
        why = f"The model's size needs it (also read as {other})." if other else "The model's size needs it."
        return InvalidConfig(f"config field {self.path + name!r} is missing.", why)

    def size(self, *names: str, default: int | None = None, minimum: int = 1, maximum: int = MAX_DIMENSION) -> int:
        """A whole number from `minimum` to `maximum`, under any of `names`; missing without a `default` is an error.

        What is looped over (heads, codebooks) has a lower `maximum`: MAX_COUNT.
        """
        name, value = self.first(*names)
        if value is None:
            if default is None:
                raise self._missing(name)
            return default
        whole = _whole(value, minimum, maximum)
        if whole is None:
            raise self._wrong(name, value, f"It must be a whole number from {minimum} to {maximum}.")
        return whole

    def optional_size(self, *names: str, minimum: int = 1) -> int | None:
        """As `size`, but None where the field is missing or null."""
        return None if self.first(*names)[1] is None else self.size(*names, minimum=minimum)

    def number(self, *names: str, default: float) -> float:
        """A finite number under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MAX_DIMENSION:
            raise self._wrong(name, value, "It must be a number.")
        return float(value)

    def ratio(self, name: str, *, default: float) -> float:
        """A number from a thousandth to one, by which a side is made smaller."""
        value = self.number(name, default=default)
        if not MIN_RATIO <= value <= 1:
            raise self.error(name, f"It must be from {MIN_RATIO:g} to 1.")
        return value

    def scaled(self, size: int, *names: str, default: float) -> int:
        """`size` times the ratio under any of `names`, rounded down; at least one."""
        product = int(size * self.number(*names, default=default))
        if not 1 <= product <= MAX_DIMENSION:
            raise self.error(names[0], f"Times {size} it must give a size from 1 to {MAX_DIMENSION}.")
        return product

    def flag(self, *names: str, default: bool = False) -> bool:
        """A boolean under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if value not in (0, 1):
            raise self._wrong(name, value, "It must be true or false.")
        return bool(value)

    def text(self, *names: str, default: str = "") -> str:
        """A string under any of `names`."""
        name, value = self.first(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(name, value, "It must be a string.")
        return value

    def sequence(self, name: str, of: type = object) -> tuple[Any, ...] | None:
        """A list whose items are all of a type, as a tuple, or None where the field is missing or null."""
        value = self.first(name)[1]
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, of) for item in value):
            what = "" if of is object else f" of {of.__name__} values"
            raise self._wrong(name, value, f"It must be a list{what}.")
        return tuple(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object, empty where the field is missing or null."""
        value = self.first(name)[1]
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(name, value, "It must be an object.")
        return value

    def sizes(
        self,
        name: str,
        *,
        count: int | None = None,
        default: tuple[int, ...] | None = None,
        minimum: int = 1,
        maximum: int = MAX_DIMENSION,
    ) -> tuple[int, ...]:
        """A list of whole numbers from `minimum` to `maximum`, `count` of them where that is given.

        Missing without a `default` is an error, as in `size`; an empty list takes the default too.
        """
        value = self.sequence(name)
        if not value and default is not None:
            return default
        if value is None:
            raise self._missing(name)
        if count is not None and len(value) != count:
            raise self.error(name, f"It must be a list of {count} whole numbers.")
        found = [whole for item in value if (whole := _whole(item, minimum, maximum)) is not None]
        if len(found) != len(value):
            raise self.error(name, f"It must be a list of whole numbers from {minimum} to {maximum}.")
        return tuple(found)

    def layers(self, *names: str) -> int:
        """The number of layers, within reason."""
        names = names or ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
        count = self.size(*names)
        if count > MAX_LAYERS:
            raise self.error(self.first(*names)[0], f"No model has more than {MAX_LAYERS} layers.")
        return count

    def layer_types(self, count: int, name: str = "layer_types") -> tuple[str, ...] | None:
        """The kind of each of `count` layers where the file lists them; a list of another length is an error."""
        value = self.sequence(name)
        if value is None:
            return None
        if len(value) != count or not all(isinstance(kind, str) for kind in value):
            raise self.error(name, f"It must be a list of {count} names, one for each layer.")
        return tuple(LEGACY_LAYER_TYPES.get(kind, kind) for kind in value)

    def layer(self, index: int) -> Config:
        """This config with what `per_layer_config` overrides for one layer.

        Its keys are indices; transformers writes them padded with noughts (`"05"`).
        """
        every = self.mapping("per_layer_config")
        own = next((value for key, value in every.items() if str(key).isdecimal() and int(key) == index), None)
        if not isinstance(own, Mapping):
            return self
        return Config({**self.fields, **own}, self.class_defaults, self.path)

    def sub(self, name: str) -> Config:
        """A sub-config (`text_config`), over the defaults of its own class. `init` values of the parent apply."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise self._wrong(name, value, "It must be an object.")
        spec = self.class_defaults.sub_configs.get(name, {})
        stated = (value or {}).get("model_type")
        if stated is not None and not isinstance(stated, str):
            field = f"{self.path}{name}.model_type"
            raise InvalidConfig(f"config field {field!r} is {stated!r:.80}.", "It must be a string.")
        named = None if spec.get("fixed") else stated
        defaults = class_defaults(named or spec.get("model_type", "") or (value or {}).get("model_type", ""))
        return Config(spec.get("init", {}) if value is None else value, defaults, f"{self.path}{name}.")


def _whole(value: object, minimum: int, maximum: int) -> int | None:
    """`value` as a whole number (2.0 is one, True is none) within the limits; else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        return None
    return value


@dataclass(frozen=True)
class ClassDefaults:
    """What a transformers config class says: field defaults, aliases of field names, and its sub-configs' classes."""

    model_type: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    sub_configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@lru_cache(maxsize=64)
def class_defaults(model_type: object) -> ClassDefaults:
    """The defaults of transformers' config class for a model_type, from `data/config_defaults/`; empty if unknown."""
    from sizer.tables import is_there, read_json

    if (
        not isinstance(model_type, str)
        or not model_type
        or not model_type.replace("_", "").replace("-", "").replace(".", "").isalnum()
    ):
        return ClassDefaults()
    if not is_there(f"config_defaults/{model_type}.json"):
        return ClassDefaults(model_type)
    return ClassDefaults(model_type, **read_json(f"config_defaults/{model_type}.json"))
