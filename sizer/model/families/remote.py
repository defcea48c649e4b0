"""Dense decoders whose code ships with their weights (trust_remote_code), and the few that changed Llama's names.

Shapes are those of the modeling files in the repositories; each is checked against a published parameter count in
`tests/data/remote/published.csv`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sizer.model.architecture import MlpKind, Role
from sizer.model.blocks.attention import attention, fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.mlp import experts, gated_mlp, router
from sizer.model.config import ClassDefaults, Config
from sizer.model.families.decoder import BARE, PRE_NORMS, QWEN2, SANDWICH_NORMS, Decoder, causal_lm
from sizer.model.families.experts import Moe, Mtp
from sizer.model.families.rules import UNBIASED, Attention, FusedAttention, Heads, Mlp, head_size, heads
from sizer.model.families.windows import one_window

Family = Callable[[Config], Parts]


def named(config: Config, aliases: Mapping[str, str], **defaults: Any) -> Config:
    """The config read with the names that its own code has for the usual fields, and the defaults of that code.

    `aliases` are {usual name: the file's name}. Errors name the file's own field.
    """
    known = config.class_defaults
    both = ClassDefaults(
        known.model_type, {**known.fields, **defaults}, {**known.aliases, **aliases}, known.sub_configs
    )
    return Config(config.fields, both, config.path)


def with_names(family: Family, aliases: Mapping[str, str], **defaults: Any) -> Family:
    """`family` for files that call its fields by other names, or leave them to other defaults."""
    return lambda config: family(named(config, aliases, **defaults))


def qwen(config: Config) -> Parts:
    """Qwen 1: biased fused attention, and an MLP of two matrices of half `intermediate_size` rows each."""
    hidden, inner, size = config.size("hidden_size"), config.size("intermediate_size"), config.size("kv_channels")
    count = config.size("num_attention_heads")
    if inner % 2:
        raise config.error("intermediate_size", "It counts both halves of the gated MLP and must be even.")
    block = fused_attention(
        hidden, count, count, size, prefix="attn.", names=("c_attn", "c_proj"), bias=True, o_bias=False
    )
    # w2 is the gate, w1 the other factor
    block += gated_mlp(hidden, inner // 2, names=("w2", "w1", "c_proj"), bias=not config.flag("no_bias", default=True))
    block += norm("ln_1", hidden) + norm("ln_2", hidden)
    return causal_lm(
        config, [block] * config.layers(), prefix="transformer.", layers="h.{layer}.", embed="wte", final_norm="ln_f"
    )


def chatglm(config: Config) -> Parts:
    """ChatGLM 2 and 3 and GLM-4 as THUDM ships it; ChatGLM 1, whose files have no grouped queries."""
    if config.first("inner_hidden_size")[1] is not None:
        return _chatglm1(config)
    hidden, count, size = config.size("hidden_size"), config.size("num_attention_heads"), config.size("kv_channels")
    groups = config.size("multi_query_group_num") if config.flag("multi_query_attention") else count
    bias = config.flag("add_bias_linear")
    rms = config.flag("rmsnorm", default=True)
    block = fused_attention(
        hidden, count, groups, size, prefix="self_attention.", o_bias=bias, bias=bias or config.flag("add_qkv_bias")
    )
    inner = config.size("ffn_hidden_size")
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.dense_h_to_4h", 2 * inner, hidden, Role.GATE_UP, bias)
    block += linear("mlp.dense_4h_to_h", hidden, inner, Role.DOWN, bias)
    block += norm(PRE_NORMS[0], hidden, not rms) + norm(PRE_NORMS[1], hidden, not rms)
    return causal_lm(
        config,
        [block] * config.layers(),
        prefix="transformer.",
        layers="encoder.layers.{layer}.",
        embed="embedding.word_embeddings",
        final_norm="encoder.final_layernorm" if config.flag("post_layer_norm", default=True) else None,
        norm_bias=not rms,
        head="transformer.output_layer",
        head_bias=bias,
        vocab=config.size("padded_vocab_size", "vocab_size"),
        tied=False,
    )


def _chatglm1(config: Config) -> Parts:
    hidden, count, inner = (
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        config.size("inner_hidden_size"),
    )
    if hidden % count:
        raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    block = fused_attention(hidden, count, count, hidden // count, bias=True)
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.dense_h_to_4h", inner, hidden, Role.UP, True)
    block += linear("mlp.dense_4h_to_h", hidden, inner, Role.DOWN, True)
    block += norm(PRE_NORMS[0], hidden, True) + norm(PRE_NORMS[1], hidden, True)
    return causal_lm(
        config,
        [block] * config.layers(),
        prefix="transformer.",
        embed="word_embeddings",
        final_norm="final_layernorm",
        norm_bias=True,
        tied=True,
    )


def internlm2(config: Config) -> Parts:
    """InternLM 2 and 2.5: fused attention, Llama's MLP under the names of Meta's code."""
    sizes, bias = heads(config), config.flag("bias")
    block = fused_attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, names=("wqkv", "wo"), bias=bias)
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), prefix="feed_forward.", names=("w1", "w3", "w2"))
    block += norm("attention_norm", sizes.hidden) + norm("ffn_norm", sizes.hidden)
    return causal_lm(config, [block] * config.layers(), embed="tok_embeddings", head="output")


def exaone(config: Config) -> Parts:
    """EXAONE 3, 3.5 and Deep: Llama under GPT-2's names."""
    sizes = heads(config)
    block = attention(
        sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim,
        prefix="attn.attention.", names=("q_proj", "k_proj", "v_proj", "out_proj"),
    )  # fmt: skip
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), names=("c_fc_0", "c_fc_1", "c_proj"))
    block += norm("ln_1", sizes.hidden) + norm("ln_2", sizes.hidden)
    return causal_lm(
        config, [block] * config.layers(), prefix="transformer.", layers="h.{layer}.", embed="wte", final_norm="ln_f"
    )


