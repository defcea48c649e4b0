"""Inkling 1 and 2: attention wrapped in short convolutions, beside folding towers."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.frozen import dataclass
from sizer.model.architecture import MixerKind, Role
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import experts, gated_mlp, router
from sizer.model.blocks.ssm import causal_conv, state
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind, mixer_types
from sizer.model.shapes.wrapper import BOTH_TOWERS, Wrapper

HYBRID = ("hybrid", "hybrid_sliding")


@dataclass(frozen=True)
class InklingSizes:
    """Attention sizes of one kind of layer: sliding layers have their own."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    rel: int
    extent: int
    kernel: int
    window: int | None

    @classmethod
    def of(cls, config: Config, *, sliding: bool) -> InklingSizes:
        """The sizes of sliding or of full layers."""
        own = "swa_" if sliding else ""
        window = config.size("sliding_window_size") if sliding else None
        return cls(
            config.size("hidden_size"),
            config.size(f"{own}num_attention_heads"),
            config.size(f"{own}num_key_value_heads"),
            config.size(f"{own}head_dim"),
            config.size("d_rel"),
            window or config.size("rel_extent"),
            config.size("conv_kernel_size"),
            window,
        )

    def attention(self) -> Block:
        """Projections of queries, keys, values and relative positions, with the layer's cache and states."""
        queries, keys, prefix = self.heads * self.head_dim, self.kv_heads * self.head_dim, "self_attn."
        block = Block()
        for name, out, role in (
            ("q_proj", queries, Role.Q),
            ("k_proj", keys, Role.K),
            ("v_proj", keys, Role.V),
            ("r_proj", self.heads * self.rel, Role.OTHER),
        ):
            block += linear(prefix + name, out, self.hidden, role)
        block += linear(prefix + "o_proj", self.hidden, queries, Role.O)
        block += parameter(prefix + "rel_logits_proj.proj", self.rel, self.extent)
        mixer = attention_mixer(self.heads, self.kv_heads, self.head_dim, window=self.window)
        convolved = 2 * (keys + self.hidden) * self.kernel
        return block + Block(mixers=(mixer,)) + state(MixerKind.CONV, convolved)

    def key_value_convolutions(self) -> Block:
        """Short convolutions over keys and over values."""
        keys = self.kv_heads * self.head_dim
        return causal_conv("self_attn.k_sconv.conv1d", keys, self.kernel) + causal_conv(
            "self_attn.v_sconv.conv1d", keys, self.kernel
        )


def _inkling_layers(config: Config, *, every: int = 6) -> Sequence[str]:
    count = config.layers()
    types = config.layer_types(count)
    if types is None:
        local = config.sequence("local_layer_ids", int)
        sliding = {i for i in range(count) if (i + 1) % every} if local is None else set(local)
        types = tuple("hybrid_sliding" if index in sliding else "hybrid" for index in range(count))
    return mixer_types(config, "layer_types", types, HYBRID)


def inkling_text(config: Config) -> Parts:
    """Inkling: convolutions over keys, values and both residual branches; shared experts beside routed ones."""
    hidden = config.size("hidden_size")
    types = _inkling_layers(config)
    sparse = config.layer_types(len(types), "mlp_layer_types")
    if sparse is None:
        dense = config.size("dense_mlp_idx", default=0, minimum=0)
        sparse = tuple("dense" if index < dense else "sparse" for index in range(len(types)))

    def layer(kind: tuple[str, str]) -> Block:
        sizes = InklingSizes.of(config, sliding=kind[0] == "hybrid_sliding")
        block = sizes.attention() + sizes.key_value_convolutions()
        block += norm("self_attn.q_norm", sizes.head_dim) + norm("self_attn.k_norm", sizes.head_dim)
        block += _inkling_mlp(config, sparse=kind[1] == "sparse")
        for name in PRE_NORMS:
            block += norm(name, hidden)
        for name in ("attn_sconv", "mlp_sconv"):
            block += causal_conv(f"{name}.conv1d", hidden, sizes.kernel)
        return block

    blocks = each_kind(list(zip(types, sparse, strict=True)), layer)
    return causal_lm(config, blocks, extra=norm("model.embed_tokens.embed_norm", hidden), tied=False)


