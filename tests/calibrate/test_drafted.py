"""Measured drafts as rows that teach what verifying costs, and the orders that steps of several tokens keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sizer.calibrate.drafts import Round, held_out_gains, read_drafted, round_costs, rounds
from sizer.calibrate.heldout import Residual
from sizer.calibrate.observation import Observation
from sizer.calibrate.observations import observe_row
from sizer.speed.law import OVERHEAD, constants
from sizer.speed.predict import decode_of, step_of
from sizer.speed.speculative import draft_cost, draft_methods, verify_cost
from sizer.workload import Workload
from tests.support.speedcases import case_of

DRAFTS = """id,source_url,source_date,engine,device,device_count,target_model,target_precision,method,draft_tokens,\
acceptance,acceptance_kind,batch,context_tokens,speedup
a-1,one,2026-08,llama.cpp,NVIDIA GeForce RTX 3090,1,Qwen/Qwen3-8B,q4_k_m,mtp,2,0.75,per-token,1,640,1.6
a-2,two,2026-08,vllm,NVIDIA GeForce RTX 3090,1,Qwen/Qwen3-8B,bf16,mtp,2,0.75,per-token,1,640,1.6
a-3,two,2026-08,llama.cpp,NVIDIA GeForce RTX 3090,1,Qwen/Qwen3-8B,q4_k_m,mtp,2,,per-token,1,640,1.6
a-4,two,2026-08,llama.cpp,no such card,1,Qwen/Qwen3-8B,q4_k_m,mtp,2,0.75,per-token,1,640,1.6
"""


@pytest.fixture
def drafts(tmp_path: Path) -> Path:
    """A table of four drafts: one that teaches, one of an engine of one kernel, one without acceptance, one nowhere."""
    path = tmp_path / "speculation.csv"
    path.write_text(DRAFTS, encoding="utf-8")
    return path


def test_a_draft_tells_what_its_verification_takes(drafts: Path) -> None:
    """2.5 tokens a round at 1.6 times as fast are 1.5625 plain steps; the head's two passes are not verifying."""
    (row,) = read_drafted(drafts)
    case = case_of("Qwen/Qwen3-8B", "rtx-3090", "llama.cpp", "q4_k_m")
    drafted = 2 * draft_cost(case, draft_methods()["mtp"], 2, constants())
    assert row.over_one == pytest.approx(2.5 / 1.6 - drafted, rel=0.01)
    assert (row.tokens_a_step, row.flags) == (3, frozenset({"drafted"}))
    (seen,) = observe_row(row)
    assert seen.seconds == row.over_one
    assert [one.part for one in seen.amounts if one.term == "round"] == [OVERHEAD]
    assert seen.against
    assert not {"round", "further"} & {one.term for one in seen.against}


def test_rounds_are_told_of_every_engine(drafts: Path) -> None:
    """A round's own cost is what verifying and drafting leave of it, whatever the engine."""
    found = rounds(drafts, constants())
    assert [one.runtime for one in found] == ["llama.cpp", "vllm"]
    left = 2.5 / 1.6 - found[0].verified - found[0].drafted
    assert found[0].rest_s == pytest.approx(left * found[0].measured_s)


def test_a_gain_is_told_without_its_own_source() -> None:
    """Where the row taught the law, its verification is what the fit without it says, and at least a plain step."""
    one = Round("a-1", "one", "mtp", "llama.cpp", False, 2.5, 1.6, 1.4, 0.1, 0.02, 0.02)
    others = [replace(one, id=f"b-{n}", source="two", verified=1.2) for n in range(4)]
    cost_s, _ = round_costs(others)["llama.cpp"]
    assert cost_s == pytest.approx(0.02 * (2.5 / 1.6 - 1.3))
    row = Observation("a-1", "decode", "one", "d", "m", "e", "f", False, 1.5, (), {}, against=observed_against())
    for log_ratio, told in ((0.0, 1.5), (-3.0, 1.0)):
        gains = {seen.id: gain for seen, gain in held_out_gains([one, *others], [Residual(row, log_ratio, "none", 0)])}
        assert gains["a-1"] == pytest.approx(2.5 / (told + 0.1 + cost_s / 0.02))


def observed_against() -> tuple:  # type: ignore[type-arg]
    """Any amounts: what marks a row as told over another step."""
    case = case_of("Qwen/Qwen3-8B", "rtx-3090", "llama.cpp", "q4_k_m")
    return tuple(amount for amount, _ in step_of(case, 1, constants()).terms)


@pytest.mark.parametrize(
    ("model", "device", "engine", "precision"),
    [
        ("Qwen/Qwen3-8B", "rtx-4090", "llama.cpp", "q4_k_m"),
        ("Qwen/Qwen3-30B-A3B", "rtx-3090", "llama.cpp", "q4_k_m"),
        ("Qwen/Qwen3-30B-A3B", "arc-b580", "llama.cpp", "q8_0"),
        ("Qwen/Qwen3-8B", "apple-m4", "mlx-lm", "mlx-4bit"),
        ("Qwen/Qwen3-8B", "h100-80gb-sxm", "vllm", "bf16"),
    ],
)
def test_steps_of_several_tokens_keep_their_order(model: str, device: str, engine: str, precision: str) -> None:
    """Past the vectors' rows a step takes no less than up to them, and never more than its tokens one after the other:
    sequences together are never slower than one, whether they decode or are verified."""
    case = case_of(model, device, engine, precision)
    works = [replace(case, workload=Workload(128, 128, 256, batch_size=batch)) for batch in (1, 2, 4, 8, 9, 12, 16, 32)]
    alone, *together = [decode_of(one, constants())[0].tokens_per_s for one in works]
    assert all(rate * one.workload.batch_size >= 0.97 * alone for rate, one in zip(together, works[1:], strict=True))
    steps_s = [step_of(one, 1, constants()).total_s for one in works]
    assert steps_s[4] >= steps_s[3] * 0.999
    costs = [verify_cost(case, drafts, constants()) for drafts in (1, 3, 7, 8, 15, 31)]
    assert costs == sorted(costs)
    assert 1 <= costs[0] <= 2.001
    assert costs[-1] <= 32.001
