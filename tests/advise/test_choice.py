"""The rule that picks a precision: the frontier, what may be chosen from it, and the ladders it looks at."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
from advice import model, target
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sizer
from sizer.advise.advice import questions_for
from sizer.advise.reasons import recommendation
from sizer.advise.recommend import (
    NEGLIGIBLE_LOSS,
    PREFERENCES,
    READING_TOKENS_PER_S,
    TOLERABLE_LOSS,
    USABLE_LOSS,
    Wanted,
    choose,
    frontier,
    neighbours,
    waited_rate,
)
from sizer.advise.search import best_of
from sizer.answer.estimate import estimate
from sizer.answer.loss import expected_loss, loss_at, loss_of
from sizer.answer.records import Estimate
from sizer.engine.ladders import ladders, own_precision
from sizer.engine.stored import store_for
from sizer.errors import UnknownEngine
from sizer.model.read.resolve import resolve
from sizer.precision.quality import kl_divergence, layer_bits
from sizer.tables import read_rows
from sizer.workload import Workload

LLAMA = model("meta-llama/Meta-Llama-3-8B-Instruct")
WORK = Workload(context_tokens=8192)


def costs(item: Estimate) -> tuple[float, int, float]:
    """Loss, memory, slowness."""
    return loss_of(item), item.footprint.total_bytes, -(waited_rate(item) or 0.0)


def ladder_of(memory_gib: float, device: str = "rtx-4090", engine: str | None = None) -> list[Estimate]:
    """The estimates of the Llama 8B's ladder on a device with this memory."""
    questions = questions_for(LLAMA, target(device, memory_gib), WORK, engine)
    return [estimate(question) for question in questions]


@settings(max_examples=25, deadline=None)
@given(
    memory_gib=st.floats(3, 30),
    prefer=st.sampled_from(PREFERENCES),
    min_speed=st.one_of(st.none(), st.floats(1, 400)),
    max_loss=st.one_of(st.none(), st.floats(0, 1)),
)
def test_the_choice_fits_and_nothing_eligible_beats_it(
    memory_gib: float, prefer: str, min_speed: float | None, max_loss: float | None
) -> None:
    """What is chosen lies on the devices with the margin, fast enough, lossy no more than allowed, and undominated."""
    wanted = Wanted(prefer, min_speed, max_loss)
    tried = ladder_of(memory_gib)
    chosen = choose(tried, wanted)
    allowed = [
        item
        for item in tried
        if item.placement.whole
        and item.placement.shares[0].total_bytes <= min(0.95 * memory_gib, memory_gib - 1) * 2**30
        and (min_speed is None or (waited_rate(item) or 0) >= min_speed)
        and (max_loss is None or loss_of(item) <= max_loss)
    ]
    if chosen is None:
        assert not allowed
        return
    assert chosen in allowed
    for other in allowed:
        better = all(a <= b for a, b in zip(costs(other), costs(chosen), strict=True)) and costs(other) != costs(chosen)
        assert not better, (other.precision, chosen.precision)


@settings(max_examples=40, deadline=None)
@example(device="h100", memory_gib=80.0, prefer="balanced", max_loss=TOLERABLE_LOSS, min_speed=None)
@given(
    device=st.sampled_from(["rtx-4090", "h100", "l40s"]),
    memory_gib=st.floats(3, 30),
    prefer=st.sampled_from(PREFERENCES),
    max_loss=st.sampled_from([None, 0.0, 0.02, TOLERABLE_LOSS, 0.4]),
    min_speed=st.sampled_from([None, 60.0, 150.0]),
)
def test_the_screened_search_answers_as_the_whole_ladder(
    device: str, memory_gib: float, prefer: str, max_loss: float | None, min_speed: float | None
) -> None:
    """Skipping what cannot be chosen does not change what is chosen."""
    wanted = Wanted(prefer, min_speed, max_loss)
    questions = questions_for(LLAMA, target(device, memory_gib), WORK)
    whole = choose([estimate(question) for question in questions], wanted)
    screened = best_of(questions, wanted)
    assert (whole and whole.precision) == (screened and screened.precision)


def test_more_memory_never_costs_quality() -> None:
    """With quality preferred, a larger card loses no more than a smaller one."""
    losses = []
    for memory_gib in (6, 8, 10, 12, 16, 24):
        chosen = choose(ladder_of(memory_gib), Wanted("quality"))
        assert chosen is not None
        losses.append(loss_of(chosen))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 0 == losses[-1]