def telechat(config: Config) -> Parts:
    """TeleChat 1 and 2: keys and values are one projection; the output and down projections have biases."""
    sizes = heads(config)
    prefix = "self_attention."
    block = linear(prefix + "query", sizes.hidden, sizes.hidden, Role.Q)
    block += linear(prefix + "key_value", 2 * sizes.kv_heads * sizes.head_dim, sizes.hidden, Role.K)
    block += linear(prefix + "dense", sizes.hidden, sizes.hidden, Role.O, True)
    whole = attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim)
    block += Block(mixers=whole.mixers)
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), down_bias=True)
    block += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    extra = norm("transformer.word_embeddings_layernorm", sizes.hidden) if config.flag("embed_layernorm") else None
    return causal_lm(
        config, [block] * config.layers(), prefix="transformer.", layers="h.{layer}.", embed="word_embeddings",
        final_norm="ln_f", extra=extra, tied=config.flag("tie_word_embeddings", default=True),
    )  # fmt: skip


def jais(config: Config) -> Parts:
    """Jais: GPT-2 with ALiBi and, where `activation_function` is swiglu, a gated MLP."""
    hidden, count = config.size("n_embd"), config.size("n_head")
    if hidden % count:
        raise config.error("n_head", f"It must divide n_embd ({hidden}).")
    inner = config.size("n_inner", default=4 * hidden)
    block = fused_attention(
        hidden, count, count, hidden // count, prefix="attn.", names=("c_attn", "c_proj"), bias=True
    )
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.c_fc", inner, hidden, Role.UP, True)
    if config.text("activation_function") == "swiglu":
        block += linear("mlp.c_fc2", inner, hidden, Role.GATE, True)
    block += linear("mlp.c_proj", hidden, inner, Role.DOWN, True)
    block += norm("ln_1", hidden, True) + norm("ln_2", hidden, True)
    extra = None
    if config.text("position_embedding_type", default="learned") == "learned":
        extra = linear("transformer.wpe", config.size("n_positions"), hidden, Role.POSITION)
    return causal_lm(
        config, [block] * config.layers("n_layer"), prefix="transformer.", layers="h.{layer}.", embed="wte",
        final_norm="ln_f", norm_bias=True, hidden=hidden, extra=extra,
        tied=config.flag("tie_word_embeddings", default=True),
    )  # fmt: skip


def phi3_small(config: Config) -> Parts:
    """Phi-3-small: biased fused attention and MLP between layer norms, tied unless the file says otherwise."""
    sizes, inner = heads(config), config.size("ff_intermediate_size")
    block = fused_attention(sizes.hidden, sizes.heads, sizes.kv_heads, sizes.head_dim, prefix="self_attn.", bias=True)
    block += Block(mlp=MlpKind.DENSE) + linear("mlp.up_proj", 2 * inner, sizes.hidden, Role.GATE_UP, True)
    block += linear("mlp.down_proj", sizes.hidden, inner, Role.DOWN, True)
    block += norm(PRE_NORMS[0], sizes.hidden, True) + norm(PRE_NORMS[1], sizes.hidden, True)
    return causal_lm(
        config, [block] * config.layers(), final_norm="final_layernorm", norm_bias=True,
        tied=config.flag("tie_word_embeddings", default=True),
    )  # fmt: skip


