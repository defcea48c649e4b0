"""Still more multimodal classes: GIT, Emu3, Dots3, BLIP-2, Molmo 2, Ernie 4.5 VL, MiniCPM-V 4.6, speech models …"""

from __future__ import annotations

from collections.abc import Callable

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, embedding, norm, parameter
from sizer.model.blocks.mlp import experts, gated_mlp, plain_mlp, router, shared_expert
from sizer.model.blocks.tree import Tree
from sizer.model.blocks.vision import clip, pair
from sizer.model.config import MAX_COUNT, Config
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm
from sizer.model.families.hybrid import each_kind
from sizer.model.families.multimodal import internvl
from sizer.model.families.multimodal_wrapper import AUDIO, BOTH_TOWERS, VISION_MODEL, VISUAL, Pieces, Wrapper
from sizer.model.families.rules import Attention, Mlp, heads

paddle_text = Decoder(Attention(bias="use_bias"), Mlp(bias="use_bias"))


def git(config: Config) -> Parts:
    """GIT: a BERT-like decoder behind CLIP's tower and a projection."""
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    vision = config.sub("vision_config")
    sizes = heads(config, head_dim_field=False, kv_field=False)
    names = ("self.query", "self.key", "self.value", "output.dense")
    layer = attention(
        hidden, sizes.heads, sizes.heads, sizes.head_dim, prefix="attention.", names=names, bias=True, o_bias=True
    )
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
        prefix="git.",
        layers="encoder.layer.{layer}.",
        embed="embeddings.word_embeddings",
        final_norm=None,
        head="output",
        head_bias=True,
        extra=outside,
        extra_tensors=tuple(tree.tensors),
    )


def gemma4_unified(pieces: Pieces, tree: Tree) -> None:
    """Gemma 4 unified has no towers: patches and frames are embedded straight."""
    vision, audio = pieces.subs["vision_config"], pieces.subs["audio_config"]
    if vision is not None:
        scope = tree.at("embed_vision", tower=Tower.VISION)
        side = vision.size("patch_size") * vision.size("pooling_kernel_size")
        size = vision.size("mm_embed_dim")
        scope.layer_norm("patch_ln1", size=3 * side**2)
        scope.linear("patch_dense", size, 3 * side**2, bias=True)
        scope.layer_norm("patch_ln2", "pos_norm", size=size)
        scope.parameter("pos_embedding", vision.size("mm_posemb_size"), 2, size, role=Role.POSITION)
        projection = "multimodal_embedder.embedding_projection"
        scope.linear(projection, pieces.text_size, vision.size("output_proj_dims"))
    if audio is not None:
        width = audio.size("output_proj_dims", "hidden_size", "audio_embed_dim")
        tree.at("embed_audio", tower=Tower.AUDIO).linear("embedding_projection", pieces.text_size, width)


def one_matrix(name: str, *, field: str = "vision_config", size: str = "hidden_size") -> Callable[[Pieces, Tree], None]:
    """A connector of one matrix with a bias, from a tower's size to the text model's."""

    def connect(pieces: Pieces, tree: Tree) -> None:
        tree.linear(name, pieces.text_size, pieces.sub(field).size(size), bias=True)

    return connect


def qwen3_asr(pieces: Pieces, tree: Tree) -> None:
    """Qwen3-ASR: two matrices."""
    size = pieces.audio.size("d_model")
    tree.at("multi_modal_projector").mlp(size, size, "linear_1 linear_2", out=pieces.audio.size("output_dim"))


def glmasr(pieces: Pieces, tree: Tree) -> None:
    """GLM-ASR: frames joined, two matrices."""
    inner, text = pieces.audio.size("intermediate_size"), pieces.text_size
    tree.at("multi_modal_projector").mlp(inner, 2 * text, "linear_1 linear_2", out=text)


