"""The decoders of encoder-decoder models (BART and its kin), with cross-attention and a language-model head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.attention import attention, attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.rules import Flag, flag, head_size


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
            prefix=self.prefix,
            final_norm="layer_norm" if self.final_norm else None,
            norm_bias=True,
            head=self.head,
            extra=extra,
            tied=None if self.tying else False,
        )

    def self_attention(self, config: Config, sizes: tuple[int, int, int]) -> Block:
        """Attention over the tokens so far."""
        hidden, heads, size = sizes
        return attention(
            hidden,
            heads,
            heads,
            size,
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


def prophetnet(config: Config) -> Parts:
    """ProphetNet's decoder: n-gram streams with relative positions; it holds the embedding table twice if untied."""
    hidden, heads = config.size("hidden_size"), config.size("num_decoder_attention_heads")
    size, bias_rows = head_size(config, hidden, heads), config.size("num_buckets") * heads
    names = (("query_proj", Role.Q), ("key_proj", Role.K), ("value_proj", Role.V), ("out_proj", Role.O))
    block = Block(mixers=(attention_mixer(heads, heads, size),))
    modules = ["self_attn"] + (["cross_attn"] if config.flag("add_cross_attention") else [])
    for module in modules:
        for name, role in names:
            block += linear(f"{module}.{name}", hidden, hidden, role, True)
        block += norm(f"{module}_layer_norm", hidden, True)
    if len(modules) > 1:
        block += Block(mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
    block += linear("self_attn.relative_pos_embeddings", bias_rows, hidden, Role.OTHER, True)
    block += plain_mlp(
        hidden,
        config.size("decoder_ffn_dim"),
        prefix="feed_forward.",
        names=("intermediate", "output"),
        bias=True,
    )
    block += norm("feed_forward_layer_norm", hidden, True)
    prefix, vocab, tied = "prophetnet.decoder.", config.size("vocab_size"), config.flag("tie_word_embeddings")
    extra = embedding(prefix + "position_embeddings", config.size("max_position_embeddings"), hidden, Role.POSITION)
    extra += embedding(prefix + "ngram_embeddings", config.size("ngram"), hidden)
    extra += norm(prefix + "embeddings_layer_norm", hidden, True)
    if not tied:
        extra += embedding(prefix + "word_embeddings", vocab, hidden)
    return causal_lm(
        config,
        [block] * config.layers("num_decoder_layers"),
        prefix="prophetnet.",
        layers="decoder.layers.{layer}.",
        embed="word_embeddings",
        final_norm=None,
        extra=extra,
    )


BART, SMALL, MBART = Bart(), Bart(0), Bart(final_norm=True)
MARIAN, PEGASUS = Bart(0, embed_norm=False), Bart(0, embed_norm=False, final_norm=True)
WHISPER = Bart(0, "max_target_positions", embed_norm=False, final_norm=True, k_bias=False, head="proj_out")

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "bart": BART,
    "bigbird_pegasus": Bart(0, bias="use_bias", tying=False),
    "blenderbot": PEGASUS,
    "blenderbot-small": SMALL,
    "marian": MARIAN,
    "mbart": MBART,
    "mvp": BART,
    "pegasus": PEGASUS,
    "plbart": BART,
    "prophetnet": prophetnet,
    "trocr": Bart(
        embed_norm="layernorm_embedding",
        learned="use_learned_position_embeddings",
        cross_width="cross_attention_hidden_size",
        head="output_projection",
    ),
    "xglm": Bart(
        embed_norm=False,
        final_norm=True,
        learned=False,
        cross="add_cross_attention",
        decoder_fields=("num_layers", "attention_heads", "ffn_dim"),
        prefix="model.",
    ),
    "whisper": WHISPER,
}
