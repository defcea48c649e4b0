"""Models from before GPT-3's shape became the rule: XLNet, XLM, Reformer."""

from __future__ import annotations

from dataclasses import replace

from sizer.errors import InvalidConfig, UnsupportedArchitecture
from sizer.model.architecture import Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.config import Config
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import positions
from sizer.model.shapes.rules import Attention, Mlp
from sizer.model.shapes.windows import FULL


def xlnet(config: Config) -> Parts:
    """XLNet: projections are bare parameters [hidden, heads, head size], with relative positions and segments."""
    hidden, number, inner = config.size("hidden_size"), config.size("num_attention_heads"), config.size("d_inner")
    if hidden % number:
        raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    size = config.optional_size("d_head") or hidden // number
    block = Block(mixers=(attention_mixer(number, number, size),))
    for name, role in (("q", Role.Q), ("k", Role.K), ("v", Role.V), ("o", Role.O), ("r", Role.OTHER)):
        block += parameter(f"rel_attn.{name}", hidden, number, size, role=role)
    for name in ("r_r_bias", "r_s_bias", "r_w_bias"):
        block += parameter(f"rel_attn.{name}", number, size, role=Role.BIAS)
    block += parameter("rel_attn.seg_embed", 2, number, size)
    block += norm("rel_attn.layer_norm", hidden, True) + norm("ff.layer_norm", hidden, True)
    block += Mlp("plain", True, ("layer_1", "layer_2"), "ff.").block(config, inner)
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(prefix="transformer.", layers="layer.{layer}.", embed="word_embedding", final_norm=None, head="lm_loss"),
        head_bias=True,
        extra=parameter("transformer.mask_emb", 1, 1, hidden),
    )


def xlm(config: Config) -> Parts:
    """XLM: layers as parallel lists of modules; language embeddings where there are several languages."""
    hidden, count, vocab = config.size("hidden_size"), config.layers(), config.size("vocab_size")
    if config.flag("asm"):
        raise UnsupportedArchitecture(
            "XLM with config field 'asm' has an adaptive softmax head.", "It is not described."
        )
    if not config.flag("is_encoder", default=True):
        raise InvalidConfig("config field 'is_encoder' is False.", "XLM can only be an encoder.")
    rule = Attention(
        True,
        plain_heads=True,
        kv_field=False,
        prefix="attentions.{layer}.",
        names=("q_lin", "k_lin", "v_lin", "out_lin"),
    )
    block = rule.block(config, FULL) + Mlp("plain", True, ("lin1", "lin2"), "ffns.{layer}.").block(config, 4 * hidden)
    block += norm("layer_norm1.{layer}", hidden, True) + norm("layer_norm2.{layer}", hidden, True)
    extra = positions("transformer.position_embeddings")(config) + norm("transformer.layer_norm_emb", hidden, True)
    languages = config.size("n_langs", default=1)
    if languages > 1 and config.flag("use_lang_emb"):
        extra += embedding("transformer.lang_embeddings", languages, hidden)
    return causal_lm(
        config,
        [block] * count,
        Naming(prefix="transformer.", layers="", embed="embeddings", final_norm=None, head="pred_layer.proj"),
        head_bias=True,
        extra=extra,
        vocab=vocab,
    )


def reformer(config: Config) -> Parts:
    """Reformer: LSH and local attention, axial positions, twice the width at the end (reversible layers)."""
    hidden, number, size = (config.size(n) for n in ("hidden_size", "num_attention_heads", "attention_head_size"))
    kinds = config.sequence("attn_layers", str) or ()
    if not kinds or set(kinds) - {"lsh", "local"}:
        raise config.error("attn_layers", "It must list lsh or local for each layer.")
    blocks = {kind: _reformer_layer(config, kind, (hidden, number, size)) for kind in set(kinds)}
    prefix, axial = "reformer.embeddings.position_embeddings.", config.sizes("axial_pos_shape", default=())
    if config.flag("axial_pos_embds"):
        extra = Block()
        widths = config.sizes("axial_pos_embds_dim", default=())
        if sum(widths) != hidden or len(widths) != len(axial):
            raise config.error("axial_pos_embds_dim", f"They must sum to hidden_size ({hidden}), one for each axis.")
        for axis, width in enumerate(widths):
            shape = [axial[axis] if place == axis else 1 for place in range(len(axial))]
            extra += parameter(f"{prefix}weights.{axis}", *shape, width, role=Role.POSITION)
    else:
        extra = positions(prefix + "embedding")(config)
    extra += norm("reformer.encoder.layer_norm", 2 * hidden, True)
    vocab = config.size("vocab_size")
    extra += linear("lm_head.decoder", vocab, 2 * hidden, Role.LM_HEAD)
    extra += parameter("lm_head.bias", vocab, role=Role.BIAS)
    parts = causal_lm(
        config,
        [blocks[kind] for kind in kinds],
        Naming(
            prefix="reformer.", layers="encoder.layers.{layer}.", embed="embeddings.word_embeddings", final_norm=None
        ),
        extra=extra,
        tied=True,
    )
    return replace(parts, tied=False)


def _reformer_layer(config: Config, kind: str, sizes: tuple[int, int, int]) -> Block:
    hidden, number, size = sizes
    names = (("query_key", Role.Q), ("value", Role.V))
    if kind == "local":
        names = (("query", Role.Q), ("key", Role.K), ("value", Role.V))  # type: ignore[assignment]
    block = Block(mixers=(attention_mixer(number, number, size),))
    for name, role in names:
        block += linear(f"attention.self_attention.{name}", number * size, hidden, role)
    block += linear("attention.output.dense", hidden, number * size, Role.O)
    block += norm("attention.layer_norm", hidden, True) + norm("feed_forward.layer_norm", hidden, True)
    mlp = Mlp("plain", True, ("dense.dense", "output.dense"), "feed_forward.")
    return block + mlp.block(config, config.size("feed_forward_size"))


FAMILIES: dict[str, Family] = {
    "reformer": reformer,
    "xlm": xlm,
    "xlnet": xlnet,
}
