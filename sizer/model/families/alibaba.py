"""Alibaba besides Qwen: Ovis 2, VideoLLaMA 3."""

from __future__ import annotations

from sizer.model.blocks.tree import Tree
from sizer.model.shapes.connectors import two_matrices
from sizer.model.shapes.family import Family
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper


def ovis2(pieces: Pieces, tree: Tree) -> None:
    """Ovis 2: an embedding table of visual words."""
    tree.positions("visual_embeddings_table", pieces.vision.size("vocab_size"), pieces.config.size("hidden_size"))


FAMILIES: dict[str, Family] = {
    "ovis2": Wrapper(ovis2, own_head=True),
    "video_llama_3": Wrapper(two_matrices("projector", "readout.0 readout.2"), VISION_MODEL, ties="either"),
}
