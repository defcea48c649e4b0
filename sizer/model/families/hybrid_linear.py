"""Linear attention among full attention: Qwen3-Next, Qwen3.5, OLMo hybrid, MiniMax, Kimi Linear, Bailing hybrid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sizer.model.architecture import Role, Tensor
from sizer.model.blocks.attention import mla
from sizer.model.blocks.core import Block, Parts, linear, norm, on_layers, prefixed
from sizer.model.blocks.linear_attention import DeltaSizes, gated_delta, kimi_delta, lightning
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, causal_lm
from sizer.model.families.hybrid import each_kind, mixer_types
from sizer.model.families.rules import Attention, heads

TYPES = ("linear_attention", "full_attention")


def interval_types(config: Config, count: int) -> Sequence[str]:
    """`layer_types` where it is given; else full attention on every nth layer, n from `full_attention_interval`."""
    types = config.layer_types(count)
    if types is None:
        every = config.size("full_attention_interval", default=4)
        types = tuple("linear_attention" if (index + 1) % every else "full_attention" for index in range(count))
    return mixer_types(config, "layer_types", types, TYPES)


def delta_sizes(config: Config, key_heads: int, value_heads: int, key_dim: int, value_dim: int) -> DeltaSizes:
    """The gated delta net's sizes, checked: key heads divide value heads."""
    if value_heads % key_heads:
        raise config.error("linear_num_value_heads", f"The {key_heads} key heads must divide it.")
    kernel = config.size("linear_conv_kernel_dim")
    return DeltaSizes(config.size("hidden_size"), key_heads, value_heads, key_dim, value_dim, kernel)


def qwen_delta_sizes(config: Config) -> DeltaSizes:
    """The sizes from the `linear_*` fields."""
    names = ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
    return delta_sizes(config, *(config.size(name) for name in names))


def gated_attention(config: Config) -> Block:
    """Qwen3-Next's full attention: norms a head wide, and a query projection twice as wide, for an output gate."""
    block = Attention(qk_norm="head")(config, 1)[0]
    tensors = tuple(
        replace(tensor, shape=(2 * tensor.shape[0], *tensor.shape[1:])) if ".q_proj." in tensor.name else tensor
        for tensor in block.tensors
    )
    return replace(block, tensors=tensors)


def qwen_moe(config: Config) -> Block:
    """Qwen's experts with a gated shared one."""
    hidden, count = config.size("hidden_size"), config.size("num_experts")
    block = router(hidden, count)
    block += experts(hidden, config.size("moe_intermediate_size"), count, config.size("num_experts_per_tok"))
    block += shared_expert(hidden, config.size("shared_expert_intermediate_size"), prefix="mlp.shared_expert.")
    return block + linear("mlp.shared_expert_gate", 1, hidden, Role.ROUTER)


@dataclass(frozen=True)
class QwenHybrid:
    """Qwen3-Next and Qwen3.5: gated delta nets with gated attention on every fourth layer.

    `projections` says how the delta net stores its inputs, `mlp` is `dense`, `moe` or `mixed` (by the fields
    `mlp_only_layers` and `decoder_sparse_step`). `mtp_layers` are the multi-token-prediction layers that published
    checkpoints of the family carry where the config does not say (`mtp_num_hidden_layers`).
    """

    projections: str
    mlp: str
    mtp_layers: int = 0

    def _sparse(self, config: Config, index: int) -> bool:
        if self.mlp != "mixed":
            return self.mlp == "moe"
        if index in (config.sequence("mlp_only_layers") or ()) or not config.size("num_experts", minimum=0):
            return False
        return (index + 1) % config.size("decoder_sparse_step") == 0

    def __call__(self, config: Config) -> Parts:
        hidden, count = config.size("hidden_size"), config.layers()

        def layer(kind: tuple[str, bool]) -> Block:
            mixer, sparse = kind
            if mixer == "linear_attention":
                block = gated_delta(qwen_delta_sizes(config), self.projections)
            else:
                block = gated_attention(config)
            block += qwen_moe(config) if sparse else gated_mlp(hidden, config.size("intermediate_size"))
            return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

        kinds = [(mixer, self._sparse(config, i)) for i, mixer in enumerate(interval_types(config, count))]
        mtp = config.size("mtp_num_hidden_layers", default=self.mtp_layers, minimum=0)
        predicted = layer(("full_attention", self._sparse(config, count - 1))) if mtp else Block()
        return causal_lm(config, each_kind(kinds, layer), extra_tensors=_qwen_mtp(hidden, mtp, predicted))


def _qwen_mtp(hidden: int, count: int, layer: Block) -> tuple[Tensor, ...]:
    """Multi-token prediction: `count` full-attention layers behind a projection of embedding and hidden state."""
    if not count:
        return ()
    around = linear("fc", hidden, 2 * hidden, Role.OTHER)
    for name in ("pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"):
        around += norm(name, hidden)
    outside = prefixed("mtp.", around, checkpoint_only=True).tensors
    return outside + on_layers("mtp.layers.{layer}.", prefixed("", layer, checkpoint_only=True), range(count))


