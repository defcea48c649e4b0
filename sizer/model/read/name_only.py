"""A model of which only the size is known: shaped like the catalogue's model of its kind and size, scaled to it.

Layers, cache, vocabulary and context are that model's; its matrices are made wider or narrower until total and active
parameters are those of the name. How far off that is, asked for the catalogue's own models by their size alone, is in
`data/size_only.csv` (`tools/size_only.py`), and widens the intervals. Where no catalogued model is near, and for a
gated repository whose parameters alone are told, the model is one lump, without layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import gcd, inf, log

from sizer.errors import ModelError, UnknownModel
from sizer.model.architecture import Architecture, Basis, Module, Role, Tensor, Tower
from sizer.model.blocks.core import NO_TOKENS
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.names import NameHints, parse_name
from sizer.model.read.sizes_known import (
    ALIKE,
    Size,
    context_of_the_line,
    distance,
    known_sizes,
    of_the_line,
    usual_context_tokens,
)
from sizer.regex import pattern
from sizer.tables import read_rows
from sizer.units import format_count

_WORD = pattern(r"[a-z0-9]+")
SCALED_MODULES = frozenset({Module.LINEAR, Module.LINEAR_SUBCLASS, Module.EXPERT_STACK})
MOST_REST = 0.01
"""What rounding may leave of a size once the layers are scaled: more says that they cannot be."""
USUAL_EXPERTS, USUAL_ACTIVE_SHARE, USUAL_SHARE = "mistralai/Mixtral-8x7B-v0.1", 0.2758, 0.834
"""An `8x7B` is a Mixtral until told otherwise: two of eight experts a token, and attention shared: 12.88B of 46.70B
parameters, and those instead of 56B (its config in the catalogue)."""
TELLING_DIGITS, EXACT = 3, -1
"""A size of three digits is that of one published model, whose bucket comes before those of about its size."""
MOST_BUCKETS = 3
"""How many of those steps away another model is still tried, where the nearest cannot be scaled to a size: with fewer
some sizes are like none."""
USUAL = log(1.5)
"""Of models of one size those whose cache and layers lie within this of the median come first, then those of the shape
with most copies. With log 2 memory's 90th percentile is 51 %, with this or log 1.2 it is 43."""


def named(text: str, hints: NameHints) -> Architecture:
    """A model of which the name tells the size. Raises UnknownModel where it tells no total."""
    total, active = hints.total_params, hints.active_params
    if total is None:
        raise UnknownModel(f"the name {text!r} tells no size.", "Write one as 8B, 8x7B or 30B-A3B.")
    if (made_of := _made_of(text, hints)) is not None:
        return made_of
    if active is None and hints.experts:
        active = round(total * USUAL_ACTIVE_SHARE)
    active = active if active is not None and active < total else None
    line = of_the_line(text, total, active)
    usual = [USUAL_EXPERTS] if hints.experts and hints.active_params is None else nearest(total, active, versions=line)
    for model_id in usual:
        shaped = like(model_id, total, active)
        if shaped is not None:
            shaped = _as_named(shaped, text)
            usual_context = context_of_the_line(line) if line else usual_context_tokens(total, active)
            longer = usual_context if line or (usual_context or 0) > (shaped.max_context_tokens or 0) else None
            mixture = _mixture_note(total) if active is None and not line else ()
            notes = (_note(model_id, hints, total, None if line else longer), *mixture, *shaped.notes)
            context = hints.context_tokens or longer or shaped.max_context_tokens
            return replace(shaped, model_id=text, max_context_tokens=context, notes=notes)
    return lump(text, total, active, hints)


def _made_of(text: str, hints: NameHints) -> Architecture | None:
    """The model that a fine-tune's name holds, under its own name; None where it holds none."""
    from sizer.model.read.built_on import built_on

    base = built_on(text)
    model = None if base is None else _built(base)
    if model is None:
        return None
    note = (
        f"Taken as a fine-tune of {base}, whose name it holds: layers, cache and vocabulary are that model's; the "
        "intervals are as wide as models of one size differ."
    )
    context = hints.context_tokens or model.max_context_tokens
    shaped = replace(model, model_id=text, quantization=None, max_context_tokens=context, notes=(note, *model.notes))
    return _as_named(shaped, text)


