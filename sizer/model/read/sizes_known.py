"""The catalogue's models by their sizes: which are about as large, of which line, with how long a context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from math import log

from sizer.frozen import NamedTuple
from sizer.model.read import catalogue
from sizer.model.read.catalogue import CatalogueEntry
from sizer.model.read.facts import facts
from sizer.model.read.published import gguf_repositories

FARTHEST = log(8)
"""Beyond an eighth and eight times the parameters a catalogued model says nothing of a size."""
SINCE = "2023-06"
"""Models older than this have layers of another kind: no grouped heads, short contexts."""
ALIKE = 0.12
"""Models whose sizes differ by less (in the logarithm) are one size. Half or twice as much errs as much: decode 8.4,
9.1, 8.9 % in the median, 48, 49, 50 % at the 90th percentile (`tools/size_only.py --try`)."""
ROUNDED = 2
"""Names round what is active to a digit or leave the embeddings out (3.35B are `A3B`): it counts half as much."""
RECENT = "2024-07"
"""Later models of a size say how long a context people expect of it: those before were of 4,096 or 8,192 tokens."""


class Size(NamedTuple):
    """What a catalogued model is chosen by; `active` is None for a dense one, `copies` counts published GGUF files."""

    total: int
    active: int | None
    cache_bytes: int | None
    layers: int
    shape: str
    copies: int
    released: str


@cache
def known_sizes() -> dict[str, Size]:
    """The catalogue's text models that answer a person."""
    found = {}
    for entry in catalogue.entries():
        known = facts(entry.model_id)
        usable = known is not None and known.kind in {"instruct", "reasoning"} and not known.images
        if not usable or known is None or (known.released or "") < SINCE or not entry.reference_params:
            continue
        if entry.built_cache_bytes is None or not entry.built_layers:
            continue
        copies = len(gguf_repositories(entry.model_id))
        found[entry.model_id] = Size(
            entry.reference_params,
            entry.built_active_params,
            entry.built_cache_bytes,
            entry.built_layers,
            shape_of(entry),
            copies,
            known.released or "",
        )
    return found


def shape_of(entry: CatalogueEntry) -> str:
    """What models of one shape share."""
    return f"{entry.architecture} {entry.reference_params}"


def distance(known: Size, total: int, active: int | None) -> float | None:
    """How far sizes are apart, in the logarithm; None for another kind and for what is too far to say anything."""
    if (active is None) != (known.active is None):
        return None
    distances = [abs(log(known.total / total))]
    if active is not None and known.active is not None:
        distances.append(abs(log(known.active / active)) / ROUNDED)
    return max(distances) if max(distances) <= FARTHEST else None


def of_the_line(name: str, total: int, active: int | None) -> Mapping[str, float]:
    """The catalogued models of about a size whose line a name says, under any of their published names, and how far
    apart the versions are."""
    from sizer.model.read.built_on import shares_line, versions_apart

    found: dict[str, float] = {}
    for published, model_id, size in _published_sizes():
        apart_by = distance(size, total, active)
        if apart_by is not None and apart_by < ALIKE and shares_line(name, published):
            apart = versions_apart(name, published)
            found[model_id] = min(apart, found.get(model_id, apart))
    return found


@cache
def _published_sizes() -> tuple[tuple[str, str, Size], ...]:
    """Every published name whose model's size is known, with that model and what tells of its size."""
    return tuple(
        (
            published,
            entry.model_id,
            Size(entry.reference_params, entry.built_active_params, None, entry.built_layers, shape_of(entry), 0, ""),
        )
        for published, entry in catalogue.published()
        if entry.reference_params and entry.built_layers
    )


def usual_context_tokens(total: int, active: int | None) -> int | None:
    """The longest context that recent models of about a size have: the median of the catalogued; None without any."""
    return _median_context(
        model_id
        for model_id, known in known_sizes().items()
        if known.released >= RECENT and (apart := distance(known, total, active)) is not None and apart < ALIKE
    )


def context_of_the_line(versions: Mapping[str, float]) -> int | None:
    """The same of the models of a line whose versions are nearest (`of_the_line`)."""
    nearest = min(versions.values(), default=0.0)
    return _median_context(model_id for model_id, apart in versions.items() if apart == nearest)


def _median_context(models: Iterable[str]) -> int | None:
    told = sorted(tokens for model_id in models if (tokens := _longest(model_id)) is not None)
    return told[len(told) // 2] if told else None


def _longest(model_id: str) -> int | None:
    """The longest context in a catalogued model's config, as it stands there."""
    entry = catalogue.find(model_id)
    tokens = None if entry is None else catalogue.load(entry).get("max_position_embeddings")
    return tokens if isinstance(tokens, int) else None
