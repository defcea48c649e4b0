"""Decoders from GPT to OPT: LayerNorms with biases, learned positions, fused projections, their own names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Module, Role
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.families.rules import OUT_NAMES, Attention, FusedAttention, Heads, Mlp
from sizer.model.families.windows import FULL, Window

LN = ("ln_1", "ln_2")


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


def refined_web(config: Config) -> Parts:
    """Falcon as its first repositories name it (RefinedWeb): other field names; `n_head_kv` marks the newer layout."""
    names = {"n_head": "num_attention_heads", "n_layer": "num_hidden_layers", "n_head_kv": "num_kv_heads"}
    fields = {names.get(name, name): value for name, value in config.fields.items()}
    fields.setdefault("new_decoder_architecture", "n_head_kv" in config.fields)
    return FAMILIES["falcon"](Config.of(fields, "falcon"))


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
    "RefinedWeb": refined_web,
    "RefinedWebModel": refined_web,
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
}