def paddle(pieces: Pieces, tree: Tree) -> None:
    """PaddleOCR-VL: a norm and two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("projector")
    projector.layer_norm("pre_norm", size=size)
    projector.mlp(merged, merged, "linear_1 linear_2", out=pieces.text_size)


def minicpm(pieces: Pieces, tree: Tree) -> None:
    """MiniCPM-V 4.6: mergers that halve the grid, the last one to the text model's size."""
    size = pieces.vision.size("hidden_size")
    kernel = pair(pieces.config, "merge_kernel_size", 2)
    merged, times = size * kernel[0] * kernel[1], pieces.config.size("merger_times", default=1, maximum=MAX_COUNT)
    for index in range(times):
        merger = tree.at(f"merger.mlp.{index}")
        merger.layer_norm("pre_norm", size=merged)
        out = pieces.text_size if index == times - 1 else size
        merger.mlp(merged, merged, "linear_1 linear_2", out=out)


def ernie_vl(pieces: Pieces, tree: Tree) -> None:
    """Ernie 4.5 VL: a resampler in space, then in time."""
    width = pieces.vision.size("hidden_size") * pieces.vision.size("spatial_merge_size") ** 2
    resampler = tree.at("resampler_model")
    for name, into in (
        ("spatial_linear", width),
        ("temporal_linear", width * pieces.vision.size("temporal_merge_size")),
    ):
        resampler.at(name).mlp(into, width, out=width)
        resampler.layer_norm(f"{name}.ln", size=width)
    resampler.linear("mlp", pieces.text_size, width, bias=True)
    resampler.rms_norm("after_norm", size=pieces.text_size)


def ernie_vl_text(config: Config) -> Parts:
    """Ernie 4.5 VL's text model: one set of experts for text, another for images, and shared ones."""
    hidden, count, bias = config.size("hidden_size"), config.layers(), config.flag("use_bias")
    types = config.layer_types(count, "mlp_layer_types") or ("dense", *("sparse",) * (count - 1))
    inner = config.sequence("moe_intermediate_size") or (1536, 512)
    routed, active = config.size("moe_num_experts"), config.size("moe_k")

    def layer(kind: str) -> Block:
        block = Attention(bias="use_bias")(config, 1)[0]
        if kind == "sparse":
            for name, width in zip(("text_moe", "vision_moe"), inner, strict=True):
                block += router(hidden, routed, name=f"mlp.{name}.gate")
                block += parameter(f"mlp.{name}.gate.moe_statics.e_score_correction_bias", 1, routed, role=Role.ROUTER)
                # A text token, which is what is decoded, is never routed to the experts for images.
                chosen = active if name == "text_moe" else 0
                block += experts(hidden, width, routed, chosen, prefix=f"mlp.{name}.experts.")
            shared = config.size("moe_num_shared_experts", minimum=0)
            if shared:
                block += shared_expert(hidden, shared * inner[0], bias=bias)
        else:
            block += gated_mlp(hidden, config.size("intermediate_size"), bias=bias)
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    return causal_lm(config, each_kind(types, layer))


