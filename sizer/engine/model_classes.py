"""Which models an engine has code for: rows of `data/engine_models.csv`, by the class or the type of the config.

Engines look a model up by the name of its class (`architectures`) or by its `model_type`. An engine without a row is
not known to refuse any; a row with `otherwise` hands what it does not name to another engine's classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sizer.engine.releases import version_numbers
from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, Basis
from sizer.tables import read_rows

TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
"""Where the config of a model that sees or hears keeps its text part."""


class ModelClasses(NamedTuple):
    """One row: names that an engine looks up `by` class or type, of the text part too where `reads_text`.

    `until` is the last version with them (empty: the newest has them). A flag of `unless` (`backend=tensorrt`)
    leaves the list aside. `open_ended` lists do not refuse what they do not name.
    """

    by: str
    names: frozenset[str]
    reads_text: bool
    until: str
    unless: frozenset[str]
    open_ended: bool

    def has(self, architecture: Architecture) -> bool:
        """Whether it names a model; engines spell the same class in more than one way (`MPTForCausalLM`)."""
        return any(name.lower() in self.names for name in _names(architecture, self.by, self.reads_text) if name)


@cache
def _rows() -> Mapping[str, tuple[ModelClasses, ...]]:
    """The rows by engine."""
    found: dict[str, tuple[ModelClasses, ...]] = {}
    for row in read_rows("engine_models.csv"):
        listed = ModelClasses(
            row["by"],
            frozenset(row["names"].lower().split()),
            row["part"] == "text",
            row["until"],
            frozenset(row["unless"].split()),
            bool(row["otherwise"]),
        )
        for engine in row["engines"].split():
            found[engine] = (*found.get(engine, ()), listed)
    return found


def _names(architecture: Architecture, by: str, reads_text: bool) -> Iterator[str]:
    """What an engine may look a model up by: its class or type, and those of its text part."""
    config = architecture.config
    if by == "class":
        yield architecture.architecture
        yield from _texts(config.get("architectures"))
    else:
        # Text parts taken out of a model that sees keep its type with a word behind it: `qwen3_5_moe_text`.
        yield from (architecture.model_type, architecture.model_type.removesuffix("_text"))
    for part in TEXT_PARTS if reads_text else ():
        inner = config.get(part)
        if isinstance(inner, Mapping):
            yield from _texts(inner.get("architectures") if by == "class" else [inner.get("model_type")])


def _texts(names: Any) -> list[str]:
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def no_code(architecture: Architecture, engine: str, version: str = "", given: Mapping[str, Any] | None = None) -> str:
    """Why a version of an engine (empty: the newest) cannot load a model, in one sentence; empty where it can.

    Nothing is refused that its name alone tells, or that is a file of a format which engines read by its header.
    `given` are the engine's own flags by their names.
    """
    rows = [row for row in _rows().get(engine, ()) if not _set_aside(row, given or {})]
    if not rows or not architecture.architecture or architecture.basis in {Basis.NAME, Basis.HEADER}:
        return ""
    naming = [row for row in rows if row.has(architecture)]
    told = architecture.architecture
    if not naming:
        return "" if any(row.open_ended for row in rows) else f"{engine} has no code for {told}."
    newest = max(naming, key=lambda row: (not row.until, version_numbers(row.until)))
    asked = version_numbers(version)
    if not newest.until or () < asked <= version_numbers(newest.until):
        return ""
    return f"{engine} had code for {told} until {newest.until}."


def names(architecture: Architecture, engine: str) -> bool:
    """Whether an engine's newest version names a model, or has no list: its code is then certain."""
    rows = _rows().get(engine, ())
    return not rows or any(row.has(architecture) for row in rows if not row.until)


def _set_aside(row: ModelClasses, given: Mapping[str, Any]) -> bool:
    """Whether a flag makes the engine leave a row aside: `backend=tensorrt`."""
    return any(str(given.get(flag.partition("=")[0], "")) == flag.partition("=")[2] for flag in row.unless)