def _inkling_mlp(config: Config, *, sparse: bool) -> Block:
    hidden = config.size("hidden_size")
    inner, wide = config.size("moe_intermediate_size"), config.size("intermediate_size")
    legacy = config.optional_size("dense_intermediate_size")
    if legacy is not None:
        inner, wide = wide, legacy
    if not sparse:
        return gated_mlp(hidden, wide) + parameter("mlp.global_scale", 1)
    count, shared = config.size("n_routed_experts"), config.size("n_shared_experts", minimum=0)
    block = router(hidden, count + shared) + parameter("mlp.gate.global_scale", 1)
    block += experts(hidden, inner, count, config.size("num_experts_per_tok"))
    if shared:
        for name, role, shape in (
            ("gate_proj", Role.SHARED_GATE, (shared, inner, hidden)),
            ("up_proj", Role.SHARED_UP, (shared, inner, hidden)),
            ("down_proj", Role.SHARED_DOWN, (shared, hidden, inner)),
        ):
            block += parameter(f"mlp.shared_experts.{name}", *shape, role=role)
    return block


def inkling2_text(config: Config) -> Parts:
    """Inkling 2: dynamic convolutions in full layers, gated heads with sinks, attention over earlier residuals."""
    hidden = config.size("hidden_size")
    types = _inkling_layers(config)

    def layer(kind: tuple[str, bool]) -> Block:
        sliding, later = kind[0] == "hybrid_sliding", kind[1]
        sizes = InklingSizes.of(config, sliding=sliding)
        block = sizes.attention() + _inkling2_attention(sizes)
        block += sizes.key_value_convolutions() if sliding else _dynamic_convolutions(sizes)
        if later:
            block += parameter("attention_input.query", *((hidden,) if sliding else (3, hidden)))
        block += parameter("mlp_input.query", hidden)
        names = ("input_layernorm",) if sliding else ("q_input_layernorm", "k_input_layernorm", "v_input_layernorm")
        for name in (*names, "post_attention_layernorm"):
            block += norm(name, hidden)
        for name in ("post_attention_convolution", "post_mlp_convolution"):
            block += causal_conv(f"{name}.conv1d", hidden, sizes.kernel)
        count, inner = config.size("n_routed_experts"), config.size("moe_intermediate_size")
        return block + router(hidden, count) + experts(hidden, inner, count, config.size("num_experts_per_tok"))

    blocks = each_kind([(kind, index > 0) for index, kind in enumerate(types)], layer)
    outside = norm("model.embed_tokens.embed_norm", hidden) + parameter("model.final_input.query", hidden)
    return causal_lm(config, blocks, extra=outside, tied=False)


def _inkling2_attention(sizes: InklingSizes) -> Block:
    width = sizes.heads * sizes.head_dim
    return (
        linear("self_attn.gate_proj", width, sizes.hidden, Role.GATE)
        + linear("self_attn.sink_proj", sizes.heads, sizes.hidden, Role.OTHER)
        + parameter("self_attn.q_l2_clip.scale", sizes.heads, sizes.head_dim)
        + parameter("self_attn.rel_l2_clip.scale", sizes.heads, sizes.rel)
    )


def _dynamic_convolutions(sizes: InklingSizes) -> Block:
    """Convolutions over keys and values whose weights depend on the input."""
    block = Block()
    for name in ("k_sconv", "v_sconv"):
        width = sizes.kv_heads * sizes.head_dim
        block += parameter(f"self_attn.{name}.static_weight", sizes.kernel, width, role=Role.CONV)
        block += linear(f"self_attn.{name}.weight_proj", sizes.kv_heads * sizes.kernel, sizes.hidden, Role.OTHER)
    return block


INKLING = Wrapper(towers=BOTH_TOWERS, ties="never")


def inkling(config: Config) -> Parts:
    """Inkling: both towers put out the text model's width, whatever their configs say."""
    size = {"text_hidden_size": config.sub("text_config").size("hidden_size")}
    fields = dict(config.fields)
    for name in ("vision_config", "audio_config"):
        fields[name] = {**config.sub(name).fields, **size}
    return INKLING(Config(fields, config.class_defaults, config.path))


FAMILIES: dict[str, Family] = {
    "inkling_text": inkling_text,
    "inkling2_text": inkling2_text,
    "inkling_mm_model": inkling,
    "inkling2": Wrapper(ties="never"),
}