def like(model_id: str, total: int, active: int | None) -> Architecture | None:
    """A catalogued model scaled to a size; None where its layers cannot have that size."""
    near = _built(model_id)
    return None if near is None else scaled(near, total, active)


def _as_named(model: Architecture, name: str) -> Architecture:
    """The model, without decoding where the name says that it embeds or ranks texts."""
    embeds = {word for row in read_rows("name_words.csv") if row["role"] == "embeds" for word in row["words"].split()}
    words = _WORD.findall(name.lower())
    if not embeds.intersection(words) and not any(word.startswith("embedding") for word in words):
        return model
    return replace(model, decodes=False, notes=(NO_TOKENS,))


def _note(near: str, hints: NameHints, total: int, usual_context: int | None) -> str:
    likely = ""
    if usual_context is not None and hints.context_tokens is None:
        likely = f" A context of {usual_context:,} tokens is the usual longest of recent models of this size."
    if hints.experts and hints.active_params is None:
        likely += (
            f" Two of {hints.experts} experts are read a token, as Mixtral's are; attention is shared there: likely "
            f"{format_count(total * USUAL_SHARE)} parameters in all, and not the product {format_count(total)}."
        )
    return (
        f"Known by its size alone: layers, cache and vocabulary are those of {near}, scaled to it; the "
        f"intervals are as wide as models of one size differ.{likely}"
    )


def _mixture_note(total: int) -> tuple[str, ...]:
    """What is known by a size that mixtures of experts alone have: a bare size is read as a dense model's."""
    alike = [
        (known.active is None, known.copies, model_id)
        for model_id, known in known_sizes().items()
        if _is_told(known.total, total) or _named(model_id) == total
    ]
    if not alike or any(dense for dense, _, _ in alike):
        return ()
    model_id = max(alike)[2]
    active = format_count(known_sizes()[model_id].active or 0)
    return (f"Taken as dense; {model_id}, of this size, is a mixture that reads {active} a token: name it for that.",)


def nearest(
    total: int, active: int | None, without: str = "", versions: Mapping[str, float] | None = None
) -> list[str]:
    """The catalogued models nearest in total (and active) parameters, dense for dense, the most like first.

    Of one size: those that carry it in their own name, or have the very parameters; of them shapes that have copies,
    with the usual cache and layers, then those that most copies are of. Those of a line that a name says (`versions`,
    of `of_the_line`) come before all others, of them the nearest version. `without` leaves out the models of one class
    and size: to ask for a catalogued model by its size alone.
    """
    near: dict[int, list[tuple[str, Size]]] = {}
    for model_id, known in known_sizes().items():
        apart = distance(known, total, active)
        if apart is not None and known.shape != without:
            told = _is_told(known.total, total) or (active is None and _named(model_id) == total)
            bucket = EXACT if told else int(apart / ALIKE)
            near.setdefault(bucket, []).append((model_id, known))
    usual = [model_id for bucket in sorted(near)[:MOST_BUCKETS] for model_id in _most_usual_first(near[bucket])]
    of_line = versions or {}
    every = [*usual, *(model_id for model_id in of_line if model_id not in usual)]
    return sorted(every, key=lambda model_id: of_line.get(model_id, inf))


def _most_usual_first(alike: list[tuple[str, Size]]) -> list[str]:
    """By shape, the usual first; of a shape the model with most copies, then the newest."""
    from collections import Counter
    from statistics import median

    shapes = {known.shape for _, known in alike}
    built_like = [(name, known) for name, known in known_sizes().items() if known.shape in shapes]
    copies: Counter[str] = Counter()
    for _, known in built_like:
        copies[known.shape] += known.copies
    models = Counter(known.shape for _, known in built_like)
    cache_bytes = median(known.cache_bytes or 1 for _, known in alike)
    layers = median(known.layers for _, known in alike)

    def rank(item: tuple[str, Size]) -> tuple[bool, int, int, int, str, int, str]:
        known = item[1]
        unusual = abs(log((known.cache_bytes or 1) / cache_bytes)) + abs(log(known.layers / layers))
        liked = copies[known.shape]
        return liked > 0, -int(unusual / USUAL), liked, models[known.shape], known.shape, known.copies, known.released

    return [model_id for model_id, _ in sorted(built_like, key=rank, reverse=True)]


