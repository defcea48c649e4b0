"""Decoders from GPT to OPT: LayerNorms with biases, learned positions, fused projections, their own names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.errors import InvalidConfig, UnsupportedArchitecture
from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.config import Config
from sizer.model.families import describe
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.families.rules import Attention, FusedAttention, Heads, Mlp
from sizer.model.families.windows import FULL, Window

LN = ("ln_1", "ln_2")
OUT_NAMES = ("q_proj", "k_proj", "v_proj", "out_proj")


def positions(name: str, offset: int = 0) -> Callable[[Config], Block]:
    """A learned position table of `max_position_embeddings` rows and `offset` more."""
    return lambda config: embedding(
        name, config.size("max_position_embeddings") + offset, config.size("hidden_size"), Role.POSITION
    )


def _cross_attention(config: Config, sizes: Heads, module: Module) -> Block:
    """GPT-2's cross-attention, if `add_cross_attention`: keys and values of an encoder."""
    if not config.flag("add_cross_attention"):
        return Block()
    hidden = sizes.hidden
    mixer = Mixer(MixerKind.CROSS, sizes.heads, sizes.heads, sizes.head_dim, sizes.head_dim)
    return (
        linear("crossattention.c_attn", 2 * hidden, hidden, Role.QKV, True, module=module)
        + linear("crossattention.q_attn", hidden, hidden, Role.Q, True, module=module)
        + linear("crossattention.c_proj", hidden, hidden, Role.O, True, module=module)
        + norm("ln_cross_attn", hidden, bias=True)
        + Block(mixers=(mixer,))
    )


def _gpt2(module: Module, **options: object) -> Decoder:
    """GPT-2's shape, of Conv1D or linear modules."""
    attention = FusedAttention(
        ("c_attn", "c_proj"),
        "attn.",
        plain_heads=True,
        kv_field=False,
        module=module,
        plus=lambda config, sizes: _cross_attention(config, sizes, module),
    )
    return replace(
        Decoder(
            attention,
            Mlp("plain", True, ("c_fc", "c_proj"), size="n_inner", factor=4, module=module),
            LN,
            norm_bias=True,
            final_norm="ln_f",
            prefix="transformer.",
            layers="h.{layer}.",
            embed="wte",
            plus=positions("transformer.wpe"),
        ),
        **options,  # type: ignore[arg-type]
    )


def gpt_bigcode(config: Config) -> Parts:
    """GPT-BigCode: GPT-2 of linear modules; with `multi_query`, one key and value head for all."""
    multi_query = config.flag("multi_query")
    if multi_query and config.flag("add_cross_attention"):
        raise config.error("add_cross_attention", "It cannot go with multi_query.")
    decoder = _gpt2(Module.LINEAR)
    attention = replace(decoder.attention, kv_heads=lambda _, count: 1 if multi_query else count)  # type: ignore[type-var]
    return replace(decoder, attention=attention)(config)


def _gpt_neo_windows(config: Config, count: int) -> Sequence[Window]:
    """GPT-Neo: `attention_types` lists patterns of global and local layers with how often each repeats."""
    kinds: list[str] = []
    try:
        for pattern, times in config.sequence("attention_types") or ([["global", "local"], 12],):
            kinds += list(pattern) * int(times)
    except (TypeError, ValueError):
        raise config.error("attention_types", "It must list [[kinds], times].") from None
    if len(kinds) != count or set(kinds) - {"global", "local"}:
        raise config.error("attention_types", f"It must name global or local for each of {count} layers.")
    window = (MixerKind.SLIDING, config.size("window_size", default=256))
    return [window if kind == "local" else FULL for kind in kinds]


def gpt_neox_japanese(config: Config) -> Parts:
    """GPT-NeoX Japanese: no biases but one, of the last layer's output projection."""
    parts = Decoder(
        FusedAttention(prefix="attention.", bias=False, plain_heads=True, kv_field=False),
        lambda c, n: Mlp("plain", False, ("dense_h_to_4h", "dense_4h_to_h"), size=None,
                         factor=c.size("intermediate_multiple_size", default=4))(c, n),
        norm_bias=True, final_norm="final_layer_norm", prefix="gpt_neox_japanese.", embed="embed_in", head="embed_out",
    )(config)  # fmt: skip
    last = len(parts.layers) - 1
    bias = parameter(f"gpt_neox_japanese.layers.{last}.attention.dense_bias", parts.hidden_size, role=Role.BIAS).tensors
    return replace(parts, tensors=parts.tensors + bias)


def _falcon_kv_heads(config: Config, count: int) -> int:
    """Falcon: `num_kv_heads` in the new architecture; else one (`multi_query`) or as many as heads."""
    if config.flag("new_decoder_architecture"):
        kv_heads = config.size("num_kv_heads", default=count)
        if count % kv_heads:
            raise config.error("num_kv_heads", f"It must divide num_attention_heads ({count}).")
        return kv_heads
    return 1 if config.flag("multi_query") else count


