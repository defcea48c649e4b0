"""How many tokens of a prompt an engine reads at once: as its flags say, else its default by card, model and length."""

from __future__ import annotations

from sizer.memory.case import Case
from sizer.memory.profile_run import BY_CARD, profile_run
from sizer.memory.reserves import default_chunk_tokens

SCHEDULED = frozenset({BY_CARD, "whole length"})
"""Engines that profile the largest step that they schedule: a prompt is read in steps of as many tokens."""


def prompt_chunk_tokens(case: Case) -> int | None:
    """Tokens of a prompt that run at once; None where the engine reads a prompt whole."""
    if case.graph is not None:
        return case.step_tokens
    if case.engine.profile in SCHEDULED:
        return profile_run(case).tokens
    asked = case.options.prefill_chunk_tokens
    return (None if asked else default_chunk_tokens(case)) or case.engine.prefill_chunk_tokens
