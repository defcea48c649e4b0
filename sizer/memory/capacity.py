"""What an engine that allocates ahead reserves, and what that holds: tokens of cache, and sequences of a length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sizer.memory.bisection import last_that_holds
from sizer.memory.case import Case, blocks
from sizer.memory.pages import missing_pages, paged, pages
from sizer.memory.records import Reservation, Share
from sizer.memory.shard import rank_token_bytes
from sizer.memory.shares import device_fraction
from sizer.workload import Split

if TYPE_CHECKING:
    from sizer.memory.static_pools import DividedPool

MOST_TOKENS = 2**30
"""A cache that holds more tokens than this does not grow with them: it is told in sequences."""


def reservation(case: Case, shares: Sequence[Share]) -> Reservation:
    """What the devices reserve ahead and hold; sequences alone for engines that take memory as needed.

    Ranks that share layers hold the same tokens each: the capacity is one rank's room over one rank's bytes a token.
    Devices with layers of their own pool their rooms; copies of the model add their capacities.
    """
    if not case.architecture.layers or any(share.available_bytes is None for share in shares):
        return Reservation(None, None, None)
    rooms = [room_bytes_of(case, share) for share in shares]
    room_bytes, copies = _room_and_copies(case, rooms)
    if device_fraction(case) is None:
        return Reservation(None, None, _times(_sequences(case, room_bytes), copies))
    held = _held(case, room_bytes)
    reserved = sum(share.total_bytes - share.cache_bytes for share in shares) + sum(rooms)
    tokens = case.options.cache_tokens or held.kv_capacity_tokens
    return Reservation(reserved, _times(tokens, copies), _times(held.max_sequences, copies))


def _held(case: Case, room_bytes: int) -> Reservation:
    """What a pool of one copy's room holds: in pages, in divided pools, or token by token."""
    if (divided := _divided(case)) is not None:
        return Reservation(None, divided.tokens(room_bytes), divided.sequences(room_bytes) or 0)
    if (pool := pages(case)) is not None:
        return paged(case, pool, room_bytes)
    return Reservation(None, _tokens(case, room_bytes), _sequences(case, room_bytes))


def _times(count: int | None, copies: int) -> int | None:
    return None if count is None else count * copies


def _divided(case: Case) -> DividedPool | None:
    """The pools of an engine that divides what its fraction leaves; no other pays for their rules."""
    if case.engine.profile != "static":
        return None
    from sizer.memory.static_pools import divided_pool

    return divided_pool(case)


def _room_and_copies(case: Case, rooms: Sequence[int]) -> tuple[int, int]:
    """The room of one copy of the cache, and how many copies with sequences of their own there are."""
    if case.ranks > 1 or case.replicas > 1 or case.stages > 1 or len(rooms) == 1:
        return min(rooms), case.replicas  # a token's bytes are those of one rank: of a stage its layers alone
    if case.parallelism is Split.DATA:
        return min(rooms), len(rooms)
    return sum(rooms), 1


def pool_shortage_bytes(case: Case, shares: Sequence[Share]) -> int:
    """What pools lack of the workload's sequences, all devices together: pages, divided or partial ones.

    Pages are as large as the largest kind needs them, so that a pool holds less than the bytes of the layers let hope.
    """
    if any(share.available_bytes is None for share in shares):
        return 0
    pool = pages(case) if device_fraction(case) is not None else None
    divided = _divided(case)
    if pool is None and divided is None:
        return _beyond_fraction_bytes(case, shares)
    room_bytes, copies = _room_and_copies(case, [room_bytes_of(case, share) for share in shares])
    sequences = -(-case.workload.batch_size // copies)
    if divided is not None:
        return max(0, divided.bytes_for(sequences) - room_bytes) * len(shares)
    assert pool is not None
    return missing_pages(case, pool, room_bytes, sequences) * pool.page_bytes * len(shares)


def _beyond_fraction_bytes(case: Case, shares: Sequence[Share]) -> int:
    """What devices lack of a cache that may take no more than a part of what is free; 0 where it may take all."""
    fraction = device_fraction(case)
    if fraction is None or case.engine.allocates == "fraction_of_device":
        return 0
    missing = (share.cache_bytes - room_bytes_of(case, share) for share in shares)
    return sum(int(size / fraction) + 1 for size in missing if size > 0)


def room_bytes_of(case: Case, share: Share) -> int:
    """Bytes of a device that are left for the cache, as its engine reserves."""
    if case.options.cache_bytes is not None:
        return case.options.cache_bytes
    available, fraction = share.available_bytes or 0, device_fraction(case)
    fixed = share.total_bytes - share.cache_bytes
    if case.engine.profile == "static":
        # The fraction is of what is free once the context and the communicators are made.
        fixed -= int(share.overhead_bytes * (1 - (fraction or 0)))
    if fraction is not None and case.engine.allocates == "fraction_of_free":
        return int(max(0, available - fixed) * fraction)
    if fraction is not None and case.engine.allocates == "fraction_of_device_for_cache":
        return max(0, min(available - fixed, int(available * fraction)))
    return max(0, available - fixed)


def _tokens(case: Case, room_bytes: int) -> int | None:
    """Tokens of cache in a room, in whole blocks: those of one long sequence, less what does not grow.

    Where no layer's cache grows with the context there is no pool of tokens: None.
    """
    plan = case.plan
    block = case.options.cache_block_tokens or case.engine.kv_block_tokens
    length = max(case.workload.context_tokens, block)
    base, grown = rank_token_bytes(case, plan, length), rank_token_bytes(case, plan, length + 1024 * block)
    per_block = (grown - base) / 1024
    if per_block <= 0:
        return None
    if base > room_bytes:
        return _within(case, room_bytes, length, block)
    return blocks(length, block) + int((room_bytes - base) // per_block) * block


def _within(case: Case, room_bytes: int, length: int, block: int) -> int:
    """Tokens where not even one sequence of the workload's length fits."""

    def fits(count: int) -> bool:
        return rank_token_bytes(case, case.plan, count * block) <= room_bytes

    return last_that_holds(fits, length // block) * block


def _sequences(case: Case, room_bytes: int) -> int | None:
    """Sequences of the workload's context in a room; None for a model that keeps nothing of them (an encoder)."""
    one = rank_token_bytes(case, case.plan, case.plan.tokens)
    return min(MOST_TOKENS, room_bytes // one) if one else None
