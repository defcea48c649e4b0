"""Earlier readers of images: Kosmos-2 and 2.5, Florence-2, BLIP, IDEFICS, Pix2Struct."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Role, Tower
from sizer.model.blocks.attention import attention, attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter, prefixed
from sizer.model.blocks.mlp import gated_mlp, plain_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.blocks.vision import clip
from sizer.model.config import ClassDefaults, Config
from sizer.model.families.decoder import PRE_NORMS, causal_lm
from sizer.model.families.encoder import BERT
from sizer.model.families.encoder_decoder import ENCODER_NOTE, Whole
from sizer.model.families.multimodal_wrapper import Pieces, Wrapper, tower_of
from sizer.model.families.rules import OUT_NAMES, head_size, heads


def kosmos_text(config: Config, *, inner_norm: bool) -> Parts:
    """Kosmos's decoder: sinusoidal positions, norms within attention (version 2 only) and within the MLP."""
    hidden, heads, inner = config.size("hidden_size"), config.size("num_attention_heads"), config.size("ffn_dim")
    size = head_size(config, hidden, heads)
    block = attention(hidden, heads, heads, size, names=OUT_NAMES, bias=True)
    if inner_norm:
        block += norm("self_attn.inner_attn_ln", hidden, True)
    block += norm("self_attn_layer_norm", hidden, True)
    if inner_norm and config.flag("add_cross_attention"):
        crossing = prefixed(
            "encoder_attn.", attention(hidden, heads, heads, size, prefix="", names=OUT_NAMES, bias=True)
        )
        block += replace(crossing, mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
        block += norm("encoder_attn.inner_attn_ln", hidden, True) + norm("encoder_attn_layer_norm", hidden, True)
    block += plain_mlp(hidden, inner, prefix="ffn.", names=("fc1", "fc2"), bias=True)
    block += norm("ffn.ffn_layernorm", inner, True) + norm("final_layer_norm", hidden, True)
    extra = Block() if inner_norm else embedding("model.segment_emb", 2, hidden, Role.POSITION)
    return causal_lm(config, [block] * config.layers(), final_norm="layer_norm", norm_bias=True, extra=extra)


def kosmos2_text(config: Config) -> Parts:
    """Kosmos-2's decoder."""
    return kosmos_text(config, inner_norm=True)


def kosmos2_5_text(config: Config) -> Parts:
    """Kosmos-2.5's decoder."""
    return kosmos_text(config, inner_norm=False)


def latent_queries(pieces: Pieces, tree: Tree) -> None:
    """Kosmos: a matrix, then learned queries attend to the image."""
    size, scope = pieces.text_size, tree.at("image_to_text_projection")
    scope.parameter("latent_query", pieces.config.size("latent_query_num"), size)
    scope.linear("dense", size, pieces.vision.size("hidden_size"), bias=True)
    scope.at("x_attn").attention(size)


def florence2(pieces: Pieces, tree: Tree) -> None:
    """Florence-2: positions of rows and columns, one matrix and a norm."""
    vision, projector = pieces.vision, tree.at("multi_modal_projector")
    widths = vision.sequence("embed_dim", int) or (1024,)
    size, out = widths[-1], vision.size("projection_dim")
    rows = vision.size("max_position_embeddings")
    projector.linear("image_projection", out, size)
    projector.layer_norm("image_proj_norm", size=out)
    projector.positions("image_position_embed.row_embeddings", rows, size // 2)
    projector.positions("image_position_embed.column_embeddings", rows, size - size // 2)


def blip(config: Config) -> Parts:
    """BLIP: a ViT, and BERT with attention over it."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    width = config.sub("vision_config").size("hidden_size")
    # BLIP's own class lays the text out as BERT does, without token types; its head is always the embedding.
    read = ClassDefaults("bert", {**text.defaults, "is_decoder": True, "add_cross_attention": True})
    fields = {**text.fields, "is_decoder": True, "add_cross_attention": True, "tie_word_embeddings": True}
    parts = replace(BERT, types=False)(Config(fields, read, text.path))
    tensors = tuple(
        replace(tensor, shape=(tensor.shape[0], width))
        if tensor.name.endswith(("crossattention.self.key.weight", "crossattention.self.value.weight"))
        else tensor
        for tensor in prefixed("text_decoder.", Block(parts.tensors)).tensors
    )
    tree = Tree("vision_model.", tower=Tower.VISION)
    tower_of("vision_config", vision)(vision, tree)
    return replace(parts, tensors=(*tensors, *tree.tensors))


def pix2struct_layer(config: Config) -> Block:
    """Self- and cross-attention and a gated MLP, each behind a norm, without biases."""
    hidden, heads, size = config.size("hidden_size"), config.size("num_heads"), config.size("d_kv")
    width, block = heads * size, Block()
    for name in ("self_attention", "encoder_decoder_attention"):
        for part, role in (("query", Role.Q), ("key", Role.K), ("value", Role.V)):
            block += linear(f"{name}.attention.{part}", width, hidden, role)
        block += linear(f"{name}.attention.output", hidden, width, Role.O) + norm(f"{name}.layer_norm", hidden)
    block += Block(mixers=(attention_mixer(heads, heads, size), Mixer(MixerKind.CROSS, heads, heads, size, size)))
    names = ("wi_0", "wi_1", "wo")
    block += gated_mlp(hidden, config.size("d_ff"), prefix="mlp.DenseReluDense.", names=names)
    return block + norm("mlp.layer_norm", hidden)


def pix2struct(config: Config) -> Parts:
    """Pix2Struct: an encoder of image patches and a T5-like decoder, whose head is a matrix of its own."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    layer, buckets = pix2struct_layer(text), text.size("relative_attention_num_buckets")
    table = "self_attention.attention.relative_attention_bias"
    first = layer + embedding(table, buckets, text.size("num_heads"), Role.POSITION)
    tree = Tree("encoder.", tower=Tower.ENCODER)
    tower_of("vision_config", vision)(vision, tree)
    parts = causal_lm(
        text, [first] + [layer] * (text.layers() - 1), prefix="decoder.", layers="layer.{layer}.",
        final_norm="final_layer_norm", head="decoder.lm_head", tied=config.flag("tie_word_embeddings"),
        extra_tensors=tuple(tree.tensors),
    )  # fmt: skip
    return parts.with_notes(ENCODER_NOTE)


def idefics(config: Config) -> Parts:
    """IDEFICS: Llama's layers, and before every few of them gated attention over the image and an MLP of its own."""
    vision, count, hidden, sizes = (
        config.sub("vision_config"),
        config.layers(),
        config.size("hidden_size"),
        heads(config),
    )
    every, spare = config.size("cross_layer_interval", default=1), config.size("additional_vocab_size", minimum=0)
    rest = gated_mlp(hidden, config.size("intermediate_size")) + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    layer = attention(hidden, sizes.heads, sizes.kv_heads, sizes.head_dim) + rest
    crossed = layer + Block(mixers=(Mixer(MixerKind.CROSS, sizes.heads, sizes.heads, sizes.head_dim, sizes.head_dim),))
    width, gated = vision.size("hidden_size"), count // every
    own = _gated_attention(config, width, sizes.head_dim) + rest
    added = on_layers("model.gated_cross_attn_layers.{layer}.", own, range(gated)) if gated else ()
    if spare:
        added += embedding("model.embed_tokens.additional_embedding", spare, hidden).tensors
        if not config.flag("tie_word_embeddings"):
            added += linear("lm_head.additional_fc", spare, hidden, Role.LM_HEAD).tensors
    blocks = [layer if index % every else crossed for index in range(count)]
    tree = Tree("model.vision_model.", tower=Tower.VISION)
    clip(vision, tree)
    joint = Tree("model.perceiver_resampler.", tower=Tower.PROJECTOR)
    if config.flag("use_resampler"):
        _perceiver(config.sub("perceiver_config"), joint, width)
    return causal_lm(config, blocks, extra_tensors=(*added, *tree.tensors, *joint.tensors))


def _gated_attention(config: Config, width: int, head_dim: int) -> Block:
    """Attention over the image's features, `width` wide, with a gate on it and one on the MLP behind."""
    hidden = config.size("hidden_size")
    block = parameter("alpha_cross_attn", *_alpha(config, hidden)) + parameter("alpha_dense", *_alpha(config, hidden))
    for name, into, role in (("q", hidden, Role.Q), ("k", width, Role.K), ("v", width, Role.V), ("o", hidden, Role.O)):
        block += linear(f"cross_attn.{name}_proj", hidden, into, role)
    if config.flag("qk_layer_norms"):
        block += norm("cross_attn.q_layer_norm", head_dim) + norm("cross_attn.k_layer_norm", head_dim)
    return block


def _alpha(config: Config, hidden: int) -> tuple[int, ...]:
    """The gates' shape: one number, or one for each dimension."""
    return (1,) if config.text("alpha_type", default="float") == "float" else (1, 1, hidden)


def _perceiver(config: Config, tree: Tree, size: int) -> None:
    """IDEFICS's resampler: latents attend to the patches, an MLP follows."""
    head = config.size("resampler_head_dim")
    tree.parameter("latents", config.size("resampler_n_latents"), size)
    block = tree.stack("blocks", config.layers("resampler_depth"))
    reading, feeding = block.at("0"), block.at("1")
    reading.layer_norm("context_layer_norm", "latents_layer_norm", size=size)
    if config.flag("qk_layer_norms_perceiver"):
        reading.layer_norm("q_layer_norm", "k_layer_norm", size=head)
    inner = config.size("resampler_n_heads") * head
    reading.attention(size, "q_proj k_proj v_proj output_proj", bias="", inner=inner)
    feeding.layer_norm("ln", size=size)
    feeding.mlp(size, 4 * size, "fc c_proj", bias=False)
    tree.layer_norm("layer_norm", size=size)


KOSMOS2 = (("vision_model.model", "vision_config"),)
KOSMOS2_5 = (("vision_model", "vision_config"),)

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "kosmos-2": Wrapper(
        latent_queries, KOSMOS2, "either", text_as=kosmos2_text, text_name="text_model", prefix="", inner_head=True
    ),
    "kosmos-2.5": Wrapper(
        latent_queries, KOSMOS2_5, "either", text_as=kosmos2_5_text, text_name="text_model", prefix="", inner_head=True
    ),
    "florence2": Wrapper(florence2, text_as=Whole()),
    "blip": blip,
    "idefics": idefics,
    "pix2struct": pix2struct,
}
