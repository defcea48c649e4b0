"""Which models an engine has code for: the lists of `data/engine_models.csv`, whose names `data/engine_model_names.csv`
has a row each, by the class or the type of the config.

Engines look a model up by the name of its class (`architectures`) or by its `model_type`. An engine without a list is
not known to refuse any; a list with `otherwise` hands what it does not name to another engine's classes. A list was
read at a date: of a model that came after it, or whose date nobody told, it cannot say that the engine lacks it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sizer.engine.model_code import ModelCode
from sizer.engine.options import NO_OPTIONS, EngineOptions, sets_aside
from sizer.engine.releases import version_numbers
from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, Basis
from sizer.model.config import TEXT_PARTS
from sizer.model.read.catalogue import entries
from sizer.model.read.facts import facts
from sizer.tables import read_rows, read_tuples

LATER = "9999-12-31"
"""After every date."""
CERTAIN = ModelCode()


class ModelClasses(NamedTuple):
    """One list: names that an engine looks up `by` class or type, of the text part too where `reads_text`.

    `until` is the last version with them (empty: the newest has them). A flag of `unless` (`backend=tensorrt`)
    leaves the list aside. `open_ended` lists do not refuse what they do not name. `as_of` is the date (ISO) of a whole
    list, which refuses; empty for one of single classes.
    """

    by: str
    names: frozenset[str]
    reads_text: bool
    until: str
    unless: frozenset[str]
    open_ended: bool
    as_of: str

    def has(self, architecture: Architecture) -> bool:
        """Whether it names a model; engines spell the same class in more than one way (`MPTForCausalLM`)."""
        return any(name.lower() in self.names for name in _names(architecture, self.by, self.reads_text) if name)


@cache
def _lists() -> Mapping[str, tuple[ModelClasses, ...]]:
    """The lists by engine."""
    listed_names: dict[str, list[str]] = defaultdict(list)
    for name_of_list, name in read_tuples("engine_model_names.csv", ("list", "name")):
        listed_names[name_of_list].append(name.lower())
    found: dict[str, tuple[ModelClasses, ...]] = {}
    for row in read_rows("engine_models.csv"):
        listed = ModelClasses(
            row["by"],
            frozenset(listed_names[row["list"]]),
            row["part"] == "text",
            row["until"],
            frozenset(row["unless"].split()),
            bool(row["otherwise"]),
            row["as_of"],
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


def model_code(architecture: Architecture, engine: str, told: EngineOptions = NO_OPTIONS) -> ModelCode:
    """Whether an engine, at the version and with the flags that it was `told` (without a version: the newest), has code
    for a model.

    Nothing is refused that its name alone tells, or that is a file of a format which engines read by its header. Nobody
    can tell where a list lacks the model and may be older, or where the releases that were read are older and newer.
    """
    if not _identified(architecture):
        return CERTAIN
    version, given = told.version, dict(told.given)
    lists = _consulted(engine, given)
    naming = [listed for listed in lists if listed.has(architecture)]
    as_of = "" if naming else _as_of(lists)
    if as_of and _was_out(architecture, as_of):
        return ModelCode(lacking=f"{engine} has no code for {architecture.architecture} as of {as_of}.")
    newest = max(naming, key=lambda listed: (not listed.until, version_numbers(listed.until)), default=None)
    if newest is not None and newest.until and not () < version_numbers(version) <= version_numbers(newest.until):
        return ModelCode(lacking=f"{engine} had code for {architecture.architecture} until {newest.until}.")
    code = _at_version(architecture, engine, version, given) if version else CERTAIN
    return code if not as_of else code._replace(unknown=_may_be_older(architecture, engine, as_of))


def _at_version(architecture: Architecture, engine: str, version: str, given: Mapping[str, Any]) -> ModelCode:
    """Whether a version that is named has what later ones have; what came when is read for such a version alone."""
    from sizer.engine.first_versions import code_at

    return code_at(architecture, engine, version, given)


def _may_be_older(architecture: Architecture, engine: str, as_of: str) -> str:
    told = architecture.architecture
    return f"Whether {engine} has code for {told} is not known: its list of {as_of} lacks it and may be older."


def names(architecture: Architecture, engine: str) -> bool:
    """Whether an engine's newest version names a model, or has no list: its code is then certain."""
    lists = _lists().get(engine, ())
    return not lists or any(listed.has(architecture) for listed in lists if not listed.until)


def _identified(architecture: Architecture) -> bool:
    """Whether an engine would look a model up: its class is known by more than its name, and no header tells all."""
    return bool(architecture.architecture) and architecture.basis not in {Basis.NAME, Basis.HEADER}


def _consulted(engine: str, given: Mapping[str, Any]) -> list[ModelClasses]:
    """The lists that an engine looks a model up in."""
    return [listed for listed in _lists().get(engine, ()) if not sets_aside(listed.unless, given)]


def _as_of(lists: list[ModelClasses]) -> str:
    """The date as of which lists together name all that an engine has; empty where another takes what they do not."""
    return "" if any(listed.open_ended for listed in lists) else max((listed.as_of for listed in lists), default="")


def _was_out(architecture: Architecture, date: str) -> bool:
    """Whether catalogued models of its class and of its type, where their dates are known, were released by then."""
    dates = _first_released()
    known = [dates[name] for name in (architecture.architecture, architecture.model_type) if name in dates]
    return bool(known) and max(known) <= date


@cache
def _first_released() -> dict[str, str]:
    """When the first catalogued model of each class and type was released; a month counts as its last day."""
    first: dict[str, str] = {}
    for entry in entries():
        known = facts(entry.model_id)
        if known is not None and known.released:
            day = known.released if len(known.released) == len(LATER) else f"{known.released}-31"
            for name in (entry.architecture, entry.model_type):
                first[name] = min(first.get(name, LATER), day)
    return first
