"""What the law makes of a drawn model's amounts (`tests/support/drawn.py`), and what is told of it, on paper."""

from __future__ import annotations

from dataclasses import replace
from math import exp, hypot, log

import pytest
from drawn import model, stored
from drawncases import CARD, PLAIN, asked

from sizer.device.records import Target
from sizer.speed.case import speed_case  # fmt: skip
from sizer.speed.law import Amount, combine
from sizer.speed.predict import decode_of, depth_of, predict
from sizer.speed.records import NONE
from sizer.speed.stages import Timed, stages
from sizer.speed.terms import decode_amounts  # fmt: skip
from sizer.speed.traffic import decode_traffic  # fmt: skip
from sizer.speed.widths import Asked, Width
from sizer.workload import Workload


def test_squares_add_and_overhead_is_hidden_by_nothing() -> None:
    """3, 4 and 12 are 13; 2 more stand beside; a step of overhead alone is its overhead."""
    assert combine({"memory": 3.0, "compute": 4.0, "launch": 12.0, "overhead": 2.0}) == pytest.approx(15)
    assert combine({"memory": 0.0, "compute": 0.0, "launch": 0.0, "overhead": 2.0}) == 2.0


def test_a_fitted_term_is_never_less_than_physics_leaves_it() -> None:
    """A factor below the nominal rate stops there; a term that was never fitted is not counted."""
    amount = Amount("weights", "memory", 2.0, 1.5)
    assert [amount.weighed_s(factor) for factor in (2.0, 0.5, 0.0)] == [4.0, 1.5, 0.0]


def test_a_step_and_its_stages() -> None:
    """Amounts as they are make the step's time by the law; stages share memory and compute, overheads stand alone."""
    terms = (
        (Amount("weights", "memory", 3.0), 3.0), (Amount("compute", "compute", 4.0), 4.0),
        (Amount("launch", "launch", 12.0), 12.0), (Amount("step", "overhead", 2.0), 2.0),
        (Amount("moved", "overhead", 1.0), 1.0),
    )  # fmt: skip
    step = Timed(16.0, terms)
    assert step.bound == "overhead"  # 14 + 12 of launches, less the link's
    assert step.part_s("overhead") == 3.0
    work = Workload(100, 28, 128)
    traffic = decode_traffic(model(), stored(model()), work)
    found = {stage.stage: stage for stage in stages(traffic, step, 32.0)}
    assert sum(stage.time_s for stage in found.values()) == pytest.approx(32.0)
    assert found["step"].time_s == pytest.approx(4.0)
    assert found["launch"].time_s == pytest.approx(2 * 12 * 12 / 13)
    assert (found["moved"].bound, found["step"].bound) == ("link", "overhead")
    by_bytes = {
        one.stage: max(3 * one.bytes_read / traffic.bytes_read, 4 * one.flops / traffic.flops) for one in traffic.stages
    }
    moving = 13 - 144 / 13
    for name, share in by_bytes.items():
        assert found[name].time_s == pytest.approx(2 * moving * share / sum(by_bytes.values()))
        reads, does = traffic.stage(name).bytes_read / traffic.bytes_read, traffic.stage(name).flops / traffic.flops
        assert found[name].bound == ("bandwidth" if 3 * reads >= 4 * does else "compute")


def test_speeds_of_a_request() -> None:
    """A step's rate, the prompt's time, and output over both; all sequences together produce as many times that."""
    work = Workload(100, 28, 128, batch_size=3)
    found = predict(speed_case(model(), stored(model()), Target(CARD), work, "vllm"), PLAIN)
    case = asked(workload=work)
    amounts = decode_amounts(case, decode_traffic(case.architecture, case.stored, work))
    parts = dict.fromkeys(("memory", "compute", "launch", "overhead"), 0.0)
    for amount in amounts:
        parts[amount.part] += amount.nominal_s
    step = hypot(parts["memory"], parts["compute"], parts["launch"]) + parts["overhead"]
    assert found.decode.tokens_per_s == pytest.approx(1 / step)
    assert found.decode.low_tokens_per_s == pytest.approx(exp(-0.5) / step)
    assert found.prefill.high_tokens_per_s == pytest.approx(found.prefill.tokens_per_s * exp(0.5))
    assert found.prefill.tokens_per_s * found.prefill.ttft_s == pytest.approx(300)
    latency = found.prefill.ttft_s + 28 * step
    assert found.request.latency_s == pytest.approx(latency)
    assert found.request.tokens_per_s == pytest.approx(28 / latency)
    assert found.request.throughput_tokens_per_s == pytest.approx(3 * 28 / latency)
    assert found.decode.nearby == NONE == (0.0, 0, 0.0)


def test_a_full_cache_is_told_where_it_slows_decoding() -> None:
    """A cache of five million tokens beside small weights is told, one of 128 is not; both ends are the law's own."""
    long = asked(workload=Workload(100, 28, 5_000_000))
    found = depth_of(long, decode_of(long, PLAIN)[0], PLAIN)
    assert found is not None
    assert found.full_context_tokens == 5_000_000
    full = asked(workload=Workload(4_999_999, 1, 5_000_000))
    empty = asked(workload=Workload(1, 1, 2))
    assert found.full_tokens_per_s == pytest.approx(decode_of(full, PLAIN)[0].tokens_per_s)
    assert found.empty_tokens_per_s == pytest.approx(decode_of(empty, PLAIN)[0].tokens_per_s)
    short = asked(workload=Workload(100, 28, 128))
    assert depth_of(short, decode_of(short, PLAIN)[0], PLAIN) is None
    assert depth_of(replace(long, architecture=model(decodes=False)), decode_of(long, PLAIN)[0], PLAIN) is None


def test_widths_multiply_and_are_bounded() -> None:
    """e^(base + effects) times the ends and the stretch; a bounded one spans a factor of six at most, in proportion."""
    width = Width(log(0.1), {"engine: a": log(2.0)}, -1.0, 2.0)
    assert width.distance(("engine: a", "engine: b")) == pytest.approx(0.2)
    assert width.ends(("engine: a",), 1.5, 6.0) == pytest.approx((-0.3, 0.6))
    assert width.ends((), 30.0) == pytest.approx((-3.0, 6.0))
    assert width.ends((), 30.0, 6.0) == pytest.approx((-log(6) / 3, log(6) * 2 / 3))


@pytest.mark.parametrize(
    ("nearest", "word"),
    [(0.0, "none"), (0.01, "far"), (0.2, "apart"), (0.49, "apart"), (0.5, "near"), (0.8, "alike"), (1.0, "alike")],
)
def test_the_nearest_row_is_alike_near_apart_or_far(nearest: float, word: str) -> None:
    """From 0.8, 0.5, 0.2 and 0.01 on."""
    found = Asked("engine device", nearest, 4, "vllm", "vllm cuda", "vllm 2026", "ada", "4bit", True).groups
    assert found == (
        "evidence: engine device", "evidence: engine device, mixture", "evidence: engine device, ada",
        f"nearest: {word}", "kernel rows: some", "engine: vllm", "engine: vllm, ada", "backend: vllm cuda",
        "era: vllm 2026", "family: ada", "bits: 4bit", "mixture",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "word"), [(0, "none"), (1, "few"), (3, "few"), (4, "some"), (12, "some"), (13, "many")]
)
def test_rows_of_a_kernel_are_none_few_some_or_many(rows: int, word: str) -> None:
    """Less than 1, 4 and 13."""
    found = Asked("none", 0.0, rows, "vllm", "vllm cuda", "vllm 2026", "ada", "4bit", False).groups
    assert f"kernel rows: {word}" in found
    assert found[-1] == "dense"
