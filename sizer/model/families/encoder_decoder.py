"""Whole encoder-decoder models: T5 and its kin, and the conditional classes of BART and its kin.

The encoder's tensors are of `Tower.ENCODER`: they run once over the prompt, not for each token that is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sizer.model.architecture import Mixer, MixerKind, Role, Tensor, Tower
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import gated_mlp, plain_mlp
from sizer.model.config import MAX_COUNT, MAX_LAYERS, Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.rules import flag, head_size
from sizer.model.families.seq2seq import BART, MARIAN, MBART, PEGASUS, SMALL, WHISPER, Bart

ENCODER_NOTE = "the encoder runs once over the prompt: decoding leaves it out, and so do the speeds of prefill."
TIED = "tie_word_embeddings"
QKV = (("q", Role.Q), ("k", Role.K), ("v", Role.V))


def outside(prefix: str, block: Block) -> tuple[Tensor, ...]:
    """The encoder's tensors that stand on no layer."""
    return prefixed(prefix, block, Tower.ENCODER).tensors


@dataclass(frozen=True)
class T5:
    """T5 (arXiv:1910.10683): relative positions, norms without bias, no other biases.

    The bias table of relative positions stands on the first layer, or with `own_tables` on each. transformers ties the
    head whatever the file says; a file of T5 1.1 (`tie_word_embeddings` false) stores one all the same.
    """

    own_tables: bool = False

    def __call__(self, config: Config) -> Parts:
        hidden, vocab = config.size("d_model"), config.size("vocab_size")
        count = config.layers("num_layers")
        decoders = config.size("num_decoder_layers", default=count, maximum=MAX_LAYERS)
        encoder, decoder = self.layer(config, "encoder"), self.layer(config, "decoder")
        table = self.table(config)
        first = range(count if self.own_tables else 1)
        tensors = on_layers("encoder.block.{layer}.", encoder, range(count), Tower.ENCODER)
        tensors += on_layers("encoder.block.{layer}.", table, first, Tower.ENCODER)
        tensors += outside("encoder.", norm("final_layer_norm", hidden))
        if not config.flag(TIED, default=True):
            stored = prefixed("", linear("lm_head", vocab, hidden, Role.LM_HEAD), checkpoint_only=True)
            tensors += stored.tensors
        with_table = decoder + table
        blocks = [with_table if self.own_tables or index == 0 else decoder for index in range(decoders)]
        parts = causal_lm(
            config, blocks, prefix="", layers="decoder.block.{layer}.", embed="shared",
            final_norm="decoder.final_layer_norm", hidden=hidden, vocab=vocab, tied=True, extra_tensors=tensors,
        )  # fmt: skip
        return parts.with_notes(ENCODER_NOTE)

    def layer(self, config: Config, part: str) -> Block:
        """Self-attention, in the decoder cross-attention, and the MLP, each behind a norm."""
        hidden, heads, size = config.size("d_model"), config.size("num_heads", maximum=MAX_COUNT), config.size("d_kv")
        inner, places = config.size("d_ff"), ["SelfAttention"] + (["EncDecAttention"] if part == "decoder" else [])
        block = Block()
        for place, name in enumerate(places):
            for letter, role in QKV:
                block += linear(f"layer.{place}.{name}.{letter}", heads * size, hidden, role)
            block += linear(f"layer.{place}.{name}.o", hidden, heads * size, Role.O)
            block += norm(f"layer.{place}.layer_norm", hidden)
        block += Block(mixers=(attention_mixer(heads, heads, size),))
        if part == "decoder":
            block += Block(mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
        prefix = f"layer.{len(places)}."
        block += norm(prefix + "layer_norm", hidden)
        gated = config.text("feed_forward_proj", default="relu").split("-")[0] == "gated"
        if config.flag("is_gated_act", default=gated):
            return block + gated_mlp(hidden, inner, prefix=prefix + "DenseReluDense.", names=("wi_0", "wi_1", "wo"))
        return block + plain_mlp(hidden, inner, prefix=prefix + "DenseReluDense.", names=("wi", "wo"))

    def table(self, config: Config) -> Block:
        """The bias of relative positions, one value a bucket and head."""
        name = "layer.0.SelfAttention.relative_attention_bias"
        return embedding(name, config.size("relative_attention_num_buckets"), config.size("num_heads"), Role.POSITION)


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


def _whisper_front(config: Config) -> Block:
    """Whisper's two convolutions over the spectrogram."""
    size, bins = config.size("d_model"), config.size("num_mel_bins")
    block = Block()
    for name, into in (("conv1", bins), ("conv2", size)):
        block += parameter(f"{name}.weight", size, into, 3, role=Role.CONV)
        block += parameter(f"{name}.bias", size, role=Role.BIAS)
    return block


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "t5": T5(),
    "mt5": T5(),
    "umt5": T5(own_tables=True),
    "bart": Whole(),
    "mvp": Whole(),
    "plbart": Whole(),
    "mbart": Whole(MBART),
    "pegasus": Whole(PEGASUS),
    "blenderbot": Whole(PEGASUS),
    "blenderbot-small": Whole(SMALL),
    "marian": Whole(MARIAN),
    "m2m_100": Whole(replace(MBART, embed_norm=False, learned=False), positions=None),
    "whisper": Whole(
        WHISPER,
        "max_source_positions",
        "decoder.embed_tokens",
        front=_whisper_front,
    ),
}
