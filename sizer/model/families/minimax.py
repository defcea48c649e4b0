"""MiniMax: 01, M1, M2, M3, and their vision models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.linear_attention import lightning
from sizer.model.blocks.mlp import experts, fused_mlp, router
from sizer.model.blocks.towers.clip import clip
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import with_towers
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm
from sizer.model.shapes.experts import MIXTRAL, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import LINEAR_TYPES, each_kind, mixer_types
from sizer.model.shapes.rules import Attention, heads, one_each
from sizer.model.shapes.wrapper import Pieces, Wrapper


def minimax(config: Config) -> Parts:
    """MiniMax-01: lightning attention and full attention, experts in every layer."""
    hidden, count = config.size("hidden_size"), config.layers()
    types = config.layer_types(count)
    if types is None:
        types = tuple("linear_attention" if index % 2 else "full_attention" for index in range(count))
    mixer_types(config, "layer_types", types, LINEAR_TYPES)
    expert_count = config.size("num_local_experts")
    around = router(hidden, expert_count) + experts(
        hidden, config.size("intermediate_size"), expert_count, config.size("num_experts_per_tok")
    )
    around += norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    def layer(kind: str) -> Block:
        if kind == "linear_attention":
            sizes = heads(config)
            return lightning(hidden, sizes.heads, sizes.head_dim) + around
        return Attention(bias=False, o_bias=False)(config, 1)[0] + around

    return causal_lm(config, each_kind(types, layer))


def _m3_attention(config: Config, count: int) -> Sequence[Block]:
    """MiniMax-M3: block-sparse attention on the layers that have a lightning indexer."""
    old = config.mapping("sparse_attention_config")
    names = {
        "index_n_heads": "sparse_num_index_heads",
        "index_head_dim": "sparse_index_dim",
        "index_block_size": "sparse_block_size",
        "index_topk_blocks": "sparse_topk_blocks",
    }
    given = {name: old[legacy] for name, legacy in names.items() if legacy in old}
    index = Config({**config.fields, **given}, config.class_defaults, config.path)
    index.written |= {name: f"sparse_attention_config.{names[name]}" for name in given}
    types = config.layer_types(count)
    if types is None:
        within = config.sub("sparse_attention_config")
        flags = one_each(within, "sparse_attention_freq", count, old.get("sparse_attention_freq", (0,) * count))
        types = tuple("minimax_m3_sparse" if sparse else "full_attention" for sparse in flags)
    if set(types) - {"minimax_m3_sparse", "full_attention"}:
        raise config.error("layer_types", "Each must be full_attention or minimax_m3_sparse.")
    full = Attention(False, qk_norm="head")(config, 1)[0]
    blocks = {"full_attention": full}
    if "minimax_m3_sparse" in types:
        blocks["minimax_m3_sparse"] = _m3_sparse(index, full)
    return [blocks[kind] for kind in types]


def _m3_sparse(config: Config, full: Block) -> Block:
    number, size, hidden = (config.size(n) for n in ("index_n_heads", "index_head_dim", "hidden_size"))
    selected = config.size("index_topk_blocks") * config.size("index_block_size")
    mixer = replace(full.mixers[0], selected_tokens=selected, indexer_elements=size)
    prefix = "self_attn.indexer."
    block = linear(prefix + "q_proj", number * size, hidden, Role.INDEXER)
    block += linear(prefix + "k_proj", size, hidden, Role.INDEXER)
    return replace(full, mixers=(mixer,)) + block + norm(prefix + "q_norm", size) + norm(prefix + "k_norm", size)


def _m3_mlp(config: Config, count: int) -> Sequence[Block]:
    """MiniMax-M3: experts and a fused shared expert, or a fused MLP, by `mlp_layer_types` or `moe_layer_freq`."""
    types = config.layer_types(count, "mlp_layer_types")
    flags = [kind == "sparse" for kind in types] if types else [True] * count
    frequency = config.first("moe_layer_freq")[1]
    if types is None and frequency is not None:
        flags = [bool(value) for value in one_each(config, "moe_layer_freq", count, frequency)]
    hidden = config.size("hidden_size")
    moe = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=("w1", "w3", "w2"))
    roles = (Role.SHARED_GATE_UP, Role.SHARED_DOWN)
    inner = config.size("shared_intermediate_size", minimum=0)
    shared = fused_mlp(hidden, inner, prefix="mlp.shared_experts.", roles=roles) if inner else Block()
    routed = moe.block(config) + shared if any(flags) else Block()
    dense = Block() if all(flags) else fused_mlp(hidden, config.size("dense_intermediate_size"))
    return [routed if sparse else dense for sparse in flags]


def minimax_m3_projector(pieces: Pieces, tree: Tree) -> None:
    """MiniMax-M3: a two-matrix projector for patches, another for merged patches."""
    inner, size = pieces.config.size("projector_hidden_size"), pieces.text_size
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("multi_modal_projector")
    projector.mlp(pieces.vision.size("hidden_size"), inner, "linear_1 linear_2", out=size)
    projector.mlp(merged, inner, "merge_linear_1 merge_linear_2", out=size)


def minimax01(config: Config) -> Parts:
    """MiniMax-Text-01 and M1: lightning attention but for every layer whose `attn_type_list` entry is 1."""
    count, kinds = config.layers(), config.sequence("attn_type_list")
    if kinds is None or len(kinds) < count:
        raise config.error("attn_type_list", f"It must have a 0 or 1 for each of {count} layers.")
    types = ["full_attention" if kind == 1 else "linear_attention" for kind in kinds[:count]]
    fields = {**config.fields, "layer_types": types}
    return minimax(Config(fields, config.class_defaults, config.path))


def minimax_m3(config: Config) -> Parts:
    """The text part of MiniMax-M3 alone."""
    return describe(Config.of(config.fields, "minimax_m3_vl_text"), "minimax_m3_vl_text")


def minimax_vl(config: Config) -> Parts:
    """MiniMax-VL-01: LLaVA-NeXT's parts beside MiniMax-Text-01; CLIP's last norm is not stored."""
    parts = describe(config.sub("text_config"), "minimax_text_01")
    vision = config.sub("vision_config")
    tower, joint = Tree("vision_tower.vision_model."), Tree("", tower=Tower.PROJECTOR)
    clip(vision, tower, last_norm=False)
    joint.parameter("image_newline", parts.hidden_size)
    joint.at("multi_modal_projector").mlp(
        vision.size("hidden_size"), parts.hidden_size, "linear_1 linear_2", out=parts.hidden_size
    )
    return with_towers(parts, tower, joint, prefix="language_model.")


FAMILIES: dict[str, Family] = {
    "minimax": minimax,
    "minimax_m3_vl_text": Decoder(_m3_attention, _m3_mlp),
    "minimax_m2": Decoder(
        Attention(bias=False, qk_norm="width"),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
    ),
    "minimax_m3_vl": Wrapper(minimax_m3_projector, ties="either"),
    "minimax_text_01": minimax01,
    "minimax_m1": minimax01,
    "minimax_m3": minimax_m3,
    "minimax_vl_01": minimax_vl,
}
