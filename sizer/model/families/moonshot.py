"""Moonshot: Kimi K2, K2.5 and K3, Kimi Linear, Kimi-VL."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.attention import mla
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.linear_attention import DeltaSizes, kimi_delta
from sizer.model.blocks.mlp import MOE, experts, gated_mlp, router, shared_expert
from sizer.model.blocks.towers.images import pair
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import with_towers
from sizer.model.shapes.decoder import PRE_NORMS, causal_lm, joined
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import kimi_deltas, sparse_layers
from sizer.model.shapes.latent import DEEPSEEK_V3, latent_attention
from sizer.model.shapes.wrapper import Pieces, Wrapper


def kimi_types(config: Config, count: int) -> Sequence[str]:
    """`layer_types`, else the layer lists of `linear_attn_config` (counted from one), else every fourth full."""
    types = config.layer_types(count)
    if types is not None:
        return types
    listed = config.sub("linear_attn_config")
    full, linear_layers = listed.sequence("full_attn_layers", int), listed.sequence("kda_layers", int)
    if full is None or linear_layers is None:
        return tuple("full_attention" if index and index % 4 == 0 else "linear_attention" for index in range(count))
    if sorted((*full, *linear_layers)) != list(range(1, count + 1)):
        raise listed.error("kda_layers", f"With full_attn_layers it must name each of {count} layers once.")
    return tuple("full_attention" if index + 1 in full else "linear_attention" for index in range(count))


def kimi_linear(config: Config) -> Parts:
    """Kimi Linear."""
    listed = config.sub("linear_attn_config")
    head_count = listed.size("num_heads", default=config.size("linear_num_heads"))
    delta = kimi_delta(
        config.size("hidden_size"),
        head_count,
        listed.size("head_dim", default=config.size("linear_head_dim")),
        listed.size("short_conv_kernel_size", default=config.size("linear_conv_kernel_dim")),
        low_rank=True,
        decay=(1, 1, head_count, 1),
    )
    return kimi_deltas(config, kimi_types(config, config.layers()), 1, delta, latent_attention(config))


def kimi_k25(pieces: Pieces, tree: Tree) -> None:
    """Kimi K2.5: a norm and two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    height, width = pair(pieces.vision, "merge_kernel_size", 2)
    projector = tree.at("mm_projector")
    projector.layer_norm("pre_norm", size=pieces.config.size("projection_hidden_size", default=size))
    merged = size * height * width
    projector.mlp(merged, merged, "in_proj out_proj", out=pieces.text_size)


K3_TOWER_NOTE = (
    "The vision tower follows from its config and the published total, which holds 8,352 parameters more than these."
)


def _k3_delta(config: Config) -> Block:
    """Kimi delta attention; the output gate is a full matrix where `use_full_rank_gate` says so."""
    listed, hidden = config.sub("linear_attn_config"), config.size("hidden_size")
    heads, size = listed.size("num_heads"), listed.size("head_dim")
    width, kernel = heads * size, listed.size("short_conv_kernel_size")
    block = Block(mixers=DeltaSizes(hidden, heads, heads, size, size, kernel).mixer().mixers)
    for name, role in (("q", Role.Q), ("k", Role.K), ("v", Role.V)):
        block += linear(f"self_attn.{name}_proj", width, hidden, role)
        block += parameter(f"self_attn.{name}_conv1d.weight", width, 1, kernel, role=Role.CONV)
    block += linear("self_attn.f_a_proj", size, hidden, Role.SSM) + linear("self_attn.f_b_proj", width, size, Role.SSM)
    block += parameter("self_attn.dt_bias", width, role=Role.SSM)
    block += parameter("self_attn.A_log", 1, 1, heads, 1, role=Role.SSM)
    block += linear("self_attn.b_proj", heads, hidden, Role.SSM)
    if listed.flag("use_full_rank_gate"):
        block += linear("self_attn.g_proj", width, hidden, Role.GATE)
    else:
        block += linear("self_attn.g_a_proj", size, hidden, Role.GATE)
        block += linear("self_attn.g_b_proj", width, size, Role.GATE)
    return block + norm("self_attn.o_norm", size) + linear("self_attn.o_proj", hidden, width, Role.O)


def _k3_latent(config: Config) -> Block:
    hidden, heads, size = config.size("hidden_size"), config.size("num_attention_heads"), config.size("v_head_dim")
    block = mla(
        hidden, heads, q_lora_rank=config.optional_size("q_lora_rank"), kv_lora_rank=config.size("kv_lora_rank"),
        nope=config.size("qk_nope_head_dim"), rope=config.size("qk_rope_head_dim"), v_head_dim=size,
    )  # fmt: skip
    if config.flag("mla_use_output_gate"):
        block += linear("self_attn.g_proj", heads * size, hidden, Role.GATE)
    return block


