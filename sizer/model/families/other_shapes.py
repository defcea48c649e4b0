"""Models of few families a maker whose layers are of a shape of their own."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import MlpKind, Module, Role, Tensor
from sizer.model.blocks.attention import Heads, attention, attention_mixer, fused_attention
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter, stack
from sizer.model.blocks.mlp import MOE, expert_stack, experts, gated_mlp, router
from sizer.model.config import MAX_COUNT, MAX_LAYERS, Config
from sizer.model.shapes.decoder import LLAMA_MLP, PRE_NORMS, Decoder, Naming, causal_lm, joined
from sizer.model.shapes.experts import Moe, active_experts
from sizer.model.shapes.family import Family, with_names
from sizer.model.shapes.gpt2 import GPT_NAMING
from sizer.model.shapes.latent import Mla
from sizer.model.shapes.rules import UNBIASED, Attention, Mlp, head_size, heads
from sizer.model.shapes.windows import one_window, window_of
from sizer.model.shapes.wrapper import Wrapper


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
    low = causal_lm(config, blocks, Naming(layers="L_module.layers.{layer}.", final_norm=None))
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
        Naming(embed="embeddings.tok_embeddings", final_norm="final_norm", head="decoder"),
        extra=norm("model.embeddings.norm", hidden, bias) + head + norm("lm_head.norm", hidden, bias),
        norm_bias=bias,
        head_bias=config.flag("decoder_bias"),
    )


def longcat_flash(config: Config) -> Parts:
    """LongCat-Flash: each layer has two attentions and two dense MLPs beside one mixture of experts.

    The experts hold `zero_expert_num` more up projections than down projections: identity experts, as transformers
    allocates them.
    """
    count, hidden = config.layers("num_layers"), config.size("hidden_size")
    if config.fields.get("num_layers") is None and "num_hidden_layers" in config.fields:
        count = config.layers("num_hidden_layers") // 2
    routed, zero = config.size("n_routed_experts"), config.size("zero_expert_num", default=0, minimum=0)
    active, inner = config.size("moe_topk"), config.size("expert_ffn_hidden_size")
    if active > routed + zero:
        raise config.error("moe_topk", f"There are only {routed + zero} experts.")
    block = Block()
    attention = Mla().block(config)
    for index in range(2):
        for tensor in attention.tensors:
            name = tensor.name.replace("self_attn.", f"self_attn.{index}.")
            block += Block((replace(tensor, name=name),))
        block += Block(mixers=attention.mixers)
        block += gated_mlp(hidden, config.size("ffn_hidden_size"), prefix=f"mlps.{index}.")
        block += norm(f"input_layernorm.{index}", hidden) + norm(f"post_attention_layernorm.{index}", hidden)
    moe = Moe("n_routed_experts", "moe_topk", "expert_ffn_hidden_size").block(config)
    stacks = tuple(
        replace(tensor, shape=(routed + zero, inner, hidden)) if tensor.role is not Role.EXPERT_DOWN else tensor
        for tensor in moe.tensors
        if tensor.role is not Role.ROUTER
    )
    router = linear("mlp.router.classifier", routed + zero, hidden, Role.ROUTER, config.flag("router_bias"))
    return causal_lm(config, [block + Block(stacks, mlp=moe.mlp) + router] * count)


def telechat(config: Config) -> Parts:
    """TeleChat 1 and 2: keys and values are one projection; the output and down projections have biases."""
    sizes = heads(config)
    prefix = "self_attention."
    block = linear(prefix + "query", sizes.hidden, sizes.hidden, Role.Q)
    block += linear(prefix + "key_value", 2 * sizes.kv_heads * sizes.head_dim, sizes.hidden, Role.K)
    block += linear(prefix + "dense", sizes.hidden, sizes.hidden, Role.O, True)
    whole = attention(sizes)
    block += Block(mixers=whole.mixers)
    block += gated_mlp(sizes.hidden, config.size("intermediate_size"), down_bias=True)
    block += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    extra = norm("transformer.word_embeddings_layernorm", sizes.hidden) if config.flag("embed_layernorm") else None
    return causal_lm(
        config,
        [block] * config.layers(),
        Naming(prefix="transformer.", layers="h.{layer}.", embed="word_embeddings", final_norm="ln_f"),
        extra=extra,
        tied=config.flag("tie_word_embeddings", default=True),
    )


def jais(config: Config) -> Parts:
    """Jais: GPT-2 with ALiBi and, where `activation_function` is swiglu, a gated MLP."""
    hidden, count = config.size("n_embd"), config.size("n_head")
    if hidden % count:
        raise config.error("n_head", f"It must divide n_embd ({hidden}).")
    inner = config.size("n_inner", default=4 * hidden)
    block = fused_attention(
        Heads(hidden, count, count, hidden // count), prefix="attn.", names=("c_attn", "c_proj"), bias=True
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
        config,
        [block] * config.layers("n_layer"),
        GPT_NAMING,
        norm_bias=True,
        hidden=hidden,
        extra=extra,
        tied=config.flag("tie_word_embeddings", default=True),
    )


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


GPT_NAMES = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "ffn_hidden_size"}


def openelm(config: Config) -> Parts:
    """OpenELM: heads and MLP width grow with depth; the file lists them, or the multipliers that give them."""
    hidden, size, count = config.size("model_dim"), config.size("head_dim"), config.layers("num_transformer_layers")
    queries, keys = (config.sizes(name, count=count, maximum=MAX_COUNT) for name in ("num_query_heads", "num_kv_heads"))
    divisor, multipliers = config.size("ffn_dim_divisor", default=256), config.sequence("ffn_multipliers") or ()
    if len(multipliers) != count or not all(
        isinstance(value, (int, float)) and 0 < value < 1000 for value in multipliers
    ):
        raise config.error("ffn_multipliers", f"It must be a list of {count} numbers, one for each layer.")
    made: dict[tuple[int, int, int], Block] = {}
    blocks = []
    for query, key, multiplier in zip(queries, keys, multipliers, strict=True):
        inner = _divisible(multiplier * hidden, divisor)
        kind = (query, key, inner)
        if kind not in made:
            made[kind] = _openelm_layer(config, hidden, size, kind)
        blocks.append(made[kind])
    return causal_lm(
        config,
        blocks,
        Naming(prefix="transformer.", embed="token_embeddings"),
        hidden=hidden,
        tied=config.flag("share_input_output_layers", default=True),
    )


def _divisible(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, but no more than a tenth below it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def _openelm_layer(config: Config, hidden: int, size: int, kind: tuple[int, int, int]) -> Block:
    query, key, inner = kind
    block = fused_attention(Heads(hidden, query, key, size), prefix="attn.", names=("qkv_proj", "out_proj"))
    if config.flag("normalize_qk_projections"):
        block += norm("attn.q_norm", size) + norm("attn.k_norm", size)
    gated = config.flag("ffn_with_glu", default=True)
    block += Block(mlp=MlpKind.DENSE)
    block += linear("ffn.proj_1", (2 if gated else 1) * inner, hidden, Role.GATE_UP if gated else Role.UP)
    block += linear("ffn.proj_2", hidden, inner, Role.DOWN)
    return block + norm("attn_norm", hidden) + norm("ffn_norm", hidden)


def jetmoe(config: Config) -> Parts:
    """JetMoE: experts in the attention too: each token's queries and outputs go through those it is routed to."""
    hidden, kv_heads, size = config.size("hidden_size"), config.size("num_key_value_heads"), config.size("kv_channels")
    count, inner, width = config.size("num_local_experts"), config.size("intermediate_size"), kv_heads * size
    active = active_experts(config, "num_experts_per_tok", count)
    prefix = "self_attention.experts."
    block = Block(
        (
            expert_stack(prefix + "input_linear.weight", count, active, width, hidden, role=Role.EXPERT_UP),
            expert_stack(prefix + "output_linear.weight", count, active, hidden, width, role=Role.EXPERT_DOWN),
            expert_stack("mlp.input_linear.weight", count, active, 2 * inner, hidden, role=Role.EXPERT_GATE_UP),
            expert_stack("mlp.output_linear.weight", count, active, hidden, inner, role=Role.EXPERT_DOWN),
        ),
        (attention_mixer(kv_heads * active, kv_heads, size),),
    )
    for module in (prefix, "mlp."):
        block += router(hidden, count, name=module + "router.layer", linear_module=True)
        block += parameter(module + "bias", hidden, role=Role.BIAS)
    block += linear("self_attention.kv_proj", 2 * width, hidden, Role.QKV) + MOE
    block += norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    return causal_lm(config, [block] * config.layers())


FAMILIES: dict[str, Family] = {
    "hrm_text": hrm_text,
    "modernbert-decoder": modernbert_decoder,
    "doge": Decoder(Attention(qk_norm="head", windows=one_window, plus=_doge_attention), _doge_mlp),
    "longcat_flash": longcat_flash,
    "emu3": Wrapper(
        towers=(("vqmodel", "vq_config"),), text_as="llama", text_name="text_model", text_only="Emu3ForCausalLM"
    ),
    "yuan": yuan,
    "telechat": with_names(telechat, GPT_NAMES),
    "jais": jais,
    "openelm": openelm,
    "jetmoe": jetmoe,
}
