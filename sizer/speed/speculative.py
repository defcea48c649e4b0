"""Speculative decoding: what a draft model gains, out of what verification and drafting cost.

A step drafts g tokens and verifies g + 1 at once. Each draft is accepted with probability a, independently, so a step
yields (1 - a^(g+1)) / (1 - a) tokens (Leviathan et al. 2023, eq. 1). It costs one verification, v times a plain step,
and g draft steps, c times a plain step each. v and c come from the same law of speed as every step: a dense model that
waits for memory verifies for little more than one token's time, a mixture reads the experts of all the tokens.
"""

from __future__ import annotations

from dataclasses import replace

from sizer.device.records import Target
from sizer.errors import UsageError
from sizer.memory.records import Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.speed.case import SpeedCase, speed_case
from sizer.speed.law import Constants, constants
from sizer.speed.predict import timed
from sizer.speed.records import Speculation
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import decode_traffic
from sizer.workload import Workload


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """Tokens that a step of `draft_tokens` drafts yields on average, the verifier's own token included."""
    if acceptance >= 1:
        return draft_tokens + 1.0
    return (1 - acceptance ** (draft_tokens + 1)) / (1 - acceptance)


def step_s(case: SpeedCase, tokens_per_sequence: int, fitted: Constants) -> float:
    """Seconds of one step that runs `tokens_per_sequence` tokens of each sequence."""
    traffic = decode_traffic(case.architecture, case.stored, case.workload, tokens_per_sequence=tokens_per_sequence)
    return timed(decode_amounts(case, traffic), case, fitted).total_s


def speculate(
    model: tuple[Architecture, Stored],
    draft: tuple[Architecture, Stored],
    target: Target,
    workload: Workload,
    engine: str,
    *,
    draft_tokens: int,
    acceptance: float,
    placement: Placement | None = None,
    backend: str | None = None,
    fitted: Constants | None = None,
) -> Speculation:
    """The gain of drafting `draft_tokens` tokens a step, each accepted with probability `acceptance`.

    Both models lie on the same target; the draft's layers are on one device. Raises UsageError for a probability
    outside 0 to 1 or a draft of no tokens.
    """
    if not 0 <= acceptance <= 1:
        raise UsageError(f"--acceptance {acceptance:g} is no probability.", "Give a number from 0 to 1, as 0.7.")
    if draft_tokens < 1:
        raise UsageError(f"--draft-tokens {draft_tokens} drafts nothing.", "Give 1 or more.")
    fitted = fitted or constants()
    case = speed_case(*model, target, workload, engine, backend=backend, placement=placement)
    alone = replace(target, count=1, others=())
    drafting = speed_case(*draft, alone, workload, engine, backend=backend)
    plain_s = step_s(case, 1, fitted)
    verify_cost = step_s(case, draft_tokens + 1, fitted) / plain_s
    draft_cost = step_s(drafting, 1, fitted) / plain_s
    tokens = expected_tokens(acceptance, draft_tokens)
    speedup = tokens / (verify_cost + draft_tokens * draft_cost)
    return Speculation(tokens, verify_cost, draft_cost, speedup, speedup / plain_s)
