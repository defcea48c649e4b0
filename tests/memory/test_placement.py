"""Footprint and placement: parts sum, more never needs less, and nothing is placed where there is no room."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sizer
from sizer.answer.records import Estimate
from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.estimates import estimates
from sizer.api.targets import targets
from sizer.cache_formats import cache_format, cache_formats
from sizer.device.records import Device, Target
from sizer.engine.memory_rules import LAYER_CODES, engine_memory
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownPrecision
from sizer.memory.activations import activation_values_per_token
from sizer.memory.cache import sequence_cache
from sizer.memory.case import Case
from sizer.memory.footprint import footprint
from sizer.memory.offload import best_split, split_at
from sizer.memory.placement import max_context_tokens, place
from sizer.model.architecture import Architecture, Role
from sizer.model.families import build
from sizer.model.read.name_only import lump
from sizer.model.read.resolve import resolve
from sizer.model.stored import Stored, StoredTensor
from sizer.precision.store import store
from sizer.workload import Split, Workload

GIB = 2**30

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256,
    "max_position_embeddings": 8192, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTRAL = {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 32000,
    "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip
DEEPSEEK_V3 = Path(__file__).parent.parent.parent / "data" / "configs" / "deepseek-ai--DeepSeek-V3.json"


def stored_16_bit(architecture: Architecture) -> Stored:
    """Every tensor at two bytes an element."""
    tensors = tuple(StoredTensor(tensor, "bf16", 2 * tensor.total_elements) for tensor in architecture.tensors)
    return Stored("bf16", tensors, None)


def gpu(memory_gib: float) -> Device:
    """A card of a given memory."""
    return Device("card", "Card", "maker", "gpu", int(memory_gib * GIB), 1e12)


HOST = Device("host", "Host", "maker", "cpu", None, 5e10)


def case(  # noqa: PLR0917 - each test varies some of these
    config: dict[str, object],
    memory_gib: float,
    count: int = 1,
    engine: str = "llama.cpp",
    workload: Workload | None = None,
    host_gib: float | None = None,
) -> Case:
    """A model in 16 bits on `count` cards, with a host where `host_gib` is given."""
    architecture = build(config, "model")
    memory = engine_memory(engine)
    assert memory is not None
    target = Target(gpu(memory_gib), count)
    if host_gib is not None:
        target = replace(target, host=HOST, host_memory_bytes=int(host_gib * GIB))
    kind = Split.TENSOR if engine == "vllm" else Split.LAYER
    asked = workload or Workload()
    return Case(architecture, stored_16_bit(architecture), asked, target, memory, kind, True, engine == "llama.cpp")


def test_llama_cache_by_hand() -> None:
    """Llama-3-8B keeps 2 x 32 layers x 8 heads x 128 values a token: 128 KiB in fp16, 17/32 of that in q8_0."""
    architecture = build(LLAMA_8B, "model")
    assert sequence_cache(architecture, 1000, cache_format("fp16")).attention_bytes == 1000 * 131_072
    assert sequence_cache(architecture, 1000, cache_format("q8_0")).attention_bytes == 1000 * 131_072 * 17 // 32


def test_mla_caches_the_latent() -> None:
    """DeepSeek-V3 keeps 61 layers x 576 latent values a token, not its 128 heads."""
    architecture = build(json.loads(DEEPSEEK_V3.read_text()), "deepseek-ai/DeepSeek-V3")
    assert sequence_cache(architecture, 1, cache_format("fp16")).attention_bytes == 61 * 576 * 2


def test_llama_cpp_compute_buffer() -> None:
    """llama.cpp logs a compute buffer of 258.50 MiB for Llama-3-8B: 512 rows of logits and of the residual in F32."""
    old = replace(case(LLAMA_8B, 24), options=EngineOptions("llama.cpp", "b4000"))
    needed, _ = place(old)
    assert needed.activations.size_bytes == pytest.approx(512 * (128256 + 4096) * 4, abs=4096)


def test_old_transformers_kept_all_logits() -> None:
    """Before 4.45 the logits of every prompt token were kept, in 16 and in 32 bits."""
    asked = case(LLAMA_8B, 80, engine="transformers", workload=Workload(prompt_tokens=4096, context_tokens=4224))
    old_rule = engine_memory("transformers", "4.37.2 (torch 2.1)")
    assert old_rule is not None
    old, _ = place(replace(asked, engine=old_rule))
    new, _ = place(asked)
    assert old.activations.size_bytes - new.activations.size_bytes > 4096 * 128256 * 2


def test_a_growing_cache_is_not_full_while_the_prompt_is_read() -> None:
    """A short prompt and a long answer peak at the end: weights, full cache and one token's work."""
    asked = Workload(prompt_tokens=1024, output_tokens=7168, context_tokens=8192)
    needed, _ = place(case(LLAMA_8B, 80, engine="transformers", workload=asked))
    assert needed.activations.size_bytes < 64 * 2**20


