"""OpenBMB: MiniCPM 1 to 4, MiniCPM-V, CPM-Ant."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role, Tower
from sizer.model.blocks.attention import attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.blocks.towers.images import pair, patches
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import resampler, with_towers
from sizer.model.shapes.decoder import Decoder, Naming, causal_lm
from sizer.model.shapes.experts import Moe
from sizer.model.shapes.family import Family, named
from sizer.model.shapes.latent import Mla
from sizer.model.shapes.rules import UNBIASED, Mlp
from sizer.model.shapes.wrapper import Pieces, Wrapper


def cpmant(config: Config) -> Parts:
    """CPM-Ant: prompt tokens beside the vocabulary, a relative position bias, and a head of its own."""
    hidden, count, inner = config.size("hidden_size"), config.layers(), config.size("dim_ff")
    number, size = config.size("num_attention_heads"), config.size("dim_head")
    width, prefix = number * size, "self_att.self_attention."
    block = norm("self_att.layernorm_before_attention", hidden) + norm("ffn.layernorm_before_ffn", hidden)
    for name, role in (("project_q", Role.Q), ("project_k", Role.K), ("project_v", Role.V)):
        block += linear(prefix + name, width, hidden, role)
    block += linear(prefix + "attention_out", hidden, width, Role.O)
    block += Block(mixers=(attention_mixer(number, number, size),))
    block += Mlp("gated", False, ("w_in.w_0", "w_in.w_1", "w_out"), "ffn.ffn.").block(config, inner)
    segments, vocab = config.size("segment_types"), config.size("vocab_size")
    extra = embedding("cpmant.segment_embedding", segments, hidden)
    extra += embedding(
        "cpmant.input_embedding", vocab + config.size("prompt_types") * config.size("prompt_length"), hidden
    )
    buckets = segments * segments + config.size("position_bias_num_buckets")
    extra += parameter("cpmant.position_bias.relative_attention_bias", buckets, number)
    parts = causal_lm(
        config,
        [block] * count,
        Naming(prefix="cpmant.encoder.", final_norm="output_layernorm"),
        extra=extra,
        tied=False,
    )
    unused = "cpmant.encoder.embed_tokens.weight"
    return replace(parts, tensors=tuple(tensor for tensor in parts.tensors if tensor.name != unused))


def minicpm_merger(pieces: Pieces, tree: Tree) -> None:
    """MiniCPM-V 4.6: mergers that halve the grid, the last one to the text model's size."""
    size = pieces.vision.size("hidden_size")
    kernel = pair(pieces.config, "merge_kernel_size", 2)
    merged, times = size * kernel[0] * kernel[1], pieces.config.size("merger_times", default=1, maximum=MAX_COUNT)
    for index in range(times):
        merger = tree.at(f"merger.mlp.{index}")
        merger.layer_norm("pre_norm", size=merged)
        out = pieces.text_size if index == times - 1 else size
        merger.mlp(merged, merged, "linear_1 linear_2", out=out)


def minicpm(config: Config) -> Parts:
    """MiniCPM 1, 2 and 4: Llama's shape, tied unless the file says otherwise; with `num_experts`, MiniCPM-MoE."""
    config = named(config, {}, tie_word_embeddings=True)
    moe = bool(config.optional_size("num_experts", minimum=0))
    return Decoder(mlp=Moe(inner="intermediate_size") if moe else UNBIASED)(config)


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
    resampler(joint, config.size("query_num"), parts.hidden_size, size)
    joint.layer_norm("ln_post", size=parts.hidden_size)
    joint.parameter("proj", parts.hidden_size, parts.hidden_size)
    return with_towers(parts, tower, joint, prefix="llm.")


FAMILIES: dict[str, Family] = {
    "cpmant": cpmant,
    "minicpm3": Decoder(Mla(), Mlp()),
    "minicpmv4_6": Wrapper(minicpm_merger),
    "minicpmv4_7": Wrapper(minicpm_merger),
    "minicpm_ocr": Wrapper(minicpm_merger),
    "minicpm": minicpm,
    "minicpmv": minicpmv,
}
