"""The decoder-only shape that most families share, and `Decoder`: an attention rule, an MLP rule and norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sizer.frozen import NamedTuple, dataclass
from sizer.model.architecture import Role, Tensor
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, stack
from sizer.model.config import Config
from sizer.model.shapes.rules import UNBIASED, Attention, Flag, LayerRule, Mlp, flag
from sizer.model.shapes.windows import max_window_layers

PRE_NORMS = ("input_layernorm", "post_attention_layernorm")
POST_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
SANDWICH_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


class Naming(NamedTuple):
    """Where a decoder's tensors stand; as Llama's do where a family says nothing else.

    `layers` has `{layer}` for a layer's number; embedding, final norm and layers stand under `prefix`, the head beside
    it. No `final_norm`: the model has none.
    """

    prefix: str = "model."
    layers: str = "layers.{layer}."
    embed: str = "embed_tokens"
    final_norm: str | None = "norm"
    head: str = "lm_head"


LLAMA_ATTENTION, LLAMA_MLP, LLAMA_NAMING = Attention(), Mlp(), Naming()


def causal_lm(
    config: Config,
    blocks: Sequence[Block],
    naming: Naming = LLAMA_NAMING,
    *,
    norm_bias: bool = False,
    head_bias: bool = False,
    extra: Block | None = None,
    extra_tensors: tuple[Tensor, ...] = (),
    hidden: int | None = None,
    vocab: int | None = None,
    tied: bool | None = None,
) -> Parts:
    """Embedding, one block for each layer (the same object for like layers), final norm and head.

    `extra` is what else stands outside the layers, `extra_tensors` what stands on layers beyond (multi-token
    prediction). A tied head keeps its bias only. Sizes that are not given are the config's.
    """
    hidden = config.size("hidden_size") if hidden is None else hidden
    vocab = config.size("vocab_size") if vocab is None else vocab
    tied = config.flag("tie_word_embeddings") if tied is None else tied
    outside = embedding(naming.prefix + naming.embed, vocab, hidden)
    if extra is not None:
        outside += extra
    if naming.final_norm is not None:
        outside += norm(naming.prefix + naming.final_norm, hidden, norm_bias)
    whole_head = linear(naming.head, vocab, hidden, Role.LM_HEAD, head_bias)
    outside += Block(whole_head.tensors[1:]) if tied else whole_head
    by_id = {id(block): block for block in blocks}
    stacked, listed = stack(naming.prefix + naming.layers, [id(block) for block in blocks], by_id.__getitem__)
    return Parts(outside.tensors + stacked + extra_tensors, listed, hidden, vocab, tied)


def joined(*rules: Sequence[Block]) -> list[Block]:
    """Layer by layer sums of the blocks of several rules; equal combinations are one object."""
    sums: dict[tuple[int, ...], Block] = {}
    layers = []
    for parts in zip(*rules, strict=True):
        key = tuple(id(part) for part in parts)
        if key not in sums:
            sums[key] = sum(parts, Block())
        layers.append(sums[key])
    return layers


@dataclass(frozen=True)
class Decoder:
    """A decoder of like layers: an attention rule, an MLP rule and the names of the norms around them.

    A rule gives one Block for each layer, the same object for layers that do not differ. The defaults are Llama's.
    `plus` gives the tensors outside the layers that Llama lacks; `beyond` those of multi-token prediction, from the
    block of the last layer and the number of layers.
    """

    attention: LayerRule = LLAMA_ATTENTION
    mlp: LayerRule = LLAMA_MLP
    norms: tuple[str, ...] | Callable[[Config], tuple[str, ...]] = PRE_NORMS
    norm_bias: Flag = False
    head_bias: Flag = False
    naming: Naming = LLAMA_NAMING
    plus: Callable[[Config], Block] | None = None
    beyond: Callable[[Config, Block, int], tuple[Tensor, ...]] | None = None

    def __call__(self, config: Config) -> Parts:
        count, hidden, norm_bias = config.layers(), config.size("hidden_size"), flag(config, self.norm_bias)
        names = self.norms(config) if callable(self.norms) else self.norms
        norms = sum((norm(name, hidden, norm_bias) for name in names), Block())
        blocks = joined(self.attention(config, count), self.mlp(config, count), (norms,) * count)
        return causal_lm(
            config,
            blocks,
            self.naming,
            norm_bias=norm_bias,
            head_bias=flag(config, self.head_bias),
            extra=self.plus(config) if self.plus else None,
            extra_tensors=self.beyond(config, blocks[-1], count) if self.beyond else (),
        )


BARE = Decoder(Attention(bias=False), UNBIASED)
"""Llama without biases, whatever the file says."""


QWEN2 = Decoder(Attention(bias=True, o_bias=False, windows=max_window_layers), UNBIASED)
"""Qwen2: biases on queries, keys and values alone."""
