"""Encoders of whole texts: every token attends to every other, nothing is cached and nothing is written."""

from __future__ import annotations

from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, stack
from sizer.model.blocks.mlp import DENSE, fused_mlp, gated_mlp, plain_mlp
from sizer.model.config import Config
from sizer.model.shapes.bert import Bert


def labels(config: Config) -> int:
    """What a classifier tells apart: `id2label`, else `num_labels`, else two, as transformers takes it."""
    named = config.mapping("id2label")
    return len(named) or config.size("num_labels", default=2)


@dataclass(frozen=True)
class TextEncoder:
    """BERT's stack as an encoder: `shape` without its language-model head, and what stands behind the layers.

    `end` is `pooler` (a dense layer over the first token), `pooled-classifier`, `dense-classifier` (RoBERTa's: a dense
    layer and the labels), `lm` (the masked-language head) or nothing.
    """

    shape: Bert
    end: str = "pooler"

    def __call__(self, config: Config) -> Parts:
        if self.end == "lm":
            return self.shape(config)
        whole = replace(self.shape, head=None, bare_bias=False, tying=True)(_tied(config))
        hidden = whole.hidden_size
        kept = tuple(
            tensor for tensor in whole.tensors if tensor.role is not Role.LM_HEAD and "decoder" not in tensor.name
        )
        return replace(whole, tensors=kept + self._end(config, hidden).tensors, tied=False).as_encoder()

    def _end(self, config: Config, hidden: int) -> Block:
        block = Block()
        if "pool" in self.end:
            block += linear(f"{self.shape.base}.pooler.dense", hidden, hidden, Role.OTHER, True)
        if self.end == "pooled-classifier":
            block += linear("classifier", labels(config), hidden, Role.OTHER, True)
        if self.end == "dense-classifier":
            block += linear("classifier.dense", hidden, hidden, Role.OTHER, True)
            block += linear("classifier.out_proj", labels(config), hidden, Role.OTHER, True)
        return block


def _tied(config: Config) -> Config:
    """The config with its head tied, so that none is listed."""
    return Config({**config.fields, "tie_word_embeddings": True}, config.class_defaults, config.path)


