"""Recent multimodal classes: Molmo 2, LFM3-VL, Nemotron Omni, Inkling 2, Cosmos 3 Edge, Voxtral Realtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, embedding, linear
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import Decoder
from sizer.model.families.experts import FINE_GRAINED, Mla
from sizer.model.families.hybrid_glm import glm5_next_text
from sizer.model.families.multimodal_wrapper import AUDIO, BOTH_TOWERS, VISUAL, Pieces, Wrapper
from sizer.model.families.rules import UNBIASED, Attention, Heads, Mlp
from sizer.model.families.windows import one_window

cosmos3_edge_text = Decoder(mlp=Mlp("plain", names=("fc1", "fc2")))


def _adaptive_norm(config: Config, _sizes: Heads) -> Block:
    """Voxtral Realtime's norm by the delay: two matrices of rank 32, fixed in the class."""
    hidden = config.size("hidden_size")
    name = "ada_rms_norm.linear"
    return linear(f"{name}1", 32, hidden, Role.OTHER) + linear(f"{name}2", hidden, 32, Role.OTHER)


voxtral_text = Decoder(Attention(bias=False, windows=one_window, plus=_adaptive_norm), UNBIASED)


def molmo2_text(config: Config) -> Parts:
    """Molmo 2's text model: norms a head or all heads wide, and more rows in the embedding than in the head."""
    width = "head" if config.text("qk_norm_type", default="qwen3") == "qwen3" else "width"
    parts = Decoder(Attention(qk_norm=width), UNBIASED)(config)
    spare = config.size("additional_vocab_size", default=0, minimum=0)
    table = parts.tensors[0]
    return replace(parts, tensors=(replace(table, shape=(table.shape[0] + spare, table.shape[1])), *parts.tensors[1:]))


def molmo2(pieces: Pieces, tree: Tree) -> None:
    """Molmo 2: attention pools two layers' patches, then a gated MLP."""
    adapter = pieces.sub("adapter_config")
    size, head = adapter.size("hidden_size"), adapter.size("head_dim")
    layers = adapter.sequence("vit_layers", int) or adapter.sequence("vision_feature_layer", int) or (24, 18)
    width, bias = size * len(layers), adapter.flag("attention_bias", default=True)
    queries, keys = adapter.size("num_attention_heads") * head, adapter.size("num_key_value_heads") * head
    pooling = tree.at("multi_modal_projector.image_pooling_2d")
    for name, out, role in (("q_proj", queries, Role.Q), ("k_proj", keys, Role.K), ("v_proj", keys, Role.V)):
        pooling.linear(name, out, width, role, bias=bias)
    pooling.linear("o_proj", size, queries, Role.O, bias=bias)
    projector, inner = tree.at("multi_modal_projector.image_projector"), adapter.size("intermediate_size")
    mlp_bias = adapter.flag("mlp_bias")
    projector.linear("gate_proj", inner, size, Role.GATE, bias=mlp_bias)
    projector.linear("up_proj", inner, size, Role.UP, bias=mlp_bias)
    projector.linear("down_proj", adapter.size("text_hidden_size"), inner, Role.DOWN)


MOLMO2 = Wrapper(molmo2, ties="never", text_as=molmo2_text)


def molmo2_family(config: Config) -> Parts:
    """Molmo 2; its first files name the tower `vit_config` and keep no more of its layers than the adapter reads."""
    legacy, adapter = config.mapping("vit_config"), config.sub("adapter_config")
    if config.fields.get("vision_config") is None and legacy:
        vision = Config(legacy, config.sub("vision_config").class_defaults, "vit_config.")
        depth = vision.layers()
        read = adapter.sequence("vit_layers", int) or adapter.sequence("vision_feature_layer", int) or (24, 18)
        kept = max(int(layer) % depth for layer in read) + 1
        fields = {**config.fields, "vision_config": {**legacy, "num_hidden_layers": kept}}
        return MOLMO2(Config(fields, config.class_defaults, config.path))
    return MOLMO2(config)