def test_unknown_cache_precision_names_the_text() -> None:
    """A cache precision that no row has is refused with the nearest."""
    with pytest.raises(UnknownPrecision, match="q8_1"):
        cache_format("q8_1")


@given(
    tokens=st.integers(1, 200_000),
    batch=st.integers(1, 64),
    kv_precision=st.sampled_from(sorted(cache_formats())),
    engine=st.sampled_from(["transformers", "llama.cpp", "vllm"]),
)
@settings(max_examples=40, deadline=None)
def test_parts_sum_and_more_never_needs_less(tokens: int, batch: int, kv_precision: str, engine: str) -> None:
    """The total is the sum of the leaves; more context and more sequences never need less.

    llama.cpp rounds its micro-batch up to a multiple of the sequences: 39 reserve for 546 tokens, 40 for 520.
    """
    asked = Workload(context_tokens=tokens, batch_size=batch, kv_precision=kv_precision)
    needed, placement = place(case(MIXTRAL, 200, engine=engine, workload=asked))
    leaves = sum(child.size_bytes for part in needed.parts for child in part.parts or (part,))
    assert needed.total_bytes == leaves
    assert placement.fits == (placement.shares[0].total_bytes <= (placement.available_bytes or 0))
    for larger in (replace(asked, context_tokens=tokens + 500), replace(asked, batch_size=batch + 1)):
        more, _ = place(case(MIXTRAL, 200, engine=engine, workload=larger))
        rounded_bytes = needed.activations.size_bytes // 8 if engine == "llama.cpp" else 0
        assert more.total_bytes >= needed.total_bytes - rounded_bytes


@given(memory_gib=st.floats(4, 120), host_gib=st.floats(1, 128), config=st.sampled_from([LLAMA_8B, MIXTRAL]))
@settings(max_examples=60, deadline=None)
def test_a_placement_that_fits_has_room_everywhere(
    memory_gib: float, host_gib: float, config: dict[str, object]
) -> None:
    """Whatever fits leaves no place over-full, and device and host together hold all weights and cache."""
    asked = case(config, memory_gib, host_gib=host_gib)
    needed, placement = place(asked)
    places = [*placement.shares, *([placement.host] if placement.host else [])]
    if placement.fits:
        assert all(share.total_bytes <= (share.available_bytes or 0) for share in places)
    held = sum(share.weights_bytes for share in places) + (0 if placement.host else placement.host_tables_bytes)
    assert held == needed.weights.size_bytes
    assert sum(share.kv_cache_bytes for share in places) == needed.kv_cache.size_bytes


@given(memory_gib=st.floats(18, 200), engine=st.sampled_from(["transformers", "llama.cpp", "vllm"]))
@settings(max_examples=30, deadline=None)
def test_the_longest_context_fits_and_the_next_does_not(memory_gib: float, engine: str) -> None:
    """`max_context_tokens` is the largest context that fits, up to the model's own."""
    asked = case(LLAMA_8B, memory_gib, engine=engine)
    _, placement = place(asked)
    longest = max_context_tokens(asked, placement)
    assert longest is not None
    if not placement.fits:
        return
    at_most = replace(asked, workload=replace(asked.workload, context_tokens=longest))
    assert place(at_most)[1].fits
    if longest < 8192:
        block = asked.engine.kv_block_tokens
        beyond = replace(asked, workload=replace(asked.workload, context_tokens=longest + block))
        assert not place(beyond)[1].fits