def _falcon_norms(config: Config) -> tuple[str, ...]:
    if not config.flag("parallel_attn"):
        return PRE_NORMS
    count = config.optional_size("num_ln_in_parallel_attn")
    if count is None and config.flag("new_decoder_architecture"):
        count = 2
    return ("ln_attn", "ln_mlp") if count == 2 else PRE_NORMS[:1]


def _opt_norms(name: str, config: Config) -> Block:
    return norm(name, config.size("hidden_size"), True) if config.flag("layer_norm_elementwise_affine") else Block()


def opt(config: Config) -> Parts:
    """OPT: embeddings may be narrower than the layers, with a projection in and out."""
    hidden, count, bias = config.size("hidden_size"), config.layers(), config.flag("enable_bias")
    width = config.optional_size("word_embed_proj_dim") or hidden
    outside = positions("model.decoder.embed_positions", 2)(config)
    if width != hidden:
        outside += linear("model.decoder.project_out", width, hidden, Role.OTHER)
        outside += linear("model.decoder.project_in", hidden, width, Role.OTHER)
    if config.flag("do_layer_norm_before") and not config.flag("_remove_final_layer_norm"):
        outside += _opt_norms("model.decoder.final_layer_norm", config)
    attention = Attention(bias, plain_heads=True, kv_field=False, names=OUT_NAMES)
    mlp = Mlp("plain", bias, ("fc1", "fc2"), "", "ffn_dim")
    norms = _opt_norms("self_attn_layer_norm", config) + _opt_norms("final_layer_norm", config)
    parts = causal_lm(
        config,
        joined(attention(config, count), mlp(config, count), (norms,) * count),
        prefix="model.decoder.",
        final_norm=None,
        hidden=width,
        extra=outside,
    )
    return replace(parts, hidden_size=hidden)


def ctrl(config: Config) -> Parts:
    """CTRL: an MLP of two numbered modules, and a head with a bias."""
    return Decoder(
        Attention(
            True,
            plain_heads=True,
            kv_field=False,
            prefix="multi_head_attention.",
            names=("Wq", "Wk", "Wv", "dense"),
        ),
        Mlp("plain", True, ("0", "2"), "ffn.", "dff"),
        ("layernorm1", "layernorm2"),
        norm_bias=True,
        head_bias=True,
        final_norm="layernorm",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="w",
    )(config)


def cpmant(config: Config) -> Parts:
    """CPM-Ant: prompt tokens beside the vocabulary, a relative position bias, and a head of its own."""
    hidden, count, inner = config.size("hidden_size"), config.layers(), config.size("dim_ff")
    number, size = config.size("num_attention_heads"), config.size("dim_head")
    width, prefix = number * size, "self_att.self_attention."
    block = norm("self_att.layernorm_before_attention", hidden) + norm("ffn.layernorm_before_ffn", hidden)
    for name, role in (("project_q", Role.Q), ("project_k", Role.K), ("project_v", Role.V)):
        block += linear(prefix + name, width, hidden, role)
    block += linear(prefix + "attention_out", hidden, width, Role.O)
    block += Block(mixers=(attention_mixer(number, number, size),))
    block += Mlp("gated", False, ("w_in.w_0", "w_in.w_1", "w_out"), "ffn.ffn.").block(config, inner)
    segments, vocab = config.size("segment_types"), config.size("vocab_size")
    extra = embedding("cpmant.segment_embedding", segments, hidden)
    extra += embedding(
        "cpmant.input_embedding", vocab + config.size("prompt_types") * config.size("prompt_length"), hidden
    )
    buckets = segments * segments + config.size("position_bias_num_buckets")
    extra += parameter("cpmant.position_bias.relative_attention_bias", buckets, number)
    parts = causal_lm(
        config,
        [block] * count,
        prefix="cpmant.encoder.",
        final_norm="output_layernorm",
        extra=extra,
        tied=False,
    )
    unused = "cpmant.encoder.embed_tokens.weight"
    return replace(parts, tensors=tuple(tensor for tensor in parts.tensors if tensor.name != unused))


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
        prefix="transformer.",
        layers="layer.{layer}.",
        embed="word_embedding",
        final_norm=None,
        head="lm_loss",
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
        prefix="transformer.",
        layers="",
        embed="embeddings",
        final_norm=None,
        head="pred_layer.proj",
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
    prefix, axial = "reformer.embeddings.position_embeddings.", config.sequence("axial_pos_shape", int) or ()
    if config.flag("axial_pos_embds"):
        extra = Block()
        widths = config.sequence("axial_pos_embds_dim", int) or ()
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
        prefix="reformer.",
        layers="encoder.layers.{layer}.",
        embed="embeddings.word_embeddings",
        final_norm=None,
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