def lfm3_vl(pieces: Pieces, tree: Tree) -> None:
    """LFM3-VL: a norm, then two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector, bias = tree.at("multi_modal_projector"), pieces.config.flag("projector_bias", default=True)
    projector.layer_norm("layer_norm", size=size)
    inner = pieces.config.size("projector_hidden_size")
    projector.mlp(merged, inner, "linear_1 linear_2", bias=bias, out=pieces.text_size)


def nemotron_omni(pieces: Pieces, tree: Tree) -> None:
    """Nemotron Omni: a norm and two matrices for merged patches, the same for sound where there is an encoder."""
    config, text = pieces.config, pieces.text_size
    merged = (
        config.size("vit_hidden_size", "vision_hidden_size")
        * int(1 / config.number("downsample_ratio", default=0.5)) ** 2
    )
    projector = tree.at("multi_modal_projector")
    projector.rms_norm("layer_norm", size=merged)
    projector.mlp(merged, config.size("projector_hidden_size"), "linear_1 linear_2", bias=False, out=text)


def cosmos3_edge(pieces: Pieces, tree: Tree) -> None:
    """Cosmos 3 Edge: a norm, then two matrices over merged patches."""
    size = pieces.vision.size("hidden_size")
    merged = size * pieces.vision.size("spatial_merge_size") ** 2
    projector = tree.at("projector")
    projector.layer_norm("norm", size=size)
    projector.mlp(merged, pieces.config.size("projector_hidden_size"), "linear_fc1 linear_fc2", out=pieces.text_size)


def voxtral_realtime(pieces: Pieces, tree: Tree) -> None:
    """Voxtral Realtime: frames joined, two matrices."""
    width = pieces.audio.size("hidden_size") * pieces.config.size("downsample_factor")
    tree.at("multi_modal_projector").mlp(width, pieces.text_size, "linear_1 linear_2", bias=False, out=pieces.text_size)


def gemma3n(pieces: Pieces, tree: Tree) -> None:
    """Gemma 3n: for each tower a table of hard tokens, two norms and a matrix."""
    for name, field in (("embed_vision", "vision_config"), ("embed_audio", "audio_config")):
        sub, scope = pieces.sub(field), tree.at(name)
        size = sub.size("hidden_size")
        scope.put(embedding("embedding", sub.size("vocab_size"), size, Role.OTHER))
        scope.rms_norm("hard_embedding_norm", "soft_embedding_norm", size=size)
        scope.linear("embedding_projection", pieces.text_size, size)


GEMMA3N = Wrapper(gemma3n, BOTH_TOWERS)


def gemma3n_family(config: Config) -> Parts:
    """Gemma 3n, with a note on the part that its config does not size."""
    parts = GEMMA3N(config)
    note = "the vision tower is timm's, known by its total alone and counted as one tensor."
    return replace(parts, notes=(*parts.notes, note))


FAMILIES: dict[str, Callable[[Config], Parts]] = {
    "gemma3n": gemma3n_family,
    "molmo2": molmo2_family,
    "lfm3_vl": Wrapper(lfm3_vl),
    "nemotron_h_omni": Wrapper(
        nemotron_omni,
        (("vision_model", "vision_config"), ("audio_tower", "audio_config")),
        ties="never",
        prefix="",
        inner_head=True,
    ),
    "inkling2": Wrapper(ties="never"),
    "glm5_next": Wrapper(towers=VISUAL, text_as=glm5_next_text, flat=True),
    "cosmos3_edge": Wrapper(cosmos3_edge, VISUAL, ties="never", text_as=cosmos3_edge_text),
    "voxtral_realtime": Wrapper(voxtral_realtime, AUDIO, text_as=voxtral_text, merged=True),
    "mistral4": Decoder(Mla(), FINE_GRAINED),
}
