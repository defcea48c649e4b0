"""Qwen's hybrids of delta nets and attention: Qwen3-Next, Qwen3.5, Qwen4-Exp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, isqrt

from sizer.frozen import dataclass
from sizer.model.architecture import Mixer, MixerKind, Role, Tensor
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, prefixed
from sizer.model.blocks.linear_attention import DeltaSizes, gated_delta
from sizer.model.blocks.mlp import experts, gated_mlp, router, shared_expert
from sizer.model.blocks.ssm import causal_conv
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import delta_sizes, each_kind, interval_types, mixer_types
from sizer.model.shapes.rules import Attention


def qwen4_exp(config: Config) -> Parts:
    """Qwen4-Exp: Qwen3.5's delta nets, indexed attention, hyper-connections, n-gram embeddings on chosen layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    types = _qwen4_types(config, count)
    chosen = sorted(set(config.sequence("ple_layer_ids", int) or ()))

    def layer(kind: str) -> Block:
        if kind == "linear_attention":
            block = gated_delta(qwen_delta_sizes(config), "split")
        else:
            block = _indexed(config, gated_attention(config))
        block += qwen_moe(config)
        for name in ("attn_hyper_connection", "mlp_hyper_connection"):
            block += _hyper_connection(config, f"{name}.", combine=True)
        return block

    ngrams: tuple[Tensor, ...] = ()
    for place, number in enumerate(chosen):
        ngrams += on_layers("model.layers.{layer}.ple.", _ngram_layer(config, place), (number - 1,))
    mixer = _hyper_connection(config, "model.hyper_connection_mixer.", combine=False)
    parts = causal_lm(config, each_kind(types, layer), Naming(final_norm=None), extra=mixer, extra_tensors=ngrams)
    if not chosen:
        return parts
    # Each chosen layer also keeps the n-gram embedding's convolution inputs and its last tokens.
    ngram = config.size("ngram_size")
    reach = (config.size("ple_conv_kernel_size") - 1) * ngram
    more = Mixer(MixerKind.CONV, state_elements=reach * hidden * config.size("hc_count") + ngram - 1)
    layers = tuple(
        replace(each, mixers=(*each.mixers, more)) if each.index + 1 in chosen else each for each in parts.layers
    )
    return replace(parts, layers=layers)


def _qwen4_types(config: Config, count: int) -> Sequence[str]:
    types = config.layer_types(count)
    if types is None:
        every = config.size("full_attention_interval", default=4)
        return tuple("linear_attention" if (index + 1) % every else "indexed_attention" for index in range(count))
    types = tuple("indexed_attention" if kind == "full_attention" else kind for kind in types)
    return mixer_types(config, "layer_types", types, ("linear_attention", "indexed_attention"))


def _indexed(config: Config, block: Block) -> Block:
    """Attention with an indexer over compressed blocks of keys."""
    heads, kv_heads, head = (config.size(f"indexer_{name}") for name in ("n_heads", "kv_heads", "head_dim"))
    prefix = "self_attn.indexer."
    block += linear(prefix + "index_qk_proj", (heads + kv_heads) * head, config.size("hidden_size"), Role.INDEXER)
    block += norm(prefix + "q_layernorm", head) + norm(prefix + "k_layernorm", head)
    budget = config.size("indexer_budget")
    mixers = tuple(replace(mixer, selected_tokens=budget, indexer_elements=kv_heads * head) for mixer in block.mixers)
    return replace(block, mixers=mixers)


def _hyper_connection(config: Config, prefix: str, *, combine: bool) -> Block:
    streams, rank = config.size("hc_count"), config.size("hc_lowrank")
    width = streams * config.size("hidden_size")
    block = norm(prefix + "hc_norm", width)
    block += linear(prefix + "input_mix_weight_down", rank, width, Role.OTHER)
    block += linear(prefix + "input_mix_weight_up", width, rank, Role.OTHER)
    return block + linear(prefix + "block_inject_weight", streams, width, Role.OTHER) if combine else block


def _ngram_layer(config: Config, place: int) -> Block:
    """An n-gram embedding with its projections: each of its hash heads has a prime number of rows."""
    hidden, kernel = config.size("hidden_size"), config.size("ple_conv_kernel_size")
    size = config.size("ple_embed_dim", default=hidden)
    hashes = (config.size("ngram_size", minimum=2, maximum=64) - 1) * config.size("heads_per_ngram", maximum=64)
    base, divisor = config.size("ngram_vocab_size_base"), config.size("make_ngram_vocab_size_divisible_by")
    primes = _primes_from(base, (place + 1) * hashes)[place * hashes :]
    rows = ceil(sum(primes) / divisor) * divisor
    wide = hidden * config.size("hc_count")
    block = embedding("ple_embedding.ngram_embedding", rows, size // hashes)
    block += linear("key_proj", wide, size, Role.OTHER) + linear("value_proj", hidden, size, Role.OTHER)
    for name in ("norm_key", "norm_query", "norm_conv"):
        block += norm(name, wide)
    return block + causal_conv("conv1d", wide, kernel)


def _primes_from(start: int, count: int) -> list[int]:
    """The first `count` primes that are at least `start`."""
    primes: list[int] = []
    value = max(start, 2)
    while len(primes) < count:
        if all(value % divisor for divisor in range(2, isqrt(value) + 1)):
            primes.append(value)
        value += 1
    return primes


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


FAMILIES: dict[str, Family] = {
    "qwen4_exp_text": qwen4_exp,
    "qwen3_next": QwenHybrid("fused", "mixed", mtp_layers=1),
    "qwen3_5_text": QwenHybrid("split", "dense"),
    "qwen3_5_moe_text": QwenHybrid("split", "moe"),
}