def olmo_hybrid(config: Config) -> Parts:
    """OLMo hybrid: delta nets normed before, attention normed after, as OLMo 3."""
    hidden, count, head_count = config.size("hidden_size"), config.layers(), config.size("num_attention_heads")
    types = list(interval_types(config, count))
    if "full_attention" not in types and config.layer_types(count) is None:
        types[-1] = "full_attention"
    key_heads = config.size("linear_num_key_heads", default=head_count)
    key_dim = config.size("linear_key_head_dim", default=int(0.75 * hidden / key_heads))
    sizes = delta_sizes(
        config,
        key_heads,
        config.size("linear_num_value_heads", default=head_count),
        key_dim,
        config.size("linear_value_head_dim", default=2 * key_dim),
    )
    mlp = gated_mlp(hidden, config.size("intermediate_size")) + norm("post_attention_layernorm", hidden)

    def layer(kind: str) -> Block:
        if kind == "linear_attention":
            return gated_delta(sizes, "apart") + mlp + norm("input_layernorm", hidden)
        return Attention(qk_norm="width")(config, 1)[0] + mlp + norm("post_feedforward_layernorm", hidden)

    return causal_lm(config, each_kind(types, layer))


def minimax(config: Config) -> Parts:
    """MiniMax-01: lightning attention and full attention, experts in every layer."""
    hidden, count = config.size("hidden_size"), config.layers()
    types = config.layer_types(count)
    if types is None:
        types = tuple("linear_attention" if index % 2 else "full_attention" for index in range(count))
    mixer_types(config, "layer_types", types, TYPES)
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


def sparse_layers(config: Config, count: int, dense_first: int) -> Sequence[bool]:
    """Which layers have experts: `mlp_layer_types`, else all but the first `first_k_dense_replace`."""
    types = config.layer_types(count, "mlp_layer_types")
    if types is not None:
        mixer_types(config, "mlp_layer_types", types, ("dense", "sparse"))
        return [kind == "sparse" for kind in types]
    dense = config.size("first_k_dense_replace", default=dense_first, minimum=0)
    return [index >= dense for index in range(count)]


def _latent_attention(config: Config) -> Block:
    return mla(
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        q_lora_rank=config.optional_size("q_lora_rank"),
        kv_lora_rank=config.size("kv_lora_rank"),
        nope=config.size("qk_nope_head_dim"),
        rope=config.size("qk_rope_head_dim"),
        v_head_dim=config.size("v_head_dim"),
        bias=config.flag("attention_bias"),
    )


def _deltas(config: Config, types: Sequence[str], dense_first: int, delta: Block, full: Block) -> Parts:
    """Kimi delta attention and latent attention, DeepSeek's experts."""
    hidden, count = config.size("hidden_size"), len(types)
    mixer_types(config, "layer_types", types, TYPES)
    expert_count, inner = config.size("num_local_experts", "num_experts"), config.size("moe_intermediate_size")
    active = config.size("num_experts_per_tok", "num_experts_per_token")
    shared = inner * config.size("n_shared_experts", "num_shared_experts")
    sparse = router(hidden, expert_count) + experts(hidden, inner, expert_count, active)
    sparse += shared_expert(hidden, shared)

    def layer(kind: tuple[str, bool]) -> Block:
        block = full if kind[0] == "full_attention" else delta
        block += sparse if kind[1] else gated_mlp(hidden, config.size("intermediate_size"))
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    kinds = list(zip(types, sparse_layers(config, count, dense_first), strict=True))
    # These classes tie nothing, whatever the config says.
    return causal_lm(config, each_kind(kinds, layer), tied=False)


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
    return _deltas(config, kimi_types(config, config.layers()), 1, delta, _latent_attention(config))


def bailing_hybrid(config: Config) -> Parts:
    """Ling and Ring 2.5's hybrid: delta attention, latent attention with a gate for each head."""
    hidden, count, head_count = config.size("hidden_size"), config.layers(), config.size("num_attention_heads")
    types = config.layer_types(count)
    if types is None:
        group = config.size("layer_group_size")
        types = tuple("linear_attention" if (index + 1) % group else "full_attention" for index in range(count))
    delta = kimi_delta(
        hidden,
        config.size("linear_num_heads", default=head_count),
        config.optional_size("linear_head_dim") or config.size("head_dim"),
        config.optional_size("linear_conv_kernel_dim") or config.size("short_conv_kernel_size"),
        low_rank=False,
    )
    full = _latent_attention(config) + linear("self_attn.g_proj", head_count, hidden, Role.GATE)
    return _deltas(config, types, 2, delta, full)


FAMILIES = {
    "qwen3_next": QwenHybrid("fused", "mixed", mtp_layers=1),
    "qwen3_5_text": QwenHybrid("split", "dense"),
    "qwen3_5_moe_text": QwenHybrid("split", "moe"),
    "olmo_hybrid": olmo_hybrid,
    "minimax": minimax,
    "kimi_linear": kimi_linear,
    "bailing_hybrid": bailing_hybrid,
}
