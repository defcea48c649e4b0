"""Salesforce: CTRL, BLIP, BLIP-2, InstructBLIP."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Tower
from sizer.model.blocks.core import Block, Parts, prefixed
from sizer.model.blocks.tree import Tree
from sizer.model.config import ClassDefaults, Config
from sizer.model.shapes.bert import BERT
from sizer.model.shapes.connectors import qformer
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import Attention, Mlp
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper, tower_of


def ctrl(config: Config) -> Parts:
    """CTRL: an MLP of two numbered modules, and a head with a bias."""
    return Decoder(
        Attention(
            True,
            plain_heads=True,
            kv_field=False,
            prefix="multi_head_attention.",
            names=("Wq", "Wk", "Wv", "dense"),
        ),
        Mlp("plain", True, ("0", "2"), "ffn.", "dff"),
        ("layernorm1", "layernorm2"),
        norm_bias=True,
        head_bias=True,
        naming=Naming(prefix="transformer.", layers="h.{layer}.", embed="w", final_norm="layernorm"),
    )(config)


def blip(config: Config) -> Parts:
    """BLIP: a ViT, and BERT with attention over it."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    width = config.sub("vision_config").size("hidden_size")
    # BLIP's own class lays the text out as BERT does, without token types; its head is always the embedding.
    read = ClassDefaults("bert", {**text.defaults, "is_decoder": True, "add_cross_attention": True})
    fields = {**text.fields, "is_decoder": True, "add_cross_attention": True, "tie_word_embeddings": True}
    parts = replace(BERT, types=False)(Config(fields, read, text.path))
    tensors = tuple(
        replace(tensor, shape=(tensor.shape[0], width))
        if tensor.name.endswith(("crossattention.self.key.weight", "crossattention.self.value.weight"))
        else tensor
        for tensor in prefixed("text_decoder.", Block(parts.tensors)).tensors
    )
    tree = Tree("vision_model.", tower=Tower.VISION)
    tower_of("vision_config", vision)(vision, tree)
    return replace(parts, tensors=(*tensors, *tree.tensors))


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


FAMILIES: dict[str, Family] = {
    "ctrl": ctrl,
    "blip": blip,
    "blip-2": Wrapper(blip2, VISION_MODEL, ties="text", prefix="", inner_head=True),
    "instructblip": Wrapper(instructblip, VISION_MODEL, ties="text", prefix="", inner_head=True),
    "instructblipvideo": Wrapper(instructblip, VISION_MODEL, ties="text", prefix="", inner_head=True),
}