def _mimo_mtp(config: Config, last: Block, count: int) -> tuple[Any, ...]:
    """MiMo-7B: DeepSeek's prediction layer without its own tables, under names of its own."""
    return Mtp(tables=False)(config, last, count)


def _lf_gate(config: Config, sizes: Heads) -> Block:
    """Yuan 2's localized filtering: two convolutions over two tokens each, with biases, and a norm."""
    hidden = config.size("hidden_size")
    block = Block()
    for name, out, into in (("conv1", hidden // 2, hidden), ("conv2", hidden, hidden // 2)):
        block += linear(f"self_attn.lf_gate.{name}", out, 2 * into, Role.CONV, True)
    return block + norm("self_attn.lf_gate.output_layernorm", sizes.hidden)


def yuan(config: Config) -> Parts:
    """Yuan 2: localized filtering before queries and keys; with `moe_config`, the experts of Yuan 2.0-M32."""
    width = config.optional_size("attention_projection_size")
    if width is not None:
        size = {"head_dim": head_size(config, width, config.size("num_attention_heads"))}
        config = Config({**config.fields, **size}, config.class_defaults, config.path)
    moe = config.sub("moe_config")
    sparse = moe.optional_size("moe_num_experts", minimum=0)
    mlp = (lambda whole, count: (_yuan_experts(whole, moe),) * count) if sparse else UNBIASED
    return Decoder(Attention(bias=False, plus=_lf_gate), mlp)(config)


def _yuan_experts(config: Config, moe: Config) -> Block:
    """Experts behind a router that attends over the experts' scores: three projections to a score an expert."""
    hidden, (count, active) = config.size("hidden_size"), Moe("moe_num_experts", "moe_top_k").counts(moe)
    wide = 3 if moe.text("router_type", default="attn_router") == "attn_router" else 1
    name = "mlp.router.query_key_value" if wide > 1 else "mlp.router"
    inner = config.first("ffn_hidden_size")[1]
    inner = moe.size("ffn_hidden_size") if inner is None else config.size("ffn_hidden_size")
    return router(hidden, wide * count, name=name, linear_module=True) + experts(hidden, inner, count, active)


def _exit_gate(config: Config) -> Block:
    """Ouro runs its layers several times; this decides when to stop."""
    return linear("model.early_exit_gate", 1, config.size("hidden_size"), Role.OTHER, True)


ORION = Decoder(Attention(), UNBIASED, norm_bias=True)
GPT_NAMES = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "ffn_hidden_size"}

FAMILIES: dict[str, Family] = {
    "qwen": qwen,
    "chatglm": chatglm,
    "baichuan": Decoder(FusedAttention(("W_pack", "o_proj"), bias=False), UNBIASED),
    "internlm": Decoder(Attention(bias="bias"), UNBIASED),
    "internlm2": internlm2,
    "exaone": with_names(exaone, {"num_hidden_layers": "num_layers"}),
    "orion": ORION,
    "yuan": yuan,
    "mimo": Decoder(QWEN2.attention, QWEN2.mlp, beyond=_mimo_mtp),
    "PanguEmbedded": Decoder(Attention(bias="bias"), UNBIASED),
    "xverse": BARE,
    "skywork": BARE,
    "mobilellm": with_names(BARE, {"tie_word_embeddings": "share_embedding"}),
    "aquila": BARE,
    "telechat": with_names(telechat, GPT_NAMES),
    "telechat3": Decoder(),
    "solar": Decoder(Attention(windows=one_window), Mlp()),
    "jais": jais,
    "phi3small": phi3_small,
    "stablelm_epoch": Decoder(Attention(bias="use_qkv_bias", o_bias=False), UNBIASED, norm_bias=True),
    "Dream": QWEN2,
    "dream": QWEN2,
    "sdar": Decoder(Attention(qk_norm="head"), UNBIASED),
    "nanbeige": Decoder(),
    "kormo": Decoder(),
    "ouro": replace(BARE, norms=SANDWICH_NORMS, plus=_exit_gate),
    "llada": BARE,
}
