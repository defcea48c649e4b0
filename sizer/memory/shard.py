"""What one rank of a tensor-parallel group holds: a part of each matrix, its heads' cache, and what all ranks hold."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sizer.memory.added_by_flags import draft_bytes, lora_bytes, prediction_bytes
from sizer.memory.cache import CachePlan, whole_cache
from sizer.memory.case import Case
from sizer.memory.shares import Held, host_tables_bytes
from sizer.memory.working import padded_bytes
from sizer.model.architecture import Architecture, Layer, Mixer, Module, Role

SHARDED_MODULES = frozenset(
    {Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D, Module.EXPERT_STACK, Module.EMBEDDING}
)
REPLICATED_ROLES = frozenset({Role.ROUTER, Role.NORM, Role.Q_A, Role.KV_A, Role.POSITION})
"""What every rank of a tensor-parallel group holds whole: routers, norms, the low-rank MLA inputs, positions."""


def tensor_shard(case: Case) -> Held:
    """Weights and cache of one rank: matrices split evenly, the rest replicated, KV heads whole, the latent too.

    Experts are split over the ranks of all replicas; a pipeline's stages hold an even part of the layers each.
    """
    ranks, stages = case.ranks, case.stages
    weights_bytes = 0
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if tensor.checkpoint_only:
            continue
        sharded = tensor.module in SHARDED_MODULES and tensor.role not in REPLICATED_ROLES and len(tensor.shape) > 1
        parts = ranks * case.replicas if tensor.module is Module.EXPERT_STACK else ranks
        weights_bytes += -(-entry.size_bytes // parts) if sharded else entry.size_bytes
    weights_bytes += padded_bytes(case) // ranks - host_tables_bytes(case) // ranks
    weights_bytes += lora_bytes(case) + prediction_bytes(case) + draft_bytes(case)
    plan = case.plan
    sequences = -(-plan.sequences // case.replicas)
    plan = plan._replace(sequences=sequences, streams=min(plan.streams, sequences))
    held = whole_cache(rank_architecture(case.cached, ranks), plan)
    layers = -(-case.architecture.num_layers // stages)
    states = -(-held.state_bytes // (ranks * stages))
    return Held(-(-weights_bytes // stages), -(-held.attention_bytes // stages), layers, states)


def undivided_heads(architecture: Architecture, ranks: int) -> int | None:
    """Attention heads of a layer that ranks do not divide, the fewest; None where they divide all."""
    heads = {mixer.heads for mixer in architecture.mixer_counts if mixer.kv_heads}
    return min((count for count in heads if count % ranks), default=None)


@lru_cache(maxsize=64)
def rank_architecture(architecture: Architecture, ranks: int) -> Architecture:
    """The layers as one rank caches them: its part of the key and value heads, at least one; a latent whole.

    Where ranks exceed heads each head lies on several (vllm/model_executor/layers/linear.py QKVParallelLinear).
    """
    if ranks == 1:
        return architecture
    layers = tuple(
        Layer(layer.index, tuple(_rank_mixer(mixer, ranks) for mixer in layer.mixers), layer.mlp)
        for layer in architecture.layers
    )
    return replace(architecture, layers=layers)


def _rank_mixer(mixer: Mixer, ranks: int) -> Mixer:
    if mixer.latent_elements or not mixer.kv_heads:
        return mixer
    return replace(mixer, kv_heads=-(-mixer.kv_heads // ranks))


def rank_token_bytes(case: Case, plan: CachePlan, tokens: int) -> int:
    """Bytes that one rank keeps for one sequence of `tokens` tokens."""
    one = plan._replace(sequences=1, streams=1, tokens=tokens)
    held = whole_cache(rank_architecture(case.cached, case.ranks), one)
    return -(-(held.attention_bytes + -(-held.state_bytes // case.ranks)) // case.stages)
