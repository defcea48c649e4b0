"""The model that an engine's flags draft with, as it lies beside the model."""

from __future__ import annotations

from sizer.engine.engines import Engine
from sizer.engine.options import EngineOptions
from sizer.engine.stored import store_for
from sizer.errors import ModelError
from sizer.frozen import NamedTuple
from sizer.memory.case import DraftBeside
from sizer.model.architecture import Architecture, Basis
from sizer.precision.configured import configured_precision

VOCABULARY_DIFFERENCE = 128
"""llama.cpp takes a draft whose vocabulary differs by at most this many entries (common/speculative.cpp)."""


def shares_vocabulary(model: Architecture, drafter: Architecture) -> bool:
    """Whether two vocabularies are nearly of one size."""
    return drafter.vocab_size > 0 and abs(model.vocab_size - drafter.vocab_size) <= VOCABULARY_DIFFERENCE


def vocabulary_notes(model: Architecture, drafter: object) -> tuple[str, ...]:
    """What a drafter of another vocabulary means; nothing for a way of drafting that is no model."""
    if not isinstance(drafter, Architecture) or shares_vocabulary(model, drafter) or not model.vocab_size:
        return ()
    words = (
        f"{drafter.model_id} has {drafter.vocab_size:,} words in its vocabulary, {model.model_id} {model.vocab_size:,}"
    )
    return (f"{words}: engines refuse such a draft or translate its text; told as if they had one.",)


class NamedDraft(NamedTuple):
    """A model that flags draft with, and what its file's name says that it is quantized to (empty: nothing)."""

    architecture: Architecture
    quantization: str = ""


def draft_named(flags: EngineOptions | None) -> NamedDraft | None:
    """The model that flags draft with, where the catalogue or this machine knows it."""
    if flags is None or not flags.draft_model:
        return None
    from sizer.model.read.resolve import resolve

    try:
        found = resolve(flags.draft_model, offline=True)
    except ModelError:
        return None
    known = found.architecture
    return None if known.basis is Basis.NAME else NamedDraft(known, found.hints.quantization or "")


def beside(draft: NamedDraft | None, engine: Engine) -> DraftBeside | None:
    """A draft as its files hold it: as their name or config says, else as the engine's users get it."""
    if draft is None:
        return None
    told = draft.quantization or configured_precision(draft.architecture) or ""
    precision = told if told and engine.runs(told) else engine.usual_precision or "bf16"
    return DraftBeside(draft.architecture, store_for(draft.architecture, precision, engine.name))
