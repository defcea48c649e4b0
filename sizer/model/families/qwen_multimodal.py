"""Qwen's models with eyes, ears and voice: Qwen 1 (and Qwen-VL), VL, Omni, Audio, ASR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Role, Tower
from sizer.model.blocks.attention import Heads, fused_attention
from sizer.model.blocks.core import Parts, norm
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.towers.talker import talker, token2wav
from sizer.model.blocks.towers.talker_moe import code2wav, moe_talker
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.connectors import resampler, with_towers
from sizer.model.shapes.decoder import Decoder, causal_lm
from sizer.model.shapes.experts import Moe, sparse_step
from sizer.model.shapes.family import Family
from sizer.model.shapes.gpt2 import GPT_NAMING
from sizer.model.shapes.rules import Attention
from sizer.model.shapes.wrapper import AUDIO, VISUAL, Pieces, Wrapper

omni_moe_text = Decoder(Attention(qk_norm="head", floor_heads=True), Moe(sparse=sparse_step))


def qwen2_audio(pieces: Pieces, tree: Tree) -> None:
    """Qwen2-Audio: one matrix."""
    width = pieces.audio.size("d_model")
    tree.linear("multi_modal_projector.linear", pieces.text_size, width, bias=True)


OMNI = (("audio_tower", "audio_config"), ("visual", "vision_config"))


def qwen3_asr(pieces: Pieces, tree: Tree) -> None:
    """Qwen3-ASR: two matrices."""
    size = pieces.audio.size("d_model")
    tree.at("multi_modal_projector").mlp(size, size, "linear_1 linear_2", out=pieces.audio.size("output_dim"))


SPOKEN = "The talker and the vocoder count with the weights; what they keep while they speak does not."
Maker = Callable[[Config, Tree], None]


@dataclass(frozen=True)
class Speaker:
    """The thinker, which is a model of its own, and where the model speaks the talker and the vocoder."""

    thinker: str
    talker: Maker
    vocoder: tuple[str, Maker]

    def __call__(self, config: Config) -> Parts:
        parts = describe(config.sub("thinker_config"), self.thinker)
        tensors = tuple(replace(tensor, name=f"thinker.{tensor.name}") for tensor in parts.tensors)
        if not config.flag("enable_audio_output", default=True):
            return replace(parts, tensors=tensors)
        tree, (name, vocoder) = Tree(tower=Tower.AUDIO), self.vocoder
        self.talker(config.sub("talker_config"), tree.at("talker"))
        vocoder(config.sub(f"{name}_config"), tree.at(name))
        return replace(parts, tensors=tensors + tuple(tree.tensors), notes=(*parts.notes, SPOKEN))


def qwen1(config: Config) -> Parts:
    """Qwen 1: biased fused attention, and an MLP of two matrices of half `intermediate_size` rows each."""
    hidden, inner, size = config.size("hidden_size"), config.size("intermediate_size"), config.size("kv_channels")
    count = config.size("num_attention_heads")
    if inner % 2:
        raise config.error("intermediate_size", "It counts both halves of the gated MLP and must be even.")
    block = fused_attention(
        Heads(hidden, count, count, size), prefix="attn.", names=("c_attn", "c_proj"), bias=True, o_bias=False
    )
    # w2 is the gate, w1 the other factor
    block += gated_mlp(hidden, inner // 2, names=("w2", "w1", "c_proj"), bias=not config.flag("no_bias", default=True))
    block += norm("ln_1", hidden) + norm("ln_2", hidden)
    return causal_lm(
        config,
        [block] * config.layers(),
        GPT_NAMING,
    )


def qwen_vl(config: Config) -> Parts:
    """Qwen 1, and Qwen-VL where the file has a `visual` tower."""
    parts = qwen1(config)
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
    resampler(pool, queries, out, size)
    pool.parameter("pos_embed", queries, out, role=Role.POSITION)
    tower.layer_norm("ln_post", size=out)
    tower.parameter("proj", out, out)
    return with_towers(parts, tower)


FAMILIES: dict[str, Family] = {
    "qwen2_vl": Wrapper(towers=VISUAL, ties="either", text_as="qwen2", flat=True),
    "qwen2_5_vl": Wrapper(towers=VISUAL, ties="either", text_as="qwen2", flat=True),
    "qwen3_vl": Wrapper(towers=VISUAL, text_as="qwen3"),
    "qwen3_vl_moe": Wrapper(towers=VISUAL, text_as="qwen3_moe"),
    "qwen3_5": Wrapper(towers=VISUAL, text_only="Qwen3_5ForCausalLM"),
    "qwen3_5_moe": Wrapper(towers=VISUAL, text_only="Qwen3_5MoeForCausalLM"),
    "qwen2_audio": Wrapper(qwen2_audio, AUDIO, ties="never"),
    "qwen2_5_omni_thinker": Wrapper(towers=OMNI, text_as="qwen2"),
    "qwen3_omni_moe_thinker": Wrapper(towers=OMNI, text_as=omni_moe_text),
    "qwen4_exp": Wrapper(towers=VISUAL, text_only="Qwen4ExpForCausalLM"),
    "qwen3_asr": Wrapper(qwen3_asr, AUDIO),
    "qwen2_5_omni": Speaker("qwen2_5_omni_thinker", talker, ("token2wav", token2wav)),
    "qwen3_omni_moe": Speaker("qwen3_omni_moe_thinker", moe_talker, ("code2wav", code2wav)),
    "qwen": qwen_vl,
}
