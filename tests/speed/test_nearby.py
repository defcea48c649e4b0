"""What rows of the same engine on the same device say of a case, and how wide an interval is, on small made-up rows."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest

import sizer
from sizer.calibrate.likeness import Alike
from sizer.calibrate.observation import Observation
from sizer.calibrate.plausible import impossible_decode, impossible_prompt, unlike_prompts
from sizer.engine.engines import find_engine
from sizer.memory.records import Placement, Share
from sizer.speed.chunks import whole
from sizer.speed.law import constants
from sizer.speed.nearby import Rows, Traits, correction
from sizer.speed.records import Correction
from sizer.speed.speculative import draft_methods, expected_tokens, speculation_of
from sizer.speed.traffic import decode_traffic, prefill_traffic
from sizer.speed.widths import WIDEST, Width
from sizer.tuning import try_instead, tuned
from tests.support.speedcases import case_of

CASE = Traits("llama.cpp cuda x", "q4_k", "4bit", "a-8b", "LlamaForCausalLM", False, "none 1", 2026, 22.0, -3.0)


def measured(traits: Traits, ratio: float, name: str = "") -> tuple[Observation, float]:
    """A measured row of these traits, and the logarithm of its measured over predicted speed."""
    seen = Observation(name, "decode", "s", "x", "m", "llama.cpp", "f", traits.moe, 1.0, (), {}, traits=traits)
    return seen, ratio


def said_by(rows: list[tuple[Observation, float]], asked: Traits = CASE) -> Correction:
    """What these rows, solved together, say of a case."""
    import numpy as np

    solved = Alike([row for row, _ in rows]).spoken(np.array([ratio for _, ratio in rows]))
    return correction(asked, Rows(solved))


def test_like_rows_say_their_mean_and_unlike_ones_little() -> None:
    """Many rows alike in all say nearly their own ratio; one says less; rows unlike in all hardly move the law."""
    alike = [measured(CASE, 0.2)] * 20
    assert said_by(alike).log_factor == pytest.approx(0.2, rel=0.02)
    assert said_by(alike).rows == 20
    assert 0 < said_by(alike[:1]).log_factor < 0.2
    unlike = CASE._replace(kernel="half", bits="float", model="b", family="Other", moe=True, size=26.0, year=2020)
    assert abs(said_by([measured(unlike, 0.2)]).log_factor) < 0.02
    assert correction(CASE, Rows()) == (0.0, 0, 0.0)


def test_rows_that_repeat_each_other_share_one_say() -> None:
    """Nine equal rows of one model hardly outweigh one of another, where nine of as many models would."""
    other = measured(CASE._replace(model="other"), -0.3)
    asked = CASE._replace(model="asked")
    crowd = [measured(CASE, 0.3)] * 9 + [other]
    many = [measured(CASE._replace(model=f"m{number}"), 0.3) for number in range(9)] + [other]
    assert said_by(crowd, asked).log_factor < said_by(many, asked).log_factor


def test_a_far_row_counts_as_one_at_the_bound() -> None:
    """A row that lies a hundred times out moves no more than one at the bound."""
    assert said_by([measured(CASE, 4.6)]) == said_by([measured(CASE, tuned("like_bound"))])


def test_what_stands_alone_far_from_the_others_is_not_believed() -> None:
    """Two rows at a third of what six others of the pair show say nothing of a case like them; three are believed."""
    others = [measured(CASE._replace(model=f"m{number}"), 0.1) for number in range(6)]
    odd = measured(CASE, log(1 / 3))
    assert said_by([*others, odd, odd]) == pytest.approx(said_by(others))
    assert said_by([*others, odd, odd, odd]).log_factor < -0.2


def test_several_tokens_a_step_speak_for_others() -> None:
    """Eight sequences tell of sixteen more than of one, and what lies partly on the host tells nothing."""
    eight = measured(CASE._replace(tokens=log(8)), 0.3)
    asked = [CASE._replace(tokens=log(tokens)) for tokens in (1, 16)]
    one, sixteen = (said_by([eight], case).log_factor for case in asked)
    assert 0 < one < sixteen < 0.3
    assert said_by([(replace(eight[0], hosted=True), 0.3)]) == (0.0, 0, 0.0)


def test_widths_add_effects_and_are_bounded() -> None:
    """A group's effect multiplies the distance; a bounded interval spans a factor of six at most, around the same
    middle; a stretch widens both ends alike."""
    width = Width(-2.0, {"engine: rough": 1.0}, -2.0, 2.0)
    assert width.distance(("engine: rough",)) == pytest.approx(exp(-1.0))
    assert width.distance(("engine: unknown",)) == pytest.approx(exp(-2.0))
    low, high = width.ends(("engine: rough",), 5.0, WIDEST["decode"])
    assert exp(high - low) == pytest.approx(WIDEST["decode"])
    free = width.ends(("engine: rough",), 5.0)
    assert free[1] == pytest.approx(5 * width.ends(("engine: rough",), 1.0)[1])


def test_impossible_figures_are_told_with_the_reason() -> None:
    """A step faster than the memory, one slower than a disk and a prompt beyond the peak are impossible; an ordinary
    step and prompt are not."""
    case = case_of("meta-llama/Meta-Llama-3-8B-Instruct", "rtx-4070", "llama.cpp", "q4_k_m")
    step = decode_traffic(case.architecture, case.stored, case.workload)
    assert "faster" in impossible_decode(case, step, 1 / 300)
    assert "disk" in impossible_decode(case, step, 1 / 0.12)
    assert not impossible_decode(case, step, 1 / 70)
    prompt = prefill_traffic(case.architecture, case.stored, replace(case.workload, prompt_tokens=2048))
    assert "products" in impossible_prompt(case, prompt, whole(2048), 2048 / 118_390)
    assert not impossible_prompt(case, prompt, whole(2048), 2048 / 3000)
    few = prefill_traffic(case.architecture, case.stored, replace(case.workload, prompt_tokens=5))
    assert "weights once" in impossible_prompt(case, few, whole(5), 5 / 2000)
    assert not impossible_prompt(case, few, whole(5), 5 / 400)


def test_no_step_outruns_the_link_to_what_lies_on_the_host() -> None:
    """Half of a model's weights that cross the link each token leave no 40 tokens/s; if it computes, none do."""
    case = case_of("meta-llama/Meta-Llama-3-8B-Instruct", "rtx-4070", "vllm", "bf16")
    step = decode_traffic(case.architecture, case.stored, case.workload)
    weights = case.stored.weights_bytes // 2
    card, host = (Share(name, weights, 0, 0, 0, 0, 0, None, 1) for name in ("card", "host"))
    halved = replace(case, placement=Placement("offload", (card,), host, True, 0, 1, None, False))
    assert "link" in impossible_decode(halved, step, 1 / 40)
    assert not impossible_decode(halved, step, 1 / 2)
    computing = replace(halved, engine=find_engine("llama.cpp"))
    assert not impossible_decode(computing, step, 1 / 10)


