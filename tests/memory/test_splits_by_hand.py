"""Layers over cards and the host of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import (
    ALL,
    HEAD,
    LAYER,
    LAYERS,
    MIXER,
    NORM,
    STACK,
    TABLE,
    TENSORS,
    TOKEN_BYTES,
    WEIGHTS,
    case,
    model,
    rule,
    stored,
)  # fmt: skip

from sizer.engine.options import EngineOptions
from sizer.memory.case import blocks
from sizer.memory.footprint import footprint
from sizer.memory.host_split import _portions
from sizer.memory.offload import best_split, split_as_told, split_at
from sizer.memory.placement import place
from sizer.memory.shares import Held, weights_by_layer
from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.workload import Split, Workload

STATE = Mixer(MixerKind.SSM, state_elements=1000)


def test_weights_by_layer_leave_out_what_only_checkpoints_carry() -> None:
    """Each layer's matrices, its experts alone, the table on the input's side, head and norm on the output's."""
    weights = weights_by_layer(stored(model()))
    assert weights.layer_bytes == dict.fromkeys(ALL, LAYER)
    assert weights.expert_bytes == dict.fromkeys(ALL, STACK)
    assert (weights.input_bytes, weights.output_bytes) == (TABLE, HEAD + NORM)
    assert stored(model()).weights_bytes == WEIGHTS
    assert footprint(case()).weights.size_bytes == WEIGHTS
    tower = Tensor("vision.{layer}", (10, 10), Role.NORM, Module.LINEAR, layers=(0, 1), tower=Tower.VISION)
    assert weights_by_layer(stored(model(tensors=(*TENSORS, tower))))[2:] == (TABLE + 400, HEAD + NORM)


@pytest.mark.parametrize(("first", "second", "layers"), [(1, 1, 2), (14, 11, 2), (2, 1, 3), (7, 1, 4)])
def test_layers_fill_a_card_to_its_part_of_the_bytes(first: int, second: int, layers: int) -> None:
    """Cards of 1:1, 14:11, 2:1 and 7:1: a layer goes on where more than half of it lies beyond the card's part.

    The table of 128,000 bytes counts on the first card, a layer of 46,208 with its cache of 40,960 after it: of 604,800
    bytes in all, half hold two layers and no half of the third, nor do 56 %; two thirds hold three, seven eighths all.
    """
    asked = case(cards_bytes=(first * 2**26, second * 2**26), split=Split.LAYER)
    _, placement = place(asked)
    cache = blocks(128, rule().kv_block_tokens) * TOKEN_BYTES
    limit, used, held = first / (first + second) * (WEIGHTS + LAYERS * cache), TABLE, 0
    while held < LAYERS and used + (LAYER + cache) / 2 <= limit:
        used, held = used + LAYER + cache, held + 1
    assert [share.layers for share in placement.shares] == [layers, LAYERS - layers] == [held, LAYERS - held]
    assert placement.shares[0].weights_bytes == TABLE + layers * LAYER
    assert placement.shares[1].weights_bytes == HEAD + NORM + (LAYERS - layers) * LAYER
    assert placement.shares[0].kv_cache_bytes == layers * cache
    assert [share.available_bytes for share in placement.shares] == [first * 2**26, second * 2**26]


def test_the_cache_counts_where_bytes_decide() -> None:
    """With a cache as large as the weights the same two cards share layers as before, not all on the last."""
    long = Workload(2000, 48, 2048, batch_size=4)
    shares = place(case(cards_bytes=(2**28, 2**28), split=Split.LAYER, workload=long))[1].shares
    assert [share.layers for share in shares] == [2, 2]


def test_the_host_takes_the_first_layers() -> None:
    """Two of four layers on the card: two layers' weights and cache there; tables, head and the rest on the host."""
    asked = case(host_bytes=2**30)
    needed = footprint(asked)
    cache = needed.kv_cache.size_bytes // LAYERS
    found = split_at(asked, needed, 2)
    assert found.host is not None
    assert (found.gpu_layers, found.host.layers) == (2, 2)
    assert found.shares[0].weights_bytes == 2 * LAYER
    assert found.shares[0].kv_cache_bytes == 2 * cache
    assert found.host.weights_bytes == WEIGHTS - 2 * LAYER
    assert found.host.kv_cache_bytes == 2 * cache
    assert found.host_bytes == WEIGHTS - 2 * LAYER + 2 * cache
    assert split_at(asked, needed, 4).shares[0].weights_bytes == LAYERS * LAYER + HEAD + NORM
    assert split_at(asked, needed, 0).shares[0].weights_bytes == 0
    assert split_at(asked, needed, 99).gpu_layers == LAYERS


def test_a_tied_table_goes_with_the_output() -> None:
    """A tied table that the engine keeps on the host too lies on the card once all layers do."""
    tied = replace(case(host_bytes=2**30, engine=rule(embedding_on_host=True)))
    card = replace(tied.target, device=replace(tied.target.device, kind="gpu"))
    tied = replace(tied, target=card, architecture=replace(tied.architecture, tied_embeddings=True))
    needed = footprint(tied)
    assert split_at(tied, needed, 4).shares[0].weights_bytes == LAYERS * LAYER + HEAD + NORM + TABLE
    assert split_at(tied, needed, 3).shares[0].weights_bytes == 3 * LAYER


