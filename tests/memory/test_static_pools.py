"""SGLang's divided pools, hand-computed: layers with windows, states, and versions without such pools."""

from __future__ import annotations

import pytest

from sizer import estimate
from sizer.answer.document import Memory


def memory(model: str, device: str, engine: str, precision: str = "bf16", context: int = 16_384) -> Memory:
    """The memory of one estimate, offline."""
    answer = estimate(model, device=device, precision=precision, engine=engine, offline=True, context=context)
    return answer.estimates[0].memory


def room(engine: str, cell_bytes: float, model: str, precision: str, device: str = "h100") -> float:
    """Bytes of a pool: its tokens times what one takes."""
    tokens = memory(model, device, engine, precision).kv_capacity_tokens
    assert tokens is not None
    return tokens * cell_bytes


def test_layers_with_windows_have_a_smaller_pool() -> None:
    """gpt-oss-20b: twelve layers of 8 x 64 keep every token, twelve 0.8 of them; a flag says another share."""
    model, layer = "openai/gpt-oss-20b", 8 * 64 * 2 * 2
    usual = room("sglang", 12 * layer + 0.8 * 12 * layer, model, "mxfp4")
    fifth = room("sglang --swa-full-tokens-ratio 0.2", 12 * layer + 0.2 * 12 * layer, model, "mxfp4")
    whole = room("sglang --disable-hybrid-swa-memory", 24 * layer, model, "mxfp4")
    assert usual == pytest.approx(fifth, rel=1e-4)
    assert usual == pytest.approx(whole, rel=1e-4)


def test_other_models_keep_every_token_of_their_windows() -> None:
    """gemma-3-27b is not in the table: 62 layers of 16 x 128; at 0.5.5 every window had its pool (ten are whole)."""
    model, layer = "google/gemma-3-27b-it", 16 * 128 * 2 * 2
    newest, older = (memory(model, "h100", engine) for engine in ("sglang", "sglang@0.5.5"))
    assert newest.kv_capacity_tokens == newest.max_context_tokens
    assert older.kv_capacity_tokens is not None
    assert newest.kv_capacity_tokens is not None
    assert older.kv_capacity_tokens > newest.kv_capacity_tokens
    later = memory(model, "h100", "sglang@0.5.9")
    assert later.kv_capacity_tokens == pytest.approx(newest.kv_capacity_tokens, rel=1e-3)  # no longer since 0.5.7
    held = newest.kv_capacity_tokens * 62 * layer
    per_token = (10 + 0.8 * 52) * layer
    assert older.kv_capacity_tokens * per_token == pytest.approx(held, rel=1e-3)  # neither captures prompts of images


def test_states_take_their_share_first() -> None:
    """Qwen3-Next: 0.9 / 1.9 of the room are states, attention has the rest; a ratio of 0.1 gives more tokens."""
    model, device = "Qwen/Qwen3-Next-80B-A3B-Instruct", "4xh100"
    usual = memory(model, device, "sglang")
    fewer = memory(model, device, "sglang --mamba-full-memory-ratio 0.1")
    assert usual.kv_capacity_tokens is not None
    assert fewer.kv_capacity_tokens is not None
    assert fewer.kv_capacity_tokens / usual.kv_capacity_tokens == pytest.approx(1.9 / 1.1, rel=1e-3)


def test_a_context_longer_than_the_pool_does_not_fit() -> None:
    """One request may be no longer than the pool: gemma-3-27b at 32k on one H100."""
    held = memory("google/gemma-3-27b-it", "h100", "sglang", context=32_768)
    assert held.fits is False
    assert held.max_sequences == 0
