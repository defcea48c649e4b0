"""BART's shape: the decoder alone, and the whole model with its encoder.

The encoder's tensors are of `Tower.ENCODER`: they run once over the prompt, not for each token that is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Role, Tensor, Tower
from sizer.model.blocks.attention import Heads, attention
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, prefixed
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.rules import Flag, flag, head_size

ENCODER_NOTE = "the encoder runs once over the prompt: decoding leaves it out, and so do the speeds of prefill."
TIED = "tie_word_embeddings"


def outside(prefix: str, block: Block) -> tuple[Tensor, ...]:
    """The encoder's tensors that stand on no layer."""
    return prefixed(prefix, block, Tower.ENCODER).tensors


@dataclass(frozen=True)
class Bart:
    """The decoder of an encoder-decoder model, with cross-attention, by its differences from BART's.

    `offset` is how many rows the position table has more than positions; `positions` the field of the latter.
    `cross_width` names the field of the encoder's width where it may differ.
    """

    offset: int = 2
    positions: str = "max_position_embeddings"
    embed_norm: Flag = True
    final_norm: bool = False
    bias: Flag = True
    k_bias: Flag = True
    head: str = "lm_head"
    tying: bool = True
    learned: Flag = True
    cross: Flag = True
    cross_width: str | None = None
    decoder_fields: tuple[str, str, str] = ("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim")
    prefix: str = "model.decoder."

    def __call__(self, config: Config) -> Parts:
        hidden = config.size("hidden_size")
        layers, heads_field, inner_field = self.decoder_fields
        heads = config.size(heads_field)
        sizes = (hidden, heads, head_size(config, hidden, heads))
        block = self.self_attention(config, sizes) + norm("self_attn_layer_norm", hidden, True)
        if flag(config, self.cross):
            block += self.cross_attention(config, sizes) + norm("encoder_attn_layer_norm", hidden, True)
        inner = config.size(inner_field)
        block += plain_mlp(hidden, inner, prefix="", names=("fc1", "fc2"), bias=True)
        block += norm("final_layer_norm", hidden, True)
        extra = Block()
        if flag(config, self.learned):
            rows = config.size(self.positions) + self.offset
            extra += embedding(self.prefix + "embed_positions", rows, hidden, Role.POSITION)
        if flag(config, self.embed_norm):
            extra += norm(self.prefix + "layernorm_embedding", hidden, True)
        return causal_lm(
            config,
            [block] * config.layers(layers),
            Naming(prefix=self.prefix, final_norm="layer_norm" if self.final_norm else None, head=self.head),
            norm_bias=True,
            extra=extra,
            tied=None if self.tying else False,
        )

    def self_attention(self, config: Config, sizes: tuple[int, int, int]) -> Block:
        """Attention over the tokens so far."""
        hidden, heads, size = sizes
        return attention(
            Heads(hidden, heads, heads, size),
            names=("q_proj", "k_proj", "v_proj", "out_proj"),
            bias=flag(config, self.bias),
            k_bias=flag(config, self.bias) and flag(config, self.k_bias),
        )

    def cross_attention(self, config: Config, sizes: tuple[int, int, int]) -> Block:
        """Attention over the encoder's output, which is cached once."""
        hidden, heads, size = sizes
        bias, width = flag(config, self.bias), hidden
        if self.cross_width is not None:
            width = config.optional_size(self.cross_width) or hidden
        return (
            linear("encoder_attn.q_proj", hidden, hidden, Role.Q, bias)
            + linear("encoder_attn.k_proj", hidden, width, Role.K, bias and flag(config, self.k_bias))
            + linear("encoder_attn.v_proj", hidden, width, Role.V, bias)
            + linear("encoder_attn.out_proj", hidden, hidden, Role.O, bias)
            + Block(mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
        )


BART, SMALL, MBART = Bart(), Bart(0), Bart(final_norm=True)


@dataclass(frozen=True)
class Whole:
    """The conditional class of a BART-like model: the encoder before its decoder, and one table for both.

    `decoder` says where the layers differ from BART's; `positions` names the field of the encoder's positions (None:
    they are not learned); `front` gives what else the encoder holds.
    """

    decoder: Bart = BART
    positions: str | None = "max_position_embeddings"
    embed: str = "shared"
    front: Callable[[Config], Block] | None = None

    def __call__(self, config: Config) -> Parts:
        hidden, heads, rule = config.size("d_model"), config.size("encoder_attention_heads"), self.decoder
        sizes = (hidden, heads, head_size(config, hidden, heads))
        block = rule.self_attention(config, sizes) + norm("self_attn_layer_norm", hidden, True)
        block += plain_mlp(hidden, config.size("encoder_ffn_dim"), prefix="", names=("fc1", "fc2"), bias=True)
        block += norm("final_layer_norm", hidden, True)
        around = Block() if self.front is None else self.front(config)
        if self.positions is not None:
            around += embedding("embed_positions", config.size(self.positions) + rule.offset, hidden, Role.POSITION)
        if flag(config, rule.embed_norm):
            around += norm("layernorm_embedding", hidden, True)
        if rule.final_norm:
            around += norm("layer_norm", hidden, True)
        prefix = "model.encoder."
        encoder = on_layers(prefix + "layers.{layer}.", block, range(config.layers("encoder_layers")), Tower.ENCODER)
        tied = config.flag(TIED, default=True)
        parts = rule(Config({**config.fields, TIED: tied}, config.class_defaults, config.path))
        table = replace(parts.tensors[0], name=f"model.{self.embed}.weight")
        tensors = (table, *parts.tensors[1:], *outside(prefix, around), *encoder)
        if not tied and self.embed == "shared":
            tensors += _own_tables(table)
        return replace(parts, tensors=tensors).with_notes(ENCODER_NOTE)


def _own_tables(shared: Tensor) -> tuple[Tensor, ...]:
    """Untied, encoder and decoder have tables of their own beside the shared one."""
    return (
        replace(shared, name="model.encoder.embed_tokens.weight", tower=Tower.ENCODER),
        replace(shared, name="model.decoder.embed_tokens.weight"),
    )


MARIAN, PEGASUS = Bart(0, embed_norm=False), Bart(0, embed_norm=False, final_norm=True)
