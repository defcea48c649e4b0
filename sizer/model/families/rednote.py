"""rednote: dots.llm1, dots.note, dots.ocr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, linear, norm
from sizer.model.blocks.towers.navit import dots_vit
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.connectors import with_towers
from sizer.model.shapes.decoder import Decoder
from sizer.model.shapes.experts import FINE_GRAINED, FirstDense, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import Mla, sparse_mla
from sizer.model.shapes.rules import UNBIASED, Attention, one_each
from sizer.model.shapes.windows import Window, max_window_layers, window_of
from sizer.model.shapes.wrapper import BOTH_TOWERS, Wrapper


def _dots_sparse(config: Config, count: int) -> Sequence[bool]:
    """dots.note: `moe_layer_freq` may be a list of flags."""
    frequency = config.fields.get("moe_layer_freq")
    if isinstance(frequency, (list, tuple)) and config.sequence("mlp_layer_types") is None:
        first = config.size("first_k_dense_replace", default=1, minimum=0)
        flags = one_each(config, "moe_layer_freq", count, frequency)
        return [index >= first and bool(value) for index, value in enumerate(flags)]
    return FirstDense(first=1, every="moe_layer_freq")(config, count)


def _dots_types(config: Config, count: int) -> tuple[str, ...]:
    """dots.note: the kind of each layer; `use_dsa` turns full attention into indexed or back."""
    legacy = None if "per_layer_config" in config.fields else True
    given = config.fields.get("use_dsa", legacy)
    types = config.layer_types(count)
    if types is None:
        windows = config.flag("use_sliding_window", default=True)
        full = "full_attention" if given is False else "indexed_attention"
        types = tuple(full if not windows or i < 2 or i % 4 == 1 else "sliding_attention" for i in range(count))
    if given is not None:
        old, new = ("full_attention", "indexed_attention") if given else ("indexed_attention", "full_attention")
        types = tuple(new if kind == old else kind for kind in types)
    return types


DOTS_WINDOWED = {
    "num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 1024, "kv_lora_rank": 1024,
    "head_dim": 256, "qk_nope_head_dim": 192, "v_head_dim": 128,
}  # fmt: skip
"""What transformers' Dots3NoteTextConfig takes for the `swa_` fields of windowed layers that a file leaves out."""


def _dots_attention(config: Config, count: int) -> Sequence[Block]:
    """dots.note: latent attention whose windowed layers have ranks and head sizes of their own (`swa_…`)."""
    types, hidden = _dots_types(config, count), config.size("hidden_size")
    swa = {name: config.fields.get(f"swa_{name}", default) for name, default in DOTS_WINDOWED.items()}
    swa["qk_rope_head_dim"] = config.fields.get("swa_qk_rope_head_dim", swa["head_dim"] - swa["qk_nope_head_dim"])
    window = config.optional_size("sliding_window") or config.size("sliding_window_size", default=512)
    blocks: dict[str, Block] = {}
    for kind in dict.fromkeys(types):
        own = config.layer(types.index(kind))
        if kind == "sliding_attention" and "per_layer_config" not in config.fields:
            own = Config({**config.fields, **swa}, config.class_defaults, config.path)
        block = Mla().block(own)
        if own.optional_size("q_lora_rank") is None:
            raise own.error("q_lora_rank", "This family's queries have a low rank.")
        block += norm("self_attn.k_rope_only_layernorm", own.size("qk_rope_head_dim"))
        block += linear("self_attn.g_proj", own.size("num_attention_heads"), hidden, Role.GATE)
        if kind == "indexed_attention":
            block = sparse_mla(block, own, indexed=True)
        elif kind == "sliding_attention":
            block = replace(block, mixers=(replace(block.mixers[0], window_tokens=window),))
        elif kind != "full_attention":
            raise config.error("layer_types", f"{kind!r:.40} is no attention layer of this family.")
        blocks[kind] = block
    return [blocks[kind] for kind in types]


def _dots1_windows(config: Config, count: int) -> Sequence[Window]:
    """Dots1: windows from layer `max_window_layers` on."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    first = config.size("max_window_layers", default=count, minimum=0)
    types = types or tuple("sliding_attention" if i >= first else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)


def dots_ocr(config: Config) -> Parts:
    """dots.ocr as its own code builds it: Qwen2 with a tower of its own."""
    text = Config.of(config.fields, "qwen2")
    parts = Decoder(Attention(o_bias=False, windows=max_window_layers), UNBIASED)(text)
    tower = Tree("vision_tower.")
    dots_vit(config.sub("vision_config"), tower)
    return with_towers(parts, tower)


FAMILIES: dict[str, Family] = {
    "dots3_note_text": Decoder(
        _dots_attention,
        Moe(
            "n_routed_experts",
            sparse=_dots_sparse,
            dense=UNBIASED,
            shared=("shared_experts_intermediate_size", "n_shared_experts"),
        ),
    ),
    "dots1": Decoder(Attention(qk_norm="head", windows=_dots1_windows), FINE_GRAINED),
    "dots_ocr": dots_ocr,
    "dots3_note": Wrapper(
        towers=BOTH_TOWERS,
        text_only="Dots3NoteForCausalLM",
        flat=True,
    ),
}
