"""What lies on each device, by hand: shares, splits, parts, graphs and overheads of a drawn model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from drawn import (
    LAYERS,
    MIXER,
    SLIDING,
    STATE,
    TENSORS,
    TOKEN_BYTES,
    VOCAB,
    WEIGHTS,
    case,
    model,
    on,
    rule,
    stored,
    vllm,
)

from sizer.device.records import Device, Target
from sizer.engine.cuda_overheads import cuda_overhead
from sizer.engine.options import EngineOptions
from sizer.memory.activations import activation_values_per_token
from sizer.memory.footprint import footprint, kv_cache_bytes, kv_cache_part, weights_part
from sizer.memory.host_split import host_compute_bytes, split_buffers
from sizer.memory.offload import best_split
from sizer.memory.placement import place
from sizer.memory.shard import rank_token_bytes
from sizer.memory.shares import Held, device_fraction, share_of, table_bytes, usable_bytes
from sizer.memory.working import (
    graphs_bytes,
    largest_expert_bytes,
    layers_bytes,
    profile_bytes,
    workspace_bytes,
)
from sizer.model.architecture import Module, Role, Tensor, Tower
from sizer.units import GIB
from sizer.workload import Split


def test_what_a_device_has_for_a_model() -> None:
    """A fraction where the engine allocates ahead, the flags' before its own; a limit of the flags for one device."""
    asked = case(cards_bytes=(1000, 1000))
    assert usable_bytes(asked, asked.devices[0]) == 1000
    ahead = replace(asked, engine=rule("vllm", allocates="fraction_of_device", device_fraction=0.5))
    assert usable_bytes(ahead, ahead.devices[0]) == 500
    told = replace(ahead, options=vllm(memory_fraction=0.25))
    assert (usable_bytes(told, told.devices[0]), device_fraction(told)) == (250, 0.25)
    one = case(cards_bytes=(1000,), options=EngineOptions("transformers", device_memory_limits=(("0", 300),)))
    assert usable_bytes(one, one.devices[0]) == 300
    untold = replace(one, target=replace(one.target, device=replace(one.target.device, memory_bytes=None)))
    assert usable_bytes(untold, untold.devices[0]) is None


def test_shares_divide_work_and_overhead() -> None:
    """Each of two devices has half of the activations, of the graphs and of what is left, unless it is told its own."""
    asked = case(cards_bytes=(2**30, 2**30), engine=rule("vllm", context_overhead_bytes=1000, expert_graph_bytes=10))
    needed = footprint(asked)
    graphs = needed.overhead.part("graphs")
    assert graphs > 0
    share = share_of(asked, asked.devices[1], Held(5, 6, 3, 7), needed)
    assert (share.place, share.weights_bytes, share.kv_cache_bytes, share.state_bytes, share.layers) == (
        "card1",
        5,
        6,
        7,
        3,
    )
    assert share.compute_bytes == needed.activations.size_bytes // 2
    assert share.graphs_bytes == graphs // 2
    assert share.overhead_bytes == needed.overhead.size_bytes // 2 - graphs // 2
    assert share_of(asked, asked.devices[0], Held(5, 6, 3), needed, 77).compute_bytes == 77


def test_a_model_known_by_its_size_lies_evenly_or_by_room() -> None:
    """Within layers even parts; by whole layers three quarters on the card of three quarters; nothing lost."""
    lump = Tensor("lump", (1001,), Role.OTHER, Module.LINEAR)
    drawn = replace(model(tensors=(lump,)), layers=(), hidden_size=0)
    over = partial(case, drawn, (3 * 2**28, 2**28))
    even = place(over(split=Split.TENSOR))[1].shares
    assert [share.weights_bytes for share in even] == [1001, 1001]
    uneven = place(over(split=Split.LAYER))[1].shares
    assert [share.weights_bytes for share in uneven] == [1502, 501]  # 2,002 bytes, each part rounded up
    needed = footprint(case(drawn))
    beside = case(drawn, (needed.total_bytes - needed.weights.size_bytes + 700,), host_bytes=2**30)
    split = best_split(replace(beside, engine=rule(split_margin_bytes=0)), needed)
    assert split is not None
    assert split.host is not None
    assert (split.gpu_layers, split.shares[0].weights_bytes, split.host.weights_bytes) == (0, 700, 2002 - 700)


