"""NVIDIA: Nemotron, Nemotron-H and Omni, Nemotron-NAS (DeciLM), Cosmos 3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sizer.model.architecture import MlpKind, Role, Tensor
from sizer.model.blocks.attention import Heads, attention
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import SHARED_ROLES, experts, gated_mlp, plain_mlp, router
from sizer.model.blocks.ssm import Mamba2Sizes, mamba2
from sizer.model.blocks.tree import Tree
from sizer.model.config import MIN_RATIO, Config
from sizer.model.registry import describe
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mixer_types
from sizer.model.shapes.rules import PLAIN, Attention, Mlp
from sizer.model.shapes.wrapper import VISUAL, Pieces, Wrapper

NEMOTRON_PATTERN = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}


def nemotron_h(config: Config) -> Parts:
    """Nemotron H: one mixer or MLP a layer, in the order that the pattern spells."""
    hidden = config.size("hidden_size")
    types = _nemotron_types(config, "layers_block_type", "hybrid_override_pattern")
    if types is None:
        types = ("linear_attention", "moe", "full_attention", "mlp")

    def layer(kind: str) -> Block:
        return norm("norm", hidden) + _nemotron_mixer(config, kind)

    return causal_lm(
        config,
        each_kind(types, layer),
        Naming(embed="embeddings", final_norm="norm_f"),
        extra_tensors=_nemotron_mtp(config, layer),
        tied=False,  # the class ties nothing, whatever the config says
    )


def _nemotron_types(config: Config, field: str, pattern_field: str) -> tuple[str, ...] | None:
    listed, pattern = config.sequence(field), config.text(pattern_field)
    if listed is not None:
        types = config.layer_types(len(listed), field) or ()
    elif pattern:
        if set(pattern) - NEMOTRON_PATTERN.keys():
            raise config.error(pattern_field, f"It must be made of {' '.join(NEMOTRON_PATTERN)}.")
        types = tuple(NEMOTRON_PATTERN[letter] for letter in pattern)
    else:
        return None
    mixer_types(config, field, types, tuple(NEMOTRON_PATTERN.values()))
    return types


def _nemotron_mixer(config: Config, kind: str) -> Block:
    """The one mixer of a Nemotron-H layer: Mamba 2, attention, an MLP or experts."""
    hidden, bias = config.size("hidden_size"), config.flag("mlp_bias")
    if kind == "linear_attention":
        return mamba2(
            hidden,
            Mamba2Sizes(
                config.size("mamba_num_heads"),
                config.size("mamba_head_dim"),
                config.size("mamba_n_groups", "n_groups"),
                config.size("ssm_state_size"),
                config.size("mamba_d_conv", "conv_kernel"),
            ),
            conv_bias=config.flag("mamba_conv_bias", "use_conv_bias", default=True),
            bias=config.flag("use_bias"),
        )
    if kind == "full_attention":
        return Attention(bias=False, o_bias=False, prefix="mixer.")(config, 1)[0]
    if kind == "mlp":
        return plain_mlp(hidden, config.size("intermediate_size"), prefix="mixer.", bias=bias)
    latent = config.optional_size("moe_latent_size")
    count, inner = config.size("n_routed_experts"), config.size("moe_intermediate_size")
    active = config.size("num_experts_per_tok")
    block = experts(latent or hidden, inner, count, active, prefix="mixer.experts.", gated=False)
    block += router(hidden, count, name="mixer.gate")
    shared = config.size("moe_shared_expert_intermediate_size")
    block += plain_mlp(hidden, shared, prefix="mixer.shared_experts.", bias=bias, roles=SHARED_ROLES[1:])
    if latent is not None:
        block += linear("mixer.fc1_latent_proj", latent, hidden, Role.OTHER, bias)
        block += linear("mixer.fc2_latent_proj", hidden, latent, Role.OTHER, bias)
    return block


def _nemotron_mtp(config: Config, layer: Callable[[str], Block]) -> tuple[Tensor, ...]:
    """Multi-token prediction: layers of the MTP pattern; the first fuses the embedding, the last has a norm."""
    repeats = config.size("num_nextn_predict_layers", default=0, minimum=0)
    if not repeats:
        return ()
    hidden = config.size("hidden_size")
    types = _nemotron_types(config, "mtp_layers_block_type", "mtp_hybrid_override_pattern")
    tensors: tuple[Tensor, ...] = ()
    for index, kind in enumerate(types or ("full_attention", "moe")):
        block = layer(kind)
        if index == 0:
            block += norm("enorm", hidden) + norm("hnorm", hidden)
            block += linear("eh_proj", hidden, 2 * hidden, Role.OTHER)
        if index == len(types or ("", "")) - 1:
            block += norm("final_layernorm", hidden)
        tensors += on_layers("mtp.layers.{layer}.", prefixed("", block, checkpoint_only=True), (index,))
    return tensors


cosmos3_edge_text = Decoder(mlp=Mlp("plain", names=("fc1", "fc2")))


def nemotron_omni(pieces: Pieces, tree: Tree) -> None:
    """Nemotron Omni: a norm and two matrices for merged patches, the same for sound where there is an encoder."""
    config, text = pieces.config, pieces.text_size
    side = int(1 / config.ratio("downsample_ratio", default=0.5))
    merged = config.size("vit_hidden_size", "vision_hidden_size") * side**2
    projector = tree.at("multi_modal_projector")
    projector.rms_norm("layer_norm", size=merged)
    projector.mlp(merged, config.size("projector_hidden_size"), "linear_1 linear_2", bias=False, out=text)


def cosmos3_edge(pieces: Pieces, tree: Tree) -> None:
    """Cosmos 3 Edge: a norm, then two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("projector")
    projector.layer_norm("norm", size=size)
    projector.mlp(merged, pieces.config.size("projector_hidden_size"), "linear_fc1 linear_fc2", out=pieces.text_size)