def fuyu(config: Config) -> Parts:
    """Fuyu: Persimmon over image patches, each one projected by a single linear layer.

    The text part is in `text_config`, or (as the first files have it) in the file itself.
    """
    spec = config.class_defaults.sub_configs["text_config"]
    own = config.fields.get("text_config") or {
        name: config.fields[name] for name in spec["init"] if name in config.fields
    }
    text = Config({**config.fields, "text_config": own or None}, config.class_defaults).sub("text_config")
    tied = {"tie_word_embeddings": config.flag("tie_word_embeddings")}
    whole = Config({**text.fields, **tied}, text.class_defaults, text.path)
    parts = describe(whole, text.text("model_type", default="persimmon"))
    pixels = config.size("patch_size") ** 2 * config.size("num_channels")
    patches = linear("model.vision_embed_tokens", parts.hidden_size, pixels, Role.OTHER, True)
    tensors = tuple(
        replace(tensor, name=tensor.name.replace("model.", "model.language_model.", 1)) for tensor in parts.tensors
    )
    return replace(parts, tensors=tensors + patches.tensors)


NEOX_MLP = Mlp("plain", True, ("dense_h_to_4h", "dense_4h_to_h"))

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "gpt2": _gpt2(Module.CONV1D),
    "gpt-sw3": _gpt2(Module.CONV1D),
    "openai-gpt": Decoder(
        FusedAttention(("c_attn", "c_proj"), "attn.", plain_heads=True, kv_field=False, module=Module.CONV1D),
        Mlp("plain", True, ("c_fc", "c_proj"), size=None, factor=4, module=Module.CONV1D),
        LN,
        norm_bias=True,
        final_norm=None,
        prefix="transformer.",
        layers="h.{layer}.",
        embed="tokens_embed",
        plus=positions("transformer.positions_embed"),
    ),
    "gpt_bigcode": gpt_bigcode,
    "gpt_neo": Decoder(
        Attention(
            False,
            True,
            plain_heads=True,
            kv_field=False,
            prefix="attn.attention.",
            names=OUT_NAMES,
            windows=_gpt_neo_windows,
        ),
        Mlp("plain", True, ("c_fc", "c_proj"), factor=4),
        LN,
        norm_bias=True,
        final_norm="ln_f",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="wte",
        plus=positions("transformer.wpe"),
    ),
    "gpt_neox": Decoder(
        FusedAttention(prefix="attention.", bias="attention_bias", plain_heads=True, kv_field=False),
        NEOX_MLP,
        norm_bias=True,
        final_norm="final_layer_norm",
        prefix="gpt_neox.",
        embed="embed_in",
    ),
    "gpt_neox_japanese": gpt_neox_japanese,
    "gptj": Decoder(
        Attention(False, plain_heads=True, kv_field=False, prefix="attn.", names=OUT_NAMES),
        Mlp("plain", True, ("fc_in", "fc_out"), size="n_inner", factor=4),
        LN[:1],
        norm_bias=True,
        head_bias=True,
        final_norm="ln_f",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="wte",
    ),
    "codegen": Decoder(
        FusedAttention(("qkv_proj", "out_proj"), "attn.", False, plain_heads=True, kv_field=False),
        Mlp("plain", True, ("fc_in", "fc_out"), size="n_inner", factor=4),
        LN[:1],
        norm_bias=True,
        head_bias=True,
        final_norm="ln_f",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="wte",
    ),
    "bloom": Decoder(
        FusedAttention(prefix="self_attention.", plain_heads=True, kv_field=False),
        Mlp("plain", True, ("dense_h_to_4h", "dense_4h_to_h"), size=None, factor=4),
        norm_bias=True,
        final_norm="ln_f",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="word_embeddings",
        plus=lambda config: norm("transformer.word_embeddings_layernorm", config.size("hidden_size"), True),
    ),
    "mpt": Decoder(
        FusedAttention(("Wqkv", "out_proj"), "attn.", False, plain_heads=True, kv_field=False),
        Mlp("plain", False, prefix="ffn.", size=None, factor=4),
        ("norm_1", "norm_2"),
        final_norm="norm_f",
        prefix="transformer.",
        layers="blocks.{layer}.",
        embed="wte",
    ),
    "falcon": Decoder(
        FusedAttention(
            prefix="self_attention.",
            bias="bias",
            plain_heads=True,
            kv_heads=_falcon_kv_heads,
            module=Module.LINEAR_SUBCLASS,
        ),
        Mlp(
            "plain",
            "bias",
            ("dense_h_to_4h", "dense_4h_to_h"),
            size="ffn_hidden_size",
            factor=4,
            module=Module.LINEAR_SUBCLASS,
        ),
        _falcon_norms,
        norm_bias=True,
        final_norm="ln_f",
        prefix="transformer.",
        layers="h.{layer}.",
        embed="word_embeddings",
    ),
    "opt": opt,
    "ctrl": ctrl,
    "biogpt": Decoder(
        Attention(True, plain_heads=True, kv_field=False, names=OUT_NAMES),
        Mlp("plain", True, ("fc1", "fc2"), ""),
        ("self_attn_layer_norm", "final_layer_norm"),
        norm_bias=True,
        final_norm="layer_norm",
        prefix="biogpt.",
        head="output_projection",
        plus=positions("biogpt.embed_positions", 2),
    ),
    "cpmant": cpmant,
    "xlnet": xlnet,
    "xlm": xlm,
    "reformer": reformer,
    "fuyu": fuyu,
}
