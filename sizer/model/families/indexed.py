"""Decoders in which some layers attend through an indexer and others do not: MiniMax-M3, dots.note."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import fused_mlp
from sizer.model.config import Config
from sizer.model.families.decoder import Decoder
from sizer.model.families.experts import FirstDense, Mla, Moe, sparse_mla
from sizer.model.families.rules import UNBIASED, Attention


def _listed(config: Config, name: str, count: int, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise config.error(name, f"It must have one entry for each of {count} layers.")
    return tuple(value)


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
        flags = _listed(within, "sparse_attention_freq", count, old.get("sparse_attention_freq", (0,) * count))
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
        flags = [bool(value) for value in _listed(config, "moe_layer_freq", count, frequency)]
    hidden = config.size("hidden_size")
    moe = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=("w1", "w3", "w2"))
    roles = (Role.SHARED_GATE_UP, Role.SHARED_DOWN)
    inner = config.size("shared_intermediate_size", minimum=0)
    shared = fused_mlp(hidden, inner, prefix="mlp.shared_experts.", roles=roles) if inner else Block()
    routed = moe.block(config) + shared if any(flags) else Block()
    dense = Block() if all(flags) else fused_mlp(hidden, config.size("dense_intermediate_size"))
    return [routed if sparse else dense for sparse in flags]


def _dots_sparse(config: Config, count: int) -> Sequence[bool]:
    """dots.note: `moe_layer_freq` may be a list of flags."""
    frequency = config.fields.get("moe_layer_freq")
    if isinstance(frequency, (list, tuple)) and config.sequence("mlp_layer_types") is None:
        first = config.size("first_k_dense_replace", default=1, minimum=0)
        flags = _listed(config, "moe_layer_freq", count, frequency)
        return [index >= first and bool(value) for index, value in enumerate(flags)]
    return FirstDense(first=1, every="moe_layer_freq")(config, count)


def _dots_types(config: Config, count: int) -> tuple[str, ...]:
    """dots.note: the kind of each layer; `use_dsa` turns full attention into indexed or back."""
    legacy = None if "per_layer_config" in config.fields else True
    given = config.fields.get("use_dsa", legacy)
    types = config.layer_types(count)
    if types is None:
        windows = config.flag("use_sliding_window", default=True)
        full = "full_attention" if given is False else "indexed_attention"
        types = tuple(full if not windows or i < 2 or i % 4 == 1 else "sliding_attention" for i in range(count))
    if given is not None:
        old, new = ("full_attention", "indexed_attention") if given else ("indexed_attention", "full_attention")
        types = tuple(new if kind == old else kind for kind in types)
    return types


DOTS_WINDOWED = {
    "num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 1024, "kv_lora_rank": 1024,
    "head_dim": 256, "qk_nope_head_dim": 192, "v_head_dim": 128,
}  # fmt: skip
"""What transformers' Dots3NoteTextConfig takes for the `swa_` fields of windowed layers that a file leaves out."""


def _dots_attention(config: Config, count: int) -> Sequence[Block]:
    """dots.note: latent attention whose windowed layers have ranks and head sizes of their own (`swa_…`)."""
    types, hidden = _dots_types(config, count), config.size("hidden_size")
    swa = {name: config.fields.get(f"swa_{name}", default) for name, default in DOTS_WINDOWED.items()}
    swa["qk_rope_head_dim"] = config.fields.get("swa_qk_rope_head_dim", swa["head_dim"] - swa["qk_nope_head_dim"])
    window = config.optional_size("sliding_window") or config.size("sliding_window_size", default=512)
    blocks: dict[str, Block] = {}
    for kind in dict.fromkeys(types):
        own = config.layer(types.index(kind))
        if kind == "sliding_attention" and "per_layer_config" not in config.fields:
            own = Config({**config.fields, **swa}, config.class_defaults, config.path)
        block = Mla().block(own)
        if own.optional_size("q_lora_rank") is None:
            raise own.error("q_lora_rank", "This family's queries have a low rank.")
        block += norm("self_attn.k_rope_only_layernorm", own.size("qk_rope_head_dim"))
        block += linear("self_attn.g_proj", own.size("num_attention_heads"), hidden, Role.GATE)
        if kind == "indexed_attention":
            block = sparse_mla(block, own, indexed=True)
        elif kind == "sliding_attention":
            block = replace(block, mixers=(replace(block.mixers[0], window_tokens=window),))
        elif kind != "full_attention":
            raise config.error("layer_types", f"{kind!r} is no attention layer of this family.")
        blocks[kind] = block
    return [blocks[kind] for kind in types]


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "dots3_note_text": Decoder(
        _dots_attention,
        Moe(
            "n_routed_experts",
            sparse=_dots_sparse,
            dense=UNBIASED,
            shared=("shared_experts_intermediate_size", "n_shared_experts"),
        ),
    ),
    "minimax_m3_vl_text": Decoder(_m3_attention, _m3_mlp),
}