def decilm(config: Config) -> Parts:
    """DeciLM, NVIDIA's Nemotron-NAS: `block_configs` gives each layer its KV heads and MLP width, or none."""
    hidden, count = config.size("hidden_size"), config.size("num_attention_heads")
    listed = config.sequence("block_configs")
    if listed is None or len(listed) != config.layers():
        raise config.error("block_configs", f"It must have one entry for each of {config.layers()} layers.")
    made: dict[tuple[float | None, ...], Block] = {}
    blocks = []
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise config.error("block_configs", "Each entry must be an object.")
        layer = Config(entry, path=config.path + "block_configs.")
        mixer, mlp = layer.sub("attention"), layer.sub("ffn")
        kind = (
            *(part.flag(name) for part in (mixer, mlp) for name in ("no_op", "replace_with_linear")),
            *(mixer.optional_size(name) for name in ("n_heads_in_group", "window_length")),
            *(mlp.optional_size("intermediate_size"), mlp.number("ffn_mult", default=0.0)),
        )
        if kind not in made:
            made[kind] = _decilm_attention(config, mixer, hidden, count) + _decilm_mlp(config, mlp, hidden)
        blocks.append(made[kind])
    return causal_lm(config, blocks)


def _decilm_attention(config: Config, mixer: Config, hidden: int, count: int) -> Block:
    if mixer.flag("no_op"):
        return Block()
    block = norm(PRE_NORMS[0], hidden)
    bias = config.flag("attention_bias")
    if mixer.flag("replace_with_linear"):
        return block + linear("self_attn.linear_attn", hidden, hidden, Role.O, bias)
    group = mixer.size("n_heads_in_group")
    if count % group or hidden % count:
        raise mixer.error("n_heads_in_group", f"It must divide num_attention_heads ({count}).")
    size = config.size("head_dim", default=hidden // count)
    window = mixer.optional_size("window_length")
    return block + attention(Heads(hidden, count, count // group, size), bias=bias, window=window)


def _decilm_mlp(config: Config, mlp: Config, hidden: int) -> Block:
    if mlp.flag("no_op"):
        return Block()
    block = norm(PRE_NORMS[1], hidden)
    if mlp.flag("replace_with_linear"):
        return block + Block(mlp=MlpKind.DENSE) + linear("mlp.linear_mlp", hidden, hidden, Role.UP)
    inner = mlp.optional_size("intermediate_size")
    if inner is None:
        # As the repository's code: two thirds of a multiple of the hidden size, rounded up to a multiple of 256.
        factor = mlp.number("ffn_mult", default=0.0)
        if not MIN_RATIO <= factor <= 1 / MIN_RATIO:
            raise mlp.error("ffn_mult", f"It must be from {MIN_RATIO:g} to {1 / MIN_RATIO:g}.")
        inner = -(-int(2 * factor * hidden / 3) // 256) * 256
    return block + gated_mlp(hidden, inner, bias=config.flag("mlp_bias"))


def nv_embed(config: Config) -> Parts:
    """NV-Embed (arXiv:2405.17428): a Mistral that reads both ways, and a pooling attention to latents."""
    text, latent = config.sub("text_config"), config.sub("latent_attention_config")
    whole = describe(Config.of(text.fields, "mistral"), "mistral")
    tensors = tuple(tensor for tensor in whole.tensors if tensor.role is not Role.LM_HEAD)
    size, hidden = latent.size("latent_dim", default=4096), latent.size("hidden_dim", default=4096)
    heads = latent.size("num_cross_heads", default=8) * latent.size("cross_dim_head", default=4096)
    prefix = "latent_attention_model."
    pool = parameter(prefix + "latents", latent.size("num_latents_value", default=512), size)
    block = norm("norm", size, True) + norm("norm_context", hidden, True)
    block += linear("fn.to_q", heads, size, Role.OTHER) + linear("fn.to_kv", 2 * heads, hidden, Role.OTHER)
    block += linear("fn.to_out", size, heads, Role.OTHER)
    pool += prefixed(prefix + "cross_attend_blocks.0.", block)
    block = norm("norm", size, True) + linear("fn.net.0", 8 * size, size, Role.OTHER, True)
    pool += prefixed(prefix + "cross_attend_blocks.1.", block + linear("fn.net.2", size, 4 * size, Role.OTHER, True))
    return replace(whole, tensors=tensors + pool.tensors, tied=False).as_encoder()


FAMILIES: dict[str, Family] = {
    "nvembed": nv_embed,
    "nemotron": Decoder(mlp=PLAIN, norm_bias=True),
    "nemotron_h": nemotron_h,
    "nemotron_h_omni": Wrapper(
        nemotron_omni,
        (("vision_model", "vision_config"), ("audio_tower", "audio_config")),
        ties="never",
        prefix="",
        inner_head=True,
    ),
    "cosmos3_edge": Wrapper(cosmos3_edge, VISUAL, ties="never", text_as=cosmos3_edge_text),
    "cosmos3_omni": Wrapper(towers=VISUAL, text_as="qwen3"),
    "nemotron-nas": decilm,
    "deci": decilm,
}
