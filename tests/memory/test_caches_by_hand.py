"""Caches of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

from drawn import MIXER, TENSORS, TOKEN_BYTES, model  # fmt: skip

from sizer.cache_formats import cache_format
from sizer.memory.cache import (
    CachePlan,
    LayerCache,
    cache_by_layer,
    convolutions,
    mixer_cache,
    sequence_cache,
    whole_cache,
)
from sizer.memory.case import blocks
from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor

FP16, Q8 = cache_format("fp16"), cache_format("q8_0")
PLAN = CachePlan(1, 1, 100, 16, FP16, FP16, "window", 4, 2, drops_conv_column=True)
STATE = Mixer(MixerKind.SSM, state_elements=1000)
LATENT = Mixer(MixerKind.MLA, heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40)


def test_values_have_their_own_width_and_format() -> None:
    """2 heads x (24 + 16) values of 2 bytes; values in Q8_0 take whole blocks of 32 values, 34 bytes each."""
    assert mixer_cache(MIXER, PLAN) == LayerCache(100 * TOKEN_BYTES, 0)
    mixed = mixer_cache(MIXER, PLAN._replace(v_format=Q8))
    assert mixed.attention_bytes == 100 * (2 * 24 * 2 + 34)  # 32 values are one block
    assert mixer_cache(MIXER, PLAN._replace(k_format=Q8)).attention_bytes == 100 * (2 * 34 + 2 * 16 * 2)


def test_a_latent_is_one_row_and_expands_to_the_heads_own_widths() -> None:
    """40 values a token, or 4 heads x (24 + 16) where the engine keeps what it rebuilds."""
    assert mixer_cache(LATENT, PLAN).attention_bytes == 100 * 40 * 2
    assert mixer_cache(LATENT, PLAN._replace(expands_latent=True)).attention_bytes == 100 * 4 * (24 + 16) * 2


def test_what_shares_a_cache_or_compresses_it_keeps_less() -> None:
    """A layer that reads another's keeps none; one entry for every 8 tokens; the indexer's keys for all of them."""
    assert mixer_cache(replace(MIXER, shares_kv=True), PLAN).attention_bytes == 0
    assert mixer_cache(replace(MIXER, compression_tokens=8), PLAN).attention_bytes == 13 * TOKEN_BYTES
    assert mixer_cache(replace(MIXER, indexer_elements=5), PLAN).attention_bytes == 100 * (TOKEN_BYTES + 10)


def test_windows_keep_their_tokens_or_whole_cells() -> None:
    """A window of 30: 30 tokens and what stands beside; with cells the step too, padded to 256, within the context."""
    sliding = replace(MIXER, kind=MixerKind.SLIDING, window_tokens=30)
    assert PLAN.layer_tokens(sliding) == 30
    assert PLAN._replace(held_beside_window=7).layer_tokens(sliding) == 37
    assert PLAN._replace(window_cache="whole").layer_tokens(sliding) == 100
    cells = PLAN._replace(window_cache="cells", tokens=5000, step_tokens=512)
    assert cells.layer_tokens(sliding) == 768  # 30 + 512 in blocks of 256
    assert cells._replace(sequences=4, streams=1).layer_tokens(replace(sliding, window_tokens=500)) == 2560
    assert cells._replace(sequences=4, streams=4).layer_tokens(replace(sliding, window_tokens=500)) == 1024
    assert PLAN.layer_tokens(Mixer(MixerKind.BIDIRECTIONAL, heads=4, kv_heads=4, qk_head_dim=8, v_head_dim=8)) == 0


def test_states_and_convolutions_have_widths_of_their_own() -> None:
    """1,000 values of which 300 are 3 columns of a convolution: 700 x 4 bytes, and 2 columns x 100 x 2 bytes."""
    assert mixer_cache(STATE, PLAN, 300, 3).state_bytes == 700 * 4 + 200 * 2
    assert mixer_cache(STATE, PLAN._replace(drops_conv_column=False), 300, 3).state_bytes == 700 * 4 + 300 * 2
    assert mixer_cache(STATE, PLAN, 300).state_bytes == 700 * 4  # the one column that there is
    assert mixer_cache(STATE, PLAN).state_bytes == 1000 * 4
    many = PLAN._replace(sequences=5, streams=2, copies=3)
    assert mixer_cache(STATE, many).state_bytes == 5 * 3 * 1000 * 4
    assert mixer_cache(MIXER, many).attention_bytes == 2 * 3 * 100 * TOKEN_BYTES


def test_a_convolution_is_found_in_its_layers_where_it_runs() -> None:
    """By layer: values and columns; not those of layers that only checkpoints carry."""
    runs = Tensor("conv", (100, 1, 3), Role.CONV, Module.CONV, layers=(1, 2))
    stays = Tensor("mtp", (50, 1, 3), Role.CONV, Module.CONV, layers=(3,), checkpoint_only=True)
    assert convolutions(model(tensors=(*TENSORS, runs, stays))) == {1: (300, 3), 2: (300, 3)}


def test_layers_of_every_kind_sum() -> None:
    """One layer of state, three of attention."""
    found = cache_by_layer(model(STATE, MIXER), PLAN)
    assert found == [LayerCache(0, 4000), *[LayerCache(100 * TOKEN_BYTES, 0)] * 3]
    assert whole_cache(model(STATE, MIXER), PLAN) == LayerCache(300 * TOKEN_BYTES, 4000)
    assert sequence_cache(model(STATE, MIXER), 100, FP16) == LayerCache(300 * TOKEN_BYTES, 2000)


def test_blocks_round_up() -> None:
    """Of 16 tokens: 1 and 16 take one, 17 two."""
    assert [blocks(tokens, 16) for tokens in (1, 16, 17)] == [16, 16, 32]
