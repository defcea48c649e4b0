"""Kyutai: Helium, Moshi."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import fused_mlp
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import Attention
from sizer.model.shapes.windows import one_window


def _square_output(attention: Attention) -> Callable[[Config, int], list[Block]]:
    """Helium: the output projection is [hidden, hidden] whatever the heads."""

    def rule(config: Config, count: int) -> list[Block]:
        hidden = config.size("hidden_size")
        return [
            replace(
                block,
                tensors=tuple(replace(t, shape=(hidden, hidden)) if t.role is Role.O else t for t in block.tensors),
            )
            for block in attention(config, 1)
        ] * count

    return rule


def moshi(config: Config) -> Parts:
    """Moshi's text decoder: one more embedding row than the vocabulary, gate and up in one matrix."""
    hidden, inner, vocab = config.size("hidden_size"), config.size("ffn_dim"), config.size("vocab_size")
    if inner % 2:
        raise config.error("ffn_dim", "It must be even: half of it is the gate.")
    names = ("q_proj.linear", "k_proj.linear", "v_proj.linear", "o_proj.linear")
    count = config.layers()
    mlp = fused_mlp(hidden, inner // 2, names=("fc1", "fc2"))
    norms = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    rule = Attention(False, names=names, windows=one_window)
    blocks = joined(rule(config, count), (mlp,) * count, (norms,) * count)
    parts = causal_lm(config, blocks, vocab=vocab + 1, tied=True)
    head = linear("lm_head", vocab, hidden, Role.LM_HEAD).tensors
    return replace(parts, tensors=parts.tensors + head, vocab_size=vocab, tied=False)


FAMILIES: dict[str, Family] = {
    "helium": Decoder(_square_output(Attention(o_bias=False))),
    "moshi": moshi,
}
