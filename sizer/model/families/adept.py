"""Adept: Persimmon, and Fuyu, which reads image patches without a tower."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Parts, linear
from sizer.model.config import Config
from sizer.model.registry import describe
from sizer.model.shapes.decoder import Decoder, Naming
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import FusedAttention, Mlp, switched_layer_norms


def fuyu(config: Config) -> Parts:
    """Fuyu: Persimmon over image patches, each one projected by a single linear layer.

    The text part is in `text_config`, or (as the first files have it) in the file itself.
    """
    spec = config.class_defaults.sub_configs["text_config"]
    own = config.fields.get("text_config") or {
        name: config.fields[name] for name in spec["init"] if name in config.fields
    }
    text = Config({**config.fields, "text_config": own or None}, config.class_defaults).sub("text_config")
    tied = {"tie_word_embeddings": config.flag("tie_word_embeddings")}
    whole = Config({**text.fields, **tied}, text.class_defaults, text.path)
    parts = describe(whole, text.text("model_type", default="persimmon"))
    pixels = config.size("patch_size") ** 2 * config.size("num_channels")
    patches = linear("model.vision_embed_tokens", parts.hidden_size, pixels, Role.OTHER, True)
    tensors = tuple(
        replace(tensor, name=tensor.name.replace("model.", "model.language_model.", 1)) for tensor in parts.tensors
    )
    return replace(parts, tensors=tensors + patches.tensors)


FAMILIES: dict[str, Family] = {
    "persimmon": Decoder(
        FusedAttention(plain_heads=True, kv_field=False, plus=switched_layer_norms),
        Mlp("plain", bias=True, names=("dense_h_to_4h", "dense_4h_to_h")),
        norm_bias=True,
        naming=Naming(final_norm="final_layernorm"),
    ),
    "fuyu": fuyu,
}
