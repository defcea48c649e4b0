"""BART's and T5's kind, whoever made them: whole models, and BART's decoders alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Role, Tower
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import gated_mlp, plain_mlp
from sizer.model.config import MAX_COUNT, MAX_LAYERS, Config
from sizer.model.shapes.bart import BART, ENCODER_NOTE, MARIAN, MBART, PEGASUS, SMALL, TIED, Bart, Whole, outside
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import head_size

OWN_TABLES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
DECODER_TABLE = OWN_TABLES[1]
QKV = (("q", Role.Q), ("k", Role.K), ("v", Role.V))


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
            config,
            blocks,
            Naming(prefix="", layers="decoder.block.{layer}.", embed="shared", final_norm="decoder.final_layer_norm"),
            hidden=hidden,
            vocab=vocab,
            tied=True,
            extra_tensors=tensors,
        )
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


def _whisper_front(config: Config) -> Block:
    """Whisper's two convolutions over the spectrogram."""
    size, bins = config.size("d_model"), config.size("num_mel_bins")
    block = Block()
    for name, into in (("conv1", bins), ("conv2", size)):
        block += parameter(f"{name}.weight", size, into, 3, role=Role.CONV)
        block += parameter(f"{name}.bias", size, role=Role.BIAS)
    return block


def marian(config: Config) -> Parts:
    """Marian with its encoder: one table for both sides, or one each; the decoder's has `decoder_vocab_size` rows."""
    parts, rows = Whole(MARIAN)(config), _decoder_rows(config)
    if config.flag("share_encoder_decoder_embeddings", default=True):
        return _with_rows(parts, {DECODER_TABLE: rows})
    encoder, *rest = (tensor for tensor in parts.tensors if tensor.name not in OWN_TABLES)
    own = (
        replace(encoder, name=OWN_TABLES[0], tower=Tower.ENCODER),
        replace(encoder, name=DECODER_TABLE),
    )
    return _with_rows(replace(parts, tensors=(*own, *rest)), {DECODER_TABLE: rows, "lm_head.weight": rows})


def marian_decoder(config: Config) -> Parts:
    """Marian's decoder alone."""
    return _with_rows(MARIAN(config), {DECODER_TABLE: _decoder_rows(config)})


def _decoder_rows(config: Config) -> int:
    return config.optional_size("decoder_vocab_size") or config.size("vocab_size")


def _with_rows(parts: Parts, rows: Mapping[str, int]) -> Parts:
    """The tensors with the rows of some, by their names."""
    changed = (replace(t, shape=(rows[t.name], t.shape[-1])) if t.name in rows else t for t in parts.tensors)
    return replace(parts, tensors=tuple(changed))


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
        Naming(prefix="prophetnet.", layers="decoder.layers.{layer}.", embed="word_embeddings", final_norm=None),
        extra=extra,
    )


WHISPER = Bart(0, "max_target_positions", embed_norm=False, final_norm=True, k_bias=False, head="proj_out")

FAMILIES: dict[str, Family] = {
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
    "marian": marian,
    "m2m_100": Whole(replace(MBART, embed_norm=False, learned=False), positions=None),
    "whisper": Whole(
        WHISPER,
        "max_source_positions",
        "decoder.embed_tokens",
        front=_whisper_front,
    ),
    "BartForCausalLM": BART,
    "bigbird_pegasus": Bart(0, bias="use_bias", tying=False),
    "BlenderbotForCausalLM": PEGASUS,
    "BlenderbotSmallForCausalLM": SMALL,
    "MarianForCausalLM": marian_decoder,
    "MBartForCausalLM": MBART,
    "MvpForCausalLM": BART,
    "PegasusForCausalLM": PEGASUS,
    "PLBartForCausalLM": BART,
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
    "WhisperForCausalLM": WHISPER,
}
