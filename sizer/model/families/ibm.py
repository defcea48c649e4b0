"""IBM: Granite (dense, experts, hybrid, speech, vision, Docling), Bamba."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import SHARED_ROLES, experts, fused_mlp, gated_mlp, router
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config
from sizer.model.shapes.connectors import qformer
from sizer.model.shapes.decoder import Decoder, Naming, causal_lm
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, hybrid_mamba2, mixer_types
from sizer.model.shapes.rules import Attention
from sizer.model.shapes.windows import EveryNth
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper


def bamba(config: Config) -> Parts:
    """Bamba: Mamba 2 with attention on the listed layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    listed = set(config.sequence("attn_layer_indices", int) or ())
    around = gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", bias=config.flag("mlp_bias"))
    around += norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)

    def layer(full: bool) -> Block:
        return (Attention()(config, 1)[0] if full else hybrid_mamba2(config)) + around

    return causal_lm(
        config, each_kind([index in listed for index in range(count)], layer), Naming(final_norm="final_layernorm")
    )


def granite_hybrid(config: Config) -> Parts:
    """Granite 4: Mamba 2 or attention, a shared MLP, and routed experts unless there are none."""
    hidden, count = config.size("hidden_size"), config.layers()
    routed = config.size("num_local_experts", minimum=0)
    names = ("input_linear", "output_linear")
    roles = (Role.SHARED_GATE_UP, SHARED_ROLES[2]) if routed else (Role.GATE_UP, Role.DOWN)
    around = fused_mlp(hidden, config.size("shared_intermediate_size"), prefix="shared_mlp.", names=names, roles=roles)
    if routed:
        sizes = (hidden, config.size("intermediate_size"), routed, config.size("num_experts_per_tok"))
        around += router(hidden, routed, name="block_sparse_moe.router")
        around += experts(*sizes, prefix="block_sparse_moe.experts.")
    around += norm("input_layernorm", hidden) + norm("post_attention_layernorm", hidden)
    types = config.layer_types(count) or ("linear_attention",) * count
    mixer_types(config, "layer_types", types, ("linear_attention", "full_attention"))

    def layer(kind: str) -> Block:
        return (hybrid_mamba2(config) if kind == "linear_attention" else Attention()(config, 1)[0]) + around

    return causal_lm(config, each_kind(types, layer))


def _granite_shared(config: Config, _experts: int) -> Block:
    """Granite's shared MLP: gate and up in one projection, if `shared_intermediate_size` is not nought."""
    inner, hidden = config.size("shared_intermediate_size", minimum=0), config.size("hidden_size")
    if not inner:
        return Block()
    return linear("shared_mlp.input_linear", 2 * inner, hidden, Role.SHARED_GATE_UP) + linear(
        "shared_mlp.output_linear", hidden, inner, Role.SHARED_DOWN
    )


GRANITE = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", router="router.layer")


def density_router(pieces: Pieces, tree: Tree) -> None:
    """Granite Docling's choice between its routes, where it has one."""
    inner, size = pieces.config.optional_size("density_router_hidden_size"), pieces.vision.size("hidden_size")
    if inner is not None:
        router = tree.at("density_router")
        router.linear("att", 1, size, bias=True)
        router.layer_norm("norm", size=size)
        router.mlp(size, inner, out=1)


def granite4_projectors(pieces: Pieces, tree: Tree) -> None:
    """Granite 4 Vision: querying transformers over windows, one for each layer it feeds and four offsets in space."""
    config, size = pieces.config, pieces.vision.size("hidden_size")
    rate = config.text("downsample_rate").split("/")
    if len(rate) != 2 or not all(part.isdecimal() and 0 < int(part) <= MAX_COUNT for part in rate):
        raise config.error("downsample_rate", "It must be two window sides, such as '1/4'.")
    queries, window = int(rate[0]), int(rate[1])
    pairs = config.sequence("deepstack_layer_map")
    if pairs is None:
        raise config.error("deepstack_layer_map", "It must list pairs of layers, one for each projector.")
    read = {"hidden_size": size, "num_attention_heads": size // 64, "encoder_hidden_size": size}
    former = pieces.sub("qformer_config")
    former = Config({**former.fields, **read}, former.class_defaults, former.path)
    tree.parameter("image_newline", pieces.text_size)
    for name, count in (("layerwise_projectors", len(pairs)), ("spatial_projectors", 4)):
        projector = tree.stack(name, count)
        for index in range(count):
            qformer(former, tree.at(f"{name}.{index}.qformer"), reads_text=former.flag("use_qformer_text_input"))
        projector.layer_norm("norm", size=size)
        projector.parameter("query", 1, queries**2, size)
        projector.parameter("image_positions", 1, window**2, size)
        projector.linear("out_linear", pieces.text_size, size, bias=True)


def granite_speech(pieces: Pieces, tree: Tree) -> None:
    """Granite Speech: a querying transformer over windows of frames, and a matrix. Its adapter is a file of its own."""
    config, former = pieces.config, pieces.sub("projector_config")
    size, window, rate = former.size("hidden_size"), config.size("window_size"), config.size("downsample_rate")
    if window < rate:
        raise config.error("downsample_rate", f"It must not be above window_size ({window}).")
    projector = tree.at("projector")
    projector.parameter("query", 1, window // rate, size)
    qformer(former, projector.at("qformer"), reads_text=False)
    projector.linear("linear", pieces.text_size, size, bias=True)


SPEECH_ENCODER = (("encoder", "encoder_config"),)

FAMILIES: dict[str, Family] = {
    "granite": Decoder(),
    "granite_swa": Decoder(Attention(sinks=True, windows=EveryNth(4, last_full=False))),
    "bamba": bamba,
    "granitemoehybrid": granite_hybrid,
    "granitemoe": Decoder(mlp=GRANITE),
    "granitemoe_swa": Decoder(
        Attention(sinks=True, windows=EveryNth(4, last_full=False)), replace(GRANITE, plus=_granite_shared)
    ),
    "granitemoeshared": Decoder(mlp=replace(GRANITE, plus=_granite_shared)),
    "granite4_vision": Wrapper(granite4_projectors, text_as="granite"),
    "granite_docling": Wrapper(density_router, VISION_MODEL, text_as="granite", text_name="text_model"),
    "granite_speech": Wrapper(granite_speech, SPEECH_ENCODER),
    "granite_speech_plus": Wrapper(granite_speech, SPEECH_ENCODER),
}
