"""The model that an engine's flags draft with, as it lies beside the model."""

from __future__ import annotations

from sizer.engine.engines import Engine
from sizer.engine.options import EngineOptions
from sizer.engine.precisions import store_for
from sizer.errors import ModelError
from sizer.memory.case import DraftBeside
from sizer.model.architecture import Architecture, Basis
from sizer.precision.configured import configured_precision


def draft_named(flags: EngineOptions | None) -> Architecture | None:
    """The model that flags draft with, where the catalogue or this machine knows it."""
    if flags is None or not flags.draft_model:
        return None
    from sizer.model.read.resolve import resolve

    try:
        found = resolve(flags.draft_model, offline=True).architecture
    except ModelError:
        return None
    return None if found.basis is Basis.NAME else found


def beside(draft: Architecture | None, engine: Engine) -> DraftBeside | None:
    """A draft as its checkpoint holds it."""
    if draft is None:
        return None
    return DraftBeside(draft, store_for(draft, configured_precision(draft) or "bf16", engine.name))