def test_a_cache_on_the_host_leaves_no_byte_of_it_on_the_card() -> None:
    """Attention and states alike stay on the host."""
    asked = case(model(STATE, MIXER), host_bytes=2**30, options=EngineOptions("llama.cpp", cache_on_host=True))
    needed = footprint(asked)
    for found in (split_at(asked, needed, 4), split_as_told(asked, needed)):
        assert found is not None
        assert found.host is not None
        assert found.shares[0].cache_bytes == 0
        assert found.host.cache_bytes == needed.kv_cache.size_bytes


@pytest.mark.parametrize(("number", "kept"), [(1, 1), (3, 3), (9, 4), (-1, 4)])
def test_experts_of_so_many_layers_stay_on_the_host(number: int, kept: int) -> None:
    """`--n-cpu-moe 3` keeps three layers' stacks there, more than there are or all keep four, and the cache none."""
    asked = case(host_bytes=2**30, options=EngineOptions("llama.cpp", cpu_moe_layers=number))
    needed = footprint(asked)
    found = split_as_told(asked, needed)
    assert found is not None
    assert found.host is not None
    assert found.host.weights_bytes == kept * STACK
    assert found.shares[0].weights_bytes == WEIGHTS - kept * STACK
    assert found.shares[0].kv_cache_bytes == needed.kv_cache.size_bytes
    assert (found.gpu_layers, found.host_experts) == (LAYERS - kept, True)


def _room_for(size_bytes: int) -> int:
    """A card whose room for weights and cache is this."""
    needed = footprint(case())
    return size_bytes + needed.activations.size_bytes + needed.overhead.size_bytes + rule().split_margin_bytes


@pytest.mark.parametrize(("spare", "layers"), [(-1, None), (0, 0), (STACK - 1, 0), (STACK, 1), (3 * STACK + 7, 3)])
def test_experts_move_to_the_host_one_layer_after_another(spare: int, layers: int | None) -> None:
    """A card with room for all but experts, the table left out, keeps the stacks of as many layers as the rest holds.

    With one byte less even that does not fit, and whole layers go.
    """
    needed = footprint(case())
    always = WEIGHTS - TABLE - LAYERS * STACK
    room = _room_for(always + needed.kv_cache.size_bytes + spare)
    asked = case(cards_bytes=(room,), host_bytes=2**30)
    found = best_split(asked, needed)
    assert found is not None
    assert found.host is not None
    assert found.host_experts is (layers is not None)
    if layers is not None:
        assert found.gpu_layers == layers
        assert found.shares[0].weights_bytes == always + layers * STACK
        assert found.host.weights_bytes == TABLE + (LAYERS - layers) * STACK


def test_what_is_missing_is_the_cards_and_the_hosts_together() -> None:
    """A split that neither holds lacks on both, and a host of unknown size lacks nothing."""
    asked = case(cards_bytes=(_room_for(LAYER),), host_bytes=1000)
    needed = footprint(asked)
    cache = needed.kv_cache.size_bytes // LAYERS
    found = split_at(asked, needed, 2, rule().split_margin_bytes)
    on_card, on_host = 2 * LAYER + 2 * cache - LAYER, WEIGHTS - 2 * LAYER + 2 * cache - 1000
    assert (found.fits, found.shortfall_bytes) == (False, on_card + on_host)
    unknown = replace(asked, target=replace(asked.target, host_memory_bytes=None))
    assert split_at(unknown, needed, 2, rule().split_margin_bytes).shortfall_bytes == on_card


def test_portions_sum_whatever_the_rooms() -> None:
    """Rooms of 1 and 2: a third each of weights, cache, layers and states, the last with what rounding leaves."""
    assert _portions(Held(100, 50, 4, 7), [1, 2]) == [Held(33, 16, 1, 2), Held(67, 34, 3, 5)]
    assert _portions(Held(100, 50, 4, 7), [0, 0]) == [Held(0, 0, 0, 0), Held(100, 50, 4, 7)]


@pytest.mark.parametrize(("flag", "layers"), [(-1, None), (None, None), (3, 3), (0, 0)])
def test_the_flag_for_layers_is_followed_and_a_negative_one_means_all(flag: int | None, layers: int | None) -> None:
    """`-ngl -1` leaves the model whole on a card that holds it; 3 and 0 split it."""
    asked = case(host_bytes=2**30, options=EngineOptions("llama.cpp", gpu_layers=flag))
    placement = place(asked)[1]
    assert (placement.host is None) is (layers is None)
    assert placement.gpu_layers == (LAYERS if layers is None else layers)


@pytest.mark.parametrize("layers", [0, 2])
def test_buffers_alone_can_be_too_much_for_a_card(layers: int) -> None:
    """With few layers or none on it, a card must still hold the buffers and its overhead: what it lacks is told."""
    asked = case(host_bytes=2**40)
    share = split_at(asked, footprint(asked), layers).shares[0]
    working = share.compute_bytes + share.overhead_bytes
    held = share.weights_bytes + share.kv_cache_bytes + share.state_bytes
    assert working > 1000
    for memory_bytes, short in ((working - 1000, 1000 + held), (working + held, 0)):
        card = case(cards_bytes=(memory_bytes,), host_bytes=2**40)
        placed = split_at(card, footprint(card), layers)
        assert (placed.fits, placed.shortfall_bytes) == (short == 0, short)
