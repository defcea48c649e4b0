"""What a config's decisive fields rest on: published, a rule of the family, or nobody's word."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sizer.errors import SizerError
from sizer.model.architecture import Architecture
from sizer.model.config import DECISIVE, defaults_taken
from sizer.model.families import CONTEXT_FIELDS, build
from sizer.model.read.catalogue import CatalogueEntry, load
from sizer.tables import read_json, read_rows
from sizer.units import HALF_BYTES

DTYPE_FIELDS = ("torch_dtype", "dtype")
# The context at which two readings of a config are set side by side.
COMPARED_TOKENS = 32768
# What a class does where a field stands nowhere, not even among its defaults.
WITHOUT = {"num_key_value_heads": "one for each attention head"}


@lru_cache(maxsize=1)
def _told() -> dict[tuple[str, str], tuple[str, str]]:
    return {(row["id"], row["field"]): (row["basis"], row["source"]) for row in read_rows("config_fields.csv")}


@lru_cache(maxsize=1)
def _rules() -> dict[tuple[str, str], str]:
    return {(row["model_type"], row["field"]): row["source"] for row in read_rows("family_rules.csv")}


def rule_of(model_type: str, field: str) -> str | None:
    """The source of the rule that all models of a family take the class's default of a field; None without one."""
    return _rules().get((model_type, field.rsplit(".", 1)[-1]))


def is_context(field: str) -> bool:
    """Whether a field holds a context."""
    return field.rsplit(".", 1)[-1] in CONTEXT_FIELDS


def silent_defaults(config: Mapping[str, Any], model_id: str = "") -> dict[str, Any]:
    """The decisive fields that a config leaves to its class, with what that takes; contexts apart."""
    taken = _left_to_the_class(config, model_id)
    decisive = {name for name in taken if name.rsplit(".", 1)[-1] in DECISIVE and not is_context(name)}
    return {name: value for name, value in taken.items() if name in decisive}


def _left_to_the_class(config: Mapping[str, Any], model_id: str) -> dict[str, Any]:
    with defaults_taken() as taken:
        build(config, model_id)
    return taken


def refused(entry: CatalogueEntry) -> tuple[str, ...]:
    """Why the catalogue must not hold an entry: each decisive field that rests on its class's word alone."""
    config = load(entry)
    names = [name.rsplit(".", 1)[-1] for name, _ in written(config)]
    told = {field: basis for (model_id, field), (basis, _) in _told().items() if model_id == entry.model_id}
    why = [
        f"{name} rests on the default of its class ({value!r})"
        for name, value in silent_defaults(config, entry.model_id).items()
        if rule_of(entry.model_type, name) is None
    ]
    if not any(name in names for name in DTYPE_FIELDS):
        why.append("no field tells the checkpoint's type")
    if not any(name in names for name in CONTEXT_FIELDS) and "none" not in told.values():
        why.append("no field tells the context")
    return tuple(why)


def written(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The fields of a file and of its sub-configs, by their full names."""
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        found.append((prefix + name, value))
        if isinstance(value, Mapping):
            found += written(value, f"{prefix}{name}.")
    return found


def default_notes(config: Mapping[str, Any], architecture: Architecture) -> tuple[str, ...]:
    """For a user's own config: which class defaults decide where real configs of its family differ, and what the other
    value would change in cache and parameters; and which context its class takes where it tells none."""
    notes = []
    for name, value in _left_to_the_class(config, architecture.model_id).items():
        others = [] if is_context(name) else [o for o in _seen(architecture.model_type, name) if o != value]
        notes += [_difference(config, architecture, name, value, other) for other in others[:1]]
    # A wrapper and its text model both lack what ties the table and the head: said once.
    effects = {note.partition(" is taken")[2]: note for note in reversed(notes)}
    notes = [note for note in notes if effects.get(note.partition(" is taken")[2]) == note]
    told = {field.rsplit(".", 1)[-1] for field, value in written(config) if value is not None}
    if architecture.max_context_tokens is not None and not told & set(CONTEXT_FIELDS):
        notes.append(
            f"The file tells no context (max_position_embeddings): {architecture.max_context_tokens:,} tokens are "
            "taken, the default of its class; the model may have been made for more."
        )
    if (
        not any(field.rsplit(".", 1)[-1] in DTYPE_FIELDS for field, _ in written(config))
        and not architecture.quantization
    ):
        notes.append(
            f"The file names no torch_dtype: {architecture.dtype} is taken, as transformers does; most checkpoints are "
            "bfloat16, half of its bytes."
        )
    return tuple(note for note in notes if note)


@lru_cache(maxsize=1)
def _varied() -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = read_json("config_varies.json")
    return found


def _seen(model_type: str, field: str) -> list[Any]:
    """Values of a field in the catalogued configs of a family, the most frequent first; empty where all agree."""
    return _varied().get(model_type, {}).get(field.rsplit(".", 1)[-1], [])


def _difference(config: Mapping[str, Any], architecture: Architecture, name: str, value: Any, other: Any) -> str:
    """What another value of a field changes, in a sentence; empty where it changes nothing."""
    changed = dict(config)
    holder = changed
    *path, last = name.split(".")
    for part in path:
        holder[part] = dict(holder.get(part) or {})
        holder = holder[part]
    holder[last] = other
    try:
        second = build(changed, architecture.model_id)
    except SizerError:  # another value may contradict the rest of the file: then it says nothing
        return ""
    caches = [_cache_gib(one) for one in (architecture, second)]
    active = [one.active_params for one in (architecture, second)]
    effects = []
    if _differ(*caches):
        effects.append(f"the cache of {COMPARED_TOKENS:,} tokens takes {caches[1]:.2f} GiB instead of {caches[0]:.2f}")
    if _differ(architecture.total_params, second.total_params):
        counts = second.total_params / 1e9, architecture.total_params / 1e9
        effects.append(f"there are {counts[0]:.2f}B parameters instead of {counts[1]:.2f}B")
    if _differ(*active) and active[0] < architecture.total_params:
        effects.append(f"{active[1] / 1e9:.2f}B parameters are active instead of {active[0] / 1e9:.2f}B")
    if not effects:
        return ""
    taken = WITHOUT.get(name.rsplit(".", 1)[-1], "none") if value is None else repr(value)
    said = "null" if other is None else repr(other)
    return (
        f"The file has no {name}: {taken} is taken, the default of its class. Published configs of "
        f"{architecture.model_type} also say {said}, with which {' and '.join(effects)}."
    )


def _differ(first: float, second: float) -> bool:
    """Whether two figures differ by more than is printed of them."""
    return abs(first - second) > 0.005 * max(first, second)


def _cache_gib(architecture: Architecture) -> float:
    return cache_bytes(architecture) / 2**30


def cache_bytes(architecture: Architecture) -> int:
    """Keys and values of 32,768 tokens in 16 bits, by the model's own windows."""
    values = sum(
        count * mixer.kv_elements_per_token * mixer.cached_tokens(COMPARED_TOKENS)
        for mixer, count in architecture.mixer_counts.items()
    )
    return HALF_BYTES * values
