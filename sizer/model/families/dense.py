"""Dense decoders of the Llama kind: each is a record of where it differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Module, Role, Tensor
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter, stack
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.families.decoder import (
    LLAMA_MLP,
    POST_NORMS,
    PRE_NORMS,
    QWEN2,
    SANDWICH_NORMS,
    Decoder,
    causal_lm,
    joined,
)
from sizer.model.families.rules import (
    FUSED,
    PLAIN,
    UNBIASED,
    Attention,
    FusedAttention,
    Heads,
    Mlp,
    switched_layer_norms,
)
from sizer.model.families.windows import (
    FULL,
    EveryNth,
    Window,
    max_window_layers,
    one_window,
    typed_windows,
    window_of,
)

NO_BIAS = Attention(bias=False, windows=one_window)


def _differential(_config: Config, sizes: Heads) -> Block:
    """DiffLlama: four lambda vectors; its norm over pairs of heads has no weight."""
    lambdas = (parameter(f"self_attn.lambda_{name}", sizes.head_dim) for name in ("q1", "k1", "q2", "k2"))
    return sum(lambdas, Block())


def _norm_each_head(config: Config, sizes: Heads) -> Block:
    """StableLM: a norm for each head of queries and keys, weights only, if `qk_layernorm`."""
    block = Block()
    if config.flag("qk_layernorm"):
        for name, count in (("q_layernorm", sizes.heads), ("k_layernorm", sizes.kv_heads)):
            for index in range(count):
                block += norm(f"self_attn.{name}.norms.{index}", sizes.head_dim)
    return block


def _two_dimensional_norms(config: Config, sizes: Heads) -> Block:
    """Cohere: query and key norms of [heads, head_dim], if `use_qk_norm`."""
    if not config.flag("use_qk_norm"):
        return Block()
    return sum(
        (
            parameter(f"self_attn.{name}.weight", count, sizes.head_dim, role=Role.NORM, module=Module.NORM)
            for name, count in (("q_norm", sizes.heads), ("k_norm", sizes.kv_heads))
        ),
        Block(),
    )


def _square_output(attention: Attention) -> Callable[[Config, int], list[Block]]:
    """Helium: the output projection is [hidden, hidden] whatever the heads."""

    def rule(config: Config, count: int) -> list[Block]:
        hidden = config.size("hidden_size")
        return [
            replace(
                block,
                tensors=tuple(replace(t, shape=(hidden, hidden)) if t.role is Role.O else t for t in block.tensors),
            )
            for block in attention(config, 1)
        ] * count

    return rule


def _gemma3_windows(config: Config, count: int) -> Sequence[Window]:
    """Gemma 3: five windows to one full layer; a bidirectional model's window reaches half as far back."""
    windows = EveryNth(6, "sliding_window_pattern")(config, count)
    if not config.flag("use_bidirectional_attention"):
        return windows
    return [(kind, None if window is None else window // 2 + 1) for kind, window in windows]


def _smollm3_windows(config: Config, count: int) -> tuple[Window, ...]:
    """SmolLM3: windows only on the layers without rotary embeddings, if `use_sliding_window`."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    if window is None or not config.flag("use_sliding_window"):
        return (FULL,) * count
    if types is not None:
        return tuple(window_of(config, name, window) for name in types)
    every = config.size("no_rope_layer_interval", default=4)
    rope = config.sequence("no_rope_layers") or tuple((index + 1) % every for index in range(count))
    if len(rope) != count:
        raise config.error("no_rope_layers", f"It must have one entry for each of {count} layers.")
    return tuple(FULL if has_rope else window_of(config, "sliding_attention", window) for has_rope in rope)


def _hyperclovax_norms(config: Config) -> tuple[str, ...]:
    """HyperCLOVA X: `use_post_norm` adds a norm behind each half of a layer."""
    return (*PRE_NORMS, "post_norm1", "post_norm2") if config.flag("use_post_norm") else PRE_NORMS


def _stablelm_norms(config: Config) -> tuple[str, ...]:
    return PRE_NORMS[:1] if config.flag("use_parallel_residual") else PRE_NORMS


def _bitnet_mlp(config: Config, count: int) -> list[Block]:
    inner = config.size("intermediate_size")
    return [UNBIASED.block(config, inner) + norm("mlp.ffn_sub_norm", inner)] * count


def _xielu(config: Config, count: int) -> list[Block]:
    """Apertus: the activation xIELU has two learned scalars; its `beta` and `eps` are buffers."""
    block = Mlp("plain", bias=False).block(config, config.size("intermediate_size"))
    if config.text("hidden_act") == "xielu":
        block += parameter("mlp.act_fn.alpha_p", 1) + parameter("mlp.act_fn.alpha_n", 1)
    return [block] * count


def _doge_attention(config: Config, sizes: Heads) -> Block:
    """Doge: a learned mask from the values (dynamic mask attention), and residual scales of the layer."""
    values = sizes.kv_heads * sizes.head_dim
    block = parameter("self_attn.A", sizes.kv_heads)
    block += linear("self_attn.dt_proj", sizes.kv_heads, values, Role.OTHER, config.flag("attention_bias"))
    for name in ("input_residual", "post_attention_residual"):
        block += parameter(name, sizes.hidden)
    return block


def _doge_mlp(config: Config, count: int) -> list[Block]:
    """Doge: a gated MLP; with `is_moe`, experts of one row and column besides, looked up by product keys."""
    hidden, bias = config.size("hidden_size"), config.flag("mlp_bias")
    block = Mlp(bias=bias).block(config, config.size("intermediate_size"))
    if config.flag("is_moe"):
        experts, active = config.size("num_experts"), config.size("num_experts_per_tok")
        block += linear("mlp.router_gate", 2 * int(experts**0.5), hidden, Role.ROUTER)
        block += Block(
            tuple(
                Tensor(f"mlp.{name}.weight", (experts, hidden), role, Module.EMBEDDING, active_experts=active)
                for name, role in (("up_embed", Role.EXPERT_UP), ("down_embed", Role.EXPERT_DOWN))
            )
        )
    return [block] * count


def hrm_text(config: Config) -> Parts:
    """HRM-Text: a low and a high stack of one shape, run `H_cycles * (L_cycles + 1)` times; norms without weights.

    Every pass over a stack has its own cache entries, so the layers listed are those of all passes; a decoded token
    reads the weights of a stack once a pass.
    """
    depth = config.layers("num_layers_per_stack", "num_hidden_layers")
    blocks = joined(_gated_attention(config, depth), LLAMA_MLP(config, depth))
    low = causal_lm(config, blocks, layers="L_module.layers.{layer}.", final_norm=None)
    high, _ = stack("model.H_module.layers.{layer}.", (0,) * depth, lambda _: blocks[0])
    extra = parameter("model.z_L_init", low.hidden_size).tensors
    passes = config.size("H_cycles") * (config.size("L_cycles") + 1)
    if depth * passes > MAX_LAYERS:
        raise config.error("H_cycles", f"No model has more than {MAX_LAYERS} layers.")
    layers = tuple(replace(low.layers[0], index=index) for index in range(depth * passes))
    note = f"{passes} passes over the stacks: each decoded token reads their weights again in each pass."
    return replace(low, tensors=low.tensors + high + extra, layers=layers, notes=(note,))


def _gate_projection(config: Config, sizes: Heads) -> Block:
    width = sizes.heads * sizes.head_dim
    return linear("self_attn.gate_proj", width, sizes.hidden, Role.GATE, config.flag("attention_bias"))


_gated_attention = Attention(kv_field=False, plus=_gate_projection)


def modernbert_decoder(config: Config) -> Parts:
    """ModernBERT decoder: norms before each block but the first, a dense prediction head."""
    count, hidden = config.layers(), config.size("hidden_size")
    bias, half = config.flag("norm_bias"), (config.optional_size("local_attention") or 0) // 2
    types = config.layer_types(count)
    if types is None:
        every = config.size("global_attn_every_n_layers", default=3)
        types = tuple("sliding_attention" if index % every else "full_attention" for index in range(count))
    attention = Attention(
        plain_heads=True, kv_field=False, prefix="attn.", names=("q_proj", "k_proj", "v_proj", "Wo"),
        windows=lambda c, _: tuple(window_of(c, kind, half or None) for kind in types),
    )  # fmt: skip
    later = norm("attn_norm", hidden, bias)
    mlp = Mlp("fused", names=("Wi", "Wo"))(config, count)
    blocks = joined(attention(config, count), mlp, (norm("mlp_norm", hidden, bias),) * count)
    blocks[1:] = joined(blocks[1:], (later,) * (count - 1))
    head = linear("lm_head.dense", hidden, hidden, Role.OTHER, config.flag("classifier_bias"))
    return causal_lm(
        config,
        blocks,
        embed="embeddings.tok_embeddings",
        extra=norm("model.embeddings.norm", hidden, bias) + head + norm("lm_head.norm", hidden, bias),
        final_norm="final_norm",
        norm_bias=bias,
        head="decoder",
        head_bias=config.flag("decoder_bias"),
    )


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "hrm_text": hrm_text,
    "modernbert-decoder": modernbert_decoder,
    "llama": Decoder(),
    "internlm3": Decoder(),
    "iquestcoder": Decoder(),
    "mistral": Decoder(NO_BIAS, UNBIASED),
    "ministral": Decoder(NO_BIAS, UNBIASED),
    "ministral3": Decoder(NO_BIAS, UNBIASED),
    "qwen2": QWEN2,
    "qwen3": Decoder(Attention(qk_norm="head", windows=max_window_layers), UNBIASED),
    "gemma": Decoder(mlp=UNBIASED),
    "gemma2": Decoder(Attention(windows=EveryNth(2)), UNBIASED, SANDWICH_NORMS),
    "gemma3_text": Decoder(Attention(qk_norm="head", windows=_gemma3_windows), UNBIASED, SANDWICH_NORMS),
    "vaultgemma": Decoder(Attention(windows=EveryNth(2)), UNBIASED, ("input_layernorm", "pre_feedforward_layernorm")),
    "arcee": Decoder(mlp=PLAIN),
    "apertus": Decoder(Attention(qk_norm="head"), _xielu, ("attention_layernorm", "feedforward_layernorm")),
    "bitnet": Decoder(Attention(plus=lambda _, sizes: norm("self_attn.attn_sub_norm", sizes.hidden)), _bitnet_mlp),
    "cohere": Decoder(Attention(plus=_two_dimensional_norms), UNBIASED, PRE_NORMS[:1]),
    "cohere2": Decoder(Attention(windows=EveryNth(4, "sliding_window_pattern")), UNBIASED, PRE_NORMS[:1]),
    "cohere_compass_text": Decoder(Attention(windows=typed_windows), UNBIASED, PRE_NORMS[:1]),
    "cwm": Decoder(Attention(bias=False, windows=EveryNth(4, last_full=False))),
    "diffllama": Decoder(Attention(plus=_differential), UNBIASED),
    "doge": Decoder(Attention(qk_norm="head", plus=_doge_attention), _doge_mlp),
    "ernie4_5": Decoder(Attention(bias="use_bias"), Mlp(bias="use_bias")),
    "exaone4": Decoder(
        Attention(bias=False, qk_norm="head", windows=EveryNth(4, "sliding_window_pattern")), UNBIASED, POST_NORMS
    ),
    "glm": Decoder(Attention(o_bias=False), FUSED),
    "glm4": Decoder(Attention(o_bias=False), FUSED, (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm")),
    "granite": Decoder(),
    "granite_swa": Decoder(Attention(sinks=True, windows=EveryNth(4, last_full=False))),
    "helium": Decoder(_square_output(Attention(o_bias=False))),
    "hunyuan_v1_dense": Decoder(Attention(qk_norm="head", qk_names=("query_layernorm", "key_layernorm")), UNBIASED),
    "hyperclovax": Decoder(norms=_hyperclovax_norms),
    "jais2": Decoder(mlp=PLAIN, norm_bias=True),
    "nanochat": Decoder(mlp=Mlp("plain", bias=False, names=("fc1", "fc2")), norms=(), final_norm=None),
    "nemotron": Decoder(mlp=PLAIN, norm_bias=True),
    "olmo": Decoder(mlp=UNBIASED, norms=(), final_norm=None),
    "olmo2": Decoder(Attention(qk_norm="width"), UNBIASED, POST_NORMS),
    "olmo3": Decoder(Attention(qk_norm="width", windows=EveryNth(4)), UNBIASED, POST_NORMS),
    "persimmon": Decoder(
        FusedAttention(plain_heads=True, kv_field=False, plus=switched_layer_norms),
        Mlp("plain", bias=True, names=("dense_h_to_4h", "dense_4h_to_h")),
        norm_bias=True,
        final_norm="final_layernorm",
    ),
    "phi": Decoder(
        Attention(bias=True, names=("q_proj", "k_proj", "v_proj", "dense"), plus=switched_layer_norms),
        Mlp("plain", bias=True, names=("fc1", "fc2")),
        PRE_NORMS[:1],
        norm_bias=True,
        head_bias=True,
        final_norm="final_layernorm",
    ),
    "phi3": Decoder(FusedAttention(("qkv_proj", "o_proj"), bias=False, windows=one_window), FUSED),
    "seed_oss": Decoder(Attention(o_bias="attention_out_bias")),
    "smollm3": Decoder(Attention(windows=_smollm3_windows)),
    "stablelm": Decoder(
        Attention(bias="use_qkv_bias", o_bias=False, plain_heads=True, plus=_norm_each_head),
        UNBIASED,
        _stablelm_norms,
        norm_bias=True,
    ),
    "starcoder2": Decoder(
        Attention(bias="use_bias", windows=one_window),
        Mlp("plain", bias="use_bias", names=("c_fc", "c_proj")),
        norm_bias=True,
    ),
}
