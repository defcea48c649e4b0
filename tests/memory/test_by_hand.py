"""Memory counted on paper: caches, ranks, layers and hosts of a model drawn by hand (`tests/support/drawn.py`)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import (
    ALL,
    EXPERTS,
    HEAD,
    HIDDEN,
    LAYER,
    LAYERS,
    MIXER,
    MTP,
    NORM,
    QUERY,
    ROUTER,
    STACK,
    TABLE,
    TENSORS,
    TOKEN_BYTES,
    VOCAB,
    WEIGHTS,
    WIDTH,
    case,
    model,
    rule,
    stored,
)  # fmt: skip

from sizer.cache_formats import cache_format
from sizer.engine.options import EngineOptions
from sizer.memory.activations import activation_values_per_token
from sizer.memory.cache import (
    CachePlan,
    LayerCache,
    cache_by_layer,
    convolutions,
    mixer_cache,
    sequence_cache,
    whole_cache,
)
from sizer.memory.capacity import reservation
from sizer.memory.case import Case, blocks
from sizer.memory.extras import lora_bytes, prediction_bytes
from sizer.memory.footprint import footprint
from sizer.memory.offload import _portions, best_split, split_as_told, split_at
from sizer.memory.pages import Kind, Pages, paged
from sizer.memory.placement import counted_bytes, max_context_tokens, place
from sizer.memory.projector import projector_bytes, projector_compute_bytes
from sizer.memory.records import Part
from sizer.memory.shard import rank_architecture, rank_token_bytes, tensor_shard
from sizer.memory.shares import Held, host_tables_bytes, share_of, weights_by_layer
from sizer.memory.working import _captured_sizes, graphs_bytes, padded_bytes, rotary_bytes
from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.model.stored import Stored, StoredTensor
from sizer.workload import Split, Workload

FP16, Q8 = cache_format("fp16"), cache_format("q8_0")
PLAN = CachePlan(1, 1, 100, 16, FP16, FP16, "window", 4, 2, drops_conv_column=True)
STATE = Mixer(MixerKind.SSM, state_elements=1000)
LATENT = Mixer(MixerKind.MLA, heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40)


# Caches.


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


# Ranks.


@pytest.mark.parametrize(("ranks", "heads"), [(1, 2), (2, 1), (4, 1), (8, 1)])
def test_ranks_keep_whole_heads_at_least_one(ranks: int, heads: int) -> None:
    """Two heads on eight ranks: each rank keeps one, which lies four times; a latent lies on every rank whole."""
    of_rank = rank_architecture(model(), ranks)
    assert [layer.mixers[0].kv_heads for layer in of_rank.layers] == [heads] * LAYERS
    assert whole_cache(of_rank, PLAN).attention_bytes == LAYERS * 100 * heads * (24 + 16) * 2
    assert whole_cache(rank_architecture(model(LATENT), ranks), PLAN).attention_bytes == LAYERS * 100 * 40 * 2


def test_three_heads_on_two_ranks_are_two_each() -> None:
    """Heads are whole: the larger part counts."""
    three = replace(MIXER, heads=6, kv_heads=3)
    assert rank_architecture(model(three), 2).layers[0].mixers[0].kv_heads == 2


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_holds_a_part_of_matrices_and_all_of_the_rest(ranks: int) -> None:
    """Tables, head, queries and stacks are divided; norms and routers are whole; layers for drafting are not loaded."""
    held = tensor_shard(case(cards_bytes=(2**30,) * ranks, workload=Workload(96, 32, 128)))
    divided = TABLE + HEAD + LAYERS * (QUERY + STACK)
    assert held.weights_bytes == divided // ranks + NORM + LAYERS * (ROUTER + NORM)
    assert held.layers == LAYERS
    tokens = blocks(128, rule().kv_block_tokens)
    assert held.kv_cache_bytes == LAYERS * tokens * 1 * (24 + 16) * 2


def test_a_table_on_the_host_spares_each_rank_its_part() -> None:
    """A table that the engine keeps in the host's memory is divided by the ranks; a tied one is not spared."""
    spared = rule(embedding_on_host=True)
    two = case(cards_bytes=(2**30, 2**30), engine=spared)
    on_cards = replace(two, target=replace(two.target, device=replace(two.target.device, kind="gpu")))
    assert host_tables_bytes(on_cards) == TABLE
    assert host_tables_bytes(two) == 0  # no GPU: one memory
    assert tensor_shard(two).weights_bytes - tensor_shard(on_cards).weights_bytes == TABLE // 2
    tied = replace(on_cards, architecture=replace(two.architecture, tied_embeddings=True))
    assert host_tables_bytes(tied) == 0


