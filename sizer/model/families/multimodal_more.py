"""More multimodal classes: GLM-4V, Step 3.7, Aria, Ovis, Llama 3.2 Vision, Phi-4 multimodal, Qwen Omni, Voxtral …"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import MixerKind, Role
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, linear, norm, parameter
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import PRE_NORMS, Decoder, causal_lm
from sizer.model.families.experts import FINE_GRAINED, Moe, sparse_step
from sizer.model.families.hybrid import each_kind
from sizer.model.families.multimodal import mllama
from sizer.model.families.multimodal_wrapper import AUDIO, VISION_MODEL, VISUAL, Pieces, Wrapper
from sizer.model.families.rules import FUSED, Attention, heads

GLM_NORMS = (*PRE_NORMS, "post_self_attn_layernorm", "post_mlp_layernorm")

glm4v_text = Decoder(Attention(bias=True, o_bias=False), FUSED, GLM_NORMS)
glm_ocr_text = Decoder(Attention(bias=False), FUSED, GLM_NORMS)
glm4v_moe_text = Decoder(
    Attention(o_bias=False, floor_heads=True),
    FINE_GRAINED,
)

omni_moe_text = Decoder(Attention(qk_norm="head", floor_heads=True), Moe(sparse=sparse_step))


def mllama_text(config: Config) -> Parts:
    """Llama 3.2 Vision's text model: cross-attention layers with gates stand among Llama's; eight spare tokens."""
    sizes, count = heads(config, head_dim_field=False), config.layers()
    listed = config.sequence("cross_attention_layers", int)
    cross = set(range(3, 40, 5) if listed is None else listed)
    mlp = gated_mlp(sizes.hidden, config.size("intermediate_size"))
    mlp += norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    plain = Attention(bias=False, plain_heads=True)(config, 1)[0]
    crossed = attention(
        sizes.hidden,
        sizes.heads,
        sizes.kv_heads,
        sizes.head_dim,
        prefix="cross_attn.",
        norms=(("q_norm", sizes.head_dim), ("k_norm", sizes.head_dim)),
        kind=MixerKind.CROSS,
    )
    crossed += parameter("cross_attn_attn_gate", 1) + parameter("cross_attn_mlp_gate", 1)
    blocks = each_kind([index in cross for index in range(count)], lambda kind: (crossed if kind else plain) + mlp)
    parts = causal_lm(config, blocks, vocab=config.size("vocab_size"), tied=False)
    table = parts.tensors[0]
    return replace(parts, tensors=(replace(table, shape=(table.shape[0] + 8, table.shape[1])), *parts.tensors[1:]))


def step3p5(config: Config) -> Parts:
    """Step 3.5's text model: gated heads, more of them in sliding layers, experts behind a few dense layers."""
    hidden, count = config.size("hidden_size"), config.layers()
    beyond = config.size("num_nextn_predict_layers", default=0, minimum=0)
    types = _padded(config, "layer_types", count, beyond) or ("full_attention",) * (count + beyond)
    mlps = _padded(config, "mlp_layer_types", count, beyond)
    if mlps is None:
        chosen = enumerated_layers(config, "moe_layers_enum")
        chosen = set(range(3, count)) if chosen is None else chosen
        mlps = tuple("sparse" if index in chosen else "dense" for index in range(count + beyond))
    rule = Moe(
        "n_routed_experts",
        shared="share_expert_dim",
        shared_bias="mlp_bias",
    )

    def layer(kind: tuple[str, int, str]) -> Block:
        block = _step_attention(config, sliding=kind[0] == "sliding_attention", head_count=kind[1])
        if kind[2] == "sparse":
            block += rule.block(config)
        else:
            block += gated_mlp(hidden, config.size("intermediate_size"), bias=config.flag("mlp_bias"))
        return block + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)

    kinds = [(types[index], _step_heads(config, index, types[index]), mlps[index]) for index in range(count)]
    return causal_lm(config, each_kind(kinds, layer))