def test_prompts_of_a_data_set_tell_nothing_where_batches_are_padded() -> None:
    """Eight prompts whose mean alone is told: in an engine that fills up to the longest they are left out, with the
    reason; one prompt, equal ones, and those of an engine that packs them are not."""
    one = case_of("Qwen/Qwen3-8B", "h200", "transformers", "bf16")
    eight = one.of_workload(replace(one.workload, batch_size=8))
    assert "longest" in unlike_prompts(eight, None)
    assert not unlike_prompts(eight, 512)
    assert not unlike_prompts(one, None)
    assert not unlike_prompts(replace(eight, engine=find_engine("vllm")), None)


def test_a_prompt_slower_than_its_disk_was_read_from_it() -> None:
    """Half of an 8B in bf16 on the host: 512 tokens in 20 s were paged in from a disk, in 3 s they were not; where the
    host's cores multiply, 20 s may be theirs."""
    case = case_of("meta-llama/Meta-Llama-3-8B-Instruct", "rtx-4070", "llama.cpp", "bf16")
    card, host = (Share(name, case.stored.weights_bytes // 2, 0, 0, 0, 0, 0, None, 1) for name in ("card", "host"))
    halved = replace(case, placement=Placement("offload", (card,), host, True, 0, 1, None, False))
    prompt = prefill_traffic(case.architecture, case.stored, replace(case.workload, prompt_tokens=512))
    assert "disk" in impossible_prompt(halved, prompt, whole(512), 20)
    assert not impossible_prompt(halved, prompt, whole(512), 3)
    assert not impossible_prompt(replace(halved, backend="cpu+cuda"), prompt, whole(512), 20)


@pytest.mark.parametrize("method", ["mtp", "eagle3", "dflash", "ngram"])
def test_methods_gain_more_for_dense_models_than_for_mixtures(method: str) -> None:
    """The same drafts, as often accepted, gain more for a dense model, and what copies the text drafts for nothing."""
    drafter = draft_methods()[method]
    dense = case_of("Qwen/Qwen3-32B", "h100-80gb-sxm", "vllm", "fp8")
    mixture = case_of("Qwen/Qwen3-30B-A3B", "h100-80gb-sxm", "vllm", "fp8")
    tokens = expected_tokens(0.7, 3)
    gains = [speculation_of(case, drafter, 3, tokens, constants()) for case in (dense, mixture)]
    assert gains[0].speedup > max(1.2, gains[1].speedup + 0.2)
    assert gains[0].verify_cost >= 1
    assert (gains[0].draft_cost == 0) == (drafter.passes == "none")


def test_depth_is_told_where_it_matters() -> None:
    """A full cache of 32k slows an 8B by more than 3 % and both speeds are told; at 640 tokens of a 70B neither is."""
    deep = sizer.estimate(
        "Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", context=32768, offline=True
    ).estimates[0]
    assert deep.decode is not None
    assert deep.decode.full_context_tokens == 32768
    assert (deep.decode.empty_tokens_per_s or 0) > 1.2 * (deep.decode.full_tokens_per_s or 0)
    flat = sizer.estimate(
        "meta-llama/Llama-3.1-70B", device="h100-80gb-sxm", precision="q4_k_m", offline=True
    ).estimates[0]
    assert flat.decode is not None
    assert flat.decode.empty_tokens_per_s is None


def test_tried_values_stand_in_until_the_trial_ends() -> None:
    """A trial's value replaces the table's; a name of no row is an error."""
    before = tuned("peak_power")
    try_instead({"peak_power": 0.9})
    assert tuned("peak_power") == 0.9
    try_instead({})
    assert tuned("peak_power") == before
    with pytest.raises(KeyError):
        try_instead({"no_such_number": 1.0})
