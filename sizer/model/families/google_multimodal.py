"""Google's models with eyes, ears or an encoder: PaliGemma, Gemma 3 to 4, T5Gemma 1 and 2, Pix2Struct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sizer.model.architecture import Mixer, MixerKind, Role, Tensor, Tower
from sizer.model.blocks.attention import Heads, attention_mixer
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, on_layers, parameter
from sizer.model.blocks.mlp import gated_mlp
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config
from sizer.model.shapes.bart import ENCODER_NOTE, outside
from sizer.model.shapes.decoder import Naming, causal_lm, joined
from sizer.model.shapes.family import Family
from sizer.model.shapes.rules import UNBIASED, Attention, heads
from sizer.model.shapes.windows import EveryNth
from sizer.model.shapes.wrapper import BOTH_TOWERS, Pieces, Wrapper, tower_of


def gemma3_projector(pieces: Pieces, tree: Tree) -> None:
    """Gemma 3: a norm and one bare matrix [vision, text]."""
    size = pieces.vision.size("hidden_size")
    tree.parameter("multi_modal_projector.mm_input_projection_weight", size, pieces.text_size)
    tree.rms_norm("multi_modal_projector.mm_soft_emb_norm", size=size)


def gemma4_projector(pieces: Pieces, tree: Tree) -> None:
    """Gemma 4: one matrix for each tower that the model has."""
    for name, field in (("embed_vision", "vision_config"), ("embed_audio", "audio_config")):
        sub = pieces.subs[field]
        if sub is not None:
            width = sub.size("output_proj_dims", "hidden_size") if field == "audio_config" else sub.size("hidden_size")
            tree.linear(f"{name}.embedding_projection", pieces.text_size, width)


def paligemma(pieces: Pieces, tree: Tree) -> None:
    """PaliGemma: one matrix to the vision config's `projection_dim`."""
    out = pieces.vision.size("projection_dim", default=pieces.config.size("projection_dim"))
    tree.linear("multi_modal_projector.linear", out, pieces.vision.size("hidden_size"), bias=True)


def pix2struct_layer(config: Config) -> Block:
    """Self- and cross-attention and a gated MLP, each behind a norm, without biases; projections are square."""
    hidden, heads, size = config.size("hidden_size"), config.size("num_heads"), config.size("d_kv")
    block = Block()
    for name in ("self_attention", "encoder_decoder_attention"):
        for part, role in (("query", Role.Q), ("key", Role.K), ("value", Role.V)):
            block += linear(f"{name}.attention.{part}", hidden, hidden, role)
        block += linear(f"{name}.attention.output", hidden, hidden, Role.O) + norm(f"{name}.layer_norm", hidden)
    block += Block(mixers=(attention_mixer(heads, heads, size), Mixer(MixerKind.CROSS, heads, heads, size, size)))
    names = ("wi_0", "wi_1", "wo")
    block += gated_mlp(hidden, config.size("d_ff"), prefix="mlp.DenseReluDense.", names=names)
    return block + norm("mlp.layer_norm", hidden)


def pix2struct(config: Config) -> Parts:
    """Pix2Struct: an encoder of image patches and a T5-like decoder, whose head is a matrix of its own."""
    text, vision = config.sub("text_config"), config.sub("vision_config")
    layer, buckets = pix2struct_layer(text), text.size("relative_attention_num_buckets")
    table = "self_attention.attention.relative_attention_bias"
    first = layer + embedding(table, buckets, text.size("num_heads"), Role.POSITION)
    tree = Tree("encoder.", tower=Tower.ENCODER)
    tower_of("vision_config", vision)(vision, tree)
    parts = causal_lm(
        text,
        [first] + [layer] * (text.layers() - 1),
        Naming(prefix="decoder.", layers="layer.{layer}.", final_norm="final_layer_norm", head="decoder.lm_head"),
        tied=config.flag("tie_word_embeddings"),
        extra_tensors=tuple(tree.tensors),
    )
    return parts.with_notes(ENCODER_NOTE)


def gemma3n_projector(pieces: Pieces, tree: Tree) -> None:
    """Gemma 3n: for each tower a table of hard tokens, two norms and a matrix."""
    for name, field in (("embed_vision", "vision_config"), ("embed_audio", "audio_config")):
        sub, scope = pieces.sub(field), tree.at(name)
        size = sub.size("hidden_size")
        scope.put(embedding("embedding", sub.size("vocab_size"), size, Role.OTHER))
        scope.rms_norm("hard_embedding_norm", "soft_embedding_norm", size=size)
        scope.linear("embedding_projection", pieces.text_size, size)


GEMMA3N = Wrapper(gemma3n_projector, BOTH_TOWERS)


def gemma3n(config: Config) -> Parts:
    """Gemma 3n, with a note on the part that its config does not size."""
    parts = GEMMA3N(config)
    note = "the vision tower is timm's, known by its total alone and counted as one tensor."
    return replace(parts, notes=(*parts.notes, note))


