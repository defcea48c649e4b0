"""Vision-language models whose code ships with their weights: a text family, a tower and what joins them."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.tree import Tree
from sizer.model.blocks.vision import clip, patches
from sizer.model.config import Config
from sizer.model.families import describe
from sizer.model.families.decoder import PRE_NORMS
from sizer.model.families.remote import Family, chatglm, qwen


def with_towers(parts: Parts, *trees: Tree, prefix: str = "", notes: tuple[str, ...] = ()) -> Parts:
    """`parts`, its tensors under `prefix`, with the tensors of towers and projectors."""
    text = tuple(replace(tensor, name=prefix + tensor.name) for tensor in parts.tensors)
    towers = tuple(tensor for tree in trees for tensor in tree.tensors)
    return replace(parts, tensors=text + towers, notes=parts.notes + notes)


def _resampler(tree: Tree, queries: int, size: int, kv_size: int) -> None:
    """A perceiver: learned queries attend once to the image; `nn.MultiheadAttention` between three layer norms."""
    tree.parameter("query", queries, size)
    if kv_size != size:
        tree.linear("kv_proj", size, kv_size)
    tree.parameter("attn.in_proj_weight", 3 * size, size, role=Role.QKV)
    tree.parameter("attn.in_proj_bias", 3 * size, role=Role.BIAS)
    tree.linear("attn.out_proj", size, size, Role.O, bias=True)
    tree.layer_norm("ln_q", "ln_kv", size=size)


def intern_vit(config: Config, tree: Tree) -> None:
    """InternViT as OpenGVLab ships it (`intern_vit_6b`): fused attention, layer scales."""
    size, bias = config.size("hidden_size"), config.text("norm_type", default="rms_norm") == "layer_norm"
    embeddings = tree.at("embeddings")
    embeddings.parameter("class_embedding", 1, 1, size)
    patch = config.size("patch_size")
    embeddings.conv("patch_embedding", size, config.size("num_channels", default=3), patch, patch, bias=True)
    embeddings.parameter("position_embedding", 1, patches(config) + 1, size, role=Role.POSITION)
    layer = tree.stack("encoder.layers", config.layers())
    layer.parameter("ls1", size)
    layer.parameter("ls2", size)
    layer.at("attn").fused_attention(size, bias="qo" if config.flag("qkv_bias") else "o")
    if config.flag("qk_normalization", default=True):
        layer.at("attn").rms_norm("q_norm", "k_norm", size=size)
    (layer.layer_norm if bias else layer.rms_norm)("norm1", "norm2", size=size)
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


def internvl_chat(config: Config) -> Parts:
    """InternVL 1.5 to 3.5: InternViT, pixel shuffle, two linear layers, any text model."""
    text, vision = config.sub("llm_config"), config.sub("vision_config")
    parts = describe(text, text.text("model_type"))
    tower, joint = Tree("vision_model."), Tree("mlp1.", tower=Tower.PROJECTOR)
    intern_vit(vision, tower)
    ratio = config.number("downsample_ratio", default=0.5)
    if not 0 < ratio <= 1:
        raise config.error("downsample_ratio", "It must be between 0 and 1.")
    merged = int(vision.size("hidden_size") / ratio**2)
    joint.layer_norm("0", size=merged)
    joint.linear("1", parts.hidden_size, merged, bias=True)
    joint.linear("3", parts.hidden_size, parts.hidden_size, bias=True)
    return with_towers(parts, tower, joint, prefix="language_model.")


MINICPMV_TEXT = {"2.0": "minicpm", "2.5": "llama", "2.6": "qwen2", "4.0": "llama", "4.5": "qwen3", "4": "llama"}


def minicpmv(config: Config) -> Parts:
    """MiniCPM-V 2.5 to 4.5: SigLIP without pooling, a resampler, and the text model that `version` tells."""
    version = str(config.first("version")[1])
    if version not in MINICPMV_TEXT:
        raise config.error("version", f"It must be one of {', '.join(MINICPMV_TEXT)}.")
    model_type = MINICPMV_TEXT[version]
    text = Config.of(config.fields, model_type)
    parts = describe(text, model_type)
    vision = config.sub("vision_config")
    tower, joint = Tree("vpm."), Tree("resampler.", tower=Tower.PROJECTOR)
    size, patch = vision.size("hidden_size"), vision.size("patch_size")
    tower.at("embeddings").conv(
        "patch_embedding", size, vision.size("num_channels", default=3), patch, patch, bias=True
    )
    tower.at("embeddings").positions("position_embedding", patches(vision), size)
    layer = tower.stack("encoder.layers", vision.layers() - config.flag("drop_vision_last_layer"))
    layer.at("self_attn").attention(size)
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("mlp").mlp(size, vision.size("intermediate_size"))
    tower.layer_norm("post_layernorm", size=size)
    _resampler(joint, config.size("query_num"), parts.hidden_size, size)
    joint.layer_norm("ln_post", size=parts.hidden_size)
    joint.parameter("proj", parts.hidden_size, parts.hidden_size)
    return with_towers(parts, tower, joint, prefix="llm.")


# The tower that Phi-3-vision's code builds whatever the file says: CLIP ViT-L/14 at 336 pixels.
CLIP_L_336 = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "num_channels": 3,
}  # fmt: skip


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


def kimi_vl(config: Config) -> Parts:
    """Kimi-VL: MoonViT, a 2 x 2 merge and two linear layers beside DeepSeek-V3's shape."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    parts = describe(Config(text.fields, Config.of({}, "deepseek_v3").class_defaults, text.path), "deepseek_v3")
    tower, joint = Tree("vision_tower."), Tree("multi_modal_projector.", tower=Tower.PROJECTOR)
    size, patch = vision.size("hidden_size"), vision.size("patch_size")
    rows, columns = (vision.size(f"init_pos_emb_{side}", default=64) for side in ("height", "width"))
    tower.at("patch_embed").conv("proj", size, 3, patch, patch, bias=True)
    tower.at("patch_embed").parameter("pos_emb.weight", rows, columns, size, role=Role.POSITION)
    layer = tower.stack("encoder.blocks", vision.layers())
    layer.layer_norm("norm0", "norm1", size=size)
    layer.fused_attention(size, "wqkv wo")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"), "fc0 fc1")
    tower.layer_norm("encoder.final_layernorm", size=size)
    joint.layer_norm("pre_norm", size=size)
    joint.linear("linear_1", 4 * size, 4 * size, bias=True)
    joint.linear("linear_2", parts.hidden_size, 4 * size, bias=True)
    return with_towers(parts, tower, joint, prefix="language_model.")


