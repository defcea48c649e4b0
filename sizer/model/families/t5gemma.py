"""T5Gemma and T5Gemma 2: Gemma's layers as encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Role, Tensor, Tower
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.families.decoder import causal_lm, joined
from sizer.model.families.encoder_decoder import ENCODER_NOTE, outside
from sizer.model.families.multimodal_wrapper import tower_of
from sizer.model.families.rules import UNBIASED, Attention, Heads, heads
from sizer.model.families.windows import EveryNth

SELF_NORMS = ("pre_self_attn_layernorm", "post_self_attn_layernorm")
MLP_NORMS = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
CROSS_NORMS = ("pre_cross_attn_layernorm", "post_cross_attn_layernorm")
GEMMA2 = Attention(windows=EveryNth(2))
GEMMA3 = Attention(qk_norm="head", windows=EveryNth(6))


def _layers(config: Config, attention: Attention, more: Block) -> list[Block]:
    """Attention, MLP and the norms around both on each layer, with `more` on all."""
    hidden, count = config.size("hidden_size"), config.layers()
    for name in (*SELF_NORMS, *MLP_NORMS):
        more += norm(name, hidden)
    return joined(attention(config, count), UNBIASED(config, count), (more,) * count)


def _crossing(sizes: Heads) -> Block:
    """What the decoder caches of the encoder's output."""
    return Block(mixers=(Mixer(MixerKind.CROSS, sizes.heads, sizes.kv_heads, sizes.head_dim, sizes.head_dim),))


def _cross_attention(config: Config, width: int) -> Block:
    """Attention over the encoder's output, `width` wide, with norms of its own."""
    sizes, bias = heads(config), config.flag("attention_bias")
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    block = linear("cross_attn.q_proj", queries, sizes.hidden, Role.Q, bias)
    block += linear("cross_attn.k_proj", keys, width, Role.K, bias)
    block += linear("cross_attn.v_proj", keys, width, Role.V, bias)
    block += linear("cross_attn.o_proj", sizes.hidden, queries, Role.O, bias)
    for name in CROSS_NORMS:
        block += norm(name, sizes.hidden)
    return block + _crossing(sizes)


def _encoder(config: Config, attention: Attention, prefix: str, table: Block) -> tuple[Tensor, ...]:
    """The tensors of an encoder, with its own embedding table."""
    blocks = _layers(config, attention, Block())
    places = {id(block): [i for i, other in enumerate(blocks) if other is block] for block in blocks}
    whole = outside(prefix, table + norm("norm", config.size("hidden_size")))
    for block in {id(block): block for block in blocks}.values():
        whole += on_layers(prefix + "layers.{layer}.", block, places[id(block)], Tower.ENCODER)
    return whole


def _decoder(config: Config, blocks: Sequence[Block], tensors: tuple[Tensor, ...], *, tied: bool) -> Parts:
    return causal_lm(config, blocks, prefix="model.decoder.", head="lm_head.out_proj", extra_tensors=tensors, tied=tied)


def t5gemma(config: Config) -> Parts:
    """T5Gemma: two Gemma 2 stacks, each with its table; the decoder attends to the encoder in between."""
    encoder, decoder = config.sub("encoder"), config.sub("decoder")
    width = encoder.size("hidden_size")
    table = embedding("embed_tokens", encoder.size("vocab_size"), width)
    tensors = _encoder(encoder, GEMMA2, "model.encoder.", table)
    blocks = _layers(decoder, GEMMA2, _cross_attention(decoder, width))
    parts = _decoder(decoder, blocks, tensors, tied=config.flag("tie_word_embeddings", default=True))
    return parts.with_notes(ENCODER_NOTE)


def t5gemma2(config: Config) -> Parts:
    """T5Gemma 2: an encoder that sees, and a decoder whose one attention reads its own tokens and the encoder's."""
    encoder, decoder = config.sub("encoder"), config.sub("decoder")
    text, vision = encoder.sub("text_config"), encoder.sub("vision_config")
    hidden = text.size("hidden_size")
    if decoder.size("hidden_size") != hidden:
        raise decoder.error("hidden_size", f"It must be the encoder's ({hidden}).")
    tensors = _encoder(text, GEMMA3, "model.encoder.text_model.", Block())
    tower = Tree("model.encoder.vision_tower.", tower=Tower.VISION)
    tower_of("vision_config", vision)(vision, tower)
    joint, size = Tree("model.encoder.multi_modal_projector.", tower=Tower.PROJECTOR), vision.size("hidden_size")
    joint.parameter("mm_input_projection_weight", size, hidden)
    joint.rms_norm("mm_soft_emb_norm", size=size)
    tensors += (*tower.tensors, *joint.tensors)
    tensors += parameter("model.encoder.text_model.embed_tokens.eoi_embedding", hidden).tensors
    blocks = _layers(decoder, GEMMA3, _crossing(heads(decoder)))
    tied = config.flag("tie_word_embeddings", default=True)
    if not tied:
        tensors += embedding("model.encoder.text_model.embed_tokens", text.size("vocab_size"), hidden).tensors
        tensors += parameter("model.decoder.embed_tokens.eoi_embedding", hidden).tensors
    parts = _decoder(decoder, blocks, tensors, tied=tied)
    if tied:  # one table, the encoder's
        shared = replace(parts.tensors[0], name="model.encoder.text_model.embed_tokens.weight")
        parts = replace(parts, tensors=(shared, *parts.tensors[1:]))
    return parts.with_notes(ENCODER_NOTE)


FAMILIES: dict[str, Callable[[Config], Parts]] = {"t5gemma": t5gemma, "t5gemma2": t5gemma2}