def test_the_first_card_has_the_table_and_the_last_the_head() -> None:
    """Layers counted by number, the output as a fifth: two cards of one size have three, and one with the head."""
    asked = case(cards_bytes=(2**30, 2**30), engine=rule("llama.cpp"), split=Split.LAYER)
    asked = replace(asked, target=Target(replace(asked.target.device, kind="gpu"), others=asked.target.others))
    placement = place(asked)[1]
    assert [share.layers for share in placement.shares] == [3, 1]
    assert placement.host_tables_bytes == table_bytes(asked) == VOCAB * 64 * 2
    held = sum(share.weights_bytes for share in placement.shares)
    assert held == WEIGHTS - table_bytes(asked)
    assert placement.kind == "layer"
    assert placement.gpu_layers == LAYERS
    three = place(case(cards_bytes=(2**30,) * 3, split=Split.LAYER))[1].shares
    layer = (WEIGHTS - 2 * VOCAB * 64 * 2 - 128) // LAYERS
    assert [share.weights_bytes - share.layers * layer for share in three] == [VOCAB * 128, 0, VOCAB * 128 + 128]


def test_a_processor_holds_all_of_it() -> None:
    """No layers on a device, no host beside it."""
    cpu = Device("cpu", "CPU", "nobody", "cpu", 2**30, 5e10)
    asked = replace(case(engine=rule("llama.cpp")), target=Target(cpu, host_memory_bytes=2**30))
    placement = place(asked)[1]
    assert (placement.gpu_layers, placement.host, placement.kind) == (0, None, "single")
    assert host_compute_bytes(asked) == 0
    assert host_compute_bytes(case(engine=rule("llama.cpp"))) > 0
    assert host_compute_bytes(case()) == 0


