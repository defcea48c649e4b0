"""Hugging Face: SmolLM 3, SmolVLM, IDEFICS 1 to 3."""

from __future__ import annotations

from sizer.model.architecture import Mixer, MixerKind, Role, Tower
from sizer.model.blocks.attention import attention
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.towers.clip import clip
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.decoder import PRE_NORMS, Decoder, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import Attention, heads
from sizer.model.shapes.windows import FULL, Window, window_of
from sizer.model.shapes.wrapper import VISION_MODEL, Pieces, Wrapper


def _smollm3_windows(config: Config, count: int) -> tuple[Window, ...]:
    """SmolLM3: windows only on the layers without rotary embeddings, if `use_sliding_window`."""
    window, types = config.optional_size("sliding_window"), config.layer_types(count)
    if window is None or not config.flag("use_sliding_window"):
        return (FULL,) * count
    if types is not None:
        return tuple(window_of(config, name, window) for name in types)
    every = config.size("no_rope_layer_interval", default=4)
    rope = config.sequence("no_rope_layers") or tuple((index + 1) % every for index in range(count))
    if len(rope) != count:
        raise config.error("no_rope_layers", f"It must have one entry for each of {count} layers.")
    return tuple(FULL if has_rope else window_of(config, "sliding_attention", window) for has_rope in rope)


def idefics3(pieces: Pieces, tree: Tree) -> None:
    """Idefics 3 and SmolVLM: pixels shuffled into channels, one matrix."""
    width = pieces.vision.size("hidden_size") * pieces.config.size("scale_factor") ** 2
    tree.linear("connector.modality_projection.proj", pieces.text_size, width)


def idefics2(pieces: Pieces, tree: Tree) -> None:
    """Idefics 2: a gated projection and a perceiver that resamples the patches."""
    perceiver, size = pieces.sub("perceiver_config"), pieces.text_size
    inner = pieces.config.sub("text_config").size("intermediate_size")
    connector = tree.at("connector")
    connector.at("modality_projection").gated_mlp(pieces.vision.size("hidden_size"), inner, out=size)
    resampler = connector.at("perceiver_resampler")
    resampler.parameter("latents", perceiver.size("resampler_n_latents"), size)
    layer = resampler.stack("layers", perceiver.layers("resampler_depth"))
    layer.rms_norm("input_latents_norm", "input_context_norm", "post_attention_layernorm", size=size)
    head = perceiver.size("resampler_head_dim")
    heads, kv_heads = perceiver.size("resampler_n_heads"), perceiver.size("num_key_value_heads")
    names = "q_proj k_proj v_proj o_proj"
    layer.at("self_attn").attention(size, names, bias="", inner=heads * head, kv=kv_heads * head)
    layer.at("mlp").gated_mlp(size, 4 * size)
    resampler.rms_norm("norm", size=size)


def idefics(config: Config) -> Parts:
    """IDEFICS: Llama's layers, and before every few of them gated attention over the image and an MLP of its own."""
    vision, count, hidden, sizes = (
        config.sub("vision_config"),
        config.layers(),
        config.size("hidden_size"),
        heads(config),
    )
    every, spare = config.size("cross_layer_interval", default=1), config.size("additional_vocab_size", minimum=0)
    rest = gated_mlp(hidden, config.size("intermediate_size")) + norm(PRE_NORMS[0], hidden) + norm(PRE_NORMS[1], hidden)
    layer = attention(sizes) + rest
    crossed = layer + Block(mixers=(Mixer(MixerKind.CROSS, sizes.heads, sizes.heads, sizes.head_dim, sizes.head_dim),))
    width, gated = vision.size("hidden_size"), count // every
    own = _gated_attention(config, width, sizes.head_dim) + rest
    added = on_layers("model.gated_cross_attn_layers.{layer}.", own, range(gated)) if gated else ()
    if spare:
        added += embedding("model.embed_tokens.additional_embedding", spare, hidden).tensors
        if not config.flag("tie_word_embeddings"):
            added += linear("lm_head.additional_fc", spare, hidden, Role.LM_HEAD).tensors
    blocks = [layer if index % every else crossed for index in range(count)]
    tree = Tree("model.vision_model.", tower=Tower.VISION)
    clip(vision, tree)
    joint = Tree("model.perceiver_resampler.", tower=Tower.PROJECTOR)
    if config.flag("use_resampler"):
        _perceiver(config.sub("perceiver_config"), joint, width)
    return causal_lm(config, blocks, extra_tensors=(*added, *tree.tensors, *joint.tensors))


def _gated_attention(config: Config, width: int, head_dim: int) -> Block:
    """Attention over the image's features, `width` wide, with a gate on it and one on the MLP behind."""
    hidden = config.size("hidden_size")
    block = parameter("alpha_cross_attn", *_alpha(config, hidden)) + parameter("alpha_dense", *_alpha(config, hidden))
    for name, into, role in (("q", hidden, Role.Q), ("k", width, Role.K), ("v", width, Role.V), ("o", hidden, Role.O)):
        block += linear(f"cross_attn.{name}_proj", hidden, into, role)
    if config.flag("qk_layer_norms"):
        block += norm("cross_attn.q_layer_norm", head_dim) + norm("cross_attn.k_layer_norm", head_dim)
    return block


def _alpha(config: Config, hidden: int) -> tuple[int, ...]:
    """The gates' shape: one number, or one for each dimension."""
    return (1,) if config.text("alpha_type", default="float") == "float" else (1, 1, hidden)


def _perceiver(config: Config, tree: Tree, size: int) -> None:
    """IDEFICS's resampler: latents attend to the patches, an MLP follows."""
    head = config.size("resampler_head_dim")
    tree.parameter("latents", config.size("resampler_n_latents"), size)
    block = tree.stack("blocks", config.layers("resampler_depth"))
    reading, feeding = block.at("0"), block.at("1")
    reading.layer_norm("context_layer_norm", "latents_layer_norm", size=size)
    if config.flag("qk_layer_norms_perceiver"):
        reading.layer_norm("q_layer_norm", "k_layer_norm", size=head)
    inner = config.size("resampler_n_heads") * head
    reading.attention(size, "q_proj k_proj v_proj output_proj", bias="", inner=inner)
    feeding.layer_norm("ln", size=size)
    feeding.mlp(size, 4 * size, "fc c_proj", bias=False)
    tree.layer_norm("layer_norm", size=size)


FAMILIES: dict[str, Family] = {
    "smollm3": Decoder(Attention(windows=_smollm3_windows)),
    "idefics2": Wrapper(idefics2, VISION_MODEL, text_name="text_model"),
    "idefics3": Wrapper(idefics3, VISION_MODEL, text_name="text_model"),
    "smolvlm": Wrapper(idefics3, VISION_MODEL, text_name="text_model"),
    "idefics": idefics,
}
