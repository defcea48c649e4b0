"""Meta's models with eyes and ears: Llama 3.2 Vision, Llama 4, Chameleon, Muse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import MixerKind, Module, Role, Tensor
from sizer.model.blocks.attention import Heads, attention, head_norms
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import experts, gated_mlp, router
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, SANDWICH_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.experts import FirstDense, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.hybrid import each_kind
from sizer.model.shapes.rules import UNBIASED, Attention, Mlp, heads, output_gate
from sizer.model.shapes.windows import Window, window_of
from sizer.model.shapes.wrapper import BOTH_TOWERS, VISION_MODEL, Pieces, Wrapper


def llama4(pieces: Pieces, tree: Tree) -> None:
    """Llama 4: one matrix."""
    width = pieces.vision.size("vision_output_dim")
    tree.linear("multi_modal_projector.linear_1", pieces.text_size, width)


def mllama(pieces: Pieces, tree: Tree) -> None:
    """Llama 3.2 Vision: one matrix with a bias."""
    tree.linear("multi_modal_projector", pieces.text_size, pieces.vision.size("vision_output_dim"), bias=True)


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


def mllama_text(config: Config) -> Parts:
    """Llama 3.2 Vision's text model: cross-attention layers with gates stand among Llama's; eight spare tokens."""
    sizes, count = heads(config, head_dim_field=False), config.layers()
    listed = config.sequence("cross_attention_layers", int)
    cross = set(range(3, 40, 5) if listed is None else listed)
    mlp = gated_mlp(sizes.hidden, config.size("intermediate_size"))
    mlp += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    plain = Attention(bias=False, plain_heads=True)(config, 1)[0]
    crossed = attention(sizes, prefix="cross_attn.", kind=MixerKind.CROSS)
    crossed += head_norms((("q_norm", sizes.head_dim), ("k_norm", sizes.head_dim)), prefix="cross_attn.")
    crossed += parameter("cross_attn_attn_gate", 1) + parameter("cross_attn_mlp_gate", 1)
    blocks = each_kind([index in cross for index in range(count)], lambda kind: (crossed if kind else plain) + mlp)
    parts = causal_lm(config, blocks, vocab=config.size("vocab_size"), tied=False)
    table = parts.tensors[0]
    return replace(parts, tensors=(replace(table, shape=(table.shape[0] + 8, table.shape[1])), *parts.tensors[1:]))


def _head_norms(_config: Config, sizes: Heads) -> Block:
    """Chameleon's norms: a weight and a bias for each dimension of each head."""
    return Block(
        tuple(
            Tensor(f"self_attn.{name}.{part}", (count, sizes.head_dim), Role.NORM, Module.NORM)
            for name, count in (("q_norm", sizes.heads), ("k_norm", sizes.kv_heads))
            for part in ("weight", "bias")
        )
    )


CHAMELEON = Decoder(Attention(plus=_head_norms, plain_heads=True), Mlp())


FAMILIES: dict[str, Family] = {
    "llama4": Wrapper(llama4, VISION_MODEL, ties="text", prefix="", inner_head=True, text_only="Llama4ForCausalLM"),
    "muse_glimmer": Wrapper(muse, text_as=Decoder(MUSE_ATTENTION, UNBIASED, SANDWICH_NORMS)),
    "muse_spark": Wrapper(muse, BOTH_TOWERS, text_as=muse_spark),
    "mllama": Wrapper(mllama, VISION_MODEL, ties="never", text_as=mllama_text, text_only="MllamaForCausalLM"),
    "chameleon": Wrapper(towers=(("vqmodel", "vq_config"),), text="", text_as=CHAMELEON, text_name=""),
}
