"""A mixture of four layers drawn by hand, small enough to count on paper, and cases of it on cards of round sizes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from sizer.device.records import Device, Target
from sizer.engine.memory_rules import EngineMemory, engine_memory
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Basis, Layer, Mixer, MixerKind, MlpKind, Module, Role, Tensor
from sizer.model.stored import Stored, StoredTensor
from sizer.workload import Split, Workload

HIDDEN, VOCAB, LAYERS, EXPERTS, WIDTH = 64, 1000, 4, 8, 32
ALL = tuple(range(LAYERS))
# Keys are wider than values, and two heads are fewer than many a group of ranks.
MIXER = Mixer(MixerKind.FULL, heads=4, kv_heads=2, qk_head_dim=24, v_head_dim=16)
STATE = Mixer(MixerKind.SSM, state_elements=4001)
SLIDING = replace(MIXER, kind=MixerKind.SLIDING, window_tokens=30)
TOKEN_BYTES = 2 * (24 + 16) * 2
"""Of one layer's cache in 16 bits."""

TABLE, HEAD, NORM, QUERY = VOCAB * HIDDEN * 2, VOCAB * HIDDEN * 2, HIDDEN * 2, 96 * HIDDEN * 2
STACK, ROUTER, MTP = EXPERTS * WIDTH * HIDDEN * 2, EXPERTS * HIDDEN * 2, 10 * 10 * 2
LAYER = QUERY + STACK + ROUTER + NORM
WEIGHTS = TABLE + HEAD + NORM + LAYERS * LAYER
TENSORS = (
    Tensor("embed", (VOCAB, HIDDEN), Role.EMBEDDING, Module.EMBEDDING),
    Tensor("norm", (HIDDEN,), Role.NORM, Module.NORM),
    Tensor("head", (VOCAB, HIDDEN), Role.LM_HEAD, Module.LINEAR),
    Tensor("layers.{layer}.q", (96, HIDDEN), Role.Q, Module.LINEAR, layers=ALL),
    Tensor("layers.{layer}.norm", (HIDDEN,), Role.NORM, Module.NORM, layers=ALL),
    Tensor("layers.{layer}.router", (EXPERTS, HIDDEN), Role.ROUTER, Module.LINEAR, layers=ALL),
    Tensor(
        "layers.{layer}.up", (EXPERTS, WIDTH, HIDDEN), Role.EXPERT_UP, Module.EXPERT_STACK, layers=ALL, active_experts=2
    ),
    Tensor("mtp.{layer}", (10, 10), Role.OTHER, Module.LINEAR, layers=(0,), checkpoint_only=True),
)

vllm = partial(EngineOptions, "vllm")


def model(*mixers: Mixer, tensors: tuple[Tensor, ...] = TENSORS, **changes: Any) -> Architecture:
    """The model with these mixers in its layers, the first in the first, the last in all that follow."""
    mixers = mixers or (MIXER,)
    layers = tuple(Layer(at, (mixers[min(at, len(mixers) - 1)],), MlpKind.MOE) for at in ALL)
    drawn = Architecture(
        "drawn", "Drawn", "drawn", Basis.CONFIG, tensors, layers, HIDDEN, VOCAB, 4096, False, "bfloat16", EXPERTS, 2
    )
    return replace(drawn, **changes)


def stored(architecture: Architecture) -> Stored:
    """Every tensor in 16 bits."""
    parts = tuple(StoredTensor(tensor, "bf16", 2 * tensor.total_elements) for tensor in architecture.tensors)
    return Stored("bf16", parts, None)


def rule(name: str = "exllamav2", **changes: Any) -> EngineMemory:
    """An engine's memory with some of its fields set; by default one that takes nothing but weights and cache."""
    known = engine_memory(name)
    assert known is not None
    plain = {"context_overhead_bytes": 0, "rank_overhead_bytes": 0, "linked_rank_overhead_bytes": 0, "graph_bytes": 0}
    return known._replace(**{**plain, "expert_graph_bytes": 0, **changes})


def case(  # noqa: PLR0917 - each test varies some of these
    architecture: Architecture | None = None,
    cards_bytes: tuple[int, ...] = (2**30,),
    workload: Workload | None = None,
    engine: EngineMemory | None = None,
    split: Split = Split.TENSOR,
    options: EngineOptions = NO_OPTIONS,
    host_bytes: int | None = None,
) -> Case:
    """The model on cards of these sizes, of which a program finds every byte (they are of no known maker)."""
    cards = tuple(Device(f"card{at}", "Card", "nobody", "npu", size, 1e12) for at, size in enumerate(cards_bytes))
    host = None if host_bytes is None else Device("host", "Host", "nobody", "cpu", None, 5e10)
    target = Target(cards[0], others=cards[1:], host=host, host_memory_bytes=host_bytes)
    drawn = architecture or model()
    asked = workload or Workload(100, 28, 128)
    return Case(drawn, stored(drawn), asked, target, engine or rule(), split, True, True, options)


def on(memory_bytes: int, key: str = "card", **changes: object) -> Case:
    """A case of vLLM on a card of a size."""
    asked = case(cards_bytes=(memory_bytes,), engine=rule("vllm", **{"profile": "by card", **changes}))
    return replace(asked, target=replace(asked.target, device=replace(asked.target.device, key=key)))
