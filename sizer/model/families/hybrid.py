"""State-space models and their hybrids with attention: Mamba, Jamba, Bamba, Falcon H1, Granite 4, Nemotron H."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import ceil
from typing import TypeVar

from sizer.model.architecture import Role, Tensor
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, prefixed
from sizer.model.blocks.mlp import SHARED_ROLES, experts, fused_mlp, gated_mlp, plain_mlp, router
from sizer.model.blocks.ssm import mamba, mamba2
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm
from sizer.model.families.rules import Attention

Kind = TypeVar("Kind", bound=Hashable)


def each_kind(kinds: Sequence[Kind], make: Callable[[Kind], Block]) -> list[Block]:
    """One Block a layer, built once for each kind: `kinds[i]` is all that layer i depends on."""
    blocks = {kind: make(kind) for kind in dict.fromkeys(kinds)}
    return [blocks[kind] for kind in kinds]


def mixer_types(config: Config, name: str, types: Sequence[str], allowed: Sequence[str]) -> Sequence[str]:
    """`types` where each is one of `allowed`; else the error names the field."""
    for kind in types:
        if kind not in allowed:
            raise config.error(name, f"{kind!r} is no layer of this family; it has {', '.join(allowed)}.")
    return types


def dt_rank(config: Config, field: str, hidden: int) -> int:
    """Rank of Mamba's time step; `auto` is a sixteenth of the hidden size."""
    return ceil(hidden / 16) if config.get(field) == "auto" else config.size(field)


def mamba1(config: Config) -> Parts:
    """Mamba and Falcon Mamba (whose extra norms have no weights)."""
    hidden = config.size("hidden_size")
    inner = config.size("intermediate_size", default=config.scaled(hidden, "expand", default=2))
    block = norm("norm", hidden) + mamba(
        hidden,
        inner,
        states=config.size("state_size"),
        kernel=config.size("conv_kernel"),
        rank=dt_rank(config, "time_step_rank", hidden),
        conv_bias=config.flag("use_conv_bias", default=True),
        bias=config.flag("use_bias"),
    )
    return causal_lm(config, [block] * config.layers(), prefix="backbone.", embed="embeddings", final_norm="norm_f")


def mamba_2(config: Config) -> Parts:
    """Mamba 2."""
    hidden, heads, head_dim = config.size("hidden_size"), config.size("num_heads"), config.size("head_dim")
    if config.scaled(hidden, "expand", default=2) != heads * head_dim:
        raise config.error("num_heads", f"num_heads * head_dim must be expand * hidden_size ({hidden}).")
    block = norm("norm", hidden) + mamba2(
        hidden,
        heads,
        head_dim,
        groups=config.size("n_groups"),
        states=config.size("state_size"),
        kernel=config.size("conv_kernel"),
        conv_bias=config.flag("use_conv_bias", default=True),
        bias=config.flag("use_bias"),
    )
    return causal_lm(config, [block] * config.layers(), prefix="backbone.", embed="embeddings", final_norm="norm_f")


def jamba(config: Config) -> Parts:
    """Jamba: Mamba with attention on every nth layer, experts on every mth."""
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    count, expert_count = config.layers(), config.size("num_experts")
    attention = _period(config, "attn_layer")
    sparse = _period(config, "expert_layer")
    states = mamba(
        hidden,
        config.size("mamba_expand") * hidden,
        states=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
        rank=dt_rank(config, "mamba_dt_rank", hidden),
        prefix="mamba.",
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
        norms=True,
    )
    full = Attention(bias=False, o_bias=False)(config, 1)[0]
    dense = gated_mlp(hidden, inner, prefix="feed_forward.")
    routed = router(hidden, expert_count, name="feed_forward.router") + experts(
        hidden, inner, expert_count, config.size("num_experts_per_tok"), prefix="feed_forward.experts."
    )

    def layer(kind: tuple[bool, bool]) -> Block:
        block = (full if kind[0] else states) + (routed if kind[1] and expert_count > 1 else dense)
        return block + norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)

    kinds = [(attention(index), sparse(index)) for index in range(count)]
    return causal_lm(config, each_kind(kinds, layer), final_norm="final_layernorm")


def _period(config: Config, name: str) -> Callable[[int], bool]:
    period, offset = config.size(f"{name}_period"), config.size(f"{name}_offset", minimum=0)
    if offset >= period:
        raise config.error(f"{name}_offset", f"It must be below {name}_period ({period}).")
    return lambda index: index % period == offset


def hybrid_mamba2(
    config: Config, *, inner: int | None = None, gated_norm: bool = True, out_bias: bool | None = None
) -> Block:
    """The Mamba 2 mixer of Bamba, Falcon H1 and Granite 4, from their `mamba_*` fields."""
    hidden, heads = config.size("hidden_size"), config.size("mamba_n_heads")
    inner = config.size("mamba_expand") * hidden if inner is None else inner
    head_dim = inner // heads if config.get("mamba_d_head") in ("auto", None) else config.size("mamba_d_head")
    if heads * head_dim != inner:
        raise config.error("mamba_n_heads", f"Its heads must divide the {inner} inner channels exactly.")
    return mamba2(
        hidden,
        heads,
        head_dim,
        groups=config.size("mamba_n_groups"),
        states=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
        prefix="mamba.",
        conv_bias=config.flag("mamba_conv_bias", default=True),
        bias=config.flag("mamba_proj_bias"),
        out_bias=out_bias,
        gated_norm=gated_norm,
    )


def bamba(config: Config) -> Parts:
    """Bamba: Mamba 2 with attention on the listed layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    listed = set(config.sequence("attn_layer_indices", int) or ())
    around = gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", bias=config.flag("mlp_bias"))
    around += norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)

    def layer(full: bool) -> Block:
        return (Attention()(config, 1)[0] if full else hybrid_mamba2(config)) + around

    return causal_lm(
        config, each_kind([index in listed for index in range(count)], layer), final_norm="final_layernorm"
    )


def falcon_h1(config: Config) -> Parts:
    """Falcon H1: attention and Mamba 2 side by side in every layer."""
    hidden = config.size("hidden_size")
    states = hybrid_mamba2(
        config,
        inner=config.optional_size("mamba_d_ssm"),
        gated_norm=config.flag("mamba_rms_norm"),
        out_bias=config.flag("projectors_bias"),
    )
    block = Attention()(config, 1)[0] + states
    block += gated_mlp(hidden, config.size("intermediate_size"), prefix="feed_forward.", bias=config.flag("mlp_bias"))
    block += norm("input_layernorm", hidden) + norm("pre_ff_layernorm", hidden)
    return causal_lm(config, [block] * config.layers(), final_norm="final_layernorm")


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
        embed="embeddings",
        final_norm="norm_f",
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
    hidden, bias = config.size("hidden_size"), config.flag("mlp_bias")
    if kind == "linear_attention":
        return mamba2(
            hidden,
            config.size("mamba_num_heads"),
            config.size("mamba_head_dim"),
            groups=config.size("mamba_n_groups", "n_groups"),
            states=config.size("ssm_state_size"),
            kernel=config.size("mamba_d_conv", "conv_kernel"),
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


FAMILIES = {
    "mamba": mamba1,
    "falcon_mamba": mamba1,
    "mamba2": mamba_2,
    "jamba": jamba,
    "bamba": bamba,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granite_hybrid,
    "nemotron_h": nemotron_h,
}
