"""The causal classes of BERT's kind: an encoder's shape with a language-model head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.rules import Flag, flag, head_size

QKV = (("query", Role.Q), ("key", Role.K), ("value", Role.V))


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
        size, bias = head_size(config, hidden, heads), flag(config, self.bias)
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


BERT = Bert(head=_bert_transform)
ROBERTA = Bert("roberta", head=_roberta_transform, decoder="lm_head.decoder")

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
}