def gemma4_unified(pieces: Pieces, tree: Tree) -> None:
    """Gemma 4 unified has no towers: patches and frames are embedded straight."""
    vision, audio = pieces.subs["vision_config"], pieces.subs["audio_config"]
    if vision is not None:
        scope = tree.at("embed_vision", tower=Tower.VISION)
        side = vision.size("patch_size") * vision.size("pooling_kernel_size")
        size = vision.size("mm_embed_dim")
        scope.layer_norm("patch_ln1", size=3 * side**2)
        scope.linear("patch_dense", size, 3 * side**2, bias=True)
        scope.layer_norm("patch_ln2", "pos_norm", size=size)
        scope.parameter("pos_embedding", vision.size("mm_posemb_size"), 2, size, role=Role.POSITION)
        projection = "multimodal_embedder.embedding_projection"
        scope.linear(projection, pieces.text_size, vision.size("output_proj_dims"))
    if audio is not None:
        width = audio.size("output_proj_dims", "hidden_size", "audio_embed_dim")
        tree.at("embed_audio", tower=Tower.AUDIO).linear("embedding_projection", pieces.text_size, width)


SELF_NORMS = ("pre_self_attn_layernorm", "post_self_attn_layernorm")
MLP_NORMS = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
CROSS_NORMS = ("pre_cross_attn_layernorm", "post_cross_attn_layernorm")
GEMMA2 = Attention(windows=EveryNth(2))
GEMMA3 = Attention(qk_norm="head", windows=EveryNth(6))


def _t5gemma_layers(config: Config, attention: Attention, more: Block) -> list[Block]:
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


def _t5gemma_encoder(config: Config, attention: Attention, prefix: str, table: Block) -> tuple[Tensor, ...]:
    """The tensors of an encoder, with its own embedding table."""
    blocks = _t5gemma_layers(config, attention, Block())
    places = {id(block): [i for i, other in enumerate(blocks) if other is block] for block in blocks}
    whole = outside(prefix, table + norm("norm", config.size("hidden_size")))
    for block in {id(block): block for block in blocks}.values():
        whole += on_layers(prefix + "layers.{layer}.", block, places[id(block)], Tower.ENCODER)
    return whole


def _t5gemma_decoder(config: Config, blocks: Sequence[Block], tensors: tuple[Tensor, ...], *, tied: bool) -> Parts:
    return causal_lm(
        config, blocks, Naming(prefix="model.decoder.", head="lm_head.out_proj"), extra_tensors=tensors, tied=tied
    )


def t5gemma(config: Config) -> Parts:
    """T5Gemma: two Gemma 2 stacks, each with its table; the decoder attends to the encoder in between."""
    encoder, decoder = config.sub("encoder"), config.sub("decoder")
    width = encoder.size("hidden_size")
    table = embedding("embed_tokens", encoder.size("vocab_size"), width)
    tensors = _t5gemma_encoder(encoder, GEMMA2, "model.encoder.", table)
    blocks = _t5gemma_layers(decoder, GEMMA2, _cross_attention(decoder, width))
    parts = _t5gemma_decoder(decoder, blocks, tensors, tied=config.flag("tie_word_embeddings", default=True))
    return parts.with_notes(ENCODER_NOTE)


def t5gemma2(config: Config) -> Parts:
    """T5Gemma 2: an encoder that sees, and a decoder whose one attention reads its own tokens and the encoder's."""
    encoder, decoder = config.sub("encoder"), config.sub("decoder")
    text, vision = encoder.sub("text_config"), encoder.sub("vision_config")
    hidden = text.size("hidden_size")
    if decoder.size("hidden_size") != hidden:
        raise decoder.error("hidden_size", f"It must be the encoder's ({hidden}).")
    tensors = _t5gemma_encoder(text, GEMMA3, "model.encoder.text_model.", Block())
    tower = Tree("model.encoder.vision_tower.", tower=Tower.VISION)
    tower_of("vision_config", vision)(vision, tower)
    joint, size = Tree("model.encoder.multi_modal_projector.", tower=Tower.PROJECTOR), vision.size("hidden_size")
    joint.parameter("mm_input_projection_weight", size, hidden)
    joint.rms_norm("mm_soft_emb_norm", size=size)
    tensors += (*tower.tensors, *joint.tensors)
    tensors += parameter("model.encoder.text_model.embed_tokens.eoi_embedding", hidden).tensors
    blocks = _t5gemma_layers(decoder, GEMMA3, _crossing(heads(decoder)))
    tied = config.flag("tie_word_embeddings", default=True)
    if not tied:
        tensors += embedding("model.encoder.text_model.embed_tokens", text.size("vocab_size"), hidden).tensors
        tensors += parameter("model.decoder.embed_tokens.eoi_embedding", hidden).tensors
    parts = _t5gemma_decoder(decoder, blocks, tensors, tied=tied)
    if tied:  # one table, the encoder's
        shared = replace(parts.tensors[0], name="model.encoder.text_model.embed_tokens.weight")
        parts = replace(parts, tensors=(shared, *parts.tensors[1:]))
    return parts.with_notes(ENCODER_NOTE)


FAMILIES: dict[str, Family] = {
    "gemma3": Wrapper(gemma3_projector),
    "shieldgemma2": Wrapper(gemma3_projector, ties="either"),
    "gemma4": Wrapper(gemma4_projector, BOTH_TOWERS),
    "paligemma": Wrapper(paligemma),
    "pix2struct": pix2struct,
    "gemma3n": gemma3n,
    "gemma4_unified": Wrapper(gemma4_unified, (("", "vision_config"), ("", "audio_config"))),
    "t5gemma": t5gemma,
    "t5gemma2": t5gemma2,
}
