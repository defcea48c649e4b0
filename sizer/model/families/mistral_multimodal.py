"""Mistral's models with eyes and ears: Mistral 3, Large 4, Voxtral."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.attention import Heads, mla
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import llava_mlp
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm, joined
from sizer.model.shapes.experts import TYPED_FINE_GRAINED
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import shared_selections
from sizer.model.shapes.rules import UNBIASED, Attention
from sizer.model.shapes.windows import one_window
from sizer.model.shapes.wrapper import AUDIO, Pieces, Wrapper


def mistral3(pieces: Pieces, tree: Tree) -> None:
    """Mistral 3: a norm, a patch merger and two matrices."""
    size = pieces.vision.size("hidden_size")
    projector = tree.at("multi_modal_projector")
    projector.rms_norm("norm", size=size)
    projector.linear("patch_merger.merging_layer", size, size * pieces.config.size("spatial_merge_size") ** 2)
    llava_mlp(pieces, tree, bias=pieces.config.flag("multimodal_projector_bias"))


def _softmax_scaling(prefix: str, heads: int) -> Block:
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
        + _softmax_scaling(prefix, heads)
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
    block = Block(tuple(own), (mixer,)) + _softmax_scaling("self_attn.", heads)
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


def voxtral(pieces: Pieces, tree: Tree) -> None:
    """Voxtral: several frames joined, two matrices."""
    inner = pieces.audio.size("intermediate_size", "encoder_ffn_dim")
    tree.at("multi_modal_projector").mlp(inner, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


def _adaptive_norm(config: Config, _sizes: Heads) -> Block:
    """Voxtral Realtime's norm by the delay: two matrices of rank 32, fixed in the class."""
    hidden = config.size("hidden_size")
    name = "ada_rms_norm.linear"
    return linear(f"{name}1", 32, hidden, Role.OTHER) + linear(f"{name}2", hidden, 32, Role.OTHER)


voxtral_text = Decoder(Attention(bias=False, windows=one_window, plus=_adaptive_norm), UNBIASED)


def voxtral_realtime(pieces: Pieces, tree: Tree) -> None:
    """Voxtral Realtime: frames joined, two matrices."""
    width = pieces.audio.size("hidden_size") * pieces.config.size("downsample_factor")
    tree.at("multi_modal_projector").mlp(width, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


FAMILIES: dict[str, Family] = {
    "mistral3": Wrapper(mistral3),
    "mistral_large4": Wrapper(mistral3, text_as=mistral_large4),
    "voxtral": Wrapper(voxtral, AUDIO, ties="never", merged=True),
    "voxtral_realtime": Wrapper(voxtral_realtime, AUDIO, text_as=voxtral_text, merged=True),
}