def enumerated_layers(config: Config, name: str) -> set[int] | None:
    """Layers that a file lists, as whole numbers or as text between commas ("3,4,5"); None where it does not."""
    listed = config.first(name)[1]
    if listed is None:
        return None
    items = listed.split(",") if isinstance(listed, str) else listed
    texts = [str(item).strip() for item in items] if isinstance(items, (list, tuple)) else ["?"]
    if not all(text.isdecimal() for text in texts if text):
        raise config.error(name, "It must list layers by number.")
    return {int(text) for text in texts if text}


def _step_heads(config: Config, index: int, kind: str) -> int:
    """Attention heads of a layer: sliding layers have their own number, here or in `per_layer_config`."""
    usual = config.size("num_attention_heads")
    if "per_layer_config" in config.fields:
        return config.layer(index).size("num_attention_heads")
    if kind != "sliding_attention":
        return usual
    other = config.sub("attention_other_setting").size("num_attention_heads", default=usual)
    return config.size("num_sliding_attention_heads", default=other)


def _padded(config: Config, name: str, count: int, beyond: int) -> tuple[str, ...] | None:
    """A list with an entry for each layer, perhaps also for each multi-token-prediction layer."""
    listed = config.sequence(name)
    if listed is None:
        return None
    return config.layer_types(count + beyond if len(listed) == count + beyond else count, name)


def _step_attention(config: Config, *, sliding: bool, head_count: int) -> Block:
    sizes = replace(heads(config), heads=head_count)
    bias = config.flag("attention_bias")
    block = attention(
        sizes.hidden,
        sizes.heads,
        sizes.kv_heads,
        sizes.head_dim,
        bias=bias,
        norms=(("q_norm", sizes.head_dim), ("k_norm", sizes.head_dim)),
        window=config.optional_size("sliding_window") if sliding else None,
    )
    gates = sizes.heads if config.first("gating")[1] in (True, None, "per-head") else sizes.heads * sizes.head_dim
    return block + linear("self_attn.g_proj", gates, sizes.hidden, Role.GATE)


def aria(pieces: Pieces, tree: Tree) -> None:
    """Aria: learned queries attend to the patches, then a two-matrix MLP."""
    size = pieces.vision.size("hidden_size")
    table = pieces.config.mapping("projector_patch_to_query_dict") or {"1225": 128, "4900": 256}
    queries = [Config({"queries": value}, path="projector_patch_to_query_dict.") for value in table.values()]
    projector = tree.at("multi_modal_projector")
    projector.parameter("query", max(each.size("queries") for each in queries), size)
    cross = projector.at("cross_attn")
    for name, role in (("q_proj", Role.Q), ("k_proj", Role.K), ("v_proj", Role.V)):
        cross.linear(name, size, size, role)
    cross.parameter("multihead_attn.in_proj_weight", 3 * size, size, role=Role.QKV)
    cross.parameter("multihead_attn.in_proj_bias", 3 * size, role=Role.BIAS)
    cross.linear("multihead_attn.out_proj", size, size, Role.O, bias=True)
    cross.linear("linear", size, size, bias=True)
    cross.layer_norm("layer_norm", "layer_norm_kv", size=size)
    projector.layer_norm("layer_norm", size=size)
    projector.at("feed_forward").mlp(size, pieces.text_size, "linear_in linear_out", bias=False, out=pieces.text_size)


def ovis2(pieces: Pieces, tree: Tree) -> None:
    """Ovis 2: an embedding table of visual words."""
    tree.positions("visual_embeddings_table", pieces.vision.size("vocab_size"), pieces.config.size("hidden_size"))


def two_matrices(name: str, names: str, *, bias: bool = True) -> Callable[[Pieces, Tree], None]:
    """A connector of two matrices under `name`, from the vision tower's size to the text model's."""

    def connect(pieces: Pieces, tree: Tree) -> None:
        width = pieces.vision.size("hidden_size")
        tree.at(name).mlp(width, pieces.text_size, names, bias=bias, out=pieces.text_size)

    return connect


