"""Decoders with a mixture of experts on some or all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Role, Tensor, Tower
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.families.decoder import POST_NORMS, PRE_NORMS, SANDWICH_NORMS, Decoder
from sizer.model.families.experts import FINE_GRAINED, FirstDense, Moe, Mtp, shared_gate, shared_mlp, sparse_step
from sizer.model.families.rules import QK_HEADS, UNBIASED, Attention, Heads, Mlp, heads, output_gate
from sizer.model.families.windows import (
    FULL,
    EveryNth,
    Window,
    one_window,
    typed_windows,
    window_of,
)

MIXTRAL = ("w1", "w3", "w2")


def _experts_of(name: str) -> Callable[[Config, int], Block]:
    """One learned number for each expert, under `name` (a parameter in these families, a buffer elsewhere)."""
    return lambda _config, experts: parameter(name, experts)


def _beam_gate(config: Config, sizes: Heads) -> Block:
    return output_gate(config, sizes) + parameter("self_attn.gate_bias", sizes.heads)


def _beam_windows(config: Config, count: int) -> Sequence[Window]:
    """Beam: every sixth layer full, and the last."""
    windows = list(EveryNth(6)(config, count))
    if config.sequence("layer_types") is None:
        windows[-1] = FULL
    return windows


def _cohere2_moe_windows(config: Config, count: int) -> Sequence[Window]:
    """Cohere2-MoE: one pattern for the dense layers in front, counted apart from that of the rest."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    if types is None:
        front = config.size("first_k_dense_replace", default=0, minimum=0)
        patterns = (config.size("prefix_dense_sliding_window_pattern"), config.size("sliding_window_pattern"))
        places = [(index, patterns[0]) for index in range(front)]
        places += [(index, patterns[1]) for index in range(count - front)]
        types = tuple("sliding_attention" if (index + 1) % every else "full_attention" for index, every in places)
    return tuple(window_of(config, name, window) for name in types)


def _cohere2_dense(config: Config, count: int) -> Sequence[Block]:
    inner = config.optional_size("prefix_dense_intermediate_size") or config.size("intermediate_size")
    sparse = FirstDense()(config, count)
    moe = Moe(inner="intermediate_size", shared=("intermediate_size", "num_shared_experts"))
    routed, dense = moe.block(config) if any(sparse) else Block(), UNBIASED.block(config, inner)
    return [routed if is_sparse else dense for is_sparse in sparse]


def _flint_windows(config: Config, count: int) -> Sequence[Window]:
    """Flint: the first two, every fourth from the second and the last layer are full."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    if types is None:
        full = [index < 2 or index % 4 == 1 or index == count - 1 for index in range(count)]
        types = tuple("full_attention" if is_full else "sliding_attention" for is_full in full)
    return tuple(window_of(config, name, window) for name in types)


def _flint_sparse(config: Config, count: int) -> Sequence[bool]:
    """As Qwen-MoE, but the first two layers are dense where the file does not say."""
    if config.sequence("mlp_only_layers") is not None:
        return sparse_step(config, count)
    return [index >= 2 and sparse for index, sparse in enumerate(sparse_step(config, count))]


def _qwen2_moe_windows(config: Config, count: int) -> Sequence[Window]:
    """Qwen2-MoE: with `use_sliding_window`, every other layer below `max_window_layers` has a window."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    types = config.layer_types(count)
    if types is None:
        last = config.size("max_window_layers", default=count, minimum=0)
        types = tuple("sliding_attention" if (i + 1) % 2 and i < last else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)


def _qwen3_moe_windows(config: Config, count: int) -> Sequence[Window]:
    return one_window(config, count) if config.flag("use_sliding_window") else (FULL,) * count


