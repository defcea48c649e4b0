"""Qwen's models with eyes, ears and voice: VL, Omni, Audio, ASR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sizer.model.architecture import Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.towers.talker import talker, token2wav
from sizer.model.blocks.towers.talker_moe import code2wav, moe_talker
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.decoder import Decoder
from sizer.model.shapes.experts import Moe, sparse_step
from sizer.model.shapes.family import Family
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
}