def _k3_experts(config: Config) -> Block:
    """Experts of `routed_expert_hidden_size` between two projections of the whole hidden size, beside shared ones."""
    prefix, hidden, inner = "block_sparse_moe.", config.size("hidden_size"), config.size("moe_intermediate_size")
    count, active = config.size("num_experts"), config.size("num_experts_per_token", "num_experts_per_tok")
    latent = config.size("routed_expert_hidden_size", default=hidden)
    block = MOE + router(hidden, count, name=prefix + "gate")
    if latent != hidden:
        block += linear(prefix + "routed_expert_down_proj", latent, hidden, Role.OTHER)
        block += linear(prefix + "routed_expert_up_proj", hidden, latent, Role.OTHER)
        if config.flag("latent_moe_use_norm"):
            block += norm(prefix + "routed_expert_norm", latent)
    block += experts(latent, inner, count, active, prefix=prefix + "experts.", names=("w1", "w3", "w2"))
    shared = config.size("num_shared_experts", default=0, minimum=0)
    return block + (shared_expert(hidden, shared * inner, prefix=prefix + "shared_experts.") if shared else Block())


def _k3_residual(name: str, hidden: int) -> Block:
    """What attends over the residuals of earlier blocks of layers: a norm and one query."""
    return norm(f"{name}_norm", hidden) + linear(f"{name}_proj", 1, hidden, Role.OTHER)


def kimi_k3_text(config: Config) -> Parts:
    """The text part of Kimi K3."""
    count, hidden = config.layers(), config.size("hidden_size")
    delta, latent = _k3_delta(config), _k3_latent(config)
    mixers = [latent if kind == "full_attention" else delta for kind in kimi_types(config, count)]
    dense, sparse = gated_mlp(hidden, config.size("intermediate_size")), _k3_experts(config)
    mlps = [sparse if is_sparse else dense for is_sparse in sparse_layers(config, count, 1)]
    more = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    outside = None
    if config.optional_size("attn_res_block_size") is not None:
        more += _k3_residual("self_attention_res", hidden) + _k3_residual("mlp_res", hidden)
        outside = _k3_residual("model.output_attn_res", hidden)
    return causal_lm(config, joined(mixers, mlps, (more,) * count), extra=outside)


def kimi_k3(config: Config) -> Parts:
    """Kimi K3 with its vision tower: MoonViT with RMS norms and no biases, and a merger of 2 x 2 patches."""
    parts = kimi_k3_text(config.sub("text_config"))
    vision = config.sub("vision_config")
    size, inner = vision.size("vt_hidden_size"), vision.size("vt_intermediate_size")
    width, patch = vision.size("qkv_hidden_size", default=size), vision.size("patch_size")
    tower, joint = Tree("vision_tower."), Tree("mm_projector.", tower=Tower.PROJECTOR)
    tower.at("patch_embed").conv("proj", size, 3, patch, patch, bias=vision.flag("patch_embed_proj_bias"))
    rows, columns = (vision.size(f"init_pos_emb_{side}") for side in ("height", "width"))
    tower.parameter("patch_embed.pos_emb.weight", rows, columns, size, role=Role.POSITION)
    bias = vision.flag("attn_bias")
    layer = tower.stack("encoder.blocks", vision.layers("vt_num_hidden_layers"))
    layer.linear("wqkv", 3 * width, size, Role.QKV, bias=bias)
    layer.linear("wo", size, width, Role.O, bias=bias)
    layer.at("mlp").mlp(size, inner, "fc0 fc1", bias=vision.flag("linear_bias"))
    layer.rms_norm("norm0", "norm1", size=size)
    tower.rms_norm("encoder.final_layernorm", size=size)
    merged = size * prod(pair(vision, "merge_kernel_size", 2))
    joint.rms_norm("pre_norm", size=size)
    joint.linear("proj.0", merged, merged)
    joint.linear("proj.2", parts.hidden_size, merged)
    return with_towers(parts, tower, joint, prefix="language_model.", notes=(K3_TOWER_NOTE,))


def kimi_vl(config: Config) -> Parts:
    """Kimi-VL: MoonViT, a 2 x 2 merge and two linear layers beside DeepSeek-V3's shape."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    parts = describe(Config(text.fields, Config.of({}, "deepseek_v3").class_defaults, text.path), "deepseek_v3")
    tower, joint = Tree("vision_tower."), Tree("multi_modal_projector.", tower=Tower.PROJECTOR)
    size, patch = vision.size("hidden_size"), vision.size("patch_size")
    rows, columns = (vision.size(f"init_pos_emb_{side}", default=64) for side in ("height", "width"))
    tower.at("patch_embed").conv("proj", size, 3, patch, patch, bias=True)
    tower.at("patch_embed").parameter("pos_emb.weight", rows, columns, size, role=Role.POSITION)
    layer = tower.stack("encoder.blocks", vision.layers())
    layer.layer_norm("norm0", "norm1", size=size)
    layer.fused_attention(size, "wqkv wo")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"), "fc0 fc1")
    tower.layer_norm("encoder.final_layernorm", size=size)
    joint.layer_norm("pre_norm", size=size)
    joint.linear("linear_1", 4 * size, 4 * size, bias=True)
    joint.linear("linear_2", parts.hidden_size, 4 * size, bias=True)
    return with_towers(parts, tower, joint, prefix="language_model.")


FAMILIES: dict[str, Family] = {
    "kimi_linear": kimi_linear,
    "kimi_k25": Wrapper(kimi_k25),
    "kimi_k3": kimi_k3,
    "kimi_k2": DEEPSEEK_V3,
    "kimi_vl": kimi_vl,
}
