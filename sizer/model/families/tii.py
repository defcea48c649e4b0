"""TII: Falcon, Falcon Mamba, Falcon H1."""

from __future__ import annotations

from sizer.model.architecture import Module
from sizer.model.blocks.core import Parts, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import hybrid_mamba2, mamba1
from sizer.model.shapes.rules import Attention, FusedAttention, Mlp


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


def falcon_h1(config: Config) -> Parts:
    """Falcon H1: attention and Mamba 2 side by side in every layer."""
    hidden = config.size("hidden_size")
    states = hybrid_mamba2(
        config,
        inner=config.optional_size("mamba_d_ssm"),
        gated_norm=config.flag("mamba_rms_norm"),
        out_bias=config.flag("projectors_bias"),
    )
    block = Attention()(config, 1)[0] + states
    block += gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", bias=config.flag("mlp_bias"))
    block += norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)
    return causal_lm(config, [block] * config.layers(), Naming(final_norm="final_layernorm"))


FAMILIES: dict[str, Family] = {
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
        naming=Naming(prefix="transformer.", layers="h.{layer}.", embed="word_embeddings", final_norm="ln_f"),
    ),
    "RefinedWeb": refined_web,
    "RefinedWebModel": refined_web,
    "falcon_mamba": mamba1,
    "falcon_h1": falcon_h1,
}
