"""StepFun: Step-3, 3.5 and 3.7, GOT-OCR 2."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import MlpKind, Role, Tower
from sizer.model.blocks.attention import Heads, attention, head_norms
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.towers.images import patches
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import strided, with_towers
from sizer.model.shapes.decoder import PRE_NORMS, causal_lm
from sizer.model.shapes.experts import Moe, shared_mlp
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind
from sizer.model.shapes.rules import heads
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper


def step3p5(config: Config) -> Parts:
    """Step 3.5's text model: gated heads, more of them in sliding layers, experts behind a few dense layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    beyond = config.size("num_nextn_predict_layers", default=0, minimum=0, maximum=MAX_LAYERS)
    types = _padded(config, "layer_types", count, beyond) or ("full_attention",) * (count + beyond)
    mlps = _padded(config, "mlp_layer_types", count, beyond)
    if mlps is None:
        chosen = enumerated_layers(config, "moe_layers_enum")
        chosen = set(range(3, count)) if chosen is None else chosen
        mlps = tuple("sparse" if index in chosen else "dense" for index in range(count + beyond))
    rule = Moe(
        "n_routed_experts",
        shared="share_expert_dim",
        shared_bias="mlp_bias",
    )

    def layer(kind: tuple[str, int, str]) -> Block:
        block = _step_attention(config, sliding=kind[0] == "sliding_attention", head_count=kind[1])
        if kind[2] == "sparse":
            block += rule.block(config)
        else:
            block += gated_mlp(hidden, config.size("intermediate_size"), bias=config.flag("mlp_bias"))
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    kinds = [(types[index], _step_heads(config, index, types[index]), mlps[index]) for index in range(count)]
    return causal_lm(config, each_kind(kinds, layer))


def enumerated_layers(config: Config, name: str) -> set[int] | None:
    """Layers that a file lists, as whole numbers or as text between commas ("3,4,5"); None where it does not."""
    listed = config.first(name)[1]
    if listed is None:
        return None
    items = listed.split(",") if isinstance(listed, str) else listed
    texts = [str(item).strip() for item in items] if isinstance(items, (list, tuple)) else ["?"]
    if not all(text.isdecimal() for text in texts if text):
        raise config.error(name, "It must list layers by number.")
    return {int(text) for text in texts if text}


def _step_heads(config: Config, index: int, kind: str) -> int:
    """Attention heads of a layer: sliding layers have their own number, here or in `per_layer_config`."""
    usual = config.size("num_attention_heads")
    if "per_layer_config" in config.fields:
        return config.layer(index).size("num_attention_heads")
    if kind != "sliding_attention":
        return usual
    other = config.sub("attention_other_setting").size("num_attention_heads", default=usual)
    return config.size("num_sliding_attention_heads", default=other)


def _padded(config: Config, name: str, count: int, beyond: int) -> tuple[str, ...] | None:
    """A list with an entry for each layer, perhaps also for each multi-token-prediction layer."""
    listed = config.sequence(name)
    if listed is None:
        return None
    return config.layer_types(count + beyond if len(listed) == count + beyond else count, name)


def _step_attention(config: Config, *, sliding: bool, head_count: int) -> Block:
    sizes = replace(heads(config), heads=head_count)
    bias = config.flag("attention_bias")
    block = attention(sizes, bias=bias, window=config.optional_size("sliding_window") if sliding else None)
    block += head_norms((("q_norm", sizes.head_dim), ("k_norm", sizes.head_dim)))
    gates = sizes.heads if config.first("gating")[1] in (True, None, "per-head") else sizes.heads * sizes.head_dim
    return block + linear("self_attn.g_proj", gates, sizes.hidden, Role.GATE)


def step3p7(pieces: Pieces, tree: Tree) -> None:
    """Step 3.7: one matrix from the downsampled features."""
    width = 4 * pieces.vision.size("width", "hidden_size")
    tree.linear("multi_modal_projector", pieces.text_size, width, bias=pieces.config.flag("projector_bias"))


def step3(config: Config) -> Parts:
    """Step-3: queries through a low rank, one key-value head a group, experts from `moe_layers_enum` on."""
    hidden, count, size = config.size("hidden_size"), config.layers(), config.size("head_dim")
    rank, queries = config.size("share_q_dim"), config.size("num_attention_heads")
    groups = config.size("num_attention_groups", default=1)
    whole = attention(Heads(hidden, queries, groups, size))
    block = linear("self_attn.q_proj", rank, hidden, Role.Q_A) + norm("self_attn.inter_norm", rank)
    block += linear("self_attn.wq", queries * size, rank, Role.Q_B)
    block += Block(tuple(t for t in whole.tensors if t.role is not Role.Q), whole.mixers)
    block += norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    text = config.text("moe_layers_enum")
    if text and not all(part.strip().isdecimal() for part in text.split(",")):
        raise config.error("moe_layers_enum", "It must be a list of layer numbers, parted by commas.")
    sparse = {int(part) for part in text.split(",")} if text else set(range(1, count))
    moe = Moe("moe_num_experts", "moe_top_k", prefix="moe.", stack="").block(config)
    moe += shared_mlp(config, config.size("share_expert_dim"), "share_expert.")
    dense = gated_mlp(hidden, config.size("intermediate_size"))
    assert moe.mlp is MlpKind.MOE
    return causal_lm(config, [block + (moe if index in sparse else dense) for index in range(count)])


def step3_vl(config: Config) -> Parts:
    """Step-3: a CLIP-like ViT behind its norms, two strided convolutions and a matrix beside the text model."""
    parts, vision = describe(config.sub("text_config"), "step3_text"), config.sub("vision_config")
    tower, joint = Tree("vision_model."), Tree("", tower=Tower.PROJECTOR)
    size, patch, out = vision.size("hidden_size"), vision.size("patch_size"), vision.size("output_hidden_size")
    embeddings = tower.at("embeddings")
    embeddings.parameter("class_embedding", 1, size)
    embeddings.conv("patch_embedding", size, vision.size("num_channels", default=3), patch, patch, bias=True)
    embeddings.positions("position_embedding", patches(vision) + 1, size)
    layer = tower.stack("transformer.layers", vision.layers())
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("self_attn").fused_attention(size, "qkv_proj out_proj")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"))
    joint.conv("vit_downsampler", out, size, 2, 2, bias=True)
    joint.conv("vit_downsampler2", 2 * out, out, 3, 3, bias=True)
    joint.linear("vit_large_projector", parts.hidden_size, 2 * out, bias=config.flag("projector_bias"))
    return with_towers(parts, tower, joint)


FAMILIES: dict[str, Family] = {
    "got_ocr2": Wrapper(strided),
    "step3p7": Wrapper(step3p7, VISION_MODEL, text_as=step3p5, flat=True),
    "step3_text": step3,
    "step3p5": step3p5,
    "step3_vl": step3_vl,
}