def test_preferences_pull_their_way() -> None:
    """Quality takes the least loss, memory the least bytes and speed the most tokens/s of a tolerable loss."""
    tried = ladder_of(24)
    picked = {prefer: choose(tried, Wanted(prefer)) for prefer in PREFERENCES}
    quality, speed, memory, balanced = (picked[name] for name in ("quality", "speed", "memory", "balanced"))
    assert quality is not None
    assert speed is not None
    assert memory is not None
    assert balanced is not None
    assert loss_of(quality) == min(map(loss_of, tried))
    tolerable = [item for item in tried if loss_of(item) <= TOLERABLE_LOSS]
    assert waited_rate(speed) == max(waited_rate(item) or 0 for item in tolerable)
    assert memory.footprint.total_bytes == min(item.footprint.total_bytes for item in tolerable)
    assert loss_of(balanced) <= NEGLIGIBLE_LOSS


def test_neighbours_are_the_next_points() -> None:
    """The better neighbour loses less, the cheaper one takes less; both lie on the frontier."""
    tried = ladder_of(12)
    chosen = choose(tried, Wanted())
    assert chosen is not None
    better, cheaper = neighbours(tried, chosen, Wanted())
    assert better is not None
    assert loss_of(better) < loss_of(chosen)
    assert cheaper is not None
    assert cheaper.footprint.total_bytes < chosen.footprint.total_bytes
    assert {better.precision, cheaper.precision} <= {item.precision for item in frontier(tried)}


def test_a_better_one_that_fits_is_said_to_be_slower() -> None:
    """Where the better neighbour would fit with room to spare, its speed is why it is not taken, and it is told."""
    tried = ladder_of(24)
    chosen = choose(tried, Wanted())
    assert chosen is not None
    better, _ = neighbours(tried, chosen, Wanted())
    assert better is not None
    assert (waited_rate(better) or 0) < (waited_rate(chosen) or 0)
    assert f"{better.precision} loses less" in recommendation(tried).reason
    assert "but is slower (" in recommendation(tried).reason


def test_the_speeds_of_an_answer_agree() -> None:
    """On a CPU, where the prompt's time decides, what a better precision decodes is told as the table has it, and what
    is left with the prompt's time is called so."""
    slow = target("consumer-cpu", 16)
    tried = [estimate(question) for question in questions_for(LLAMA, slow, WORK)]
    found = re.search(
        r"(\S+) loses less .* but is slower \(([\d.]+) tokens/s; with the prompt's time ([\d.]+) against ([\d.]+)\)",
        recommendation(tried).reason,
    )
    assert found
    [better] = [item for item in tried if item.precision == found[1]]
    assert float(found[2]) == pytest.approx(waited_rate(better), rel=0.01)
    assert float(found[3]) < float(found[2])
    assert float(found[3]) < float(found[4])


def test_without_a_speed_a_better_one_is_said_to_take_more() -> None:
    """Where only a size of memory is known, no speed keeps a better precision from being taken: what it takes does."""
    found = sizer.recommend("Qwen/Qwen3-8B", memory_bytes="12GiB", offline=True).recommendation
    assert found is not None
    assert found.precision == "q6_k"
    assert re.search(r"q8_0 loses less .* but takes [\d.]+ GiB more", found.reason)


def test_recommendation_says_by_how_much_nothing_fits() -> None:
    """Where no precision fits there is none recommended, and the shortfall of the nearest is named."""
    found = recommendation(ladder_of(1))
    assert found.precision is None
    assert "short" in found.reason


@pytest.mark.parametrize("engine", sorted({row["engine"] for row in read_rows("ladders.csv")}))
def test_ladders_rise_in_loss(engine: str) -> None:
    """The screened search relies on it: each rung loses at least as much as the one above it (within rounding)."""
    device = "m2-ultra" if engine == "mlx-lm" else "h100"
    for rungs in ladders(LLAMA, target(device).device, engine):
        losses = [loss_at(LLAMA, rung.precision, rung.engine) for rung in rungs]
        assert all(low <= high * 1.1 for low, high in itertools.pairwise(losses)), (rungs, losses)


@pytest.mark.parametrize(
    ("device", "engine", "first", "absent"),
    [
        ("a100", "vllm", "bf16", "fp8"),  # Ampere has no fp8 matrix units
        ("h100", "vllm", "bf16", "nvfp4"),
        ("l40s", "vllm", "bf16", "nvfp4"),
        ("rtx-2080-ti", "transformers", "fp32", "bf16"),  # Turing has no bf16 ones
        ("rtx-2080-ti", "vllm", "fp16", "fp8"),
        ("m2-ultra", "mlx-lm", "bf16", "fp8"),
        ("rtx-4090", "tensorrt-llm", "bf16", "nvfp4"),  # fp4 since Blackwell
    ],
)
def test_only_what_the_card_runs_is_considered(device: str, engine: str, first: str, absent: str) -> None:
    """A precision whose matrix units the card lacks is no rung; fp16 stands in for bf16."""
    names = [rung.precision for rung in ladders(LLAMA, target(device).device, engine)[0]]
    assert names[0] == first or first in names
    assert absent not in names
    if absent == "bf16":
        assert "fp16" in names