def step3_vl(config: Config) -> Parts:
    """Step-3: a CLIP-like ViT behind its norms, two strided convolutions and a matrix beside the text model."""
    parts, vision = describe(config.sub("text_config"), "step3_text"), config.sub("vision_config")
    tower, joint = Tree("vision_model."), Tree("", tower=Tower.PROJECTOR)
    size, patch, out = vision.size("hidden_size"), vision.size("patch_size"), vision.size("output_hidden_size")
    embeddings = tower.at("embeddings")
    embeddings.parameter("class_embedding", 1, size)
    embeddings.conv("patch_embedding", size, vision.size("num_channels", default=3), patch, patch, bias=True)
    embeddings.positions("position_embedding", patches(vision) + 1, size)
    layer = tower.stack("transformer.layers", vision.layers())
    layer.layer_norm("layer_norm1", "layer_norm2", size=size)
    layer.at("self_attn").fused_attention(size, "qkv_proj out_proj")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"))
    joint.conv("vit_downsampler", out, size, 2, 2, bias=True)
    joint.conv("vit_downsampler2", 2 * out, out, 3, 3, bias=True)
    joint.linear("vit_large_projector", parts.hidden_size, 2 * out, bias=config.flag("projector_bias"))
    return with_towers(parts, tower, joint)


