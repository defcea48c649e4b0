"""How several devices share a model, and what they say to each other."""

from __future__ import annotations

from sizer.model.architecture import Module
from sizer.speed.case import SpeedCase, standing
from sizer.speed.launches import LAYER_S, layer_count, llama_layers
from sizer.speed.law import OVERHEAD, Amount
from sizer.speed.traffic import runs_in_text
from sizer.tuning import tuned
from sizer.workload import Split

HOP_S = 1e-4
"""Seconds that the term is told in."""
LARGEST_TENSOR_GROUP = 8
"""Devices that share each matrix at the most: those of one node."""
_MATRICES = frozenset({Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D, Module.EXPERT_STACK})
GATHERED_BYTES_PER_VALUE = 4
"""llama.cpp multiplies fp32 activations, and gathers fp32 results."""


@standing
def parallelism(case: SpeedCase) -> Split | None:
    """How several devices share the work: as asked, else the engine's first way. None on a single device."""
    if len(case.devices) == 1:
        return None
    return case.engine.split(case.workload.parallelism)


def within_layers(case: SpeedCase) -> bool:
    """Whether several devices work on each layer together."""
    split = parallelism(case)
    return split is not None and split.within_layers


def whole_layers(case: SpeedCase) -> bool:
    """Whether each of several devices holds layers of its own."""
    split = parallelism(case)
    return split is not None and split.whole_layers


@standing
def tensor_ranks(case: SpeedCase) -> int:
    """Devices that work on one layer at once: a node's worth at most."""
    if not within_layers(case):
        return 1
    return min(len(case.devices), LARGEST_TENSOR_GROUP)


def pipeline_speedup(case: SpeedCase, chunks: float) -> float:
    """How much faster n devices of a layer split read a prompt than one: c n / (c + n - 1) with c chunks in flight.

    For what each token takes, a last chunk of fewer tokens is the part of a chunk that it is: one of a single token
    hides nothing of the first. Each is a pass over the weights.
    """
    count, most = len(case.devices), case.kernels.chunks_in_flight
    if count == 1 or not whole_layers(case):
        return 1.0
    flying = min(chunks, float(most))
    return flying * count / (flying + count - 1)


def decode_links(case: SpeedCase, tokens: int) -> list[Amount]:
    """Two all-reduces a layer in a tensor group; a hop between neighbours of a layer split."""
    layers, ranks = layer_count(case.architecture), tensor_ranks(case)
    if ranks > 1 and parallelism(case) is Split.ROW:
        return [Amount("rows", OVERHEAD, layers * (ranks - 1) * LAYER_S)]
    if ranks > 1:
        return [Amount("ranks", OVERHEAD, layers * LAYER_S), Amount("moved", OVERHEAD, _summed_s(case, tokens))]
    if whole_layers(case):
        return [Amount("hops", OVERHEAD, (len(case.devices) - 1) * HOP_S)]
    return []


def prompt_links(case: SpeedCase, tokens: int, chunks: int) -> list[Amount]:
    """The same for the tokens of a prompt in its chunks.

    A row split sends each matrix's input to all cards and gathers its results on one.
    """
    ranks = tensor_ranks(case)
    if ranks == 1:
        return []
    if parallelism(case) is Split.ROW:
        moved = GATHERED_BYTES_PER_VALUE * matrix_sides(case) * tokens
        return [Amount("prefill_rows", OVERHEAD, moved * (ranks - 1) / ranks / _link_bytes_per_s(case))]
    layers = llama_layers(case.architecture, case.engine.layer_operations)
    summed_s = _summed_s(case, tokens)
    return [Amount("prefill_ranks", OVERHEAD, layers * chunks * LAYER_S), Amount("prefill_moved", OVERHEAD, summed_s)]


def _summed_s(case: SpeedCase, tokens: int) -> float:
    """Seconds in which the tokens' activations cross the link, twice a layer, for the ranks' sums."""
    ranks, layers = tensor_ranks(case), layer_count(case.architecture)
    moved = 2 * layers * case.architecture.hidden_size * 2 * tokens * 2 * (ranks - 1) / ranks
    return moved / _link_bytes_per_s(case)


def _link_bytes_per_s(case: SpeedCase) -> float:
    return case.target.link_bytes_per_s or tuned("link_bytes_per_s")


@standing
def matrix_sides(case: SpeedCase) -> int:
    """Values that go into and come out of a model's matrices for one token, experts by those that it is routed to."""
    architecture = case.architecture
    running = [one for one in architecture.tensors if one.layers and len(one.shape) > 1 and runs_in_text(one)]
    return architecture.passes * sum(
        len(one.layers) * sum(one.shape[-2:]) * (one.active_experts or 1) for one in running if one.module in _MATRICES
    )
