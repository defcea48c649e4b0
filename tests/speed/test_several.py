"""Orders of several sequences, over a grid of cases that nothing was tuned on."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

import sizer
from sizer.errors import SizerError
from sizer.speed.law import constants
from sizer.speed.predict import step_of, timed
from sizer.speed.terms import decode_amounts, step_traffic, vector_rows
from tests.support.speedcases import case_of

BATCHES = (1, 2, 3, 4, 6, 8, 9, 12, 16, 24, 32, 64)
MODELS = (
    "Qwen/Qwen3-0.6B", "Qwen/Qwen3-14B", "google/gemma-3-27b-it", "openai/gpt-oss-20b", "meta-llama/Llama-3.2-3B",
    "mistralai/Mistral-Small-24B-Instruct-2501", "Qwen/Qwen3-Next-80B-A3B-Instruct", "microsoft/phi-4",
    "deepseek-ai/DeepSeek-V2-Lite-Chat", "meta-llama/Llama-3.3-70B-Instruct", "mistralai/Mixtral-8x7B-Instruct-v0.1",
)  # fmt: skip
DEVICES = (
    "rtx-3060-12gb", "rtx-4070-ti-super", "rtx-5080", "rtx-a6000", "a100-40gb-sxm", "h200", "b300", "mi300x", "m1-max",
    "ryzen-9-7950x", "gb10", "ryzen-ai-max-plus-395", "2x rtx-3090", "4x l40s", "8x h100-80gb-sxm", "v100-32gb-sxm2",
)  # fmt: skip
ENGINES = (
    ("llama.cpp", "q4_k_m"), ("llama.cpp", "q8_0"), ("vllm", "bf16"), ("vllm", "awq-int4"), ("sglang", "fp8"),
    ("tensorrt-llm", "fp8"), ("mlx-lm", "mlx-4bit"), ("transformers", "nf4"), ("ollama", "q4_k_m"),
)  # fmt: skip
CASES = 45
SLACK = 0.015
"""Rows near a case speak a little otherwise of 12 sequences than of 9."""


def told(model: str, device: str, engine: str, precision: str, prompt: int) -> list[tuple[int, float, float]]:
    """Sequences, one's decode tokens/s and the time to the first tokens, as far as the sequences have room."""
    found = []
    for batch in BATCHES:
        try:
            one = sizer.estimate(
                model, device=device, engine=engine, precision=precision, batch=batch, prompt=prompt, output=64,
                offline=True,
            ).estimates[0]  # fmt: skip
        except SizerError:
            break
        rate = one.decode and one.decode.tokens_per_s
        if not rate or one.prefill is None or one.prefill.ttft_s is None:
            break
        found.append((batch, rate, one.prefill.ttft_s))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_more_sequences_make_no_less_and_none_is_faster(seed: int) -> None:
    """Over some 500 cases: together more sequences make no less, one of them is no faster than among fewer, and their
    prompts are not read sooner."""
    random, seen = Random(seed), 0
    while seen < CASES // 3:
        model, device, prompt = random.choice(MODELS), random.choice(DEVICES), random.choice((64, 512, 3000))
        rows = told(model, device, *random.choice(ENGINES), prompt)
        seen += len(rows) > 2
        for (fewer, rate, first_s), (more, slower, later_s) in pairwise(rows):
            which = f"{model} on {device}, prompts of {prompt}: {fewer} and {more} sequences"
            assert more * slower >= fewer * rate * (1 - SLACK), which
            assert slower <= rate * (1 + SLACK), which
            assert later_s >= first_s * (1 - SLACK), which


@pytest.mark.parametrize("device", ["Xeon Gold 6430", "EPYC 9654", "EPYC 7742", "Ryzen 9 7950X"])
@pytest.mark.parametrize(("engine", "precision"), [("llama.cpp", "q4_k_m"), ("llama.cpp", "q8_0"), ("vllm", "bf16")])
def test_cores_make_more_together_up_to_what_they_read_prompts_at(device: str, engine: str, precision: str) -> None:
    """Weights are read once for all sequences: on servers' and desktops' cores eight sequences of an 8B make at least
    twice what one makes, 64 more than eight, and none more than their prompts are read at."""
    found = {
        batch: (rate, first_s)
        for batch, rate, first_s in told("meta-llama/Llama-3.1-8B", device, engine, precision, 512)
    }
    together = [batch * found[batch][0] for batch in (1, 8, 64)]
    assert together[1] > 2 * together[0]
    assert together[1] < together[2] < 1.05 * 64 * 512 / found[64][1]


@pytest.mark.parametrize("model", ["openai/gpt-oss-120b", "Qwen/Qwen3-30B-A3B"])
def test_sending_the_hosts_experts_over_the_link_loses_nothing_that_fewer_sequences_make(model: str) -> None:
    """llama.cpp sends them from 32 tokens a step on, wherever that is slower than to compute there: it is said, and 32
    sequences make no less than 31."""
    made, notes = {}, {}
    for batch in (31, 32):
        one = sizer.estimate(
            model, device="rtx-3060-12gb", engine="llama.cpp", precision="q4_k_m", batch=batch, prompt=64, output=64,
            ram_bytes="128GiB", offline=True,
        ).estimates[0]  # fmt: skip
        assert one.decode is not None
        made[batch] = batch * (one.decode.tokens_per_s or 0)
        notes[batch] = [note for note in one.assumptions if "over the link" in note]
    assert made[32] >= made[31] * (1 - SLACK)
    assert (len(notes[31]), len(notes[32])) == (0, 1)


@pytest.mark.parametrize("device", ["m2-ultra", "m4-max", "m3-ultra", "m5-max"])
def test_vectors_take_no_more_than_the_block_that_an_engine_turns_to(device: str) -> None:
    """MLX's limits are chosen by chip for where blocks take no longer: of fewer tokens each takes its share at most."""
    case = case_of("Qwen/Qwen3-8B", device, "mlx-lm", "mlx-4bit")
    rows = vector_rows(case)
    alone_s, blocks = step_of(case.of_sequences(1), 1, constants()).total_s, case.of_sequences(rows + 1)
    block_s = timed(decode_amounts(blocks, step_traffic(blocks)), blocks, constants()).total_s
    for count in range(2, rows + 1):
        several_s = step_of(case.of_sequences(count), 1, constants()).total_s
        assert several_s <= (alone_s + (count - 1) / rows * (block_s - alone_s)) * (1 + SLACK)
