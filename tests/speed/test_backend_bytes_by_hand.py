"""Bytes that a backend's kernels move beyond a step's own, counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import model, stored
from drawncases import CARD, asked

from sizer.device.records import Target
from sizer.speed.case import SpeedCase
from sizer.speed.terms import decode_amounts, step_traffic
from sizer.speed.traffic import Traffic, decode_traffic


def step_of(case: SpeedCase) -> tuple[Traffic, dict[str, float]]:
    """What a step of the case reads, and its nominal seconds by term."""
    step = decode_traffic(case.architecture, case.stored, case.workload)
    return step, {amount.term: amount.nominal_s for amount in decode_amounts(case, step)}


@pytest.mark.parametrize(
    ("backend", "precision", "version", "moved"),
    [("sycl", "bf16", "9039", 5), ("sycl", "bf16", "", 1), ("sycl", "fp16", "9039", 1), ("vulkan", "bf16", "9039", 1)],
)
def test_weights_that_are_converted_move_more_than_once(
    backend: str, precision: str, version: str, moved: float
) -> None:
    """llama.cpp's SYCL converted bf16 to fp32 for each step: of two bytes read it wrote four and read them again."""
    held = replace(stored(model()), precision=precision)
    case = replace(asked(engine="llama.cpp"), backend=backend, engine_version=version, stored=held)
    step, found = step_of(case)
    experts = step.stage("experts").weight_bytes
    assert found["weights"] == pytest.approx(moved * (step.weight_bytes - experts) / 1e12)
    assert found["experts"] == pytest.approx(moved * experts / 1e12)


@pytest.mark.parametrize(
    ("vendor", "backend", "share"), [("intel", "vulkan", 1), ("amd", "vulkan", 0.05), ("amd", "rocm", 0)]
)
def test_query_heads_that_share_keys_may_each_read_them(vendor: str, backend: str, share: float) -> None:
    """Four query heads on two KV heads weigh twice the values that the cache holds, at two FLOPs and two bytes each:
    what they share is a cache's bytes again, where each reads its own."""
    card = replace(CARD, vendor=vendor)
    case = replace(asked(engine="llama.cpp", target=Target(card)), backend=backend)
    step, found = step_of(case)
    assert step.stage("kv").flops > step.cache_bytes > 0
    again = share * (step.stage("kv").flops - step.cache_bytes) / 1e12
    assert found.get("cache_by_head", 0) == pytest.approx(again)
    assert ("cache_by_head" in found) is bool(share)


def test_what_heads_read_again_is_of_the_cache_alone_and_once_for_all_tokens() -> None:
    """A cache of half the bytes is read again in half the bytes; four tokens of a sequence read it together."""
    card = replace(CARD, vendor="intel")
    case = replace(asked(engine="llama.cpp", target=Target(card)), backend="vulkan")
    _, plain = step_of(case)
    together = step_traffic(case, tokens_per_sequence=4)
    found = {amount.term: amount.nominal_s for amount in decode_amounts(case, together)}
    assert found["cache_by_head"] == pytest.approx(plain["cache_by_head"])
    eight = replace(case, workload=replace(case.workload, kv_precision="q8_0"))
    assert step_of(eight)[1]["cache_by_head"] == pytest.approx(plain["cache_by_head"] * 34 / 64)
