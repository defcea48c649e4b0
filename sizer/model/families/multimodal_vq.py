"""Models that also write images as codes: Janus, Chameleon."""

from __future__ import annotations

from collections.abc import Callable

from sizer.model.architecture import Module, Role, Tensor
from sizer.model.blocks.core import Block, Parts, embedding
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import Decoder
from sizer.model.families.multimodal_wrapper import Pieces, Wrapper
from sizer.model.families.rules import Attention, Heads, Mlp


def janus(pieces: Pieces, tree: Tree) -> None:
    """Janus: a projector for what it sees; tables, projector and head for the codes that it writes."""
    vision, codes = pieces.vision, pieces.sub("vq_config")
    width, rows = codes.size("projection_dim"), codes.size("num_embeddings")
    _matrices(tree.at("aligner"), vision.size("hidden_size"), vision.size("projection_dim"), vision.layers("depth"))
    tree.put(embedding("generation_embeddings", rows, codes.size("embed_dim"), Role.OTHER))
    _matrices(tree.at("generation_aligner"), codes.size("embed_dim"), width, codes.layers("num_hidden_layers"))
    head = tree.at("generation_head")
    head.linear("proj_out", width, codes.size("image_token_embed_dim"), bias=True)
    head.linear("vision_head", rows, width, bias=True)


def _matrices(tree: Tree, into: int, out: int, count: int) -> None:
    """`count` matrices with biases, all but the first square."""
    tree.linear("fc1", out, into, bias=True)
    for index in range(count - 1):
        tree.linear(f"hidden_layers.{index}", out, out, bias=True)


def _head_norms(_config: Config, sizes: Heads) -> Block:
    """Chameleon's norms: a weight and a bias for each dimension of each head."""
    return Block(
        tuple(
            Tensor(f"self_attn.{name}.{part}", (count, sizes.head_dim), Role.NORM, Module.NORM)
            for name, count in (("q_norm", sizes.heads), ("k_norm", sizes.kv_heads))
            for part in ("weight", "bias")
        )
    )


CHAMELEON = Decoder(Attention(plus=_head_norms, plain_heads=True), Mlp())

FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "janus": Wrapper(janus, (("vision_model", "vision_config"), ("vqmodel", "vq_config"))),
    "chameleon": Wrapper(towers=(("vqmodel", "vq_config"),), text="", text_as=CHAMELEON, text_name=""),
}