def _dots1_windows(config: Config, count: int) -> Sequence[Window]:
    """Dots1: windows from layer `max_window_layers` on."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    first = config.size("max_window_layers", default=count, minimum=0)
    types = types or tuple("sliding_attention" if i >= first else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)


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


def _granite_shared(config: Config, _experts: int) -> Block:
    """Granite's shared MLP: gate and up in one projection, if `shared_intermediate_size` is not nought."""
    inner, hidden = config.size("shared_intermediate_size", minimum=0), config.size("hidden_size")
    if not inner:
        return Block()
    return linear("shared_mlp.input_linear", 2 * inner, hidden, Role.SHARED_GATE_UP) + linear(
        "shared_mlp.output_linear", hidden, inner, Role.SHARED_DOWN
    )


GRANITE = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", router="router.layer")


def _laguna_attention(config: Config, count: int) -> Sequence[Block]:
    """Laguna: heads may differ by layer; an output gate a head, or one for each dimension of a head."""
    listed = config.sequence("num_attention_heads_per_layer", int)
    if listed is None:
        listed = (config.size("num_attention_heads"),) * count
    if len(listed) != count:
        raise config.error("num_attention_heads_per_layer", f"It must have one entry for each of {count} layers.")
    gating = config.first("gating")[1]
    if gating not in (None, True, False) and not isinstance(gating, str):
        raise config.error("gating", "It must be true, false or a kind of gate (per-head).")
    windows = typed_windows(config, count)

    def gate(_config: Config, sizes: Heads) -> Block:
        width = sizes.heads if gating in (True, "per-head") else sizes.heads * sizes.head_dim
        return linear("self_attn.g_proj", width, sizes.hidden, Role.GATE)

    rule = replace(QK_HEADS, plus=gate)
    blocks: dict[tuple[int, Window], Block] = {}
    for key in zip(listed, windows, strict=True):
        if key not in blocks:
            layer = Config({**config.fields, "num_attention_heads": key[0]}, config.class_defaults, config.path)
            blocks[key] = rule.block(layer, key[1])
    return [blocks[key] for key in zip(listed, windows, strict=True)]


def _mimo_attention(config: Config, count: int) -> Sequence[Block]:
    """MiMo-V2-Flash: sliding layers have sinks and twice the KV heads; values have a head size of their own."""
    types = config.layer_types(count) or tuple(
        "full_attention" if index == 0 or not (index + 1) % 6 else "sliding_attention" for index in range(count)
    )
    declared = config.optional_size("sliding_window_size")
    window = config.optional_size("sliding_window") if declared is None else declared + 1
    sizes, bias = heads(config), config.flag("attention_bias")
    blocks = {
        name: attention(
            sizes.hidden, sizes.heads, sizes.kv_heads * (2 if name == "sliding_attention" else 1), sizes.head_dim,
            v_head_dim=config.size("v_head_dim"), bias=bias, o_bias=False, sinks=name == "sliding_attention",
            window=window_of(config, name, window)[1],
        )
        for name in dict.fromkeys(types)
    }  # fmt: skip
    return [blocks[name] for name in types]


def _olmoe_norms(_config: Config, sizes: Heads) -> Block:
    size = sizes.hidden // sizes.heads
    return norm("self_attn.q_norm", sizes.hidden) + norm("self_attn.k_norm", size * sizes.kv_heads)


