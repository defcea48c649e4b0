"""Meta's text models: Llama 1 to 4, OPT, CWM, MobileLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.config import Config
from sizer.model.shapes.decoder import BARE, Decoder, Naming, causal_lm, joined
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family, with_names
from sizer.model.shapes.gpt2 import positions
from sizer.model.shapes.rules import OUT_NAMES, Attention, Mlp
from sizer.model.shapes.windows import EveryNth, Window, window_of


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
        Naming(prefix="model.decoder.", final_norm=None),
        hidden=width,
        extra=outside,
    )
    return replace(parts, hidden_size=hidden)


def _llama4_windows(config: Config, count: int) -> Sequence[Window]:
    """Llama 4: chunked attention on the layers with rotary embeddings, full on every fourth."""
    types = config.layer_types(count)
    if types is None:
        every = config.size("no_rope_layer_interval", default=4)
        rope = config.sequence("no_rope_layers", int) or [int((index + 1) % every != 0) for index in range(count)]
        if len(rope) != count:
            raise config.error("no_rope_layers", f"It must have one entry for each of {count} layers.")
        types = tuple("chunked_attention" if has_rope else "full_attention" for has_rope in rope)
    return [window_of(config, name, None) for name in types]


def _llama4_mlp(config: Config, count: int) -> list[Block]:
    """Llama 4: experts with one shared expert on the `moe_layers`, a wider dense MLP on the others."""
    listed = config.sequence("moe_layers", int)
    step = config.size("interleave_moe_layer_step", default=1)
    sparse = range(step - 1, count, step) if listed is None else frozenset(listed)
    moe = Moe(
        "num_local_experts",
        inner="intermediate_size",
        prefix="feed_forward.",
        router="router",
        shared="intermediate_size",
        shared_name="shared_expert.",
    )
    flags = [index in sparse for index in range(count)]
    routed = moe.block(config) if any(flags) else Block()
    dense = Block()
    if not all(flags):
        dense = Mlp(bias=False, prefix="feed_forward.").block(config, config.size("intermediate_size_mlp"))
    return [routed if is_sparse else dense for is_sparse in flags]


FAMILIES: dict[str, Family] = {
    "opt": opt,
    "llama": Decoder(),
    "cwm": Decoder(Attention(bias=False, windows=EveryNth(4, last_full=False))),
    "llama4_text": Decoder(Attention(windows=_llama4_windows), _llama4_mlp),
    "mobilellm": with_names(BARE, {"tie_word_embeddings": "share_embedding"}),
}
