"""How many prompt tokens an engine reads at once where no flag says it, by what its own table says of the card.

Text Generation Inference takes the tokens for which one pass over the weights computes as long as it reads: the card's
operations a second over the model's a token (launcher/src/main.rs compute_optimal, read), no more than the model's
longest context and what is left of the memory by its own count (vram_maximum); rows of `data/prefill_defaults.csv`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sizer.device.usable import usable_memory_bytes
from sizer.engine.releases import rule_in_force, rules
from sizer.memory.case import Case
from sizer.model.architecture import Tower
from sizer.units import HALF_BYTES

LEAST_TOKENS = 100
"""Fewer are taken for an error."""
WIGGLE_ROOM, USUAL_TOKENS = 0.95, 4096
"""What of the memory the launcher counts on, and its tokens where nothing tells more (launcher/src/main.rs, read)."""


def default_prefill_tokens(case: Case) -> int | None:
    """Tokens of the largest prefill; None for an engine without such a rule, or a version before it."""
    rows = rules("prefill_defaults.csv", "engine").get(case.engine.engine)
    if rows is None:
        return None
    era = rule_in_force(rows, case.options.version, case.engine_date)["before_version"]
    if era:
        return None
    architecture, config = case.architecture, case.architecture.config
    longest = architecture.max_context_tokens or USUAL_TOKENS
    if any(tensor.tower is Tower.VISION for tensor in architecture.tensors):
        told = (int(row["tokens"]) for row in rows if architecture.model_type in row["seeing_models"].split())
        return min(longest, next(told, USUAL_TOKENS))
    key = case.target.device.key
    tflops = next((float(row["tflops"]) for row in rows if key in row["devices"].split()), None)
    operations = _operations(config)
    if tflops is None or not operations:
        return min(longest, USUAL_TOKENS)
    tokens = int(tflops * 1e12) * case.ranks // operations
    tokens = tokens if tokens > LEAST_TOKENS else USUAL_TOKENS
    room = _tokens_left(case, config)
    return max(1, min(tokens, longest, room if room is not None else tokens))


def _operations(config: Mapping[str, object]) -> int:
    """Operations for one token, as the launcher counts them; 0 where the config lacks a size."""
    hidden, wide, heads, kv_heads, head, layers = _sizes(config)
    experts = _size(config, "num_experts_per_tok", 1) + _size(config, "n_shared_experts", 0)
    attention = 2 * hidden * head * (3 * heads + 2 * kv_heads)
    return layers * (attention + 6 * hidden * wide * experts)


def _tokens_left(case: Case, config: Mapping[str, object]) -> int | None:
    """Tokens for which its count of cache and MLP leaves room; None of quantized models, or beyond the memory."""
    shown = usable_memory_bytes(case.target.device)
    if case.architecture.quantization or shown is None:
        return None
    hidden, wide, heads, kv_heads, head, layers = _sizes(config)
    experts, vocab = _size(config, "num_local_experts", 1), case.architecture.vocab_size
    layer = 3 * wide * experts * hidden + (heads + 2 * kv_heads) * head + heads * head * hidden
    model = (layer * layers + 2 * vocab * hidden) * HALF_BYTES
    token = kv_heads * 2 * head * 2 * layers + (wide + wide // 2) * experts * HALF_BYTES * 3
    share = case.options.memory_fraction / 0.9 if case.options.memory_fraction else 1.0
    left = int(shown * case.ranks * share * WIGGLE_ROOM) - model
    return left // token if left > 0 and token else None


def _sizes(config: Mapping[str, object]) -> tuple[int, int, int, int, int, int]:
    """Hidden size, the MLP's width, heads, KV heads, a head's width, layers."""
    hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    head = _size(config, "head_dim") or (hidden // heads if heads else 0)
    kv_heads = _size(config, "num_key_value_heads") or heads
    return hidden, _size(config, "intermediate_size"), heads, kv_heads, head, _size(config, "num_hidden_layers")


def _size(config: Mapping[str, object], name: str, usual: int = 0) -> int:
    found = config.get(name)
    return found if isinstance(found, int) and 0 < found < 2**24 else usual