def lighton(pieces: Pieces, tree: Tree) -> None:
    """LightOn OCR: Mistral 3's projector without biases."""
    size = pieces.vision.size("hidden_size")
    projection = tree.at("vision_projection")
    projection.rms_norm("norm", size=size)
    merged = size * pieces.config.size("spatial_merge_size") ** 2
    projection.linear("patch_merger.merging_layer", size, merged)
    projection.mlp(size, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


def phi4(pieces: Pieces, tree: Tree) -> None:
    """Phi-4 multimodal: two projections for images, four for speech."""
    size, text = pieces.vision.size("hidden_size"), pieces.text_size
    image, audio = tree.at("embed_tokens_extend.image_embed"), tree.at("embed_tokens_extend.audio_embed")
    image.parameter("global_img_feature_extensor", 1, 1, size)
    image.parameter("sub_img_feature_extensor", 1, 1, 1, size)
    image.mlp(size, text, "img_projection_up img_projection_down", out=text)
    width = pieces.audio.size("hidden_size") * pieces.audio.size("downsample_rate")
    for name in ("speech", "vision_speech"):
        audio.mlp(width, text, f"up_proj_for_{name} down_proj_for_{name}", out=text)


def qwen2_audio(pieces: Pieces, tree: Tree) -> None:
    """Qwen2-Audio: one matrix."""
    width = pieces.audio.size("d_model")
    tree.linear("multi_modal_projector.linear", pieces.text_size, width, bias=True)


def voxtral(pieces: Pieces, tree: Tree) -> None:
    """Voxtral: several frames joined, two matrices."""
    inner = pieces.audio.size("intermediate_size", "encoder_ffn_dim")
    tree.at("multi_modal_projector").mlp(inner, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


def moss(pieces: Pieces, tree: Tree) -> None:
    """MOSS transcription: merged frames, two matrices and a norm."""
    width = pieces.audio.size("d_model") * pieces.config.size("audio_merge_size", default=4)
    projector = tree.at("multi_modal_projector")
    bias = pieces.config.flag("projector_bias", default=True)
    projector.mlp(width, pieces.text_size, "linear_1 linear_2", bias=bias, out=pieces.text_size)
    projector.layer_norm("norm", size=pieces.text_size)


OMNI = (("audio_tower", "audio_config"), ("visual", "vision_config"))
PHI4 = (
    ("embed_tokens_extend.image_embed.img_processor", "vision_config"),
    ("embed_tokens_extend.audio_embed.encoder", "audio_config"),
)


def step3p7(pieces: Pieces, tree: Tree) -> None:
    """Step 3.7: one matrix from the downsampled features."""
    width = 4 * pieces.vision.size("width", "hidden_size")
    tree.linear("multi_modal_projector", pieces.text_size, width, bias=pieces.config.flag("projector_bias"))


FAMILIES = {
    "glm4v": Wrapper(towers=VISUAL, ties="either", text_as=glm4v_text),
    "glm46v": Wrapper(towers=VISUAL, text_as=glm4v_text),
    "glmga": Wrapper(towers=VISUAL, text_as=glm4v_text),
    "glm4v_moe": Wrapper(towers=VISUAL, ties="either", text_as=glm4v_moe_text),
    "glm_ocr": Wrapper(towers=VISUAL, ties="either", text_as=glm_ocr_text),
    "step3p7": Wrapper(step3p7, VISION_MODEL, text_as=step3p5),
    "mllama": Wrapper(mllama, VISION_MODEL, ties="never", text_as=mllama_text, text_only="MllamaForCausalLM"),
    "aria": Wrapper(aria),
    "ovis2": Wrapper(ovis2, own_head=True),
    "exaone4_5": Wrapper(towers=VISUAL),
    "lighton_ocr": Wrapper(lighton, (("vision_encoder", "vision_config"),)),
    "video_llama_3": Wrapper(two_matrices("projector", "readout.0 readout.2"), VISION_MODEL, ties="either"),
    "deepseek_vl": Wrapper(two_matrices("aligner", "linear1 linear2"), VISION_MODEL),
    "phi4_multimodal": Wrapper(phi4, PHI4, text="", text_as="phi3", text_name=""),
    "qwen2_audio": Wrapper(qwen2_audio, AUDIO, ties="never"),
    "voxtral": Wrapper(voxtral, AUDIO, ties="never", merged=True),
    "moss_transcribe_diarize": Wrapper(moss, AUDIO),
    "qwen2_5_omni_thinker": Wrapper(towers=OMNI, text_as="qwen2"),
    "qwen3_omni_moe_thinker": Wrapper(towers=OMNI, text_as=omni_moe_text),
}