@pytest.mark.parametrize(
    ("device", "engine"),
    [
        ("a100", "vllm"),
        ("mi300x", "vllm"),
        ("l4", "vllm"),
        ("v100", "llama.cpp"),  # vLLM's quantized kernels start at Turing, its bf16 at Ampere
        ("rtx-4090", "llama.cpp"),
        ("m4-max", "llama.cpp"),
        ("gb10", "llama.cpp"),
        ("epyc-7742", "llama.cpp"),
    ],
)
def test_the_engine_is_what_people_run_there(device: str, engine: str) -> None:
    """Without an engine asked for: vLLM on cards for servers, llama.cpp elsewhere."""
    assert ladders(LLAMA, target(device).device)[0][0].engine == engine


def test_blackwell_runs_fp4() -> None:
    """NVFP4 is a rung where the card has fp4 matrix units."""
    names = [rung.precision for rung in ladders(LLAMA, target("b200").device, "tensorrt-llm")[0]]
    assert "nvfp4" in names


@pytest.mark.parametrize(("name", "own"), [("openai/gpt-oss-20b", "mxfp4"), ("deepseek-ai/DeepSeek-V3", "fp8")])
def test_a_checkpoint_s_own_precision_comes_first_and_loses_nothing(name: str, own: str) -> None:
    """A model published in fewer bits is compared with what was published."""
    published = model(name)
    rungs = ladders(published, target("h100").device, "vllm")[0]
    assert rungs[0].precision.startswith(own)
    assert own_precision(published, "vllm") == rungs[0].precision
    assert loss_at(published, rungs[0].precision, "vllm") == 0.0


@pytest.mark.parametrize("name", ["openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-235B-A22B-FP8"])
def test_what_is_quantized_is_not_quantized_again_in_loading(name: str) -> None:
    """bitsandbytes' rungs are made of 16 bits: a checkpoint in fewer has none, its copies' original has."""
    rungs = [
        rung.precision for ladder in ladders(model(name), target("h100").device, "transformers") for rung in ladder
    ]
    assert rungs[0] == own_precision(model(name), "transformers")
    assert not {"int8", "nf4"} & set(rungs)
    assert not {"int8", "nf4"} & {
        item.precision for item in sizer.estimate(name, device="h100", offline=True).estimates
    }
    copied = resolve("Qwen/Qwen3-8B-AWQ", offline=True).architecture
    plain = [rung.precision for rung in ladders(copied, target("h100").device, "transformers")[0]]
    assert {"int8", "nf4"} <= set(plain)


def test_measured_losses_are_taken_as_they_are() -> None:
    """What the table has is not estimated; what it lacks falls between the types around it."""
    assert loss_at(LLAMA, "q4_k_m", "llama.cpp") == kl_divergence("q4_k_m")
    assert loss_at(LLAMA, "bf16", "vllm") == 0.0
    awq, q8, q4 = (loss_at(LLAMA, name, engine) for name, engine in
                   (("awq-int4", "vllm"), ("q8_0", "llama.cpp"), ("q4_k_m", "llama.cpp")))  # fmt: skip
    assert q8 < q4 < awq <= TOLERABLE_LOSS < USABLE_LOSS


@given(st.floats(0.5, 32), st.floats(0.5, 32))
def test_fewer_bits_never_lose_less(one: float, other: float) -> None:
    """The estimated loss falls with the bits a weight."""
    low, high = sorted((one, other))
    assert expected_loss(low) >= expected_loss(high)


def test_unquantized_embeddings_buy_no_quality() -> None:
    """The bits that count are the layers': AWQ's 4-bit layers are not helped by its 16-bit embeddings."""
    stored = store_for(LLAMA, "awq-int4", "vllm")
    assert layer_bits(stored) < 4.3 < 8 * stored.weights_bytes / LLAMA.total_params


