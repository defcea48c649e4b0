"""What the parts of a memory answer say about each other, over models, engines, devices, splits and workloads."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.device.records import Device, Target
from sizer.engine.memory_rules import engine_memory
from sizer.memory.case import Case
from sizer.memory.offload import split_at
from sizer.memory.placement import counted_bytes, max_context_tokens, place
from sizer.memory.records import Footprint, Placement, Share
from sizer.model.architecture import Architecture
from sizer.model.families import build
from sizer.model.stored import Stored
from sizer.precision.store import store
from sizer.units import GIB
from sizer.workload import Split, Workload

DENSE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
WINDOWED = DENSE | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 4096}
ROUTED = DENSE | {
    "model_type": "qwen3_moe",
    "architectures": ["Qwen3MoeForCausalLM"],
    "head_dim": 64,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
MODELS: dict[str, dict[str, Any]] = {"dense": DENSE, "windowed": WINDOWED, "routed": ROUTED}
PRECISIONS = ("iq3_xxs", "q4_k_m", "q8_0", "bf16", "fp32")
HOST = Device("host", "Host", "maker", "cpu", None, 5e10)


@cache
def model(name: str, precision: str) -> tuple[Architecture, Stored]:
    """A small model and its tensors at a precision."""
    architecture = build(MODELS[name], name)
    return architecture, store(architecture, precision)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any model at any precision on one to three cards, unlike ones too, beside a host or none."""
    engine = draw(st.sampled_from(["transformers", "llama.cpp", "vllm", "exllamav2", "mlx-lm", "tensorrt-llm"]))
    architecture, stored = model(draw(st.sampled_from(sorted(MODELS))), draw(st.sampled_from(PRECISIONS)))
    memory = engine_memory(engine)
    assert memory is not None
    sizes = draw(st.lists(st.floats(1, 24), min_size=1, max_size=3))
    cards = [Device(f"card{index}", "Card", "maker", "gpu", int(size * GIB), 1e12) for index, size in enumerate(sizes)]
    target = Target(cards[0], others=tuple(cards[1:]))
    host_gib = draw(st.none() | st.floats(1, 64))
    if host_gib is not None:
        target = replace(target, host=HOST, host_memory_bytes=int(host_gib * GIB))
    prompt, output = draw(st.integers(1, 8192)), draw(st.integers(1, 4096))
    asked = Workload(prompt, output, prompt + output, draw(st.integers(1, 16)))
    kind = draw(st.sampled_from([Split.TENSOR, Split.LAYER]))
    return Case(architecture, stored, asked, target, memory, kind, engine == "llama.cpp", engine == "llama.cpp")


def places(placement: Placement) -> list[Share]:
    """Devices and host."""
    return [*placement.shares, *([placement.host] if placement.host else [])]


def with_context(case: Case, context_tokens: int) -> tuple[Footprint, Placement]:
    """The same case at another context."""
    return place(replace(case, workload=replace(case.workload, context_tokens=context_tokens)))


@given(case=cases())
@settings(max_examples=150, deadline=None)
def test_parts_places_and_totals_agree(case: Case) -> None:
    """The tree sums; what fits leaves no place over-full, what does not says by how much; splits lose nothing."""
    needed, placement = place(case)
    assert needed.total_bytes == sum(part.size_bytes for part in needed.parts)
    for part in needed.parts:
        assert part.size_bytes == sum(child.size_bytes for child in part.parts)
        assert all(child.size_bytes >= 0 for child in part.parts)
    shares = places(placement)
    full = [share for share in shares if share.total_bytes > (share.available_bytes or 0)]
    assert placement.fits == (not full)
    assert placement.fits == (placement.shortfall_bytes == 0)
    alone = placement.host is not None or not case.architecture.tied_embeddings
    assert needed.total_bytes == placement.device_bytes + (placement.host_bytes if alone else 0)
    assert needed.activations.size_bytes == sum(share.compute_bytes for share in placement.shares)
    if placement.kind != "tensor":
        assert sum(share.cache_bytes for share in shares) == needed.kv_cache.size_bytes
        assert sum(share.layers for share in shares) == case.architecture.num_layers
    assert counted_bytes(needed, placement, case.engine) > 0


