"""Models that answer in speech: Qwen2.5-Omni and Qwen3-Omni."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sizer.model.architecture import Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.speech import talker as dense_talker
from sizer.model.blocks.speech import token2wav
from sizer.model.blocks.speech_moe import code2wav
from sizer.model.blocks.speech_moe import talker as moe_talker
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families import describe

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


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "qwen2_5_omni": Speaker("qwen2_5_omni_thinker", dense_talker, ("token2wav", token2wav)),
    "qwen3_omni_moe": Speaker("qwen3_omni_moe_thinker", moe_talker, ("code2wav", code2wav)),
}
