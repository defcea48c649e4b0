"""Models that answer in speech: Qwen2.5-Omni."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Tower
from sizer.model.blocks.core import Parts
from sizer.model.blocks.speech import talker, token2wav
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families import describe

SPOKEN = "The talker and the vocoder count with the weights; what they keep while they speak does not."


def qwen2_5_omni(config: Config) -> Parts:
    """Qwen2.5-Omni: the thinker, which is a model of its own, and where it speaks the talker and the vocoder."""
    thinker = config.sub("thinker_config")
    parts = describe(thinker, "qwen2_5_omni_thinker")
    tensors = tuple(replace(tensor, name=f"thinker.{tensor.name}") for tensor in parts.tensors)
    if not config.flag("enable_audio_output", default=True):
        return replace(parts, tensors=tensors)
    tree = Tree(tower=Tower.AUDIO)
    talker(config.sub("talker_config"), tree.at("talker"))
    token2wav(config.sub("token2wav_config"), tree.at("token2wav"))
    return replace(parts, tensors=tensors + tuple(tree.tensors), notes=(*parts.notes, SPOKEN))


FAMILIES: dict[str, Callable[[Config], Parts]] = {"qwen2_5_omni": qwen2_5_omni}