def test_a_better_preferred_speed_changes_nothing_else() -> None:
    """A wanted speed only removes precisions: those left are the ones that reach it."""
    tried = ladder_of(24)
    fastest = max(waited_rate(item) or 0 for item in tried)
    assert choose(tried, Wanted(min_tokens_per_s=fastest * 1.01)) is None
    wanted = Wanted(min_tokens_per_s=fastest * 0.99)
    chosen = choose(tried, wanted)
    assert chosen is not None
    assert (waited_rate(chosen) or 0) >= fastest * 0.99
    assert choose(tried, replace(wanted, max_loss=0.0)) is None


def test_a_slow_machine_gives_up_more_for_speed() -> None:
    """Below the speed of reading, balanced steps down to a tolerable loss; above it, to a negligible one only."""
    slow, fast = (choose(ladder_of(16, device), Wanted()) for device in ("raspberry-pi-5", "apple-m4-max"))
    assert slow is not None
    assert fast is not None
    assert (waited_rate(slow) or 0) < READING_TOKENS_PER_S <= (waited_rate(fast) or 0)
    assert loss_of(fast) <= NEGLIGIBLE_LOSS < loss_of(slow) <= TOLERABLE_LOSS


@pytest.mark.parametrize(
    ("device", "engine", "precisions"),
    [
        ("gtx-1080-ti", "vllm", None),
        ("v100", "vllm", ["fp16", "gptq-int8"]),
        ("t4", "vllm", ["fp16", "gptq-int8", "awq-int4"]),
        ("p40", "transformers", ["fp32", "fp16", "nf4"]),
        ("rtx-2080-ti", "exllamav3", None),
        ("rx-7900-xtx", "vllm", ["bf16", "gptq-int8", "awq-int4"]),
    ],
)
def test_old_cards_get_only_what_has_kernels_for_them(device: str, engine: str, precisions: list[str] | None) -> None:
    """vLLM begins with Volta, its AWQ with Turing, exllamav3 with Ampere, LLM.int8() with Turing."""
    card = target(device).device
    if precisions is None:
        with pytest.raises(UnknownEngine, match=engine) as caught:
            ladders(LLAMA, card, engine)
        assert engine not in caught.value.hint
        assert "llama.cpp" in caught.value.hint
    else:
        (rungs,) = ladders(LLAMA, card, engine)
        assert [rung.precision for rung in rungs] == precisions


def test_a_checkpoint_s_own_bits_run_without_matrix_units_for_them() -> None:
    """vLLM unpacks fp8 weights on Ampere: a repository in fp8 is offered as it is, other models are not made so."""
    published = model("deepseek-ai/DeepSeek-V3")
    assert ladders(published, target("a100").device, "vllm")[0][0].precision == "fp8"
    assert "fp8" not in [rung.precision for rung in ladders(LLAMA, target("a100").device, "vllm")[0]]


def test_what_runs_with_a_part_on_the_host_is_not_called_short_of_nothing() -> None:
    """A better precision that needs the host is told its speed there, and never that it is 0.00 GiB short."""
    mixtral = model("mistralai/Mixtral-8x7B-v0.1")
    questions = questions_for(mixtral, target("rtx-4090", ram_gib=64), WORK, "llama.cpp")
    told = recommendation([estimate(question) for question in questions]).reason
    assert "0.00 GiB short" not in told
    assert re.search(r"but does not fit whole: [\d.]+ tokens/s with a part on the host", told)


def test_bits_that_only_pad_a_checkpoint_are_not_advised() -> None:
    """llama.cpp does not run Kimi-K2-Thinking's four bits: what takes a tenth more than they do holds no more of the
    model. A copy that somebody quantized has an original with all of its bits."""
    told = sizer.recommend("moonshotai/Kimi-K2-Thinking", device="8xb200", engine="llama.cpp", offline=True)
    names = [row.precision for row in told.estimates]
    assert names[0] == "q4_k_m"
    copied = sizer.recommend("Qwen/Qwen3-8B-AWQ", device="rtx-4090", engine="llama.cpp", offline=True)
    assert "q8_0" in [row.precision for row in copied.estimates]


@pytest.mark.parametrize(
    ("name", "device", "engine"),
    [
        ("microsoft/bitnet-b1.58-2B-4T", "rtx-4090", "vllm"),
        ("microsoft/bitnet-b1.58-2B-4T", "rtx-4090", "llama.cpp"),
    ],
)
def test_an_engine_that_only_pads_a_checkpoint_s_bits_still_has_types_to_advise(
    name: str, device: str, engine: str
) -> None:
    """Where every type of little loss takes more than the checkpoint (of two bits), all are advised."""
    told = sizer.recommend(name, device=device, engine=engine, offline=True)
    assert min(row.quality.kl_divergence for row in told.estimates) < 0.01
