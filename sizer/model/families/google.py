"""Google's text models: Gemma 1 to 4, VaultGemma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.attention import Heads, attention, head_norms
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter, prefixed
from sizer.model.blocks.mlp import experts, gated_mlp
from sizer.model.config import MAX_COUNT, Config
from sizer.model.shapes.decoder import SANDWICH_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention, heads
from sizer.model.shapes.windows import EveryNth, Window, window_of


def _gemma3_windows(config: Config, count: int) -> Sequence[Window]:
    """Gemma 3: five windows to one full layer; a bidirectional model's window reaches half as far back."""
    windows = EveryNth(6, "sliding_window_pattern")(config, count)
    if not config.flag("use_bidirectional_attention"):
        return windows
    return [(kind, None if window is None else window // 2 + 1) for kind, window in windows]


def norms(names: Sequence[str], hidden: int) -> Block:
    return sum((norm(name, hidden) for name in names), Block())


def _shared_layers(config: Config, count: int, types: Sequence[str]) -> list[bool]:
    """Which layers reuse the cache of the last layer of their kind before them: the last `num_kv_shared_layers`."""
    shared = config.size("num_kv_shared_layers", default=0, minimum=0)
    first = count - shared
    if shared and (first < 0 or set(types[:first]) != set(types)):
        raise config.error("num_kv_shared_layers", "Each kind of layer needs one before them whose cache they share.")
    return [index >= first for index in range(count)]


def _shared_attention(
    config: Config, sizes: Heads, window: Window, *, reuses: bool, v_proj: bool = True, stored: bool = False
) -> Block:
    """Attention with q and k norms; a layer that reuses a cache has neither keys nor values of its own.

    Published checkpoints of Gemma 3n and 4 store them all the same (`stored`): both gemma-3n models' and gemma-4-E2B's
    files are larger by just these projections and norms.
    """
    names = [("q_norm", sizes.head_dim)] + ([] if reuses else [("k_norm", sizes.head_dim)])
    block = attention(sizes, bias=config.flag("attention_bias"), window=window[1], shares_kv=reuses) + head_norms(names)
    if reuses and stored:
        own = _shared_attention(config, sizes, window, reuses=False, v_proj=v_proj)
        held = {tensor.name for tensor in block.tensors}
        unused = Block(tuple(tensor for tensor in own.tensors if tensor.name not in held))
        return block + prefixed("", unused, checkpoint_only=True)
    if v_proj:
        return block
    return replace(block, tensors=tuple(tensor for tensor in block.tensors if ".v_proj." not in tensor.name))


def _layer_inputs(config: Config) -> Block:
    """What feeds a layer its own input: a gate, a projection and a norm."""
    hidden, own = config.size("hidden_size"), config.size("hidden_size_per_layer_input")
    return (
        linear("per_layer_input_gate", own, hidden, Role.OTHER)
        + linear("per_layer_projection", hidden, own, Role.OTHER)
        + norm("post_per_layer_input_norm", hidden)
    )


def _layer_input_tables(config: Config, count: int) -> Block:
    """The table of per-layer inputs, one row a token (looked up, not multiplied), and its projection."""
    hidden, own = config.size("hidden_size"), config.size("hidden_size_per_layer_input")
    rows = config.size("vocab_size_per_layer_input")
    return (
        embedding("model.embed_tokens_per_layer", rows, count * own)
        + linear("model.per_layer_model_projection", count * own, hidden, Role.OTHER)
        + norm("model.per_layer_projection_norm", own)
    )


def gemma3n_text(config: Config) -> Parts:
    """Gemma 3n: alternating updates over several streams, low-rank residuals, layers that share caches."""
    count, sizes = config.layers(), heads(config)
    types = config.layer_types(count)
    if types is None:
        types = tuple("sliding_attention" if (index + 1) % 5 else "full_attention" for index in range(count))
    window = config.optional_size("sliding_window")
    reuses = _shared_layers(config, count, types)
    keys = list(zip(types, reuses, strict=True))
    attentions = {
        key: _shared_attention(config, sizes, window_of(config, key[0], window), reuses=key[1], stored=True)
        for key in set(keys)
    }
    inners = config.first("intermediate_size")[1]
    if isinstance(inners, (list, tuple)):
        listed = list(config.sizes("intermediate_size", count=count))
    else:
        listed = [config.size("intermediate_size")] * count
    mlps = {inner: gated_mlp(sizes.hidden, inner) for inner in set(listed)}
    rest = norms(SANDWICH_NORMS, sizes.hidden) + _gemma3n_extras(config, sizes.hidden) + _layer_inputs(config)
    blocks = joined([attentions[key] for key in keys], [mlps[inner] for inner in listed], (rest,) * count)
    extra = _layer_input_tables(config, count)
    for place in range(config.size("altup_num_inputs", maximum=MAX_COUNT) - 1):
        for name in ("altup_projections", "altup_unembed_projections"):
            extra += linear(f"model.{name}.{place}", sizes.hidden, sizes.hidden, Role.OTHER)
    return causal_lm(config, blocks, extra=extra)


def _gemma3n_extras(config: Config, hidden: int) -> Block:
    """AltUp (arXiv:2301.13310) and LAuReL (arXiv:2411.07501) of one layer."""
    streams, rank = config.size("altup_num_inputs"), config.size("laurel_rank")
    return (
        parameter("altup.correct_output_scale", hidden)
        + linear("altup.correction_coefs", streams, streams, Role.OTHER)
        + linear("altup.prediction_coefs", streams * streams, streams, Role.OTHER)
        + linear("altup.modality_router", streams, hidden, Role.OTHER)
        + norm("altup.router_norm", hidden)
        + linear("laurel.linear_left", rank, hidden, Role.OTHER)
        + linear("laurel.linear_right", hidden, rank, Role.OTHER)
        + norm("laurel.post_laurel_norm", hidden)
    )


def _gemma4_types(config: Config, count: int) -> tuple[str, ...]:
    """Gemma 4: every sixth layer full, and the last always."""
    types = config.layer_types(count)
    if types is None:
        types = tuple("sliding_attention" if (index + 1) % 6 else "full_attention" for index in range(count))
    return (*types[:-1], "full_attention")


def _gemma4_sizes(config: Config, index: int, kind: str) -> Heads:
    """Heads of a layer: full layers have a head size and KV heads of their own, here or in `per_layer_config`."""
    if "per_layer_config" in config.fields:
        return heads(config.layer(index))
    sizes = heads(config)
    if kind != "full_attention":
        return sizes
    sizes = replace(sizes, head_dim=config.size("global_head_dim", default=512))
    kv_heads = config.optional_size("num_global_key_value_heads") if config.flag("attention_k_eq_v") else None
    if kv_heads is None:
        return sizes
    if sizes.heads % kv_heads:
        raise config.error("num_global_key_value_heads", f"It must divide num_attention_heads ({sizes.heads}).")
    return replace(sizes, kv_heads=kv_heads)


def _gemma4_attention(
    config: Config, count: int, types: Sequence[str], reuses: Sequence[bool], *, stored: bool
) -> list[Block]:
    """Gemma 4's attention of each layer: its own size by kind, keys shared with values, caches of other layers read."""
    window = config.optional_size("sliding_window")
    if window is not None and config.first("use_bidirectional_attention")[1] == "all":
        window = window // 2 + 1
    same = config.flag("attention_k_eq_v")
    keys = [(_gemma4_sizes(config, index, types[index]), types[index], reuses[index]) for index in range(count)]
    blocks = {
        key: _shared_attention(
            config,
            key[0],
            window_of(config, key[1], window),
            reuses=key[2],
            stored=stored,
            v_proj=not same or key[1] == "sliding_attention",
        )
        for key in set(keys)
    }
    return [blocks[key] for key in keys]


def _gemma4_experts(config: Config) -> Block:
    """Gemma 4's experts beside the dense MLP, with the norms around both."""
    hidden, count = config.size("hidden_size"), config.size("num_experts")
    active = config.optional_size("top_k_experts") or count
    if active > count:
        raise config.error("top_k_experts", f"There are only {count} experts (num_experts).")
    block = linear("router.proj", count, hidden, Role.ROUTER)
    block += parameter("router.scale", hidden) + parameter("router.per_expert_scale", count)
    block += experts(hidden, config.size("moe_intermediate_size"), count, active, prefix="experts.")
    names = ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")
    return block + norms(names, hidden)


def gemma4_text(config: Config) -> Parts:
    """Gemma 4: two head sizes, layers that share caches (and may be twice as wide), experts beside the dense MLP."""
    count, hidden, inner = config.layers(), config.size("hidden_size"), config.size("intermediate_size")
    types = _gemma4_types(config, count)
    reuses = _shared_layers(config, count, types)
    wide = config.flag("use_double_wide_mlp")
    mlps = {reused: gated_mlp(hidden, inner * (2 if wide and reused else 1)) for reused in set(reuses)}
    rest, extra = norms(SANDWICH_NORMS, hidden), Block()
    if config.optional_size("hidden_size_per_layer_input", minimum=0):
        rest += _layer_inputs(config)
        extra = _layer_input_tables(config, count)
    if config.flag("enable_moe_block"):
        rest += _gemma4_experts(config)
    blocks = joined(
        _gemma4_attention(config, count, types, reuses, stored=True),
        [mlps[reused] for reused in reuses],
        (rest,) * count,
    )
    return causal_lm(config, blocks, extra=extra)


def gemma4_assistant(config: Config) -> Parts:
    """Gemma 4's draft model: its layers read the caches of the model it drafts for."""
    text = config.sub("text_config")
    count, hidden, inner = text.layers(), text.size("hidden_size"), text.size("intermediate_size")
    types = _gemma4_types(text, count)
    width = 2 if text.flag("use_double_wide_mlp") else 1
    mlp = gated_mlp(hidden, inner * width) + norms(SANDWICH_NORMS, hidden)
    reuses = [True] * count
    if text.size("num_kv_shared_layers", default=0, minimum=0):
        reuses = _shared_layers(text, count, types)
    blocks = joined(_gemma4_attention(text, count, types, reuses, stored=False), (mlp,) * count)
    backbone = config.size("backbone_hidden_size")
    extra = linear("pre_projection", hidden, 2 * backbone, Role.OTHER)
    extra += linear("post_projection", backbone, hidden, Role.OTHER)
    if config.flag("use_ordered_embeddings"):
        extra += linear("masked_embedding.centroids", config.size("num_centroids"), hidden, Role.OTHER)
    return causal_lm(text, blocks, extra=extra, tied=config.flag("tie_word_embeddings"))


FAMILIES: dict[str, Family] = {
    "gemma": Decoder(mlp=UNBIASED),
    "gemma2": Decoder(Attention(windows=EveryNth(2)), UNBIASED, SANDWICH_NORMS),
    "gemma3_text": Decoder(Attention(qk_norm="head", windows=_gemma3_windows), UNBIASED, SANDWICH_NORMS),
    "vaultgemma": Decoder(Attention(windows=EveryNth(2)), UNBIASED, ("input_layernorm", "pre_feedforward_layernorm")),
    "gemma3n_text": gemma3n_text,
    "gemma4_text": gemma4_text,
    "gemma4_unified_text": gemma4_text,
    "gemma4_assistant": gemma4_assistant,
    "gemma4_unified_assistant": gemma4_assistant,
}