@given(case=cases(), more=st.integers(1, 2000))
@settings(max_examples=100, deadline=None)
def test_more_never_needs_less(case: Case, more: int) -> None:
    """A longer prompt, a longer answer, more sequences and wider weights never need less, and never begin to fit."""
    needed, placement = place(case)
    asked = case.workload
    longer = asked.context_tokens + more
    larger = [
        replace(case, workload=replace(asked, prompt_tokens=asked.prompt_tokens + more, context_tokens=longer)),
        replace(case, workload=replace(asked, output_tokens=asked.output_tokens + more, context_tokens=longer)),
        replace(case, workload=replace(asked, batch_size=asked.batch_size + 1)),
        replace(case, stored=store(case.architecture, "fp32")),
    ]
    rounding_bytes = len(case.devices) - 1  # equal shares of what several devices hold
    if case.graph is not None:
        rounding_bytes += needed.activations.size_bytes // 8  # a micro-batch is a multiple of the sequences
    for other in larger:
        bigger, other_placement = place(other)
        assert bigger.total_bytes >= needed.total_bytes - rounding_bytes
        # A cache that grows takes its later tokens off the prompt's peak, alike on each device whatever layers it has.
        grown_bytes = bigger.kv_cache.size_bytes - needed.kv_cache.size_bytes if case.engine.cache_grows else 0
        by_rounding = placement.shortfall_bytes <= rounding_bytes * len(case.devices) + grown_bytes
        assert placement.fits or by_rounding or not other_placement.fits


@given(case=cases())
@settings(max_examples=60, deadline=None)
def test_the_longest_context_is_the_last_that_fits(case: Case) -> None:
    """At `max_context_tokens` the placement holds, a page later it does not; it is 0 where nothing holds."""
    _, placement = place(case)
    longest = max_context_tokens(case, placement)
    assert longest is not None
    assert 0 <= longest <= 131072
    alone = case if placement.host else replace(case, can_offload=False)
    if placement.fits:
        assert longest >= case.workload.context_tokens
    if longest:
        assert with_context(alone, longest)[1].fits
    if longest < 131072:
        assert not with_context(alone, longest + case.engine.kv_block_tokens)[1].fits


@given(case=cases(), gpu_layers=st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_a_split_that_was_asked_for_is_kept(case: Case, gpu_layers: int) -> None:
    """`--gpu-layers` lays that many layers on the devices, whether it fits or not, and loses nothing.

    Engines on ggml count the output layer as the first of them.
    """
    needed, _ = place(case)
    split = split_at(case, needed, gpu_layers)
    blocks = max(0, gpu_layers - 1) if case.graph is not None else gpu_layers
    assert split.gpu_layers == min(blocks, case.architecture.num_layers)
    assert sum(share.weights_bytes for share in places(split)) == needed.weights.size_bytes
    assert split.host_bytes == sum(share.weights_bytes + share.cache_bytes for share in places(split)[-1:])


@given(memory_gib=st.floats(2, 12), name=st.sampled_from(sorted(MODELS)))
@settings(max_examples=40, deadline=None)
def test_a_split_leaves_the_engine_its_margin(memory_gib: float, name: str) -> None:
    """llama.cpp leaves 1 GiB free on the card where it moves layers or experts to the host."""
    architecture, stored = model(name, "bf16")
    memory = engine_memory("llama.cpp")
    assert memory is not None
    card = Device("card", "Card", "maker", "gpu", int(memory_gib * GIB), 1e12)
    target = Target(card, host=HOST, host_memory_bytes=256 * GIB)
    _, placement = place(Case(architecture, stored, Workload(), target, memory, Split.LAYER, True, True))
    assert placement.fits
    if placement.host is not None and placement.gpu_layers:
        assert placement.device_bytes + GIB <= (placement.available_bytes or 0)