def test_replicas_divide_experts_and_stages_divide_layers() -> None:
    """Two replicas of one rank: half the experts each, all the rest; two stages: half of everything, and 2 layers."""
    cards = (2**30, 2**30)
    copies = tensor_shard(case(cards_bytes=cards, options=EngineOptions("vllm", data_parallel=2, tensor_parallel=1)))
    assert copies.weights_bytes == WEIGHTS - LAYERS * STACK // 2
    stages = case(cards_bytes=cards, options=EngineOptions("vllm", pipeline_parallel=2))
    assert (stages.ranks, stages.stages, stages.replicas) == (1, 2, 1)
    held = tensor_shard(stages)
    assert (held.weights_bytes, held.layers) == (WEIGHTS // 2, 2)
    assert held.kv_cache_bytes * 2 == footprint(stages).kv_cache.size_bytes


def test_replicas_divide_the_sequences() -> None:
    """Five sequences over two replicas: three on the fuller one."""
    options = EngineOptions("vllm", data_parallel=2, tensor_parallel=1)
    held = tensor_shard(case(cards_bytes=(2**30, 2**30), options=options, workload=Workload(96, 32, 128, batch_size=5)))
    assert held.kv_cache_bytes == 3 * LAYERS * blocks(128, rule().kv_block_tokens) * TOKEN_BYTES


def test_states_are_divided_by_ranks_and_stages() -> None:
    """1,001 values in 16 bits a layer, 8,008 bytes: 2,002 on each of four; a rank's bytes a sequence round up."""
    odd = model(replace(STATE, state_elements=1001))
    four = case(odd, (2**30,) * 4, engine=rule("vllm"), options=EngineOptions("vllm", pipeline_parallel=2))
    assert tensor_shard(four).state_bytes == 4 * 1001 * 2 // 4
    three = case(odd, (2**30,) * 3, engine=rule("vllm"))
    assert rank_token_bytes(three, PLAN._replace(state_bytes=2, conv_bytes=2), 7) == 2670  # 8,008 / 3, rounded up
    assert rank_token_bytes(three, PLAN._replace(state_bytes=2, conv_bytes=2), 7000) == 2670


def test_data_parallel_copies_hold_the_model_and_their_sequences() -> None:
    """Five sequences on two cards: the whole model on both, and the cache of three on the fuller one."""
    asked = case(cards_bytes=(2**30, 2**30), split=Split.DATA, workload=Workload(96, 32, 128, batch_size=5))
    needed, placement = place(asked)
    assert placement.kind == "data"
    tokens = blocks(128, rule().kv_block_tokens)
    for share in placement.shares:
        assert share.weights_bytes == needed.weights.size_bytes == WEIGHTS
        assert share.kv_cache_bytes == 3 * LAYERS * tokens * TOKEN_BYTES


# Layers over cards, and the host.


def test_weights_by_layer_leave_out_what_only_checkpoints_carry() -> None:
    """Each layer's matrices, its experts alone, the table on the input's side, head and norm on the output's."""
    layers, experts, inputs, outputs = weights_by_layer(stored(model()))
    assert layers == dict.fromkeys(ALL, LAYER)
    assert experts == dict.fromkeys(ALL, STACK)
    assert (inputs, outputs) == (TABLE, HEAD + NORM)
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


# What is reserved ahead.


def test_a_fraction_reserves_what_weights_leave() -> None:
    """Nine tenths of a card less weights and work are cache, in whole blocks; or nine tenths of what those leave."""
    size, block = 20_000_000, 16
    ahead = rule("vllm", allocates="fraction_of_device", device_fraction=0.9, profile="", kv_block_tokens=block)
    asked = case(cards_bytes=(size,), engine=ahead)
    needed, placement = place(asked)
    (share,) = placement.shares
    assert share.available_bytes == int(size * 0.9)
    fixed = share.total_bytes - share.cache_bytes
    room = int(size * 0.9) - fixed
    assert placement.kv_capacity_tokens == room // (block * LAYERS * TOKEN_BYTES) * block
    assert placement.max_sequences == room // (128 * LAYERS * TOKEN_BYTES)
    assert placement.reserved_bytes == fixed + room
    assert needed.weights.size_bytes == share.weights_bytes
    free = place(replace(asked, engine=ahead._replace(allocates="fraction_of_free")))[1]
    assert free.max_sequences == int((size - fixed) * 0.9) // (128 * LAYERS * TOKEN_BYTES)
    part = place(replace(asked, engine=ahead._replace(allocates="fraction_of_device_for_cache", device_fraction=0.2)))[
        1
    ]
    assert part.max_sequences == int(size * 0.2) // (128 * LAYERS * TOKEN_BYTES)
    told = place(replace(asked, options=EngineOptions("vllm", cache_bytes=10**6)))[1]
    assert told.max_sequences == 10**6 // (128 * LAYERS * TOKEN_BYTES)
    assert place(replace(asked, options=EngineOptions("vllm", cache_tokens=777)))[1].kv_capacity_tokens == 777


def test_a_pool_too_small_for_one_sequence_is_told_in_its_blocks() -> None:
    """Room for 100 of 128 tokens: six blocks of 16."""
    ahead = rule("vllm", allocates="fraction_of_free", device_fraction=0.5, profile="", kv_block_tokens=16)
    asked = case(engine=ahead)
    fixed = sum(part.size_bytes for part in footprint(asked).parts) - footprint(asked).kv_cache.size_bytes
    small = case(cards_bytes=(fixed + 2 * 100 * LAYERS * TOKEN_BYTES,), engine=ahead)
    assert place(small)[1].kv_capacity_tokens == 96


def test_copies_and_pools_add_their_capacities() -> None:
    """Ranks hold the same tokens, data-parallel copies add theirs, layers over cards pool the rooms of all."""
    ahead = rule("vllm", allocates="fraction_of_free", device_fraction=1.0, profile="", kv_block_tokens=1)
    pools = {}
    for split in (Split.TENSOR, Split.DATA, Split.LAYER):
        asked = case(cards_bytes=(2**22, 2**22), engine=ahead, split=split)
        shares = place(asked)[1].shares
        rooms = [2**22 - (share.total_bytes - share.cache_bytes) for share in shares]
        pools[split] = reservation(asked, shares).kv_capacity_tokens, rooms
    one = LAYERS * TOKEN_BYTES
    assert pools[Split.TENSOR][0] == min(pools[Split.TENSOR][1]) // (one // 2)
    assert pools[Split.DATA][0] == 2 * (min(pools[Split.DATA][1]) // one)
    assert pools[Split.LAYER][0] == sum(pools[Split.LAYER][1]) // one


@pytest.mark.parametrize(("counter", "expected"), [("device", 200), ("allocated", 140), ("each device", 100)])
def test_people_count_a_reservation_or_what_they_look_at(counter: str, expected: int) -> None:
    """What the driver shows of all devices, less the overhead for an allocator's count, or that of one device."""
    asked = case(cards_bytes=(2**30, 2**30))
    needed, placement = place(asked)
    needed = replace(needed, overhead=Part("overhead", 60))
    share = share_of(asked, asked.devices[0], Held(100, 0, 1), footprint(asked))._replace(
        compute_bytes=0, graphs_bytes=0, overhead_bytes=0
    )
    two = replace(placement, shares=(share, share), reserved_bytes=None)
    assert counted_bytes(needed, two, rule(usual_counter=counter)) == expected
    ahead = replace(two, reserved_bytes=5000)
    assert counted_bytes(needed, ahead, rule(usual_counter=counter)) == (2500 if counter == "each device" else 5000)


def test_the_longest_context_is_counted_from_the_room() -> None:
    """Room for 1,000 tokens and a half: 1,000; none where not even the weights fit."""
    plain = rule(kv_block_tokens=1)
    fixed = footprint(case(engine=plain)).total_bytes - footprint(case(engine=plain)).kv_cache.size_bytes
    one = LAYERS * TOKEN_BYTES
    asked = case(cards_bytes=(fixed + 1000 * one + one // 2,), engine=plain)
    assert max_context_tokens(asked, place(asked)[1]) == 1000
    asked = case(cards_bytes=(fixed + 9000 * one,), engine=plain)
    assert max_context_tokens(asked, place(asked)[1]) == 4096  # the model's own
    asked = case(cards_bytes=(WEIGHTS // 2,), engine=plain)
    assert max_context_tokens(asked, place(asked)[1]) == 0


# Pages of unlike layers.


def test_requests_take_pages_of_every_kind() -> None:
    """33 tokens in blocks of 16: 3 pages of each group; a window of 17 with steps of 8 takes 3; a state takes one."""
    full, window, state = Kind(4, 100, 0, None), Kind(5, 100, 0, 17), Kind(2, 0, 900, None)
    pool = Pages(2, 16, 1600, (full, window, state))
    assert pool.of_request(33, 8) == 2 * 3 + 3 * 3 + 1
    assert pool.of_request(1000, 8) == 2 * 63 + 3 * 3 + 1
    found = paged(case(workload=Workload(30, 3, 33)), replace_kinds(pool, full), 1600 * 2 * 13)
    assert (found.kv_capacity_tokens, found.max_sequences) == (int(13 / 6 * 33), 2)
    assert paged(case(), replace_kinds(pool, state), 1600 * 2 * 13).kv_capacity_tokens is None


def replace_kinds(pool: Pages, *kinds: Kind) -> Pages:
    """The pool with other layers."""
    return pool._replace(kinds=kinds)


# What engines and flags add.


def test_adapters_take_both_factors_of_every_linear_layer() -> None:
    """Slots x rank x (inputs + outputs) of queries and routers in four layers, 2 bytes each, divided by the ranks."""
    sides = LAYERS * ((96 + HIDDEN) + (EXPERTS + HIDDEN))
    assert lora_bytes(case()) == 0
    assert lora_bytes(case(options=EngineOptions("vllm", lora=True))) == 16 * sides * 2
    files = EngineOptions("llama.cpp", lora_files=("a", "b", "c"))
    assert lora_bytes(case(options=files)) == 3 * 16 * sides * 2
    flags = EngineOptions("vllm", lora=True, lora_slots=4, lora_rank=8)
    assert lora_bytes(case(options=flags, cards_bytes=(2**30, 2**30))) == 4 * 8 * sides * 2 // 2


def test_layers_for_drafting_are_loaded_where_flags_draft_with_them() -> None:
    """The checkpoint's own, divided by the ranks; not beside a model that drafts."""
    drafts = EngineOptions("vllm", draft_method="mtp")
    assert prediction_bytes(case(options=drafts)) == MTP
    assert prediction_bytes(case(options=drafts, cards_bytes=(2**30, 2**30))) == MTP // 2
    assert prediction_bytes(case(options=replace(drafts, draft_model="small"))) == 0
    assert prediction_bytes(case()) == 0


VISION = (
    Tensor("patch", (64, 3, 10, 10), Role.OTHER, Module.CONV, tower=Tower.VISION),
    Tensor("bias", (64,), Role.BIAS, Module.CONV, tower=Tower.VISION),
    Tensor("position", (9, 64), Role.POSITION, Module.EMBEDDING, tower=Tower.VISION),
    Tensor("o", (64, 64), Role.O, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
    Tensor("up", (100, 64), Role.UP, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
    Tensor("down", (64, 100), Role.DOWN, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
)


def seeing(options: EngineOptions, **vision: object) -> Case:
    """A model with that tower, on llama.cpp."""
    sees = model(tensors=(*TENSORS, *VISION), config={"vision_config": vision})
    return case(sees, engine=rule("llama.cpp"), options=options)


def test_a_projectors_file_is_its_towers_by_type() -> None:
    """Vectors and positions in 32 bits, the rest in 16; Q8_0 for rows of whole blocks, patches in BF16 files in 32."""
    fixed, patch, whole, odd = 4 * (64 + 9 * 64), 64 * 300, 2 * (64 * 64 + 100 * 64), 2 * 64 * 100
    for name, size in (
        ("mmproj-F16.gguf", fixed + 2 * (patch + whole + odd)),
        ("mmproj-BF16.gguf", fixed + 4 * patch + 2 * (whole + odd)),
        ("mmproj-Q8_0.gguf", fixed + 2 * (patch + odd) + whole * 34 // 32),
    ):
        assert projector_bytes(seeing(EngineOptions("llama.cpp", vision_file=name))) == size


def test_a_projectors_buffer_is_what_its_image_takes() -> None:
    """30 x 30 pixels are 3 x 3 patches of 3 x 10 x 10 values: the image in 32 bits and its columns in 16, each to whole
    128 bytes; the layers find room in what that leaves. Scores of all heads stand beside without flash attention."""
    flags = EngineOptions("llama.cpp", vision_file="mmproj-F16.gguf")
    sees = seeing(flags, image_size=30, num_heads=8)
    assert projector_compute_bytes(sees) == 85 * 128 + 43 * 128
    assert 9 * 300 * 4 <= 85 * 128 < 9 * 300 * 4 + 128
    assert 9 * 300 * 2 <= 43 * 128 < 9 * 300 * 2 + 128
    many = seeing(replace(flags, flash_attention=False), image_size=30, num_heads=64)
    assert 64 * 81 * 4 < projector_compute_bytes(many) < 64 * 81 * 4 + 85 * 128 + 43 * 128
    for odd in ("x", 0, -7, None, 1.5):
        assert projector_compute_bytes(seeing(flags, image_size=odd)) == 0


def test_a_projector_is_loaded_where_flags_say_so() -> None:
    """Not on the host, not for --no-mmproj; always in Ollama."""
    sees = seeing(EngineOptions("llama.cpp", vision_file="mmproj-F16.gguf"), image_size=30)
    blind = replace(sees, options=replace(sees.options, vision=False))
    assert (projector_bytes(blind), projector_compute_bytes(blind)) == (0, 0)
    assert projector_bytes(replace(sees, options=EngineOptions("llama.cpp"))) == 0
    plain = replace(sees, engine=sees.engine._replace(engine="ollama"), options=EngineOptions("ollama"))
    assert projector_bytes(plain) == projector_bytes(sees)
    away = replace(sees, options=replace(sees.options, vision_on_device=False))
    assert (projector_bytes(away), projector_compute_bytes(away)) == (0, 0)


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, 1), (2, 2), (4, 3), (8, 4), (255, 34), (256, 35), (272, 36), (512, 51)]
)
def test_sizes_of_captured_graphs(most: int, sizes: int) -> None:
    """1, 2, 4; 8, 16 … 248; 256, 272 … 512."""
    listed = [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= most]
    assert len(listed) == sizes
    captures = case(engine=rule("vllm", expert_graph_bytes=10), options=EngineOptions("vllm", graph_max_sequences=most))
    assert _captured_sizes(captures) == sizes
    assert graphs_bytes(captures) == 10 * LAYERS * sizes


def test_rotary_tables_have_a_row_a_position() -> None:
    """Of every width once: 4,096 positions x 24 x 2 bytes, whatever the longest sequence; none where none are known."""
    assert rotary_bytes(case()) == 4096 * 24 * 2
    assert rotary_bytes(case(options=EngineOptions("vllm", context_tokens=100))) == 4096 * 24 * 2
    unknown = case(model(max_context_tokens=None), options=EngineOptions("vllm", context_tokens=100))
    assert rotary_bytes(unknown) == 100 * 24 * 2
    wide = replace(MIXER, qk_head_dim=32)
    assert rotary_bytes(case(model(wide, MIXER))) == 4096 * (24 + 32) * 2
    assert rotary_bytes(case(model(max_context_tokens=None))) == 0


@pytest.mark.parametrize(
    ("role", "shape", "halves"),
    [
        (Role.EXPERT_GATE_UP, (EXPERTS, 80, HIDDEN), 2),
        (Role.EXPERT_UP, (EXPERTS, 40, HIDDEN), 1),
        (Role.EXPERT_DOWN, (EXPERTS, HIDDEN, 40), 1),
    ],
)
def test_experts_are_padded_to_whole_tiles(role: Role, shape: tuple[int, ...], halves: int) -> None:
    """Tiles of 96: hidden 64 to 96, widths of 40 to half tiles of 48, gate and up apart: 96 x 48 over 64 x 40."""
    stack = Tensor("up", shape, role, Module.EXPERT_STACK, layers=ALL, active_experts=2)
    size = EXPERTS * HIDDEN * 40 * halves * LAYERS // 2
    weights = Stored("mxfp4", (StoredTensor(stack, "mxfp4", size),), None)
    asked = replace(case(engine=rule("vllm", mxfp4_tile=96)), stored=weights)
    assert padded_bytes(asked) == int(size * ((96 * 48) / (64 * 40) - 1))
    assert padded_bytes(replace(asked, engine=rule("vllm", mxfp4_tile=0))) == 0
    assert padded_bytes(replace(asked, stored=replace(weights, precision="bf16"))) == 0


def test_the_widest_layer_is_alive() -> None:
    """Two hidden vectors, and 96 queries with their rotated copies, which ranks divide."""
    down = Tensor("down", (EXPERTS, HIDDEN, WIDTH), Role.EXPERT_DOWN, Module.EXPERT_STACK, layers=ALL, active_experts=2)
    code = rule().layer_code
    assert activation_values_per_token(model(), code) == code.hidden_copies * HIDDEN + 2 * 96
    assert activation_values_per_token(model(), code, 4) == code.hidden_copies * HIDDEN + 48
    wide = Tensor("v", (500, HIDDEN), Role.V, Module.LINEAR, layers=ALL)
    assert activation_values_per_token(model(tensors=(*TENSORS, wide)), code) == code.hidden_copies * HIDDEN + 692
    active = rule("vllm").layer_code
    assert active.experts == "active"
    few = model(tensors=(*(part for part in TENSORS if part.role is not Role.Q), down))
    assert activation_values_per_token(few, active) == active.hidden_copies * HIDDEN + 2 * WIDTH * 2


def test_logits_or_the_widest_layer_are_the_working_memory() -> None:
    """One row of logits a sequence and the residual of a chunk, or the layer, whichever is larger."""
    asked = case(workload=Workload(100, 28, 128, batch_size=3), engine=rule(prefill_chunk_tokens=50, cache_grows=False))
    engine = asked.engine
    assert engine.logits_rows == "last"
    code = activation_values_per_token(asked.architecture, engine.layer_code)
    layer = 50 * code * engine.activation_bytes_per_value
    logits = 3 * VOCAB * engine.logits_bytes_per_value + 50 * HIDDEN * engine.activation_bytes_per_value
    work = next(part.size_bytes for part in footprint(asked).activations.parts if part.name == "working memory")
    assert work == max(layer, logits)
    many = replace(asked, engine=engine._replace(logits_rows="chunk"))
    rows = 50 * VOCAB * engine.logits_bytes_per_value + 50 * HIDDEN * engine.activation_bytes_per_value
    work = next(part.size_bytes for part in footprint(many).activations.parts if part.name == "working memory")
    assert work == rows > layer
