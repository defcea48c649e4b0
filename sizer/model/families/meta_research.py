"""Meta's models of shapes of their own: Byte Latent Transformer, MusicGen."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Layer, Mixer, MixerKind, MlpKind, Role, Tensor, Tower
from sizer.model.blocks.attention import Heads, attention
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers
from sizer.model.blocks.mlp import gated_mlp, plain_mlp
from sizer.model.config import MAX_COUNT, Config
from sizer.model.shapes.decoder import PRE_NORMS, Naming, causal_lm
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import OUT_NAMES, heads


def musicgen(config: Config) -> Parts:
    """MusicGen's decoder: an embedding and a head for each codebook, attention to the text encoder."""
    own = config.sub("decoder") if config.class_defaults.sub_configs else config
    hidden, number, vocab = own.size("hidden_size"), own.size("num_attention_heads"), own.size("vocab_size")
    books, melody = own.size("num_codebooks", maximum=MAX_COUNT), "melody" in own.class_defaults.model_type
    if hidden % number:
        raise own.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
    size = hidden // number
    block = attention(Heads(hidden, number, number, size), names=OUT_NAMES)
    block += norm("self_attn_layer_norm", hidden, True) + norm("final_layer_norm", hidden, True)
    if not melody:
        for name, role in zip(OUT_NAMES, (Role.Q, Role.K, Role.V, Role.O), strict=True):
            block += linear(f"encoder_attn.{name}", hidden, hidden, role)
        block += norm("encoder_attn_layer_norm", hidden, True)
        block += Block(mixers=(Mixer(MixerKind.CROSS, number, number, size, size),))
    block += plain_mlp(hidden, own.size("ffn_dim"), prefix="", names=("fc1", "fc2"))
    extra = Block()
    for book in range(1, books):
        extra += embedding(f"model.decoder.embed_tokens.{book}", vocab + 1, hidden)
    for book in range(books):
        extra += linear(f"lm_heads.{book}", vocab, hidden, Role.LM_HEAD)
    parts = causal_lm(
        own,
        [block] * own.layers(),
        Naming(prefix="model.decoder.", embed="embed_tokens.0", final_norm="layer_norm"),
        norm_bias=True,
        extra=extra,
        vocab=vocab + 1,
        tied=True,
    )
    return replace(parts, vocab_size=vocab, tied=False)


def _blt_layers(config: Config, prefix: str, *, main: bool) -> tuple[tuple[Tensor, ...], Layer]:
    """One of BLT's stacks of Llama-like layers, and what one of its layers is."""
    sizes = heads(config, head_dim_field=False)
    inner = config.optional_size("intermediate_size") or int(8 * sizes.hidden / 3)
    window = config.optional_size("sliding_window")
    block = attention(sizes, window=window)
    block += gated_mlp(sizes.hidden, inner) + norm(PRE_NORMS[0], sizes.hidden) + norm(PRE_NORMS[1], sizes.hidden)
    tower = Tower.TEXT if main else Tower.ENCODER
    tensors = on_layers(prefix + "layers.{layer}.", block, range(config.layers()), tower)
    return tensors, Layer(0, block.mixers, MlpKind.DENSE)


def _blt_local(config: Config, prefix: str, into: int) -> tuple[Tensor, ...]:
    """The cross-attention of a local encoder or decoder, and the projection of its patches."""
    sizes = heads(config, head_dim_field=False)
    block = attention(sizes, prefix="")
    block += norm("q_norm", sizes.hidden) + norm("k_norm", sizes.hidden)
    count = config.layers() if config.flag("cross_attn_all_layers") else 1
    width = sizes.hidden * config.size("cross_attn_k")
    patches = linear(prefix + "patch_embedding_projection", width, into, Role.OTHER)
    return on_layers(prefix + "cross_attn_layers.{layer}.", block, range(count)) + patches.tensors


def blt(config: Config) -> Parts:
    """Byte Latent Transformer: a local encoder and decoder over bytes around a transformer over patches.

    The layers listed are those of all three, in order; the global ones run once a patch, not once a byte.
    """
    encoder, decoder = config.sub("encoder_config"), config.sub("decoder_config")
    middle, patcher = config.sub("global_config"), config.sub("patcher_config")
    encoder = Config(
        {**encoder.fields, "sliding_window": config.optional_size("local_attention_window_len")},
        encoder.class_defaults,
        encoder.path,
    )
    tensors: tuple[Tensor, ...] = ()
    layers: list[Layer] = []
    for part, prefix in ((encoder, "local_encoder"), (middle, "global_transformer"), (decoder, "local_decoder")):
        own, layer = _blt_layers(part, f"model.{prefix}.", main=True)
        tensors += own
        layers += [replace(layer, index=len(layers) + place) for place in range(part.layers())]
    width, vocab = decoder.size("hidden_size"), config.size("vocab_size")
    tensors += _blt_local(encoder, "model.local_encoder.", encoder.size("hidden_size"))
    tensors += _blt_local(decoder, "model.local_decoder.", decoder.size("hidden_size_global"))
    tied = config.flag("tie_word_embeddings")
    rows = (vocab, width) if tied else (encoder.size("vocab_size"), encoder.size("hidden_size"))
    outside = embedding("model.local_encoder.embed_tokens", *rows)
    outside += norm("model.local_decoder.norm", width)
    outside += _blt_hashes(config, encoder) + _blt_bridge(config, encoder, middle)
    outside += Block() if tied else linear("lm_head", vocab, width, Role.LM_HEAD)
    if config.flag("patch_in_forward"):
        own, _ = _blt_layers(patcher, "model.patcher.", main=False)
        tensors += own + _blt_patcher_tables(patcher)
    return Parts(outside.tensors + tensors, tuple(layers), width, vocab, tied)


def _blt_patcher_tables(patcher: Config) -> tuple[Tensor, ...]:
    hidden, vocab = patcher.size("hidden_size"), patcher.size("vocab_size")
    block = embedding("model.patcher.embed_tokens", vocab, hidden) + norm("model.patcher.norm", hidden)
    block += linear("model.patcher.lm_head", vocab, hidden, Role.LM_HEAD)
    return tuple(replace(tensor, tower=Tower.ENCODER) for tensor in block.tensors)


def _blt_hashes(config: Config, encoder: Config) -> Block:
    """The table of hashed byte groups."""
    groups = config.sequence("encoder_hash_byte_group_size") or (3, 4, 5, 6, 7, 8)
    rows = config.size("encoder_hash_byte_group_vocab") * config.size("encoder_hash_byte_group_nb_functions")
    return embedding("model.encoder_hash_tok_embedding", rows * len(groups), encoder.size("hidden_size"))


def _blt_bridge(config: Config, encoder: Config, middle: Config) -> Block:
    """The projection into the global transformer, where the widths differ."""
    width, hidden = encoder.size("hidden_size") * config.size("cross_attn_k"), middle.size("hidden_size")
    if width == hidden:
        return Block()
    return linear("model.global_transformer.token_embedding_projection", hidden, width, Role.OTHER)


FAMILIES: dict[str, Family] = {
    "blt": blt,
    "musicgen": musicgen,
    "musicgen_melody": musicgen,
}
