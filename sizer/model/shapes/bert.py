"""BERT's shape as a causal class: an encoder's layers with a language-model head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.rules import Flag, flag, head_size

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
    """A BERT-like stack with a head, by its differences from BERT. Only `is_decoder` makes its attention causal.

    `norms` are the names of the norms at the attention and at the MLP, `final` that of the one behind the layers.
    With `offset` the first positions are the padding's, as in RoBERTa. `width` and `out` name the fields of an
    embedding narrower, or a head input wider, than the layers.
    """

    base: str = "bert"
    norms: tuple[str, str] = ("attention.output.LayerNorm", "output.LayerNorm")
    final: str | None = None
    bias: Flag = True
    embed_norm: bool = True
    positions: bool = True
    types: bool = True
    offset: bool = False
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
            Naming(
                prefix=f"{self.base}.",
                layers="encoder.layer.{layer}.",
                embed="embeddings.word_embeddings",
                final_norm=None,
            ),
            extra=extra,
            hidden=width,
            tied=True,
        )
        rows = config.size("max_position_embeddings") - config.size("pad_token_id", default=1, minimum=0) - 1
        parts = replace(parts, hidden_size=hidden, tied=tied, max_context_tokens=rows if self.offset else None)
        return parts if config.flag("is_decoder") else parts.as_encoder()

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


BERT = Bert(head=_bert_transform)
ROBERTA = Bert("roberta", head=_roberta_transform, decoder="lm_head.decoder", offset=True)
