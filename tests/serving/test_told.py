"""One question, one answer: a server's steps are an estimate's where no point under load says more."""

from __future__ import annotations

import pytest

import sizer
from sizer.device.catalogue import find
from sizer.engine.stored import store_for
from sizer.model.read.resolve import resolve
from sizer.serving.capacity import Replica, replica
from sizer.serving.corrections import corrections, load_groups
from sizer.serving.curves import Grid
from sizer.serving.deployment import Served, deployment
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.steps import step_law
from sizer.serving.told import estimate_tells, prompt_alone_s
from sizer.speed.law import constants
from sizer.speed.predict import decode_of, prefill_of
from sizer.workload import Workload

LOAD = Load(1024, 256, users=4)
UNMEASURED = (
    ("meta-llama/Llama-3.1-8B", "rtx-4090", "llama.cpp", "q4_k_m"),
    ("Qwen/Qwen3-30B-A3B", "gb10", "llama.cpp", "q8_0"),
    ("meta-llama/Llama-3.1-8B", "m2-ultra", "mlx-lm", "mlx-4bit"),
    ("Qwen/Qwen3-8B", "epyc-9654", "llama.cpp", "q4_k_m"),
    ("Qwen/Qwen3-8B", "rtx-3090", "vllm", "bf16"),
    ("Qwen/Qwen3-32B", "a100-80gb-sxm", "lmdeploy", "awq-int4"),
    ("Qwen/Qwen3-8B", "mi300x", "vllm", "bf16"),
)
"""Engines, or families of cards, of which `data/serving.csv` has no point."""
MEASURED = (
    ("Qwen/Qwen3-32B", "h100-80gb-sxm", "sglang", "bf16"),
    ("Qwen/Qwen3-30B-A3B", "h100-80gb-sxm", "vllm", "bf16"),
    ("Qwen/Qwen3-30B-A3B", "b200", "tensorrt-llm", "fp8"),
    ("meta-llama/Llama-3.1-8B", "h200", "vllm", "fp8"),
    ("Qwen/Qwen3-32B", "h20", "sglang", "fp8"),
    ("Qwen/Qwen3-32B", "a100-80gb-sxm", "sglang", "awq-int4"),
)
"""Engines and families of cards of which it has points."""


def served(model: str, device: str, engine: str, precision: str) -> Replica:
    """One replica of a catalogued model on one device."""
    architecture = resolve(model, offline=True).architecture
    what = Served(architecture, store_for(architecture, precision, engine), find(device), engine)
    return replica(deployment(what, Layout(), LOAD), LOAD, corrections())


@pytest.mark.parametrize("case", UNMEASURED)
def test_steps_are_those_of_an_estimate(case: tuple[str, str, str, str]) -> None:
    """However many sequences a server runs at once, a step at the load's mean depth takes what an estimate of as many
    tells, and a prompt alone its time to the first token; the most sequences' scale holds for more."""
    one = served(*case)
    most = one.served.rules.max_sequences
    for batch in {1, 2, 4, min(most, 64)}:
        if batch <= most:
            several = one.served.case.of_workload(Workload(1024, 256, 1280, batch_size=batch))
            told, _ = decode_of(several, constants())
            assert one.law.step_s(batch, LOAD.mean_depth) == pytest.approx(1 / told.tokens_per_s)
    prompt, _ = prefill_of(one.served.case, constants())
    assert prompt_alone_s(one.law, 1024, one.served.rules.step_tokens) == pytest.approx(prompt.ttft_s)
    assert one.law.decodes_as_told(10**6) == pytest.approx(one.law.decodes_as_told(most))


@pytest.mark.parametrize("case", UNMEASURED[:3])
def test_one_user_is_told_alike_by_both_commands(case: tuple[str, str, str, str]) -> None:
    """`estimate` and `capacity --users 1` differ by no more than the lengths of requests do."""
    model, device, engine, precision = case
    asked = {"device": device, "engine": engine, "precision": precision, "prompt": 1024, "output": 256}
    alone = sizer.estimate(model, offline=True, **asked).estimates[0]  # type: ignore[arg-type]
    row = sizer.capacity(model, users=1, offline=True, **asked).serving[0]  # type: ignore[arg-type]
    assert alone.decode is not None
    assert alone.decode.tokens_per_s is not None
    assert row.tpot_s.p50 * alone.decode.tokens_per_s == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("case", MEASURED)
def test_an_estimate_hears_points_under_load(case: tuple[str, str, str, str]) -> None:
    """`estimate --batch N` decodes as a step of `capacity` takes, one sequence too; more sequences make no less
    together, and none of them is faster than one alone."""
    model, device, engine, precision = case
    one, before = served(*case), None
    for batch in (1, 2, 3, 4, 6, 16, 64):
        asked = {"device": device, "engine": engine, "precision": precision, "prompt": 1024, "output": 256}
        found = sizer.estimate(model, offline=True, batch=batch, **asked).estimates[0]  # type: ignore[arg-type]
        rate = found.decode and found.decode.tokens_per_s
        if not rate:
            assert batch > 1, "one sequence has room"
            break
        assert rate * one.law.step_s(batch, one.served.case.workload.decode_context_tokens) == pytest.approx(
            1, rel=0.02
        )
        if before is not None:
            assert rate <= before[1] * (1 + 1e-9)
            assert batch * rate >= before[0] * before[1] * (1 - 1e-9)
        before = batch, rate


def test_points_under_load_speak_where_they_are_known() -> None:
    """vLLM on an H100 was measured under load, and groups of attention no estimate tells."""
    one = served("meta-llama/Llama-3.1-8B", "h100-80gb-sxm", "vllm", "fp8")
    assert one.law.decodes_as_told(4) == one.law.prompts_as_told == 1
    assert one.law.decodes_as_told(64) == 1
    elsewhere = served("Qwen/Qwen3-8B", "rtx-3090", "vllm", "bf16").served.case
    for layout, told in ((Layout(), True), (Layout(1, 2), False), (Layout(1, 1, 2, in_flight=True), False)):
        assert estimate_tells(layout, corrections(), load_groups(elsewhere, layout)) is told


def test_several_sequences_say_that_prompts_come_first() -> None:
    """An estimate of several sequences says in a line what a server does otherwise; one of one does not."""
    lines = [
        sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", batch=batch, offline=True)
        .estimates[0].assumptions
        for batch in (1, 4)
    ]  # fmt: skip
    assert [any("sizer capacity" in line for line in lines_of) for lines_of in lines] == [False, True]


@pytest.mark.parametrize(("batch", "depth"), [(1, 32), (4, 575.5), (5, 8448), (128, 65536.0), (70_000, 1), (3, 5e6)])
def test_a_law_asked_one_thing_tells_what_the_whole_does(batch: int, depth: float) -> None:
    """A law made for so many sequences at one depth tells their steps, and those of fewer, to the digit as one made for
    all does, over several ranks too."""
    architecture = resolve("Qwen/Qwen3-30B-A3B", offline=True).architecture
    what = Served(architecture, store_for(architecture, "fp8", "vllm"), find("4xh100"), "vllm")
    case, layout, known = deployment(what, Layout(4), LOAD).case, Layout(4), corrections()
    whole = step_law(case, layout, constants(), known, load_groups(case, layout))
    part = step_law(case, layout, constants(), known, load_groups(case, layout), grid=Grid.up_to(batch, depth))
    for fewer in {1, min(2, batch), batch}:
        assert part.step_s(fewer, depth) == whole.step_s(fewer, depth)
