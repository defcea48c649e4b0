"""Baidu: Ernie 4.5 (dense, experts, vision), PaddleOCR-VL, Qianfan OCR, PP-Chart2Table."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.architecture import Role, Tensor, Tower
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.shapes.connectors import shuffled_pixels, strided
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind
from sizer.model.shapes.rules import Attention, Mlp
from sizer.model.shapes.wrapper import VISUAL, Pieces, Wrapper


def _ernie_sparse(config: Config, count: int) -> Sequence[bool]:
    """Ernie 4.5: experts on every nth layer between two indices."""
    first = config.size("moe_layer_start_index", default=0, minimum=0)
    last, every = config.size("moe_layer_end_index", default=-1, minimum=-1), config.size("moe_layer_interval")
    last = count - 1 if last == -1 else last
    return [(index + 1) % every == 0 and first <= index <= last for index in range(count)]


def _ernie_statics(_config: Config, experts: int) -> Block:
    return parameter("mlp.moe_statics.e_score_correction_bias", 1, experts)


def _ernie_mtp(config: Config, last: Block, _count: int) -> tuple[Tensor, ...]:
    """Ernie 4.5's prediction layers are dense; each has two norms and the projection that joins its inputs."""
    if config.fields.get("num_nextn_predict_layers") is None:
        return ()
    more = config.size("num_nextn_predict_layers", minimum=0, maximum=MAX_LAYERS)
    hidden = config.size("hidden_size")
    keep = tuple(tensor for tensor in last.tensors if not tensor.name.startswith("mlp."))
    layer = Block(keep) + Mlp(bias="use_bias").block(config, config.size("intermediate_size"))
    around = norm("mtp_emb_norm.{layer}", hidden) + norm("mtp_hidden_norm.{layer}", hidden)
    around += linear("mtp_linear_proj.{layer}", hidden, 2 * hidden, Role.OTHER, config.flag("use_bias"))
    tensors = prefixed("mtp_block.{layer}.", layer, checkpoint_only=True).tensors
    tensors += prefixed("", around, checkpoint_only=True).tensors
    return on_layers("model.", Block(tensors), range(more), Tower.MTP) if more else ()


paddle_text = Decoder(Attention(bias="use_bias"), Mlp(bias="use_bias"))


def paddle(pieces: Pieces, tree: Tree) -> None:
    """PaddleOCR-VL: a norm and two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("projector")
    projector.layer_norm("pre_norm", size=size)
    projector.mlp(merged, merged, "linear_1 linear_2", out=pieces.text_size)


def ernie_vl(pieces: Pieces, tree: Tree) -> None:
    """Ernie 4.5 VL: a resampler in space, then in time."""
    width = pieces.vision.size("hidden_size") * pieces.vision.size("spatial_merge_size") ** 2
    resampler = tree.at("resampler_model")
    for name, into in (
        ("spatial_linear", width),
        ("temporal_linear", width * pieces.vision.size("temporal_merge_size")),
    ):
        resampler.at(name).mlp(into, width, out=width)
        resampler.layer_norm(f"{name}.ln", size=width)
    resampler.linear("mlp", pieces.text_size, width, bias=True)
    resampler.rms_norm("after_norm", size=pieces.text_size)


def ernie_vl_text(config: Config) -> Parts:
    """Ernie 4.5 VL's text model: one set of experts for text, another for images, and shared ones."""
    hidden, count, bias = config.size("hidden_size"), config.layers(), config.flag("use_bias")
    types = config.layer_types(count, "mlp_layer_types") or ("dense", *("sparse",) * (count - 1))
    inner = config.sizes("moe_intermediate_size", count=2, default=(1536, 512))
    routed, active = config.size("moe_num_experts"), config.size("moe_k")

    def layer(kind: str) -> Block:
        block = Attention(bias="use_bias")(config, 1)[0]
        if kind == "sparse":
            for name, width in zip(("text_moe", "vision_moe"), inner, strict=True):
                block += router(hidden, routed, name=f"mlp.{name}.gate")
                block += parameter(f"mlp.{name}.gate.moe_statics.e_score_correction_bias", 1, routed, role=Role.ROUTER)
                # A text token, which is what is decoded, is never routed to the experts for images.
                chosen = active if name == "text_moe" else 0
                block += experts(hidden, width, routed, chosen, prefix=f"mlp.{name}.experts.")
            shared = config.size("moe_num_shared_experts", minimum=0)
            if shared:
                block += shared_expert(hidden, shared * inner[0], bias=bias)
        else:
            block += gated_mlp(hidden, config.size("intermediate_size"), bias=bias)
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    return causal_lm(config, each_kind(types, layer))


FAMILIES: dict[str, Family] = {
    "ernie4_5": Decoder(Attention(bias="use_bias"), Mlp(bias="use_bias")),
    "ernie4_5_moe": Decoder(
        Attention(bias="use_bias"),
        Moe(
            "moe_num_experts",
            "moe_k",
            sparse=_ernie_sparse,
            dense=Mlp(bias="use_bias"),
            shared=("moe_intermediate_size", "moe_num_shared_experts"),
            shared_bias="use_bias",
            plus=_ernie_statics,
        ),
        head_bias="use_bias",
        beyond=_ernie_mtp,
    ),
    "pp_chart2table": Wrapper(strided),
    "qianfan_ocr": Wrapper(shuffled_pixels),
    "paddleocr_vl": Wrapper(paddle, VISUAL, ties="either", text_as=paddle_text, flat=True),
    "ernie4_5_vl_moe": Wrapper(ernie_vl, text_as=ernie_vl_text),
}
