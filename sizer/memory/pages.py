"""The pool of a model whose layers keep unlike caches, as vLLM divides it (v1/core/kv_cache_utils.py, read).

Layers of one kind form groups of equal size; all groups draw pages from one pool. A page holds a block of tokens of
each layer of a group, or the state of one sequence: blocks grow until a page of attention is as large as a state.
"""

from __future__ import annotations

from collections import Counter

from sizer.frozen import NamedTuple
from sizer.memory.cache import STATE_KINDS, cache_by_kind, layer_kinds
from sizer.memory.case import Case
from sizer.memory.profile_run import profile_run
from sizer.memory.records import Reservation
from sizer.memory.shard import rank_architecture

BLOCK_STEP = 16
"""Attention kernels take blocks of a multiple of 16 tokens: vllm/model_executor/models/config.py
(kernel_block_alignment_size)."""
ALIKE = 1.25
"""Kinds of layers whose counts differ by less than this share one group size, the larger count (padded)."""


class Kind(NamedTuple):
    """Layers that keep alike: how many, bytes a token or of one sequence's state, and their window."""

    layers: int
    token_bytes: int
    state_bytes: int
    window_tokens: int | None


class Pages(NamedTuple):
    """A pool's pages: layers of a group, tokens and bytes of one page of one layer, and the kinds of layers."""

    group_layers: int
    block_tokens: int
    layer_page_bytes: int
    kinds: tuple[Kind, ...]

    @property
    def page_bytes(self) -> int:
        """Bytes of a page of all layers of a group."""
        return self.layer_page_bytes * self.group_layers

    def of_request(self, tokens: int, step_tokens: int) -> int:
        """Pages that one sequence of `tokens` tokens takes from the pool."""
        taken = 0
        for kind in self.kinds:
            groups = -(-kind.layers // self.group_layers)
            whole = -(-tokens // self.block_tokens)
            if kind.state_bytes:
                whole = 1
            elif kind.window_tokens is not None:
                whole = min(whole, -(-(kind.window_tokens - 1 + step_tokens) // self.block_tokens) + 1)
            taken += groups * whole
        return taken


def pages(case: Case) -> Pages | None:
    """The pages of a model with unlike layers or windows; None where all keep every token, or states alone.

    None too where the engine has a pool for each kind.
    """
    if case.engine.profile not in {"by card", "whole length"}:
        return None
    kinds = kinds_of(case)
    if len(kinds) < 2 and not any(kind.window_tokens for kind in kinds):
        return None
    counts = [kind.layers for kind in kinds]
    group = max(counts) if max(counts) < ALIKE * min(counts) else min(counts)
    token_bytes = max(kind.token_bytes for kind in kinds)
    state_bytes = max(kind.state_bytes for kind in kinds)
    block = case.options.cache_block_tokens or case.engine.kv_block_tokens
    if token_bytes and state_bytes > block * token_bytes:
        block = -(-state_bytes // (token_bytes * BLOCK_STEP)) * BLOCK_STEP
    return Pages(group, block, max(block * token_bytes, state_bytes), kinds)


def kinds_of(case: Case) -> tuple[Kind, ...]:
    """The kinds of layers on one rank that keep anything."""
    architecture = rank_architecture(case.cached, case.ranks)
    layers = layer_kinds(architecture)
    one = case.plan._replace(sequences=1, streams=1, tokens=1)
    counted: Counter[tuple[int, int, int | None]] = Counter()
    for layer, count, held in zip(layers.layers, layers.counts, cache_by_kind(architecture, one), strict=True):
        if any(mixer.kind in STATE_KINDS for mixer in layer.mixers):
            counted[0, -(-held.state_bytes // case.ranks), None] += count
        if held.attention_bytes:
            window = next((mixer.window_tokens for mixer in layer.mixers if mixer.window_tokens), None)
            counted[held.attention_bytes, 0, window] += count
    return tuple(Kind(-(-count // case.stages), *key) for key, count in counted.items())


def missing_pages(case: Case, pool: Pages, room_bytes: int, sequences: int) -> int:
    """Pages that a room lacks of a number of sequences of the workload's length."""
    return max(0, sequences * _of_workload(case, pool)[1] - room_bytes // pool.page_bytes)


def _of_workload(case: Case, pool: Pages) -> tuple[int, int]:
    """The length of the workload's sequences in tokens (one where nothing is read or written), and the pages that one
    takes."""
    length = case.options.context_tokens or case.workload.context_tokens or 1
    return length, pool.of_request(length, profile_run(case).tokens)


def paged(case: Case, pool: Pages, room_bytes: int) -> Reservation:
    """Sequences of the workload's length that a pool holds, and their tokens together."""
    number = room_bytes // pool.page_bytes
    length, taken = _of_workload(case, pool)
    if all(kind.state_bytes or kind.window_tokens for kind in pool.kinds):
        return Reservation(None, None, number // taken)
    return Reservation(None, int(number / taken * length), number // taken)
