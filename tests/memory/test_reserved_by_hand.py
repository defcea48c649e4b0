"""What is reserved ahead of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import LAYERS, TOKEN_BYTES, WEIGHTS, case, rule  # fmt: skip

import sizer
from sizer.engine.options import EngineOptions
from sizer.memory.capacity import reservation
from sizer.memory.footprint import footprint
from sizer.memory.pages import Kind, Pages, paged
from sizer.memory.placement import counted_bytes, max_context_tokens, place
from sizer.memory.records import Part
from sizer.memory.shares import Held, share_of
from sizer.workload import Split, Workload

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


@pytest.mark.parametrize(
    ("engine", "flag"), [("vllm", "-pp 2"), ("sglang", "--pp-size 2"), ("tensorrt-llm", "--pp_size 2")]
)
def test_a_pipelines_stages_hold_each_a_part_of_a_token(engine: str, flag: str) -> None:
    """Two stages hold what two cards' rooms do, by the flag as by the split; twice that are two pipelines."""
    asked = {"precision": "bf16", "batch": 8, "context": 8192, "offline": True}

    def held(words: str, device: str, **split: str) -> int:
        memory = sizer.estimate("Qwen/Qwen3-8B", device=device, engine=words, **asked, **split).estimates[0].memory
        assert memory.kv_capacity_tokens is not None
        return memory.kv_capacity_tokens

    by_flag = held(f"{engine} {flag}", "2xh100")
    assert by_flag == pytest.approx(held(engine, "2xh100", parallel="pipeline"), rel=0.02)
    if engine != "tensorrt-llm":
        data = {"vllm": "-dp 2", "sglang": "--dp-size 2"}[engine]
        assert held(f"{engine} {flag} {data}", "4xh100") == pytest.approx(2 * by_flag, rel=0.02)
