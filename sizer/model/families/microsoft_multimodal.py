"""Microsoft's models with eyes and ears: Phi-3 Vision, Phi-4 multimodal, Kosmos, Florence-2, GIT."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Role, Tower
from sizer.model.blocks.attention import Heads, attention
from sizer.model.blocks.core import Block, Parts, embedding, norm, prefixed
from sizer.model.blocks.mlp import plain_mlp
from sizer.model.blocks.towers.clip import clip
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config
from sizer.model.registry import describe
from sizer.model.shapes.bart import Whole
from sizer.model.shapes.connectors import CLIP_L_336, with_towers
from sizer.model.shapes.decoder import Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import (
    OUT_NAMES,
    head_size,
    heads,
)
from sizer.model.shapes.wrapper import Pieces, Wrapper


def kosmos_text(config: Config, *, inner_norm: bool) -> Parts:
    """Kosmos's decoder: sinusoidal positions, norms within attention (version 2 only) and within the MLP."""
    hidden, heads, inner = config.size("hidden_size"), config.size("num_attention_heads"), config.size("ffn_dim")
    size = head_size(config, hidden, heads)
    block = attention(Heads(hidden, heads, heads, size), names=OUT_NAMES, bias=True)
    if inner_norm:
        block += norm("self_attn.inner_attn_ln", hidden, True)
    block += norm("self_attn_layer_norm", hidden, True)
    if inner_norm and config.flag("add_cross_attention"):
        crossing = prefixed(
            "encoder_attn.", attention(Heads(hidden, heads, heads, size), prefix="", names=OUT_NAMES, bias=True)
        )
        block += replace(crossing, mixers=(Mixer(MixerKind.CROSS, heads, heads, size, size),))
        block += norm("encoder_attn.inner_attn_ln", hidden, True) + norm("encoder_attn_layer_norm", hidden, True)
    block += plain_mlp(hidden, inner, prefix="ffn.", names=("fc1", "fc2"), bias=True)
    block += norm("ffn.ffn_layernorm", inner, True) + norm("final_layer_norm", hidden, True)
    extra = Block() if inner_norm else embedding("model.segment_emb", 2, hidden, Role.POSITION)
    return causal_lm(config, [block] * config.layers(), Naming(final_norm="layer_norm"), norm_bias=True, extra=extra)


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
    widths = vision.sizes("embed_dim", default=(1024,))
    size, out = widths[-1], vision.size("projection_dim")
    rows = vision.size("max_position_embeddings")
    projector.linear("image_projection", out, size)
    projector.layer_norm("image_proj_norm", size=out)
    projector.positions("image_position_embed.row_embeddings", rows, size // 2)
    projector.positions("image_position_embed.column_embeddings", rows, size - size // 2)


KOSMOS2 = (("vision_model.model", "vision_config"),)


KOSMOS2_5 = (("vision_model", "vision_config"),)


def phi4_projectors(pieces: Pieces, tree: Tree) -> None:
    """Phi-4 multimodal: two projections for images, four for speech."""
    size, text = pieces.vision.size("hidden_size"), pieces.text_size
    image, audio = tree.at("embed_tokens_extend.image_embed"), tree.at("embed_tokens_extend.audio_embed")
    image.parameter("global_img_feature_extensor", 1, 1, size)
    image.parameter("sub_img_feature_extensor", 1, 1, 1, size)
    image.mlp(size, text, "img_projection_up img_projection_down", out=text)
    width = pieces.audio.size("hidden_size") * pieces.audio.size("downsample_rate")
    for name in ("speech", "vision_speech"):
        audio.mlp(width, text, f"up_proj_for_{name} down_proj_for_{name}", out=text)


PHI4_TOWERS = (
    ("embed_tokens_extend.image_embed.img_processor", "vision_config"),
    ("embed_tokens_extend.audio_embed.encoder", "audio_config"),
)


def git(config: Config) -> Parts:
    """GIT: a BERT-like decoder behind CLIP's tower and a projection."""
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    vision = config.sub("vision_config")
    sizes = heads(config, head_dim_field=False, kv_field=False)
    names = ("self.query", "self.key", "self.value", "output.dense")
    layer = attention(sizes, prefix="attention.", names=names, bias=True)
    layer += norm("attention.output.LayerNorm", hidden, True)
    layer += plain_mlp(hidden, inner, prefix="", names=("intermediate.dense", "output.dense"), bias=True)
    layer += norm("output.LayerNorm", hidden, True)
    outside = embedding(
        "git.embeddings.position_embeddings", config.size("max_position_embeddings"), hidden, Role.POSITION
    )
    outside += norm("git.embeddings.LayerNorm", hidden, True)
    tree = Tree("git.", tower=Tower.PROJECTOR)
    width = vision.size("hidden_size")
    tree.linear("visual_projection.visual_projection.0", hidden, width, bias=True)
    tree.layer_norm("visual_projection.visual_projection.1", size=hidden)
    for index in range(config.size("num_image_with_embedding", default=0, minimum=0, maximum=MAX_COUNT)):
        tree.parameter(f"img_temporal_embedding.{index}", 1, 1, width)
    clip(vision, tree.at("image_encoder.vision_model", tower=Tower.VISION))
    return causal_lm(
        config,
        [layer] * config.layers(),
        Naming(
            prefix="git.",
            layers="encoder.layer.{layer}.",
            embed="embeddings.word_embeddings",
            final_norm=None,
            head="output",
        ),
        head_bias=True,
        extra=outside,
        extra_tensors=tuple(tree.tensors),
    )


def phi3_v(config: Config) -> Parts:
    """Phi-3 and 3.5 vision: CLIP ViT-L/14-336, learned separators and an MLP beside Phi-3."""
    parts = describe(Config.of(config.fields, "phi3"), "phi3")
    prefix = "model.vision_embed_tokens."
    tower, joint = Tree(prefix + "img_processor.vision_model."), Tree(prefix, tower=Tower.PROJECTOR)
    clip(Config(CLIP_L_336), tower)
    image = config.sub("embd_layer")
    merged, hidden = 4 * config.sub("img_processor").size("image_dim_out", default=1024), parts.hidden_size
    if image.flag("use_hd_transform", default=True):
        joint.parameter("glb_GN", 1, 1, merged)
        joint.parameter("sub_GN", 1, 1, 1, merged)
    joint.linear("img_projection.0", hidden, merged, bias=True)
    joint.linear("img_projection.2", hidden, hidden, bias=True)
    return with_towers(parts, tower, joint)


FAMILIES: dict[str, Family] = {
    "kosmos-2": Wrapper(
        latent_queries, KOSMOS2, "either", text_as=kosmos2_text, text_name="text_model", prefix="", inner_head=True
    ),
    "kosmos-2.5": Wrapper(
        latent_queries, KOSMOS2_5, "text", text_as=kosmos2_5_text, text_name="text_model", prefix="", inner_head=True
    ),
    "florence2": Wrapper(florence2, text_as=Whole()),
    "phi4_multimodal": Wrapper(phi4_projectors, PHI4_TOWERS, text="", text_as="phi3", text_name=""),
    "git": git,
    "phi3_v": phi3_v,
}