@cache
def _named(model_id: str) -> int | None:
    """The parameters that a model's own name tells."""
    return parse_name(model_id).total_params


def _is_told(known: int, total: int) -> bool:
    """Whether a model has the very parameters of a name, where it tells them to three digits and more (`671B`)."""
    digits = str(total)
    told = digits.rstrip("0")
    return len(told) >= TELLING_DIGITS and abs(known - total) <= 10 ** (len(digits) - len(told)) / 2


def _built(model_id: str) -> Architecture | None:
    entry = catalogue.find(model_id)
    if entry is None:
        return None
    try:
        return build(catalogue.load(entry), entry.model_id, Basis.NAME)
    except ModelError:
        return None


def scaled(model: Architecture, total: int, active: int | None) -> Architecture | None:
    """The model with the matrices of its layers widened or narrowed so that total and active parameters are as asked,
    to the parameter; None where nothing of its layers would be left."""
    inner = [tensor for tensor in model.tensors if _is_scaled(tensor)]
    outside = sum(tensor.total_elements for tensor in model.tensors if not tensor.checkpoint_only) - sum(
        tensor.total_elements for tensor in inner
    )
    expert_all = sum(tensor.total_elements for tensor in inner if tensor.active_experts is not None)
    expert_active = sum(tensor.active_elements for tensor in inner if tensor.active_experts is not None)
    dense = sum(tensor.total_elements for tensor in inner) - expert_all
    by_experts = 0.0 if active is None else (total - active) / max(1, expert_all - expert_active)
    by_dense = ((total if active is None else active) - outside - expert_active * by_experts) / max(1, dense)
    # Layers of a twentieth of their width are none: embeddings take nearly all of what is asked for.
    if by_dense <= 0.05 or (active is not None and by_experts <= 0):
        return None
    tensors = tuple(
        _widened(tensor, by_dense if tensor.active_experts is None else by_experts) if _is_scaled(tensor) else tensor
        for tensor in model.tensors
        if not tensor.checkpoint_only
    )
    left = total - sum(tensor.total_elements for tensor in tensors)
    left_active = (total if active is None else active) - sum(tensor.active_elements for tensor in tensors)
    if not 0 <= left_active <= left <= MOST_REST * total:
        return None
    rest = (
        Tensor("rest", (left_active,), Role.OTHER, Module.PARAMETER),
        Tensor("rest.unread", (1, left - left_active), Role.EXPERT_BIAS, Module.PARAMETER, active_experts=0),
    )
    rounded = tuple(tensor for tensor in rest if tensor.total_elements)
    return replace(model, architecture="unknown", tensors=(*tensors, *rounded), quantization=None, notes=())


def _is_scaled(tensor: Tensor) -> bool:
    return (
        tensor.module in SCALED_MODULES
        and bool(tensor.layers)
        and tensor.tower is Tower.TEXT
        and not tensor.checkpoint_only
        and tensor.role is not Role.ROUTER
        and len(tensor.shape) > 1
    )


def _widened(tensor: Tensor, factor: float) -> Tensor:
    """The tensor with its output dimension times a factor, rounded down."""
    axis = len(tensor.shape) - 2
    width = max(1, int(tensor.shape[axis] * factor))
    return replace(tensor, shape=(*tensor.shape[:axis], width, *tensor.shape[axis + 1 :]))


def lump(model_id: str, total: int, active: int | None, hints: NameHints, basis: Basis = Basis.NAME) -> Architecture:
    """A model of `total` parameters of which only the count is known."""
    if active is None:
        tensor = Tensor("model", (total,), Role.OTHER, Module.LINEAR)
    else:
        part = gcd(total, active)
        tensor = Tensor(
            "model", (total // part, part), Role.EXPERT_UP, Module.EXPERT_STACK, active_experts=active // part
        )
    return Architecture(
        model_id=model_id,
        architecture="unknown",
        model_type="",
        basis=basis,
        tensors=(tensor,),
        layers=(),
        hidden_size=0,
        vocab_size=0,
        max_context_tokens=hints.context_tokens,
        tied_embeddings=False,
        dtype="bfloat16",
        experts=hints.experts,
    )
