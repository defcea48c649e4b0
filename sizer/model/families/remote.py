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
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.config import ClassDefaults, Config
from sizer.model.families.decoder import PRE_NORMS, SANDWICH_NORMS, Decoder, causal_lm
from sizer.model.families.experts import Mtp
from sizer.model.families.rules import Attention, FusedAttention, Heads, Mlp, heads
from sizer.model.families.windows import max_window_layers, one_window

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


def openelm(config: Config) -> Parts:
    """OpenELM: heads and MLP width grow with depth; the file lists them, or the multipliers that give them."""
    hidden, size, count = config.size("model_dim"), config.size("head_dim"), config.layers("num_transformer_layers")
    queries, keys = config.sequence("num_query_heads") or (), config.sequence("num_kv_heads") or ()
    multipliers = config.sequence("ffn_multipliers") or ()
    divisor = config.size("ffn_dim_divisor", default=256)
    for name, listed in (("num_query_heads", queries), ("num_kv_heads", keys), ("ffn_multipliers", multipliers)):
        if len(listed) != count or not all(isinstance(value, (int, float)) and value > 0 for value in listed):
            raise config.error(name, f"It must be a list of {count} numbers, one for each layer.")
    made: dict[tuple[int, int, int], Block] = {}
    blocks = []
    for query, key, multiplier in zip(queries, keys, multipliers, strict=True):
        inner = _divisible(multiplier * hidden, divisor)
        kind = (int(query), int(key), inner)
        if kind not in made:
            made[kind] = _openelm_layer(config, hidden, size, kind)
        blocks.append(made[kind])
    return causal_lm(
        config, blocks, prefix="transformer.", embed="token_embeddings", hidden=hidden,
        tied=config.flag("share_input_output_layers", default=True),
    )  # fmt: skip


def _divisible(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, but no more than a tenth below it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _openelm_layer(config: Config, hidden: int, size: int, kind: tuple[int, int, int]) -> Block:
    query, key, inner = kind
    block = fused_attention(hidden, query, key, size, prefix="attn.", names=("qkv_proj", "out_proj"))
    if config.flag("normalize_qk_projections"):
        block += norm("attn.q_norm", size) + norm("attn.k_norm", size)
    gated = config.flag("ffn_with_glu", default=True)
    block += Block(mlp=MlpKind.DENSE)
    block += linear("ffn.proj_1", (2 if gated else 1) * inner, hidden, Role.GATE_UP if gated else Role.UP)
    block += linear("ffn.proj_2", hidden, inner, Role.DOWN)
    return block + norm("attn_norm", hidden) + norm("ffn_norm", hidden)


def decilm(config: Config) -> Parts:
    """DeciLM, NVIDIA's Nemotron-NAS: `block_configs` gives each layer its KV heads and MLP width, or none."""
    hidden, count = config.size("hidden_size"), config.size("num_attention_heads")
    listed = config.sequence("block_configs")
    if listed is None or len(listed) != config.layers():
        raise config.error("block_configs", f"It must have one entry for each of {config.layers()} layers.")
    made: dict[tuple[Any, ...], Block] = {}
    blocks = []
    for entry in listed:
        if not isinstance(entry, Mapping):
            raise config.error("block_configs", "Each entry must be an object.")
        layer = Config(entry, path=config.path + "block_configs.")
        mixer, mlp = layer.sub("attention"), layer.sub("ffn")
        kind = tuple(
            part.first(name)[1] for part, name in (
                (mixer, "no_op"), (mixer, "replace_with_linear"), (mixer, "n_heads_in_group"), (mixer, "window_length"),
                (mlp, "no_op"), (mlp, "replace_with_linear"), (mlp, "ffn_mult"), (mlp, "intermediate_size"),
            )
        )  # fmt: skip
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
    return block + attention(hidden, count, count // group, size, bias=bias, window=window)


def _decilm_mlp(config: Config, mlp: Config, hidden: int) -> Block:
    if mlp.flag("no_op"):
        return Block()
    block = norm(PRE_NORMS[1], hidden)
    if mlp.flag("replace_with_linear"):
        return block + Block(mlp=MlpKind.DENSE) + linear("mlp.linear_mlp", hidden, hidden, Role.UP)
    inner = mlp.optional_size("intermediate_size")
    if inner is None:
        # As the repository's code: two thirds of a multiple of the hidden size, rounded up to a multiple of 256.
        inner = -(-int(2 * mlp.number("ffn_mult", default=0.0) * hidden / 3) // 256) * 256
    return block + gated_mlp(hidden, inner, bias=config.flag("mlp_bias"))


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


def _exit_gate(config: Config) -> Block:
    """Ouro runs its layers several times; this decides when to stop."""
    return linear("model.early_exit_gate", 1, config.size("hidden_size"), Role.OTHER, True)


def _peri_norms(config: Config) -> tuple[str, ...]:
    """HyperCLOVA X: `use_post_norm` adds a norm behind each half of a layer."""
    return (*PRE_NORMS, "post_norm1", "post_norm2") if config.flag("use_post_norm") else PRE_NORMS


PLAIN = Decoder(Attention(bias=False), Mlp(bias=False))
ORION = Decoder(Attention(), Mlp(bias=False), norm_bias=True)
QWEN2 = Decoder(Attention(bias=True, o_bias=False, windows=max_window_layers), Mlp(bias=False))
GPT_NAMES = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "ffn_hidden_size"}

FAMILIES: dict[str, Family] = {
    "qwen": qwen,
    "chatglm": chatglm,
    "baichuan": Decoder(FusedAttention(("W_pack", "o_proj"), bias=False), Mlp(bias=False)),
    "internlm": Decoder(Attention(bias="bias"), Mlp(bias=False)),
    "internlm2": internlm2,
    "exaone": with_names(exaone, {"num_hidden_layers": "num_layers"}),
    "orion": ORION,
    "yuan": Decoder(Attention(bias=False, plus=_lf_gate), Mlp(bias=False)),
    "mimo": Decoder(QWEN2.attention, QWEN2.mlp, beyond=_mimo_mtp),
    "PanguEmbedded": Decoder(Attention(bias="bias"), Mlp(bias=False)),
    "xverse": Decoder(Attention(bias=False), Mlp(bias=False)),
    "skywork": PLAIN,
    "aquila": PLAIN,
    "telechat": with_names(telechat, GPT_NAMES),
    "telechat3": Decoder(),
    "solar": Decoder(Attention(windows=one_window), Mlp()),
    "jais": jais,
    "openelm": openelm,
    "stablelm_epoch": Decoder(Attention(bias="use_qkv_bias", o_bias=False), Mlp(bias=False), norm_bias=True),
    "nemotron-nas": decilm,
    "deci": decilm,
    "Dream": QWEN2,
    "dream": QWEN2,
    "sdar": Decoder(Attention(qk_norm="head"), Mlp(bias=False)),
    "iquestcoder": Decoder(),
    "nanbeige": Decoder(),
    "kormo": Decoder(),
    "hyperclovax": Decoder(norms=_peri_norms),
    "ouro": replace(PLAIN, norms=SANDWICH_NORMS, plus=_exit_gate),
    "llada": PLAIN,
}
