"""What drafts for a model: as asked for, or as the engine's own flags say, where both agree and the model can."""

from __future__ import annotations

from dataclasses import replace

from sizer.answer.drafts import draft_named
from sizer.answer.question import Drafting
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.model.predicting import predicts_further
from sizer.printable import shown
from sizer.speed.records import DraftMethod
from sizer.speed.speculative import USUAL_ACCEPTANCE, draft_methods, method_named
from sizer.workload import USUAL_DRAFTED

OWN_LAYERS = "mtp"
"""The method that takes layers of the model itself."""


def drafting_told(model: Architecture, asked: Drafting | None, flags: EngineOptions | None) -> Drafting | None:
    """What drafts for a model; None where nothing does, or flags name what nobody here knows.

    Raises UsageError where --draft and the engine's own flags contradict each other, and for layers that predict
    further tokens of a model that has none.
    """
    flagged = _flagged(model, flags)
    if asked is not None and flags is not None:
        _agree(asked, flags, flagged)
        if not asked.chosen and flags.draft_tokens:
            asked = replace(asked, draft_tokens=flags.draft_tokens)
        if flagged is not None:
            asked = replace(asked, flagged=True)
    told = asked or flagged
    return None if told is None else _possible(model, told)


def _flagged(model: Architecture, flags: EngineOptions | None) -> Drafting | None:
    """What the engine's own flags draft with: a method (of several the first that the model can), or a model that the
    catalogue or this machine knows."""
    if flags is None or not (flags.draft_method or flags.draft_model):
        return None
    named_ones = [one for one in map(method_named, flags.draft_method.split(",")) if one is not None]
    can = (one for one in named_ones if one.name != OWN_LAYERS or predicts_further(model) is not False)
    drafter: DraftMethod | Architecture | None = next(can, next(iter(named_ones), None))
    if drafter is None:
        named = draft_named(flags)
        drafter = named.architecture if named is not None else None
    if drafter is None:
        return None
    return Drafting(drafter, flags.draft_tokens or USUAL_DRAFTED, USUAL_ACCEPTANCE, flagged=True)


def _agree(asked: Drafting, flags: EngineOptions, flagged: Drafting | None) -> None:
    """Raises UsageError where flags draft with another drafter, or another number of tokens, than was asked for."""
    drafted = flags.draft_method or flags.draft_model
    if drafted and (flagged is None or not _is_one(asked, flagged)):
        raise UsageError(
            f"--draft {shown(asked.name)} contradicts the engine's own flags, which draft with {shown(drafted)}.",
            "Leave one of the two out: flags alone are told, too.",
        )
    if asked.chosen and flags.draft_tokens not in (None, asked.draft_tokens):
        raise UsageError(
            f"--draft-tokens {asked.draft_tokens} contradicts the engine's flags, which draft {flags.draft_tokens}.",
            "Leave one of the two out.",
        )


def _is_one(asked: Drafting, flagged: Drafting) -> bool:
    """Whether two name one drafter: a repository, a copy of it and a file of it are one model."""
    one, other = asked.drafter, flagged.drafter
    if not (isinstance(one, Architecture) and isinstance(other, Architecture)):
        return asked.name == flagged.name
    return (one.total_params, one.num_layers) == (other.total_params, other.num_layers)


def _possible(model: Architecture, told: Drafting) -> Drafting:
    """The drafting, with a doubt where it is not known whether the model has layers that predict. Raises UsageError for
    a model without."""
    if isinstance(told.drafter, Architecture) or told.name != OWN_LAYERS:
        return told
    has = predicts_further(model)
    if has is None:
        doubt = (
            f"Whether {model.model_id} comes with layers that predict further tokens is not known: told as if it did."
        )
        return replace(told, doubt=doubt)
    if has:
        return told
    heads = sorted({method.name for method in draft_methods().values() if method.passes != "none"} - {OWN_LAYERS})
    free = sorted({method.name for method in draft_methods().values() if method.passes == "none"})
    raise UsageError(
        f"{model.model_id} has no layers that predict further tokens: {OWN_LAYERS} cannot draft for it.",
        f"{' or '.join(free)} needs nothing beside the model, {' or '.join(heads)} a head trained for it; a smaller "
        "model of its vocabulary drafts, too ('sizer recommend MODEL --draft auto' finds one).",
    )
