"""What joins a tower to a text model, where several makers do it alike: projectors, resamplers, queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Parts, embedding
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.wrapper import Pieces, feature_layers


def llava_mlp(pieces: Pieces, tree: Tree, *, bias: bool) -> None:
    width = pieces.vision.size("hidden_size") * feature_layers(pieces.config)
    projector = tree.at("multi_modal_projector")
    projector.linear("linear_1", pieces.text_size, width, bias=bias)
    projector.linear("linear_2", pieces.text_size, pieces.text_size, bias=bias)


def llava(pieces: Pieces, tree: Tree) -> None:
    """LLaVA's two-matrix projector."""
    llava_mlp(pieces, tree, bias=pieces.config.flag("multimodal_projector_bias", default=True))


def llava_next(pieces: Pieces, tree: Tree) -> None:
    """LLaVA-NeXT: the projector, and the embedding that ends a row of patches."""
    tree.parameter("image_newline", pieces.text_size)
    llava(pieces, tree)


def shuffled_pixels(pieces: Pieces, tree: Tree) -> None:
    """InternVL: pixels shuffled into channels, a norm and two matrices."""
    side = int(1 / pieces.config.ratio("downsample_ratio", default=0.5))
    width = pieces.vision.size("hidden_size") * side**2
    projector = tree.at("multi_modal_projector")
    projector.layer_norm("layer_norm", size=width)
    projector.mlp(width, pieces.text_size, "linear_1 linear_2", out=pieces.text_size)


def strided(pieces: Pieces, tree: Tree) -> None:
    """GOT-OCR 2: two strided convolutions and a matrix."""
    width, size = pieces.vision.size("output_channels"), pieces.text_size
    projector = tree.at("multi_modal_projector")
    projector.conv("conv_upsampler1", 2 * width, width, 3, 3)
    projector.conv("conv_upsampler2", size, 2 * width, 3, 3)
    projector.linear("multimodal_projector", size, size, bias=True)


def two_matrices(name: str, names: str, *, bias: bool = True) -> Callable[[Pieces, Tree], None]:
    """A connector of two matrices under `name`, from the vision tower's size to the text model's."""

    def connect(pieces: Pieces, tree: Tree) -> None:
        width = pieces.vision.size("hidden_size")
        tree.at(name).mlp(width, pieces.text_size, names, bias=bias, out=pieces.text_size)

    return connect


def one_matrix(name: str, *, field: str = "vision_config", size: str = "hidden_size") -> Callable[[Pieces, Tree], None]:
    """A connector of one matrix with a bias, from a tower's size to the text model's."""

    def connect(pieces: Pieces, tree: Tree) -> None:
        tree.linear(name, pieces.text_size, pieces.sub(field).size(size), bias=True)

    return connect


def qformer(config: Config, tree: Tree, *, reads_text: bool) -> None:
    """BLIP-2's querying transformer: BERT layers, some with attention over the image; InstructBLIP's reads text too."""
    size, inner = config.size("hidden_size"), config.size("intermediate_size")
    if reads_text:
        embeddings = tree.at("embeddings")
        embeddings.put(embedding("word_embeddings", config.size("vocab_size"), size))
        embeddings.positions("position_embeddings", config.size("max_position_embeddings"), size)
        embeddings.layer_norm("layernorm", size=size)
    else:
        tree.layer_norm("layernorm", size=size)
    count, every = config.layers(), config.size("cross_attention_frequency")
    crossing = tree.at("encoder.layer.{layer}", range(0, count, every))
    width = config.size("encoder_hidden_size")
    for scope, into in ((tree.stack("encoder.layer", count), None), (crossing, width)):
        name = "attention" if into is None else "crossattention"
        for part, role in (("query", Role.Q), ("key", Role.K), ("value", Role.V)):
            read = size if into is None or part == "query" else into
            scope.linear(f"{name}.attention.{part}", size, read, role, bias=True)
        scope.linear(f"{name}.output.dense", size, size, Role.O, bias=True)
        scope.layer_norm(f"{name}.output.LayerNorm", size=size)
    layer = tree.stack("encoder.layer", count)
    for suffix in ("", "_query") if reads_text else ("_query",):
        layer.mlp(size, inner, f"intermediate{suffix}.dense output{suffix}.dense")
        layer.layer_norm(f"output{suffix}.LayerNorm", size=size)


def with_towers(parts: Parts, *trees: Tree, prefix: str = "", notes: tuple[str, ...] = ()) -> Parts:
    """`parts`, its tensors under `prefix`, with the tensors of towers and projectors."""
    text = tuple(replace(tensor, name=prefix + tensor.name) for tensor in parts.tensors)
    towers = tuple(tensor for tree in trees for tensor in tree.tensors)
    return replace(parts, tensors=text + towers, notes=parts.notes + notes)


def resampler(tree: Tree, queries: int, size: int, kv_size: int) -> None:
    """A perceiver: learned queries attend once to the image; `nn.MultiheadAttention` between three layer norms."""
    tree.parameter("query", queries, size)
    if kv_size != size:
        tree.linear("kv_proj", size, kv_size)
    tree.parameter("attn.in_proj_weight", 3 * size, size, role=Role.QKV)
    tree.parameter("attn.in_proj_bias", 3 * size, role=Role.BIAS)
    tree.linear("attn.out_proj", size, size, Role.O, bias=True)
    tree.layer_norm("ln_q", "ln_kv", size=size)


# The tower that Phi-3-vision's code builds whatever the file says: CLIP ViT-L/14 at 336 pixels.
CLIP_L_336 = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "num_channels": 3,
}  # fmt: skip
