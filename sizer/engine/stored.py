"""A model as an engine stores it: its own scheme of a precision, and what it does with experts."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sizer.engine.engines import find_engine
from sizer.engine.precisions import experts_way, loads_experts, moved_out
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.precision.names import precision_of
from sizer.precision.store import stored_as


@lru_cache(maxsize=256)
def store_for(architecture: Architecture, precision: str, engine: str | None, version: str = "") -> Stored:
    """A model at a precision as a version of an engine stores it (empty: the newest); as published without an engine.

    Raises UnknownPrecision, UnknownEngine. Kept, because a search over devices asks for the same again and again.
    """
    if engine is None:
        return stored_as(architecture, precision_of(precision))
    row = find_engine(engine).stored_precision(precision, version, architecture.model_types)
    stored = stored_as(architecture, row)
    since, plugin = moved_out(precision, engine, version)
    if since:
        how = f"by a plugin: pip install {plugin}" if plugin else "no more"
        stored = replace(stored, notes=(*stored.notes, f"{engine} {since} loads {precision} weights {how}."))
    if version:
        from sizer.engine.first_versions import too_old_for

        if too_old := too_old_for(precision, engine, version):
            stored = replace(stored, notes=(*stored.notes, f"{too_old[:-1]}: told as if it did."))
    if not loads_experts(architecture, precision, engine):
        return replace(stored, notes=(*stored.notes, f"{engine} does not load experts in {precision}."))
    expands = bool(architecture.experts) and experts_way(precision, engine) == "unpacked"
    return replace(stored, expands_experts=True) if expands else stored