def _hunyuan_shared(config: Config, _experts: int) -> Block:
    return shared_mlp(config, config.size("intermediate_size"), "mlp.shared_mlp.")


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "afmoe": Decoder(
        Attention(qk_norm="head", windows=EveryNth(4, "global_attn_every_n_layers"), plus=output_gate),
        Moe(
            sparse=FirstDense("num_dense_layers", typed=False),
            shared=("moe_intermediate_size", "num_shared_experts"),
            router="router.gate",
            router_linear=True,
            plus=_experts_of("mlp.expert_bias"),
        ),
        (*PRE_NORMS, "pre_mlp_layernorm", "post_mlp_layernorm"),
    ),
    "aria_text": Decoder(
        mlp=Moe(
            "moe_num_experts",
            "moe_topk",
            "intermediate_size",
            shared=("intermediate_size", "moe_num_shared_experts"),
            shared_bias="mlp_bias",
            router="router",
        )
    ),
    "beam": Decoder(
        Attention(qk_norm="head", windows=_beam_windows, plus=_beam_gate),
        Moe(sparse=FirstDense(None, 3)),
        SANDWICH_NORMS,
    ),
    "cohere2_moe": Decoder(Attention(windows=_cohere2_moe_windows), _cohere2_dense, PRE_NORMS[:1]),
    "dots1": Decoder(Attention(qk_norm="head", windows=_dots1_windows), FINE_GRAINED),
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
    "exaone_moe": Decoder(
        Attention(bias=False, qk_norm="head", windows=EveryNth(4, "sliding_window_pattern")),
        Moe(sparse=FirstDense(first=1), shared=("moe_intermediate_size", "num_shared_experts")),
    ),
    "flex_olmo": Decoder(Attention(qk_norm="width"), Moe(inner="intermediate_size"), POST_NORMS),
    "flint": Decoder(
        Attention(qk_norm="head", sinks=True, windows=_flint_windows),
        Moe(sparse=_flint_sparse, shared="shared_expert_intermediate_size", shared_name="shared_expert."),
    ),
    "glm4_moe": Decoder(
        Attention(qk_norm="head", norm_if="use_qk_norm", o_bias=False, floor_heads=True),
        FINE_GRAINED,
        beyond=Mtp(),
    ),
    "gpt_oss": Decoder(
        Attention(sinks=True, windows=EveryNth(2)),
        Moe("num_local_experts", inner="intermediate_size", bias=True, router="router", router_bias=True),
    ),
    "granitemoe": Decoder(mlp=GRANITE),
    "granitemoe_swa": Decoder(
        Attention(sinks=True, windows=EveryNth(4, last_full=False)), replace(GRANITE, plus=_granite_shared)
    ),
    "granitemoeshared": Decoder(mlp=replace(GRANITE, plus=_granite_shared)),
    "hunyuan_v1_moe": Decoder(
        Attention(qk_norm="head", qk_names=("query_layernorm", "key_layernorm")),
        Moe(active="moe_topk", inner="intermediate_size", router="gate.wg", router_linear=True, plus=_hunyuan_shared),
    ),
    "hy_v3": Decoder(
        QK_HEADS,
        Moe(
            sparse=FirstDense(None, 1),
            dense=Mlp(),
            shared=("moe_intermediate_size", "num_shared_experts"),
            shared_bias="mlp_bias",
        ),
    ),
    "kolibri1": Decoder(
        Attention(bias=False, qk_norm="head", windows=EveryNth(5)),
        Moe(shared="shared_expert_intermediate_size"),
        (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm"),
    ),
    "laguna": Decoder(
        _laguna_attention,
        Moe(
            sparse=FirstDense(None, 1),
            shared="shared_expert_intermediate_size",
            plus=_experts_of("mlp.gate.e_score_correction_bias"),
        ),
    ),
    "mellum": Decoder(Attention(qk_norm="head", windows=typed_windows), Moe(sparse=FirstDense(None, 0))),
    "mimo_v2_flash": Decoder(_mimo_attention, Moe("n_routed_experts", sparse=FirstDense(None, 1))),
    "minimax_m2": Decoder(
        Attention(bias=False, qk_norm="width"),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
    ),
    "mixtral": Decoder(
        Attention(bias=False, windows=one_window),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
    ),
    "olmoe": Decoder(Attention(plus=_olmoe_norms), Moe(inner="intermediate_size")),
    "phimoe": Decoder(
        Attention(windows=one_window),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
        norm_bias=True,
        head_bias="lm_head_bias",
    ),
    "qwen2_moe": Decoder(
        Attention(bias="qkv_bias", o_bias=False, windows=_qwen2_moe_windows),
        Moe(
            sparse=sparse_step,
            shared="shared_expert_intermediate_size",
            shared_name="shared_expert.",
            plus=shared_gate,
        ),
    ),
    "qwen3_moe": Decoder(Attention(qk_norm="head", windows=_qwen3_moe_windows), Moe(sparse=sparse_step)),
    "solar_open": Decoder(Attention(o_bias=False), replace(FINE_GRAINED, sparse=FirstDense(None, 0, typed=False))),
}