@pytest.mark.parametrize("engine", ["llama.cpp", "transformers"])
@pytest.mark.parametrize(("memory_gib", "host_gib"), [(10, 8), (10, 5.5), (13, 4), (6, 64), (12, 3.5), (4, 8)])
def test_the_split_is_the_one_that_keeps_most_on_the_devices(engine: str, memory_gib: float, host_gib: float) -> None:
    """Of all counts of layers that devices and host hold, the split takes the largest; where the host is small, few
    layers on the devices do not fit either, and such a machine is not told as one that is too small."""
    asked = case(LLAMA_8B, memory_gib, engine=engine, host_gib=host_gib, workload=Workload(context_tokens=4096))
    needed = footprint(asked)
    margin_bytes = asked.engine.split_margin_bytes
    fitting = [count for count in range(34) if split_at(asked, needed, count, margin_bytes).fits]
    found = best_split(asked, needed)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found == split_at(asked, needed, fitting[-1], margin_bytes)


def test_experts_go_to_the_host_first() -> None:
    """A mixture that does not fit keeps attention and cache on the card and moves experts."""
    _, placement = place(case(MIXTRAL, 24, host_gib=128))
    assert placement.fits
    assert placement.host_experts
    assert placement.shares[0].kv_cache_bytes > 0
    assert placement.host is not None
    assert placement.host.kv_cache_bytes == 0


def test_layers_over_unlike_cards_follow_capacity() -> None:
    """The larger card takes more layers, and both fit."""
    asked = case(LLAMA_8B, 16)
    asked = replace(asked, target=replace(asked.target, others=(gpu(8),)))
    _, placement = place(asked)
    assert placement.fits
    first, second = placement.shares
    assert first.layers > second.layers > 0
    assert first.layers + second.layers == 32


def test_tensor_parallel_shards_weights_and_heads() -> None:
    """Two ranks hold half the matrices and half the KV heads each."""
    needed, placement = place(case(LLAMA_8B, 80, count=2, engine="vllm"))
    share = placement.shares[0]
    assert share.kv_cache_bytes == needed.kv_cache.size_bytes // 2
    assert share.weights_bytes * 2 == pytest.approx(needed.weights.size_bytes, rel=1e-3)


def test_nothing_fits_says_by_how_much() -> None:
    """Without a host the shortfall is what the card lacks."""
    _, placement = place(case(LLAMA_8B, 8))
    assert not placement.fits
    assert placement.shortfall_bytes == placement.device_bytes - 8 * GIB


def test_llama_cpp_keeps_the_embedding_on_the_host() -> None:
    """Beside a GPU the untied input table stays in the host's memory; unified memory holds it all the same."""
    needed, placement = place(case(LLAMA_8B, 24))
    assert placement.host_bytes == 128256 * 4096 * 2
    assert placement.device_bytes == needed.total_bytes - placement.host_bytes
    assert placement.beside.total_bytes == placement.host_bytes + placement.host_compute_bytes
    mac = Device("mac", "Mac", "apple", "apple", 64 * GIB, 4e11)
    _, unified = place(replace(case(LLAMA_8B, 24), target=Target(mac)))
    assert unified.host_bytes == 0


def test_unified_memory_is_not_all_the_models() -> None:
    """A 32 GiB Mac gives its GPU what Metal recommends at that size."""
    mac = Device("mac", "Mac", "apple", "apple", 32 * GIB, 4e11)
    _, placement = place(replace(case(LLAMA_8B, 24), target=Target(mac)))
    assert placement.available_bytes == int(32 * GIB * 0.78)


def test_activations_count_the_widest_layer() -> None:
    """Llama-3-8B: the residual twice, and gate, up and product of the MLP, which tensor-parallel ranks share."""
    architecture, code = build(LLAMA_8B, "model"), LAYER_CODES["kernels"]
    assert activation_values_per_token(architecture, code) == 2 * 4096 + 3 * 14336
    assert activation_values_per_token(architecture, code, 4) == 2 * 4096 + 3 * 14336 // 4


