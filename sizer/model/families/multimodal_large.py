"""Large multimodal classes whose text models stand nowhere else: Mistral Large 4, Muse, and Inkling with its towers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.attention import mla
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import experts, gated_mlp, router
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, SANDWICH_NORMS, Decoder, causal_lm, joined
from sizer.model.families.experts import TYPED_FINE_GRAINED, FirstDense, Moe
from sizer.model.families.latent import shared_selections
from sizer.model.families.multimodal import mistral3
from sizer.model.families.multimodal_wrapper import BOTH_TOWERS, Pieces, Wrapper
from sizer.model.families.rules import UNBIASED, Attention, output_gate
from sizer.model.families.windows import Window, window_of


def _scaling(prefix: str, heads: int) -> Block:
    return parameter(f"{prefix}softmax_scaling.scale", heads) + parameter(f"{prefix}softmax_scaling.bias", heads)


def _mistral_indexer(config: Config) -> Block:
    """The indexer, whose queries come from the normed hidden state."""
    heads, size, hidden = (config.size(name) for name in ("index_n_heads", "index_head_dim", "hidden_size"))
    prefix = "self_attn.indexer."
    return (
        linear(prefix + "wq_b", heads * size, hidden, Role.INDEXER)
        + linear(prefix + "wk", size, hidden, Role.INDEXER)
        + norm(prefix + "k_norm", size, bias=True)
        + linear(prefix + "weights_proj", heads, hidden, Role.INDEXER)
        + norm(prefix + "q_input_norm", hidden, bias=True)
        + _scaling(prefix, heads)
    )


def _mistral_attention(config: Config, *, rotary: bool, reuses: bool, indexed: bool) -> Block:
    """Latent attention of one layer: without rotary dimensions on some, reading an earlier layer's latent on others."""
    rope, nope = config.size("qk_rope_head_dim"), config.size("qk_nope_head_dim")
    heads = config.size("num_attention_heads")
    block = mla(
        config.size("hidden_size"),
        heads,
        q_lora_rank=None,
        kv_lora_rank=config.size("kv_lora_rank"),
        nope=nope if rotary else nope + rope,
        rope=rope if rotary else 0,
        v_head_dim=config.size("v_head_dim"),
        bias=config.flag("attention_bias"),
    )
    mixer = replace(
        block.mixers[0],
        shares_kv=reuses,
        selected_tokens=config.size("index_topk"),
        indexer_elements=config.size("index_head_dim") if indexed else 0,
    )
    own = (tensor for tensor in block.tensors if not (reuses and ".kv_a_" in tensor.name))
    block = Block(tuple(own), (mixer,)) + _scaling("self_attn.", heads)
    return block + _mistral_indexer(config) if indexed else block


def mistral_large4(config: Config) -> Parts:
    """Mistral Large 4's text model: indexed latent attention, every fourth layer without rotary positions."""
    count, hidden = config.layers(), config.size("hidden_size")
    rope = config.sequence("no_rope_layers", int)
    if rope is None:
        every = config.size("no_rope_layer_interval", default=4)
        rope = tuple(int((index + 1) % every != 0) for index in range(count))
    sources = config.sequence("kv_source_layers", int) or tuple(range(count))
    if len(rope) < count:
        raise config.error("no_rope_layers", f"It must have an entry for each of {count} layers.")
    if len(sources) != count or any(
        not 0 <= source <= index or sources[source] != source for index, source in enumerate(sources)
    ):
        raise config.error("kv_source_layers", "Each layer must name itself or an earlier layer that names itself.")
    shared = shared_selections(config, count)
    kinds = [(bool(rope[index]), sources[index] != index, not shared[index]) for index in range(count)]
    made = {
        kind: _mistral_attention(config, rotary=kind[0], reuses=kind[1], indexed=kind[2])
        for kind in dict.fromkeys(kinds)
    }
    norms = norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    return causal_lm(
        config, joined([made[kind] for kind in kinds], TYPED_FINE_GRAINED(config, count), (norms,) * count)
    )


def _muse_windows(config: Config, count: int) -> Sequence[Window]:
    """Muse: full attention on the last layer and every fourth before it."""
    window = config.optional_size("sliding_window")
    types = config.layer_types(count)
    if types is None:
        types = tuple("sliding_attention" if (count - 1 - i) % 4 else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)


MUSE_ATTENTION = Attention(windows=_muse_windows, plus=output_gate)


def _muse_moe(config: Config) -> Block:
    """Muse Spark's experts, which work in a width of their own between two projections."""
    hidden, width = config.size("hidden_size"), config.size("moe_hidden_size")
    count, active = Moe("num_local_experts").counts(config)
    block = router(hidden, count) + linear("mlp.pre_expert_proj", width, hidden, Role.OTHER)
    block += norm("mlp.pre_expert_norm", width)
    block += experts(width, config.size("moe_intermediate_size"), count, active)
    block += norm("mlp.experts.post_expert_norm", width)
    return block + linear("mlp.post_expert_proj", hidden, width, Role.OTHER)


def muse_spark(config: Config) -> Parts:
    """Muse Spark's text model: gated attention, experts, and a gate on each residual branch."""
    count, hidden = config.layers(), config.size("hidden_size")
    sparse = FirstDense(None)(config, count)
    routed = _muse_moe(config) if any(sparse) else Block()
    dense = Block() if all(sparse) else gated_mlp(hidden, config.size("intermediate_size"))
    more = Block()
    for name in ("input_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"):
        more += norm(name, hidden)
    for name in ("post_attention_residual_gate", "post_feedforward_residual_gate"):
        more += parameter(f"{name}.gate", hidden)
    mlps = [routed if is_sparse else dense for is_sparse in sparse]
    return causal_lm(config, joined(MUSE_ATTENTION(config, count), mlps, (more,) * count))


def muse(pieces: Pieces, tree: Tree) -> None:
    """Muse: two matrices over merged patches, and one to the text model's width."""
    inner = pieces.config.size("projector_hidden_size")
    tree.at("vision_adapter").mlp(pieces.config.size("out_hidden_size"), inner, bias=False, out=inner)
    tree.linear("vision_projection", pieces.text_size, inner)


INKLING = Wrapper(towers=BOTH_TOWERS, ties="never")


def inkling(config: Config) -> Parts:
    """Inkling: both towers put out the text model's width, whatever their configs say."""
    size = {"text_hidden_size": config.sub("text_config").size("hidden_size")}
    fields = dict(config.fields)
    for name in ("vision_config", "audio_config"):
        fields[name] = {**config.sub(name).fields, **size}
    return INKLING(Config(fields, config.class_defaults, config.path))


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "inkling_mm_model": inkling,
    "mistral_large4": Wrapper(mistral3, text_as=mistral_large4),
    "muse_glimmer": Wrapper(muse, text_as=Decoder(MUSE_ATTENTION, UNBIASED, SANDWICH_NORMS)),
    "muse_spark": Wrapper(muse, BOTH_TOWERS, text_as=muse_spark),
}
