"""The causal classes of BERT's kind, and the decoders of BART's: encoders' shapes with a language-model head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.attention import attention, attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.rules import Flag, flag

QKV = (("query", Role.Q), ("key", Role.K), ("value", Role.V))


def _head_size(config: Config, hidden: int, heads: int) -> int:
    if hidden % heads:
        raise config.error("num_attention_heads", f"It must divide the hidden size ({hidden}).")
    return hidden // heads


def _cross(config: Config) -> bool:
    """Whether the layers attend to an encoder: `add_cross_attention`, which needs `is_decoder`."""
    if not config.flag("add_cross_attention"):
        return False
    if not config.flag("is_decoder"):
        raise config.error("add_cross_attention", "It needs is_decoder.")
    return True


@dataclass(frozen=True)
class Bert:
    """A BERT-like stack with a head, by its differences from BERT.

    `norms` are the names of the norms at the attention and at the MLP, `final` that of the one behind the layers.
    `width` and `out` name the fields of an embedding narrower, or a head input wider, than the layers.
    """

    base: str = "bert"
    norms: tuple[str, str] = ("attention.output.LayerNorm", "output.LayerNorm")
    final: str | None = None
    bias: Flag = True
    embed_norm: bool = True
    positions: bool = True
    types: bool = True
    width: str | None = None
    project: str = "embeddings_project"
    head: Callable[[Config, int, int], Block] | None = None
    bare_bias: bool = True
    decoder: str = "cls.predictions.decoder"
    tying: bool = True
    plus: Callable[[Config], Block] | None = None
    layer_plus: Callable[[Config], Block] | None = None

    def __call__(self, config: Config) -> Parts:
        hidden, count = config.size("hidden_size"), config.layers()
        width = (config.optional_size(self.width) if self.width else None) or hidden
        tied = self.tying and config.flag("tie_word_embeddings")
        extra = self.embeddings(config, width)
        if width != hidden or self.base == "rembert":
            extra += linear(f"{self.base}.{self.project}", hidden, width, Role.OTHER, True)
        if self.final:
            extra += norm(f"{self.base}.{self.final}", hidden, True)
        if self.plus:
            extra += self.plus(config)
        extra += self.output(config, hidden, width, tied=tied)
        parts = causal_lm(
            config,
            [self.layer(config, hidden)] * count,
            prefix=f"{self.base}.",
            layers="encoder.layer.{layer}.",
            embed="embeddings.word_embeddings",
            final_norm=None,
            extra=extra,
            hidden=width,
            tied=True,
        )
        return replace(parts, hidden_size=hidden, tied=tied)

    def embeddings(self, config: Config, width: int) -> Block:
        """What stands beside the word embeddings: positions, token types, a norm."""
        block, prefix = Block(), f"{self.base}.embeddings."
        if self.positions:
            rows = config.size("max_position_embeddings")
            block += embedding(prefix + "position_embeddings", rows, width, Role.POSITION)
        if self.types:
            block += embedding(prefix + "token_type_embeddings", config.size("type_vocab_size"), width)
        return block + norm(prefix + "LayerNorm", width, True) if self.embed_norm else block

    def output(self, config: Config, hidden: int, width: int, *, tied: bool) -> Block:
        """The head: a transform, a bias, and the decoder matrix where it is not the embedding."""
        vocab = config.size("vocab_size")
        block = Block() if self.head is None else self.head(config, hidden, width)
        if self.bare_bias:
            block += parameter(self.decoder.rpartition(".")[0] + ".bias", vocab, role=Role.BIAS)
        elif tied:
            block += parameter(f"{self.decoder}.bias", vocab, role=Role.BIAS)
        into = config.size("output_embedding_size") if self.base == "rembert" else width
        return block if tied else block + linear(self.decoder, vocab, into, Role.LM_HEAD, True)

    def layer(self, config: Config, hidden: int) -> Block:
        """One layer: attention, cross-attention where the config adds it, and the MLP."""
        heads, inner = config.size("num_attention_heads"), config.size("intermediate_size")
        size, bias = _head_size(config, hidden, heads), flag(config, self.bias)
        block = self.attention_block("attention", hidden, bias=bias)
        block += Block(mixers=(attention_mixer(heads, heads, size),))
        if _cross(config):
            block += self.attention_block("crossattention", hidden, bias=bias)
            block += Block(mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
        block += plain_mlp(hidden, inner, prefix="", names=("intermediate.dense", "output.dense"), bias=True)
        block += norm(self.norms[1], hidden, True)
        return block + self.layer_plus(config) if self.layer_plus else block

    def attention_block(self, name: str, hidden: int, *, bias: bool) -> Block:
        """The tensors of self- or cross-attention."""
        block = Block()
        for part, role in QKV:
            block += linear(f"{name}.self.{part}", hidden, hidden, role, bias)
        block += linear(f"{name}.output.dense", hidden, hidden, Role.O, True)
        return block + norm(self.norms[0].replace("attention", name, 1), hidden, True)


def _bert_transform(_config: Config, hidden: int, width: int) -> Block:
    prefix = "cls.predictions.transform."
    return linear(prefix + "dense", width, hidden, Role.OTHER, True) + norm(prefix + "LayerNorm", width, True)


def _roberta_transform(_config: Config, hidden: int, _width: int) -> Block:
    return linear("lm_head.dense", hidden, hidden, Role.OTHER, True) + norm("lm_head.layer_norm", hidden, True)


def _electra_transform(_config: Config, hidden: int, width: int) -> Block:
    dense = linear("generator_predictions.dense", width, hidden, Role.OTHER, True)
    return norm("generator_predictions.LayerNorm", width, True) + dense


def _rembert_transform(config: Config, hidden: int, _width: int) -> Block:
    out = config.size("output_embedding_size")
    dense = linear("cls.predictions.dense", out, hidden, Role.OTHER, True)
    return dense + norm("cls.predictions.LayerNorm", out, True)


def _big_bird_pooler(config: Config) -> Block:
    hidden = config.size("hidden_size")
    return linear("bert.pooler", hidden, hidden, Role.OTHER, True)


def _ernie_tasks(config: Config) -> Block:
    if not config.flag("use_task_id"):
        return Block()
    rows = config.size("task_type_vocab_size")
    return embedding("ernie.embeddings.task_type_embeddings", rows, config.size("hidden_size"))


def _roc_bert_glyphs(config: Config) -> Block:
    """RoCBERT: embeddings of pronunciation and shape, and the projection that joins what is enabled."""
    hidden, prefix = config.size("hidden_size"), "roc_bert.embeddings."
    sound, shape = config.size("pronunciation_embed_dim"), config.size("shape_embed_dim")
    block = embedding(prefix + "pronunciation_embed", config.size("pronunciation_vocab_size"), sound)
    block += embedding(prefix + "shape_embed", config.size("shape_vocab_size"), shape)
    if config.flag("concat_input"):
        into = hidden + (sound if config.flag("enable_pronunciation") else 0)
        into += shape if config.flag("enable_shape") else 0
        block += linear(prefix + "map_inputs_layer", hidden, into, Role.OTHER, True)
    return block


def _roformer_positions(config: Config) -> Block:
    """RoFormer: its sinusoidal table is a parameter."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    rows = config.size("max_position_embeddings")
    return embedding("roformer.encoder.embed_positions", rows, hidden // heads, Role.POSITION)


def _xmod_adapters(config: Config) -> Block:
    """X-MOD: an adapter for each language in each layer; its norm where it has one of its own."""
    hidden = config.size("hidden_size")
    factor = config.number("adapter_reduction_factor", default=2)
    if factor <= 0:
        raise config.error("adapter_reduction_factor", "It must be above nought.")
    inner = int(hidden // factor)
    languages = config.sequence("languages", str) or ()
    if not languages:
        raise config.error("languages", "It must list the names of the adapters.")
    block = norm("output.adapter_layer_norm", hidden, True) if config.flag("adapter_layer_norm") else Block()
    for language in languages:
        prefix = f"output.adapter_modules.{language}."
        block += linear(prefix + "dense1", inner, hidden, Role.OTHER, True)
        block += linear(prefix + "dense2", hidden, inner, Role.OTHER, True)
    return block


def _xmod_final(config: Config) -> Block:
    return norm("roberta.encoder.LayerNorm", config.size("hidden_size"), True) if config.flag("pre_norm") else Block()


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
        sizes = (hidden, heads, _head_size(config, hidden, heads))
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
    size, bias_rows = _head_size(config, hidden, heads), config.size("num_buckets") * heads
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


BERT = Bert(head=_bert_transform)
ROBERTA = Bert("roberta", head=_roberta_transform, decoder="lm_head.decoder")
BART = Bart()

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "bert": BERT,
    "bert-generation": Bert(types=False, decoder="lm_head.decoder"),
    "big_bird": replace(BERT, bias="use_bias", plus=_big_bird_pooler),
    "ernie": replace(BERT, base="ernie", plus=_ernie_tasks),
    "megatron-bert": replace(BERT, norms=("attention.ln", "ln"), final="encoder.ln", embed_norm=False),
    "roc_bert": replace(BERT, base="roc_bert", plus=_roc_bert_glyphs),
    "roformer": replace(BERT, base="roformer", positions=False, width="embedding_size", plus=_roformer_positions),
    "electra": Bert(
        "electra", width="embedding_size", head=_electra_transform, bare_bias=False, decoder="generator_lm_head"
    ),
    "rembert": Bert(
        "rembert",
        width="input_embedding_size",
        project="encoder.embedding_hidden_mapping_in",
        head=_rembert_transform,
        bare_bias=False,
        tying=False,
    ),
    "roberta": ROBERTA,
    "camembert": ROBERTA,
    "xlm-roberta": ROBERTA,
    "data2vec-text": replace(ROBERTA, base="data2vec_text"),
    "roberta-prelayernorm": replace(
        ROBERTA,
        base="roberta_prelayernorm",
        norms=("attention.LayerNorm", "intermediate.LayerNorm"),
        final="LayerNorm",
    ),
    "xlm-roberta-xl": replace(
        ROBERTA,
        norms=("attention.self_attn_layer_norm", "LayerNorm"),
        final="encoder.LayerNorm",
        embed_norm=False,
    ),
    "xmod": replace(ROBERTA, plus=_xmod_final, layer_plus=_xmod_adapters),
    "bart": BART,
    "bigbird_pegasus": Bart(0, bias="use_bias", tying=False),
    "blenderbot": Bart(0, embed_norm=False, final_norm=True),
    "blenderbot-small": Bart(0),
    "marian": Bart(0, embed_norm=False),
    "mbart": Bart(final_norm=True),
    "mvp": BART,
    "pegasus": Bart(0, embed_norm=False, final_norm=True),
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
    "whisper": Bart(0, "max_target_positions", embed_norm=False, final_norm=True, k_bias=False, head="proj_out"),
}