@pytest.mark.parametrize(("engine", "precision"), [("vllm", "bf16"), ("llama.cpp", "q8_0")])
def test_a_model_known_by_name_is_spread_over_devices(engine: str, precision: str) -> None:
    """Without layers every device takes an even part: four cards that hold a quarter each hold it."""
    item = _lump("70B", "4xa100", engine, precision)
    assert item.placement.fits
    held = [share.weights_bytes for share in item.placement.shares]
    assert max(held) - min(held) <= len(held)
    assert sum(held) >= item.footprint.weights.size_bytes > sum(held) - len(held)
    unlike = _lump("70B", "rtx-4090+rtx-3060", "llama.cpp", "q3_k_m").placement.shares
    assert unlike[0].weights_bytes > 1.5 * unlike[1].weights_bytes


def test_a_model_known_by_name_fills_the_card_before_the_host() -> None:
    """What the card holds lies there, the rest on the host, and it is faster than all on the host."""
    small, large = (_lump("70B", card, "llama.cpp", "q4_k_m", 64) for card in ("rtx-4060", "rtx-4090"))
    for item in (small, large):
        (share,) = item.placement.shares
        assert item.placement.fits
        assert item.placement.host is not None
        assert share.weights_bytes + item.placement.host.weights_bytes == item.footprint.weights.size_bytes
        assert 0.8 * (share.available_bytes or 0) < share.total_bytes <= (share.available_bytes or 0)
    assert small.speed is not None
    assert large.speed is not None
    assert large.speed.decode.tokens_per_s > small.speed.decode.tokens_per_s


def _lump(name: str, device: str, engine: str, precision: str, ram_gib: float | None = None) -> Estimate:
    """The estimate of a model of which only the parameters are known, as of a gated repository."""
    ram_bytes = None if ram_gib is None else int(ram_gib * 2**30)
    (target,) = targets(DeviceAsked(names=(device,), ram_bytes=ram_bytes))
    sized = resolve(name, offline=True)
    known = lump(name, sized.architecture.total_params, None, sized.hints)
    work = WorkAsked(precisions=(precision,), engine=engine)
    (item,) = estimates(replace(sized, architecture=known), target, work)
    return item


def test_whole_layers_lie_in_proportion() -> None:
    """Two equal cards: llama.cpp counts 32 layers and the output (17 and 15), --tensor-split 3,1 makes 25 and 7.

    The input table lies on the host, the output and its norm on the last card.
    """
    even = place(case(LLAMA_8B, 24, count=2))[1].shares
    assert [share.layers for share in even] == [17, 15]
    told = replace(case(LLAMA_8B, 24, count=2), options=EngineOptions("llama.cpp", tensor_split=(3.0, 1.0)))
    assert [share.layers for share in place(told)[1].shares] == [25, 7]
    one_layer = (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096) * 2
    assert even[0].weights_bytes == 17 * one_layer
    assert even[1].weights_bytes == 15 * one_layer + (128256 * 4096 + 4096) * 2
    by_bytes = place(case(LLAMA_8B, 24, count=2, engine="transformers"))[1].shares
    assert [share.layers for share in by_bytes] == [16, 16]


@pytest.mark.parametrize("name", ["google/gemma-3n-E4B-it", "google/gemma-4-E2B-it"])
def test_tables_of_gemmas_layers_stay_on_the_host(name: str) -> None:
    """llama.cpp takes them for an input's, so no card holds them; the head's own table lies in both places."""
    stored = store(resolve(name, offline=True).architecture, "q8_0")
    tables = [entry for entry in stored.tensors if entry.tensor.role is Role.EMBEDDING]
    (own_bytes,) = (entry.size_bytes for entry in tables if "per_layer" in entry.tensor.name)
    found = sizer.estimate(name, device="rtx-3090", precision="q8_0", engine="llama.cpp", offline=True).estimates[0]
    memory = found.memory
    assert memory.devices[0].weights_bytes == memory.weights_bytes - own_bytes
    assert memory.host_bytes == sum(entry.size_bytes for entry in tables)
    assert memory.total_bytes == memory.devices[0].total_bytes + own_bytes
    inside = sizer.estimate(name, device="rtx-3090", precision="bf16", engine="vllm", offline=True).estimates[0].memory
    assert inside.devices[0].weights_bytes == inside.weights_bytes
