"""Speculative decoding: the arithmetic of drafts, and where it says that none pays."""

from __future__ import annotations

import pytest
from advice import model, target
from hypothesis import given
from hypothesis import strategies as st

from sizer.advise.draft import Draft, best_draft, compatible, draft, same_generation
from sizer.advise.family import relatives
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.workload import Workload


def run_of(name: str, device: str, precision: str, memory_gib: float | None = None) -> Estimate:
    """One estimate with llama.cpp."""
    return estimate(Question(model(name), target(device, memory_gib), precision, Workload(), engine="llama.cpp"))


def gain_of(large: Estimate, small: str, length: int | None = None, acceptance: float = 0.7) -> Draft:
    """What a catalogued draft gains."""
    found = draft(large, model(small), acceptance=acceptance, draft_tokens=length)
    assert found is not None
    return found


def test_verifying_costs_at_least_a_step_and_more_for_more_tokens() -> None:
    """A verification is no cheaper than a decode step, and grows with the tokens verified."""
    dense = run_of("Qwen/Qwen3-32B", "rtx-4090", "q4_k_m")
    costs = [gain_of(dense, "Qwen/Qwen3-0.6B", length).gain.verify_cost for length in (1, 2, 4, 8, 16)]
    assert costs[0] >= 1
    assert costs == sorted(costs)


def test_a_mixture_of_experts_pays_more_for_verifying() -> None:
    """More tokens touch more experts: the mixture's verification reads more of itself than a dense model's."""
    from sizer.speed.traffic import decode_traffic

    def bytes_ratio(name: str) -> float:
        item = run_of(name, "rtx-4090", "q4_k_m", 48)
        one, many = (
            decode_traffic(item.architecture, item.stored, item.workload, tokens_per_sequence=tokens).bytes_read
            for tokens in (1, 5)
        )
        return many / one

    assert bytes_ratio("Qwen/Qwen3-32B") < 1.01
    assert bytes_ratio("Qwen/Qwen3-30B-A3B") > 1.5


def test_the_speedup_is_tokens_over_cost() -> None:
    """speedup = expected tokens / (v + g c + r); c is the draft's own step, the rate so many times the plain one."""
    large = run_of("Qwen/Qwen3-32B", "rtx-4090", "q4_k_m", 48)
    found = gain_of(large, "Qwen/Qwen3-0.6B", 4, 0.8)
    assert large.speed is not None
    assert found.estimate.speed is not None
    draft_cost = found.estimate.speed.decode.tpot_s / large.speed.decode.tpot_s
    # Measured rows nearby correct either speed by a little; the costs are the law's own.
    assert found.gain.draft_cost == pytest.approx(draft_cost, rel=0.05)
    tokens = sum(0.8**k for k in range(5))
    assert found.gain.speedup == pytest.approx(
        tokens / (found.gain.verify_cost + 4 * found.gain.draft_cost + found.gain.round_cost)
    )
    plain = large.speed.decode.tokens_per_s
    assert found.gain.tokens_per_s == pytest.approx(plain * found.gain.speedup)


@given(acceptance=st.floats(0.05, 0.95))
def test_break_even_parts_gain_from_loss(acceptance: float) -> None:
    """Above the break-even acceptance some length gains, below it none does."""
    large = run_of("Qwen/Qwen3-32B", "rtx-4090", "q4_k_m", 48)
    found = draft(large, model("Qwen/Qwen3-1.7B"), acceptance=acceptance)
    assert found is not None
    assert found.break_even_acceptance is not None
    if acceptance > found.break_even_acceptance + 1e-3:
        assert found.gain.speedup >= 1
    elif acceptance < found.break_even_acceptance - 1e-3:
        assert found.gain.speedup <= 1


def test_the_best_length_is_chosen() -> None:
    """Without a number of drafted tokens the one that gains most is taken."""
    large, small = run_of("Qwen/Qwen3-32B", "rtx-4090", "q4_k_m", 48), model("Qwen/Qwen3-0.6B")
    best = draft(large, small)
    each = [draft(large, small, draft_tokens=length) for length in range(1, 17)]
    assert best is not None
    assert best.gain.speedup == max(item.gain.speedup for item in each if item is not None)


def test_no_draft_where_the_arithmetic_says_so() -> None:
    """gpt-oss-20b takes most of a step of gpt-oss-120b, whose verification touches more experts: it does not pay."""
    large = run_of("openai/gpt-oss-120b", "gb10", "mxfp4")
    found = best_draft(large, relatives(large.architecture))
    assert found is None or not found.pays


def test_a_draft_must_fit_beside() -> None:
    """A card that the large model fills has no room for a draft."""
    large = run_of("Qwen/Qwen3-8B", "rtx-4060", "q6_k")
    found = draft(large, model("Qwen/Qwen3-1.7B"))
    assert found is not None
    assert not found.fits
    assert not found.pays


def test_only_models_with_one_vocabulary_draft() -> None:
    """A draft is smaller and has nearly the same vocabulary; generations of one maker are told apart."""
    large = model("Qwen/Qwen3-32B")
    assert compatible(large, model("Qwen/Qwen3-0.6B"))
    assert not compatible(model("Qwen/Qwen3-0.6B"), large)
    assert not compatible(large, model("openai-community/gpt2"))
    assert same_generation(model("Qwen/Qwen3-30B-A3B"), model("Qwen/Qwen3-0.6B"))
    assert not same_generation(large, model("Qwen/Qwen2.5-0.5B-Instruct"))


def test_the_best_of_the_catalogue_is_of_the_family() -> None:
    """The draft found by itself shares maker, generation and vocabulary, and fits."""
    large = run_of("Qwen/Qwen3-32B", "rtx-4090", "q4_k_m")
    found = best_draft(large, relatives(large.architecture))
    assert found is not None
    assert found.fits
    assert found.estimate.architecture.model_id.startswith("Qwen/Qwen3-")