def qwen_v1(config: Config) -> Parts:
    """Qwen 1, and Qwen-VL where the file has a `visual` tower."""
    parts = qwen(config)
    if not config.fields.get("visual"):
        return parts
    visual = config.sub("visual")
    size, out, patch = visual.size("width"), visual.size("output_dim"), visual.size("patch_size")
    inner = visual.scaled(size, "mlp_ratio", default=4.0)
    tower = Tree("transformer.visual.")
    tower.conv("conv1", size, 3, patch, patch)
    tower.parameter("positional_embedding", 256, size, role=Role.POSITION)
    tower.layer_norm("ln_pre", size=size)
    layer = tower.stack("transformer.resblocks", visual.size("layers"))
    layer.layer_norm("ln_1", "ln_2", size=size)
    layer.at("attn").fused_attention(size, "in_proj out_proj")
    layer.at("mlp").mlp(size, inner, "c_fc c_proj")
    pool = tower.at("attn_pool", tower=Tower.PROJECTOR)
    queries = visual.size("n_queries", default=256)
    _resampler(pool, queries, out, size)
    pool.parameter("pos_embed", queries, out, role=Role.POSITION)
    tower.layer_norm("ln_post", size=out)
    tower.parameter("proj", out, out)
    return with_towers(parts, tower)


def glm4_remote(config: Config) -> Parts:
    """ChatGLM, and GLM-4V-9B where the file has a `vision_config` (EVA-CLIP's layers and a gated projector)."""
    parts = chatglm(config)
    if not config.fields.get("vision_config"):
        return parts
    vision = config.sub("vision_config")
    size, patch, hidden = vision.size("hidden_size"), vision.size("patch_size"), parts.hidden_size
    tower, joint = Tree("transformer.vision."), Tree("transformer.vision.", tower=Tower.PROJECTOR)
    tower.at("patch_embedding").conv("proj", size, vision.size("in_channels", default=3), patch, patch, bias=True)
    tower.parameter("patch_embedding.cls_embedding", 1, size)
    tower.at("patch_embedding").positions("position_embedding", vision.size("num_positions"), size)
    layer = tower.stack("transformer.layers", vision.layers())
    layer.layer_norm(*PRE_NORMS, size=size)
    layer.at("attention").fused_attention(size, "query_key_value dense")
    layer.at("mlp").mlp(size, vision.size("intermediate_size"))
    inner = config.size("ffn_hidden_size")
    joint.conv("conv", hidden, size, 2, 2, bias=True)
    glu = joint.at("linear_proj")
    glu.linear("linear_proj", hidden, hidden)
    glu.layer_norm("norm1", size=hidden)
    glu.gated_mlp(hidden, inner, "gate_proj dense_h_to_4h dense_4h_to_h")
    joint.parameter("boi", 1, 1, hidden)
    joint.parameter("eoi", 1, 1, hidden)
    return with_towers(parts, tower, joint)


def minimax_vl(config: Config) -> Parts:
    """MiniMax-VL-01: LLaVA-NeXT's parts beside MiniMax-Text-01; CLIP's last norm is not stored."""
    parts = describe(config.sub("text_config"), "minimax_text_01")
    vision = config.sub("vision_config")
    tower, joint = Tree("vision_tower.vision_model."), Tree("", tower=Tower.PROJECTOR)
    clip(vision, tower, last_norm=False)
    joint.parameter("image_newline", parts.hidden_size)
    joint.at("multi_modal_projector").mlp(
        vision.size("hidden_size"), parts.hidden_size, "linear_1 linear_2", out=parts.hidden_size
    )
    return with_towers(parts, tower, joint, prefix="language_model.")


FAMILIES: dict[str, Family] = {
    "internvl_chat": internvl_chat,
    "minicpmv": minicpmv,
    "phi3_v": phi3_v,
    "step3_vl": step3_vl,
    "kimi_vl": kimi_vl,
    "minimax_vl_01": minimax_vl,
    "qwen": qwen_v1,
    "chatglm": glm4_remote,
}
