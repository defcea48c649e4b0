"""Families of other makers that the common shapes describe in a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.attention import Heads, attention
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import one_matrix
from sizer.model.shapes.decoder import BARE, PRE_NORMS, QWEN2, SANDWICH_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.experts import FINE_GRAINED, FirstDense, Moe, each_expert, sparse_step
from sizer.model.shapes.family import Family, denoising, looping
from sizer.model.shapes.rules import PLAIN, QK_HEADS, UNBIASED, Attention, FusedAttention, Mlp, heads, output_gate
from sizer.model.shapes.windows import FULL, EveryNth, Window, one_window, typed_windows, window_of
from sizer.model.shapes.wrapper import AUDIO, VISION_MODEL, Pieces, Wrapper


def _differential(_config: Config, sizes: Heads) -> Block:
    """DiffLlama: four lambda vectors; its norm over pairs of heads has no weight."""
    lambdas = (parameter(f"self_attn.lambda_{name}", sizes.head_dim) for name in ("q1", "k1", "q2", "k2"))
    return sum(lambdas, Block())


def _hyperclovax_norms(config: Config) -> tuple[str, ...]:
    """HyperCLOVA X: `use_post_norm` adds a norm behind each half of a layer."""
    return (*PRE_NORMS, "post_norm1", "post_norm2") if config.flag("use_post_norm") else PRE_NORMS


def _xielu(config: Config, count: int) -> list[Block]:
    """Apertus: the activation xIELU has two learned scalars; its `beta` and `eps` are buffers."""
    block = Mlp("plain", bias=False).block(config, config.size("intermediate_size"))
    if config.text("hidden_act") == "xielu":
        block += parameter("mlp.act_fn.alpha_p", 1) + parameter("mlp.act_fn.alpha_n", 1)
    return [block] * count


def _beam_gate(config: Config, sizes: Heads) -> Block:
    return output_gate(config, sizes) + parameter("self_attn.gate_bias", sizes.heads)


def _beam_windows(config: Config, count: int) -> Sequence[Window]:
    """Beam: every sixth layer full, and the last."""
    windows = list(EveryNth(6)(config, count))
    if config.sequence("layer_types") is None:
        windows[-1] = FULL
    return windows


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


def aria(pieces: Pieces, tree: Tree) -> None:
    """Aria: learned queries attend to the patches, then a two-matrix MLP."""
    size = pieces.vision.size("hidden_size")
    table = pieces.config.mapping("projector_patch_to_query_dict") or {"1225": 128, "4900": 256}
    queries = [Config({"queries": value}, path="projector_patch_to_query_dict.") for value in table.values()]
    projector = tree.at("multi_modal_projector")
    projector.parameter("query", max(each.size("queries") for each in queries), size)
    cross = projector.at("cross_attn")
    for name, role in (("q_proj", Role.Q), ("k_proj", Role.K), ("v_proj", Role.V)):
        cross.linear(name, size, size, role)
    cross.parameter("multihead_attn.in_proj_weight", 3 * size, size, role=Role.QKV)
    cross.parameter("multihead_attn.in_proj_bias", 3 * size, role=Role.BIAS)
    cross.linear("multihead_attn.out_proj", size, size, Role.O, bias=True)
    cross.linear("linear", size, size, bias=True)
    cross.layer_norm("layer_norm", "layer_norm_kv", size=size)
    projector.layer_norm("layer_norm", size=size)
    projector.at("feed_forward").mlp(size, pieces.text_size, "linear_in linear_out", bias=False, out=pieces.text_size)


def lighton(pieces: Pieces, tree: Tree) -> None:
    """LightOn OCR: Mistral 3's projector without biases."""
    size = pieces.vision.size("hidden_size")
    projection = tree.at("vision_projection")
    projection.rms_norm("norm", size=size)
    merged = size * pieces.config.size("spatial_merge_size") ** 2
    projection.linear("patch_merger.merging_layer", size, merged)
    projection.mlp(size, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


def moss(pieces: Pieces, tree: Tree) -> None:
    """MOSS transcription: merged frames, two matrices and a norm."""
    width = pieces.audio.size("d_model") * pieces.config.size("audio_merge_size", default=4)
    projector = tree.at("multi_modal_projector")
    bias = pieces.config.flag("projector_bias", default=True)
    projector.mlp(width, pieces.text_size, "linear_1 linear_2", bias=bias, out=pieces.text_size)
    projector.layer_norm("norm", size=pieces.text_size)


def _exit_gate(config: Config) -> Block:
    """Ouro runs its layers several times; this decides when to stop."""
    return linear("model.early_exit_gate", 1, config.size("hidden_size"), Role.OTHER, True)


ORION = Decoder(Attention(), UNBIASED, norm_bias=True)


def arctic(config: Config) -> Parts:
    """Snowflake Arctic: a dense residual MLP beside the experts of every `moe_layer_frequency`th layer."""
    sizes, count = heads(config), config.layers()
    every = config.size("moe_layer_frequency", default=1)
    block = attention(sizes)
    block += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    parallel = config.flag("parallel_attn_mlp_res")
    names = ("w1", "w3", "w2")
    moe = Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=names)
    sparse = block + moe.block(config)
    if parallel:
        sparse += norm("residual_layernorm", sizes.hidden)
        sparse += gated_mlp(sizes.hidden, sizes.hidden, prefix="residual_mlp.", names=names)
    inner = config.size("intermediate_size")
    dense = block + gated_mlp(sizes.hidden, inner, prefix="block_sparse_moe.mlp.", names=names)
    return causal_lm(config, [sparse if (index + 1) % every == 0 else dense for index in range(count)])