def test_a_split_searches_for_the_most_layers() -> None:
    """Layers by number, the output as a fifth: two cards of one size have three, and one with the head."""
    dense = model(tensors=tuple(part for part in TENSORS if part.role is not Role.EXPERT_UP), experts=None)
    needed = footprint(case(dense))
    layer = 96 * 64 * 2 + 8 * 64 * 2 + 128 + needed.kv_cache.size_bytes // LAYERS
    base = needed.activations.size_bytes + needed.overhead.size_bytes + rule().split_margin_bytes
    for room, layers in ((2 * layer + layer // 2, 2), (3 * layer, 3), (layer - 1, 0)):
        found = best_split(case(dense, (base + room,), host_bytes=2**30), needed)
        assert found is not None
        assert found.gpu_layers == layers
    assert best_split(case(dense, (base,), host_bytes=100), needed) is None
    margin = EngineOptions("llama.cpp", fit_margin_bytes=rule().split_margin_bytes + layer)
    fewer = best_split(case(dense, (base + 2 * layer,), host_bytes=2**30, options=margin), needed)
    assert fewer is not None
    assert fewer.gpu_layers == 1


def test_parts_of_weights_and_cache() -> None:
    """By role, towers under their own names, what only checkpoints carry left out; cache and states by kind."""
    tower = Tensor("vision", (10, 10), Role.Q, Module.LINEAR, tower=Tower.VISION)
    parts = {part.name: part.size_bytes for part in weights_part(stored(model(tensors=(*TENSORS, tower)))).parts}
    assert parts["vision"] == 200
    assert parts["q"] == LAYERS * 96 * 64 * 2
    assert sum(parts.values()) == WEIGHTS + 200
    asked = case(model(STATE, MIXER), engine=rule(kv_block_tokens=1, state_type="fp32"))
    kinds = {part.name: part.size_bytes for part in kv_cache_part(asked).parts}
    assert sum(kinds.values()) == kv_cache_bytes(asked) == 3 * 128 * TOKEN_BYTES + 4001 * 4
    assert sorted(kinds.values()) == [4001 * 4, 3 * 128 * TOKEN_BYTES]


def test_a_sequence_of_a_rank() -> None:
    """Two heads on two ranks: half of each token; over two stages half of the layers, rounded up."""
    two = case(cards_bytes=(2**30, 2**30))
    plan = two.plan
    assert rank_token_bytes(two, plan, 10) == 10 * LAYERS * TOKEN_BYTES // 2
    staged = case(
        model(SLIDING, MIXER), (2**30, 2**30), options=vllm(pipeline_parallel=2), engine=rule(window_cache="window")
    )
    assert rank_token_bytes(staged, staged.plan, 31) == -(-(3 * 31 + 30) * TOKEN_BYTES // 2)


def test_experts_of_the_host_pass_through_a_buffer_of_the_card() -> None:
    """Engines on ggml copy one stack after another there; what has no graph has no such buffer."""
    passes = case(engine=rule("llama.cpp"), options=EngineOptions("llama.cpp"))
    split = split_buffers(passes, 0, host_experts=True)
    assert split is not None
    assert split.device_bytes > largest_expert_bytes(passes)
    assert split_buffers(replace(passes, architecture=model(hidden_size=0)), 0, host_experts=True) is None
    assert split_buffers(case(), 0, host_experts=True) is None


def test_flags_for_the_host_hold_where_the_engine_splits_with_one() -> None:
    """Experts stay on the card of an engine that cannot, and in the one memory of a processor."""
    told = EngineOptions("llama.cpp", cpu_moe_layers=2)
    splits = case(host_bytes=2**30, options=told)
    assert place(splits)[1].host is not None
    assert place(replace(splits, can_offload=False))[1].host is None
    cpu = Device("cpu", "CPU", "nobody", "cpu", 2**30, 5e10)
    assert place(replace(splits, target=replace(splits.target, device=cpu)))[1].host is None


def test_workspaces_of_experts() -> None:
    """For 2,048 tokens and 2 active experts of width 48: the wider of 48 and the hidden 64, and of 96 and 64."""
    down = replace(TENSORS[6], name="down", shape=(8, 64, 48), role=Role.EXPERT_DOWN)
    drawn = model(tensors=(*TENSORS, down))
    asked = replace(on(24 * GIB, keeps_workspace=True, prefill_chunk_tokens=2048), architecture=drawn)
    width = asked.engine.activation_bytes_per_value
    assert workspace_bytes(asked) == 2048 * 2 * (64 + 96) * width
    for other in (replace(drawn, active_experts=None), replace(drawn, experts=None)):
        assert workspace_bytes(replace(asked, architecture=other)) == 0
    assert workspace_bytes(replace(asked, engine=asked.engine._replace(keeps_workspace=False))) == 0
    alive = activation_values_per_token(drawn, asked.engine.layer_code) + 2 * 64
    kept = cuda_overhead(asked.target.device.key).matmul_workspace_bytes
    assert layers_bytes(asked) == 2048 * alive * width + kept
    assert layers_bytes(replace(asked, options=replace(asked.options, pipeline_parallel=2))) == layers_bytes(asked)
    two = replace(asked, target=replace(asked.target, count=2), options=replace(asked.options, pipeline_parallel=2))
    assert layers_bytes(two) == 2048 * (alive + 4 * 64) * width + kept
    sampler = 256 * VOCAB * asked.engine.sampler_bytes_per_value + 2048 * 64 * width + kept
    assert profile_bytes(asked) == max(layers_bytes(asked), sampler + workspace_bytes(asked))


@pytest.mark.parametrize(
    ("captured", "sequences", "card", "sizes"),
    [
        ("16th", None, "l40s", 3 + 31 + 17), ("16th", 64, "l40s", 3 + 16), ("16th", 1024, "b200", 3 + 31 + 49),
        ("8th", None, "l40s", 3 + 64), ("8th to 256", None, "l40s", 3 + 32), ("8th to 256", 16, "l40s", 3 + 2),
    ],
)  # fmt: skip
def test_sizes_of_graphs(captured: str, sequences: int | None, card: str, sizes: int) -> None:
    """1, 2, 4, each 8th, and from 256 on each 16th, to twice the sequences: 512 at most, 1,024 on a B200."""
    asked = on(24 * GIB, captured=captured, graph_bytes=0, expert_graph_bytes=1000)
    target = replace(asked.target, device=replace(asked.target.device, key=card))
    asked = replace(asked, target=target, options=replace(asked.options, max_sequences=sequences, batch_tokens=2048))
    assert graphs_bytes(asked) == 1000 * asked.architecture.num_layers * sizes
    drafted = replace(asked, options=replace(asked.options, max_sequences=8, draft_tokens=3))
    if captured == "16th":  # a step verifies four tokens of each sequence
        assert graphs_bytes(drafted) == 1000 * asked.architecture.num_layers * (3 + 8)


def test_overhead_of_each_device() -> None:
    """The driver's context on each; what ranks need to talk, more over fast links; nothing of it on a processor."""
    talks = rule("vllm", context_overhead_bytes=1000, rank_overhead_bytes=50, linked_rank_overhead_bytes=70, profile="")
    assert footprint(case(engine=talks)).overhead.size_bytes == 1000
    two = case(cards_bytes=(2**30, 2**30), engine=talks)
    assert footprint(two).overhead.size_bytes == 2 * 1050
    linked = replace(two, target=replace(two.target, link_bytes_per_s=4e11))
    assert footprint(linked).overhead.size_bytes == 2 * 1070
    cpu = Device("cpu", "CPU", "nobody", "cpu", 2**30, 5e10)
    alone = replace(case(engine=talks._replace(host_runtime_bytes=77)), target=Target(cpu))
    assert footprint(alone).overhead.size_bytes == 77