def modernbert(config: Config) -> Parts:
    """ModernBERT (arXiv:2412.13663): rotary, gated, local attention but on every third layer, norms before."""
    hidden, count, heads = config.size("hidden_size"), config.layers(), config.size("num_attention_heads")
    every, window = config.size("global_attn_every_n_layers", default=3), config.size("local_attention", default=128)
    biases = {name: config.flag(f"{name}_bias") for name in ("attention", "mlp", "norm")}
    inner = config.size("intermediate_size")

    def layer(kind: tuple[int | None, bool]) -> Block:
        local, normed = kind
        block = linear("attn.Wqkv", 3 * hidden, hidden, Role.QKV, biases["attention"])
        block += linear("attn.Wo", hidden, hidden, Role.O, biases["attention"])
        block += Block(mixers=(attention_mixer(heads, heads, hidden // heads, window=local),))
        block += fused_mlp(hidden, inner, prefix="mlp.", names=("Wi", "Wo"), bias=biases["mlp"])
        block += norm("mlp_norm", hidden, biases["norm"])
        return block + norm("attn_norm", hidden, biases["norm"]) if normed else block

    types = config.layer_types(count)
    whole = [kind == "full_attention" for kind in types] if types else [index % every == 0 for index in range(count)]
    kinds = [(None if whole[index] else window, index > 0) for index in range(count)]
    outside = embedding("embeddings.tok_embeddings", config.size("vocab_size"), hidden)
    outside += norm("embeddings.norm", hidden, biases["norm"]) + norm("final_norm", hidden, biases["norm"])
    stacked, listed = stack("layers.{layer}.", kinds, layer)
    parts = Parts(outside.tensors + stacked, listed, hidden, config.size("vocab_size"), False)
    return parts.as_encoder()


def modernbert_labelled(config: Config) -> Parts:
    """ModernBERT as a classifier or reranker: a dense layer, its norm and the labels."""
    parts, hidden = modernbert(config), config.size("hidden_size")
    bias = config.flag("classifier_bias")
    end = linear("head.dense", hidden, hidden, Role.OTHER, bias) + norm("head.norm", hidden, config.flag("norm_bias"))
    end += linear("classifier", labels(config), hidden, Role.OTHER, True)
    return replace(parts, tensors=parts.tensors + end.tensors)


def modernbert_masked(config: Config) -> Parts:
    """ModernBERT with its masked-language head, whose matrix is the embedding."""
    parts, hidden = modernbert(config), config.size("hidden_size")
    end = linear("head.dense", hidden, hidden, Role.OTHER, config.flag("classifier_bias"))
    end += norm("head.norm", hidden, config.flag("norm_bias"))
    tied, bias = config.flag("tie_word_embeddings", default=True), config.flag("decoder_bias", default=True)
    head = linear("decoder", parts.vocab_size, hidden, Role.LM_HEAD, bias)
    end += Block(head.tensors[1:]) if tied else head
    return replace(parts, tensors=parts.tensors + end.tensors, tied=tied)


def mpnet(config: Config) -> Parts:
    """MPNet: BERT's layers under other names, one table of relative positions for all."""
    hidden, heads, count = config.size("hidden_size"), config.size("num_attention_heads"), config.layers()
    block = Block()
    for name, role in (("q", Role.Q), ("k", Role.K), ("v", Role.V), ("o", Role.O)):
        block += linear(f"attention.attn.{name}", hidden, hidden, role, True)
    block += norm("attention.LayerNorm", hidden, True) + norm("output.LayerNorm", hidden, True)
    block += Block(mixers=(attention_mixer(heads, heads, hidden // heads),))
    names = ("intermediate.dense", "output.dense")
    block += plain_mlp(hidden, config.size("intermediate_size"), prefix="", names=names, bias=True)
    vocab = config.size("vocab_size")
    outside = embedding("embeddings.word_embeddings", vocab, hidden) + norm("embeddings.LayerNorm", hidden, True)
    outside += embedding(
        "embeddings.position_embeddings", config.size("max_position_embeddings"), hidden, Role.POSITION
    )
    buckets = config.size("relative_attention_num_buckets", default=32)
    outside += embedding("encoder.relative_attention_bias", buckets, heads)
    outside += linear("pooler.dense", hidden, hidden, Role.OTHER, True)
    stacked, listed = stack("encoder.layer.{layer}.", [0] * count, lambda _kind: block)
    # Positions begin behind the padding's, as in RoBERTa.
    longest = config.size("max_position_embeddings") - config.size("pad_token_id", default=1, minimum=0) - 1
    parts = Parts(outside.tensors + stacked, listed, hidden, vocab, False, max_context_tokens=longest)
    return parts.as_encoder()


def distilbert(config: Config) -> Parts:
    """DistilBERT: BERT without token types and pooler, its sizes called dim, n_heads, hidden_dim, n_layers."""
    hidden, heads = config.size("dim", "hidden_size"), config.size("n_heads", "num_attention_heads")
    block = Block()
    for name, role in (("q_lin", Role.Q), ("k_lin", Role.K), ("v_lin", Role.V), ("out_lin", Role.O)):
        block += linear(f"attention.{name}", hidden, hidden, role, True)
    block += norm("sa_layer_norm", hidden, True) + norm("output_layer_norm", hidden, True)
    block += Block(mixers=(attention_mixer(heads, heads, hidden // heads),))
    block += plain_mlp(
        hidden, config.size("hidden_dim", "intermediate_size"), prefix="ffn.", names=("lin1", "lin2"), bias=True
    )
    vocab, rows = config.size("vocab_size"), config.size("max_position_embeddings")
    outside = embedding("embeddings.word_embeddings", vocab, hidden) + norm("embeddings.LayerNorm", hidden, True)
    outside += embedding("embeddings.position_embeddings", rows, hidden, Role.POSITION)
    count = config.layers("n_layers", "num_hidden_layers")
    stacked, listed = stack("transformer.layer.{layer}.", [0] * count, lambda _kind: block)
    return Parts(outside.tensors + stacked, listed, hidden, vocab, False).as_encoder()


def nomic(config: Config) -> Parts:
    """Nomic's BERT: rotary, gated MLPs, fused projections without biases (code of the repository)."""
    hidden, heads, count = config.size("n_embd", "hidden_size"), config.size("n_head"), config.layers()
    inner = config.size("n_inner")
    bias, mlp_bias = config.flag("qkv_proj_bias"), config.flag("mlp_fc1_bias")
    block = linear("attn.Wqkv", 3 * hidden, hidden, Role.QKV, bias)
    block += linear("attn.out_proj", hidden, hidden, Role.O, bias)
    block += Block(mixers=(attention_mixer(heads, heads, hidden // heads),))
    names = ("fc12", "fc11", "fc2")
    block += gated_mlp(hidden, inner, prefix="mlp.", names=names, bias=mlp_bias)
    block += norm("norm1", hidden, True) + norm("norm2", hidden, True)
    vocab = config.size("vocab_size")
    outside = embedding("embeddings.word_embeddings", vocab, hidden) + norm("emb_ln", hidden, True)
    outside += embedding("embeddings.token_type_embeddings", config.size("type_vocab_size", default=2), hidden)
    stacked, listed = stack("encoder.layers.{layer}.", [0] * count, lambda _kind: block)
    return Parts(outside.tensors + stacked, listed, hidden, vocab, False).as_encoder()


def gte(config: Config) -> Parts:
    """GTE's encoder (`new-impl`): rotary, gated MLPs, a fused biased projection (code of the repository)."""
    hidden, heads, inner = (
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        config.size("intermediate_size"),
    )
    block = linear("attention.qkv_proj", 3 * hidden, hidden, Role.QKV, True)
    block += linear("attention.o_proj", hidden, hidden, Role.O, True)
    block += Block(mixers=(attention_mixer(heads, heads, hidden // heads),))
    block += DENSE + linear("mlp.up_gate_proj", 2 * inner, hidden, Role.GATE_UP)
    block += linear("mlp.down_proj", hidden, inner, Role.DOWN, True)
    block += norm("attn_ln", hidden, True) + norm("mlp_ln", hidden, True)
    vocab, types = config.size("vocab_size"), config.size("type_vocab_size", default=0, minimum=0)
    outside = embedding("embeddings.word_embeddings", vocab, hidden) + norm("embeddings.LayerNorm", hidden, True)
    if types:
        outside += embedding("embeddings.token_type_embeddings", types, hidden)
    stacked, listed = stack("encoder.layer.{layer}.", [0] * config.layers(), lambda _kind: block)
    return Parts(outside.tensors + stacked, listed, hidden, vocab, False).as_encoder()