def qformer(config: Config, tree: Tree, *, reads_text: bool) -> None:
    """BLIP-2's querying transformer: BERT layers, some with attention over the image; InstructBLIP's reads text too."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    if reads_text:
        embeddings = tree.at("embeddings")
        embeddings.put(embedding("word_embeddings", config.size("vocab_size"), size))
        embeddings.positions("position_embeddings", config.size("max_position_embeddings"), size)
        embeddings.layer_norm("layernorm", size=size)
    else:
        tree.layer_norm("layernorm", size=size)
    count, every = config.layers(), config.size("cross_attention_frequency")
    crossing = tree.at("encoder.layer.{layer}", range(0, count, every))
    width = config.size("encoder_hidden_size")
    for scope, into in ((tree.stack("encoder.layer", count), None), (crossing, width)):
        name = "attention" if into is None else "crossattention"
        for part, role in (("query", Role.Q), ("key", Role.K), ("value", Role.V)):
            read = size if into is None or part == "query" else into
            scope.linear(f"{name}.attention.{part}", size, read, role, bias=True)
        scope.linear(f"{name}.output.dense", size, size, Role.O, bias=True)
        scope.layer_norm(f"{name}.output.LayerNorm", size=size)
    layer = tree.stack("encoder.layer", count)
    for suffix in ("", "_query") if reads_text else ("_query",):
        layer.mlp(size, inner, f"intermediate{suffix}.dense output{suffix}.dense")
        layer.layer_norm(f"output{suffix}.LayerNorm", size=size)


def blip2(pieces: Pieces, tree: Tree, *, reads_text: bool = False) -> None:
    """BLIP-2: learned queries, the querying transformer and a matrix."""
    former = pieces.sub("qformer_config")
    size = former.size("hidden_size")
    tree.parameter("query_tokens", 1, pieces.config.size("num_query_tokens", default=32), size)
    qformer(former, tree.at("qformer"), reads_text=reads_text)
    tree.linear("language_projection", pieces.text_size, size, bias=True)


def instructblip(pieces: Pieces, tree: Tree) -> None:
    """InstructBLIP: BLIP-2 with a querying transformer that reads the instruction."""
    blip2(pieces, tree, reads_text=True)


def granite_speech(pieces: Pieces, tree: Tree) -> None:
    """Granite Speech: a querying transformer over windows of frames, and a matrix. Its adapter is a file of its own."""
    config, former = pieces.config, pieces.sub("projector_config")
    size, window, rate = former.size("hidden_size"), config.size("window_size"), config.size("downsample_rate")
    if window < rate:
        raise config.error("downsample_rate", f"It must not be above window_size ({window}).")
    projector = tree.at("projector")
    projector.parameter("query", 1, window // rate, size)
    qformer(former, projector.at("qformer"), reads_text=False)
    projector.linear("linear", pieces.text_size, size, bias=True)


GRANITE = (("encoder", "encoder_config"),)

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "git": git,
    "emu3": Wrapper(
        towers=(("vqmodel", "vq_config"),), text_as="llama", text_name="text_model", text_only="Emu3ForCausalLM"
    ),
    "dots3_note": Wrapper(
        towers=BOTH_TOWERS,
        text_only="Dots3NoteForCausalLM",
        flat=True,
    ),
    "gemma4_unified": Wrapper(gemma4_unified, (("", "vision_config"), ("", "audio_config"))),
    "qwen4_exp": Wrapper(towers=VISUAL, text_only="Qwen4ExpForCausalLM"),
    "cosmos3_omni": Wrapper(towers=VISUAL, text_as="qwen3"),
    "hyperclovax_vision_v2": Wrapper(one_matrix("projector", size="out_hidden_size"), VISION_MODEL),
    "qianfan_ocr": Wrapper(internvl),
    "qwen3_asr": Wrapper(qwen3_asr, AUDIO),
    "glmasr": Wrapper(glmasr, AUDIO, merged=True),
    "paddleocr_vl": Wrapper(paddle, VISUAL, ties="either", text_as=paddle_text, flat=True),
    "minicpmv4_6": Wrapper(minicpm),
    "minicpmv4_7": Wrapper(minicpm),
    "minicpm_ocr": Wrapper(minicpm),
    "ernie4_5_vl_moe": Wrapper(ernie_vl, text_as=ernie_vl_text),
    "granite_speech": Wrapper(granite_speech, GRANITE),
    "granite_speech_plus": Wrapper(granite_speech, GRANITE),
    "blip-2": Wrapper(blip2, VISION_MODEL, ties="text", prefix="", inner_head=True),
    "instructblip": Wrapper(instructblip, VISION_MODEL, ties="text", prefix="", inner_head=True),
    "instructblipvideo": Wrapper(instructblip, VISION_MODEL, ties="text", prefix="", inner_head=True),
}
