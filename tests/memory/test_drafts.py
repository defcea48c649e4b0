"""Models and layers that draft beside a server's model: their weights and cache, hand-computed."""

from __future__ import annotations

import pytest

import sizer
from sizer.answer.document import ModelEstimate

SPECULATIVE = "--speculative-config.model MODEL --speculative-config.num_speculative_tokens 4"


def estimate(flags: str) -> ModelEstimate:
    """Qwen3-32B in 16 bits on two H100 with vLLM."""
    answer = sizer.estimate(
        "Qwen/Qwen3-32B", device="2xh100", precision="bf16", engine=f"vllm -tp 2 {flags}".strip(), offline=True,
        context=16_384,
    )  # fmt: skip
    return answer.estimates[0]


def test_a_draft_model_takes_weights_and_cache() -> None:
    """Qwen3-0.6B beside Qwen3-32B: half its weights on each rank, and 28 layers of 8 x 128 behind 64 of them."""
    alone, beside = (estimate(flags) for flags in ("", SPECULATIVE.replace("MODEL", "Qwen/Qwen3-0.6B")))
    draft = sizer.estimate("Qwen/Qwen3-0.6B", device="h100", precision="bf16", engine="vllm", offline=True)
    weights = draft.estimates[0].memory.weights_bytes
    first, second = alone.memory.devices[0], beside.memory.devices[0]
    assert second.weights_bytes - first.weights_bytes == pytest.approx(weights / 2, rel=1e-6)
    assert second.kv_cache_bytes * 64 == first.kv_cache_bytes * 92
    room = first.available_bytes - (first.total_bytes - first.kv_cache_bytes) - weights // 2  # type: ignore[operator]
    graphs = second.graphs_bytes - first.graphs_bytes
    assert beside.memory.kv_capacity_tokens == pytest.approx((room - graphs) / (92 * 4 * 128 * 2 * 2), rel=1e-3)
    assert any("its weights and cache count" in note for note in beside.assumptions)


def test_an_unknown_draft_is_said_to_be_left_out() -> None:
    """A draft that nobody here knows is named, and nothing of it counts."""
    alone, beside = (estimate(flags) for flags in ("", SPECULATIVE.replace("MODEL", "nobody/unheard-of-eagle")))
    assert beside.memory.weights_bytes == alone.memory.weights_bytes
    assert any("not known here, and not counted" in note for note in beside.assumptions)


def test_layers_that_predict_keep_a_cache() -> None:
    """GLM-4.5's own layer drafts: its weights count, and 93 layers are cached where 92 were."""
    plain, drafts = (
        sizer.estimate(
            "zai-org/GLM-4.5", device="8xh100", precision="fp8", engine=f"vllm -tp 8 {flags}".strip(), offline=True
        ).estimates[0].memory
        for flags in ("", "--speculative-config.method mtp --speculative-config.num_speculative_tokens 1")
    )  # fmt: skip
    assert drafts.kv_cache_bytes == plain.kv_cache_bytes * 93 // 92  # type: ignore[operator]
    assert drafts.devices[0].weights_bytes > plain.devices[0].weights_bytes