FAMILIES: dict[str, Family] = {
    "iquestcoder": Decoder(),
    "apertus": Decoder(Attention(qk_norm="head"), _xielu, ("attention_layernorm", "feedforward_layernorm")),
    "diffllama": Decoder(Attention(plus=_differential), UNBIASED),
    "hyperclovax": Decoder(norms=_hyperclovax_norms),
    "jais2": Decoder(mlp=PLAIN, norm_bias=True),
    "nanochat": Decoder(mlp=Mlp("plain", bias=False, names=("fc1", "fc2")), norms=(), naming=Naming(final_norm=None)),
    "seed_oss": Decoder(Attention(o_bias="attention_out_bias")),
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
    "flint": Decoder(
        Attention(qk_norm="head", sinks=True, windows=_flint_windows),
        Moe(sparse=_flint_sparse, shared="shared_expert_intermediate_size", shared_name="shared_expert."),
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
            plus=each_expert("mlp.gate.e_score_correction_bias"),
        ),
    ),
    "mellum": Decoder(Attention(qk_norm="head", windows=typed_windows), Moe(sparse=FirstDense(None, 0))),
    "solar_open": Decoder(Attention(o_bias=False), replace(FINE_GRAINED, sparse=FirstDense(None, 0, typed=False))),
    "aria": Wrapper(aria),
    "lighton_ocr": Wrapper(lighton, (("vision_encoder", "vision_config"),)),
    "moss_transcribe_diarize": Wrapper(moss, AUDIO),
    "hyperclovax_vision_v2": Wrapper(one_matrix("projector", size="out_hidden_size"), VISION_MODEL),
    "baichuan": Decoder(FusedAttention(("W_pack", "o_proj"), bias=False), UNBIASED),
    "orion": ORION,
    "PanguEmbedded": Decoder(Attention(bias="bias"), UNBIASED),
    "xverse": BARE,
    "skywork": BARE,
    "aquila": BARE,
    "telechat3": Decoder(),
    "solar": Decoder(Attention(windows=one_window), Mlp()),
    "Dream": denoising(QWEN2),
    "sdar": denoising(Decoder(Attention(qk_norm="head"), UNBIASED)),
    "nanbeige": looping(Decoder(), "num_loops", 1),
    "kormo": Decoder(),
    "k2_horizon": BARE,
    "ouro": looping(replace(BARE, norms=SANDWICH_NORMS, plus=_exit_gate), "total_ut_steps", 4),
    "llada": denoising(BARE),
    "arctic": arctic,
}
