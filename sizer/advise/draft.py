"""Which draft model would speed a large one up by speculative decoding (speed/speculative), by how much."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile

from sizer.advise.advice import questions_for
from sizer.advise.recommend import WORTHWHILE_GAIN, with_margin
from sizer.answer.drafts import shares_vocabulary
from sizer.answer.estimate import estimate
from sizer.answer.records import Estimate
from sizer.engine.model_classes import model_code
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.speed.case import speed_case
from sizer.speed.records import Speculation
from sizer.speed.speculative import USUAL_ACCEPTANCE, at_rate, expected_tokens, speculate

MOST_DRAFT_TOKENS = 16
"""The longest draft that is tried: llama.cpp's default for as long as it had --draft-max (it drafts 3 now)."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft model beside a large one, and what it gains.

    `break_even_acceptance` is where the speed is that without a draft, None where no acceptance gains anything;
    `fits` says that a device holds the draft beside its share of the large model, with the usual margin.
    """

    estimate: Estimate
    draft_tokens: int
    acceptance: float
    gain: Speculation
    break_even_acceptance: float | None
    extra_bytes: int
    fits: bool

    @property
    def pays(self) -> bool:
        """Whether it fits and gains a tenth or more."""
        return self.fits and self.gain.speedup >= WORTHWHILE_GAIN


def compatible(large: Architecture, small: Architecture) -> bool:
    """Whether a model could draft for another: smaller, and a vocabulary of nearly the same size."""
    return 0 < small.total_params < large.total_params and shares_vocabulary(large, small)


def same_generation(large: Architecture, small: Architecture) -> bool:
    """Whether two models are of one generation, as `qwen3` and `qwen3_moe` are: what drafts are accepted from."""
    return _stem(large.model_type) == _stem(small.model_type)


def _stem(model_type: str) -> str:
    return model_type.removesuffix("_text").removesuffix("_moe")


def draft(
    large: Estimate, small: Architecture, *, acceptance: float = USUAL_ACCEPTANCE, draft_tokens: int | None = None
) -> Draft | None:
    """What a draft gains, with the number of drafted tokens that gains most where none is given.

    None where either speed is not known, or the engine has no precision for the draft.
    """
    drafting = _beside(large, small)
    if drafting is None or drafting.speed is None or large.speed is None:
        return None
    lengths = range(1, MOST_DRAFT_TOKENS + 1) if draft_tokens is None else (draft_tokens,)
    gains = {length: _speculate(large, drafting, length, acceptance) for length in lengths}
    best = max(lengths, key=lambda length: gains[length].speedup)
    extra_bytes = drafting.footprint.total_bytes - drafting.footprint.overhead.size_bytes
    costs = {length: gain.round_steps for length, gain in gains.items()}
    return Draft(
        estimate=drafting,
        draft_tokens=best,
        acceptance=acceptance,
        gain=gains[best],
        break_even_acceptance=_break_even(costs),
        extra_bytes=extra_bytes,
        fits=_fits_beside(large, extra_bytes),
    )


def _speculate(large: Estimate, drafting: Estimate, draft_tokens: int, acceptance: float) -> Speculation:
    case = speed_case(
        large.architecture, large.stored, large.target, large.workload, large.engine, backend=large.case.backend,
        placement=large.placement, graphs=large.options.graphs_of(large.workload.batch_size),
    )  # fmt: skip
    drafter = (drafting.architecture, drafting.stored)
    gain = speculate(case, drafter, draft_tokens=draft_tokens, acceptance=acceptance)
    return at_rate(gain, large.speed)


def best_draft(
    large: Estimate,
    candidates: Iterable[Architecture],
    *,
    acceptance: float = USUAL_ACCEPTANCE,
    draft_tokens: int | None = None,
) -> Draft | None:
    """The compatible candidate of the same generation that gains most among those that fit, whether it pays or not.

    Of equal gains the one whose name is most like the large model's. None without a candidate.
    """
    found = [
        item
        for candidate in candidates
        if compatible(large.architecture, candidate) and same_generation(large.architecture, candidate)
        if (item := draft(large, candidate, acceptance=acceptance, draft_tokens=draft_tokens)) is not None and item.fits
    ]

    def rank(item: Draft) -> tuple[float, int]:
        names = zip(large.architecture.model_id, item.estimate.architecture.model_id, strict=False)
        return round(item.gain.speedup, 2), len(list(takewhile(lambda pair: pair[0] == pair[1], names)))

    return max(found, key=rank, default=None)


def _beside(large: Estimate, small: Architecture) -> Estimate | None:
    """The draft's own estimate on one device: at the large model's precision if its ladder has it, else at the last."""
    if not model_code(small, large.engine, large.options).certain:
        return None
    alone = replace(large.target, count=1, others=())
    questions = questions_for(small, alone, large.workload, large.engine)
    same = [question for question in questions if question.precision == large.precision]
    asked = same or questions[-1:]
    return estimate(asked[0]) if asked else None


def _fits_beside(large: Estimate, extra_bytes: int) -> bool:
    if not large.placement.fits or large.placement.available_bytes is None:
        return False
    rooms = [with_margin(share.available_bytes or 0) - share.total_bytes for share in large.placement.shares]
    return max(rooms) >= extra_bytes


def _break_even(costs: dict[int, float]) -> float | None:
    """The lowest acceptance at which some number of drafted tokens is as fast as none."""

    def gains(acceptance: float) -> bool:
        return any(expected_tokens(acceptance, length) >= cost for length, cost in costs.items())

    if not gains(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if gains(middle) else (middle, high)
    return high
