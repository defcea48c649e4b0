"""How a run keeps its cache and what it reserves, counted on paper: ranks, slots, pages, profile runs, placements."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from drawn import LAYERS, MIXER, TENSORS, TOKEN_BYTES, VOCAB, WEIGHTS, case, model, rule, stored

from sizer.cache_formats import cache_format
from sizer.device.records import Device, Target
from sizer.engine.cuda_overheads import cuda_overhead
from sizer.engine.options import EngineOptions
from sizer.memory.activations import activation_values_per_token
from sizer.memory.case import Case, formats, state_widths, window_cache
from sizer.memory.footprint import footprint, kv_cache_bytes, kv_cache_part, weights_part
from sizer.memory.graph.shape import model_shape
from sizer.memory.offload import best_split, host_compute_bytes, split_buffers
from sizer.memory.pages import Kind, pages
from sizer.memory.placement import place
from sizer.memory.profile_run import profile_run
from sizer.memory.shard import rank_token_bytes
from sizer.memory.shares import Held, device_fraction, share_of, table_bytes, usable_bytes
from sizer.memory.working import (
    graph_step,
    graphs_bytes,
    largest_expert_bytes,
    layers_bytes,
    pipeline_copies,
    profile_bytes,
    scores_bytes,
    workspace_bytes,
)
from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.workload import Split, Workload

STATE = Mixer(MixerKind.SSM, state_elements=4001)
SLIDING = replace(MIXER, kind=MixerKind.SLIDING, window_tokens=30)
CARDS = (2**30,) * 4
vllm = partial(EngineOptions, "vllm")


@pytest.mark.parametrize(
    ("options", "split", "ranks", "stages", "replicas"),
    [
        ({}, Split.TENSOR, 4, 1, 1),
        ({}, Split.LAYER, 1, 1, 1),
        ({"tensor_parallel": 2}, Split.LAYER, 2, 1, 1),
        ({"tensor_parallel": 9}, Split.TENSOR, 4, 1, 1),
        ({"tensor_parallel": 0}, Split.LAYER, 1, 1, 1),
        ({"tensor_parallel": -3}, Split.LAYER, 1, 1, 1),
        ({"pipeline_parallel": 2}, Split.TENSOR, 2, 2, 1),
        ({"pipeline_parallel": 9}, Split.TENSOR, 1, 4, 1),
        ({"pipeline_parallel": -2}, Split.TENSOR, 4, 1, 1),
        ({"data_parallel": 2}, Split.TENSOR, 1, 1, 2),
        ({"data_parallel": 2, "tensor_parallel": 2}, Split.TENSOR, 2, 1, 2),
        ({"data_parallel": 9}, Split.TENSOR, 1, 1, 4),
        ({"data_parallel": -1}, Split.LAYER, 1, 1, 1),
    ],
)
def test_ranks_stages_and_replicas(
    options: dict[str, int], split: Split, ranks: int, stages: int, replicas: int
) -> None:
    """What flags ask for, as far as there are devices; without flags all devices share layers, or each has its own."""
    asked = case(cards_bytes=CARDS, split=split, options=vllm(**options))
    assert (asked.ranks, asked.stages, asked.replicas) == (ranks, stages, replicas)


def test_sequences_and_steps() -> None:
    """Slots of the flags, else the batch; a step of the flags, the engine, or the whole prompt, one token at least."""
    work = Workload(100, 28, 128, batch_size=3)
    assert case(workload=work).sequences == 3
    assert case(workload=work, options=vllm(max_sequences=7)).sequences == 7
    whole = rule(prefill_chunk_tokens=None)
    assert case(workload=work, engine=whole).step_tokens == 100
    assert case(workload=work, engine=rule(prefill_chunk_tokens=64)).step_tokens == 64
    assert case(workload=work, engine=whole, options=vllm(prefill_chunk_tokens=9)).step_tokens == 9
    assert case(workload=Workload(0, 28, 128), engine=whole).step_tokens == 1


def test_a_cache_in_whole_blocks() -> None:
    """Of the engine, or of the flags; copies of a cache that is concatenated; slots where a growing cache has some."""
    work = Workload(100, 28, 130, batch_size=3)
    plan = case(workload=work, engine=rule(kv_block_tokens=16, cache_copies=2)).plan
    assert (plan.sequences, plan.streams, plan.tokens, plan.copies) == (3, 3, 144, 2)
    told = case(workload=work, engine=rule(kv_block_tokens=16), options=vllm(cache_block_tokens=64))
    assert told.plan.tokens == 192
    slots = vllm(max_sequences=7)
    assert case(workload=work, engine=rule(cache_grows=True), options=slots).plan.sequences == 7
    assert case(workload=work, engine=rule(cache_grows=False), options=slots).plan.sequences == 3


@pytest.mark.parametrize(
    ("options", "sequences", "streams", "tokens"),
    [
        ({}, 3, 3, 256),
        ({"unified_cache": True}, 3, 1, 512),
        ({"max_sequences": 4}, 4, 4, 256),
        ({"max_sequences": 1}, 1, 1, 512),
        ({"context_tokens": 130, "unified_cache": True}, 3, 1, 256),
        ({"context_tokens": 131, "unified_cache": True}, 3, 1, 512),
    ],
)
def test_slots_of_llama_cpp(options: dict[str, int], sequences: int, streams: int, tokens: int) -> None:
    """Three sequences of 130 tokens in streams of their own, or in one; `-c 130` is all that they share."""
    work = Workload(100, 28, 130, batch_size=3)
    plan = case(workload=work, engine=rule("llama.cpp"), options=EngineOptions("llama.cpp", **options)).plan
    assert (plan.sequences, plan.streams, plan.tokens) == (sequences, streams, tokens)
    assert plan.drops_conv_column
    assert plan.step_tokens == min(512, tokens * streams)
    assert not plan.expands_latent
    for mode in (0, 1):
        told = case(workload=work, engine=rule("llama.cpp"), options=EngineOptions("llama.cpp", mla_mode=mode))
        assert told.plan.expands_latent is (mode == 0)


def test_formats_of_keys_and_values() -> None:
    """Those of the flags, each alone; else the workload's; grouped ones by their bits."""
    work = Workload(100, 28, 128, kv_precision="q8_0")
    assert formats(case(workload=work)) == (cache_format("q8_0"),) * 2
    keys = EngineOptions("llama.cpp", k_cache_type="q4_0")
    assert formats(case(workload=work, options=keys)) == (cache_format("q4_0"), cache_format("q8_0"))
    for bits, name in ((None, "mlx-q4"), (8, "mlx-q8")):
        grouped = EngineOptions("mlx-lm", cache_kind="quantized", cache_bits=bits)
        assert formats(case(options=grouped)) == (cache_format(name),) * 2


def test_windows_of_engines_that_cut_them_for_some_models() -> None:
    """MLX does for the types of its table, of the config or of its text part; an engine like it too; others never."""
    mlx = rule("mlx-lm", window_cache="rotating")
    known, other = model(model_type="gpt_oss"), model(model_type="mistral")
    text = model(model_type="x", config={"text_config": {"model_type": "gemma3_text"}})
    assert [window_cache(case(one, engine=mlx)) for one in (known, other, text)] == ["window", "whole", "window"]
    like = mlx._replace(engine="another", like="mlx-lm")
    assert window_cache(case(known, engine=like)) == "window"
    assert window_cache(case(known, engine=mlx._replace(engine="vllm", like=""))) == "whole"
    assert window_cache(case(known, engine=mlx._replace(window_cache="window"))) == "window"


@pytest.mark.parametrize(
    ("kind", "config", "flag", "widths"),
    [
        ("fp32", {}, "", (2, 4)),
        ("model", {"mamba_ssm_dtype": "float32"}, "", (2, 2)),
        ("config", {}, "", (2, 2)),
        ("config", {"mamba_ssm_dtype": "torch.float32"}, "", (2, 4)),
        ("config", {"text_config": {"mamba_ssm_dtype": "float32"}}, "", (2, 4)),
        ("config", {"mamba_ssm_dtype": "float32"}, "float16", (2, 2)),
        ("config", {"mamba_ssm_dtype": "elf"}, "", (2, 2)),
    ],
)
def test_widths_of_states(kind: str, config: dict[str, object], flag: str, widths: tuple[int, int]) -> None:
    """32 bits by the engine's rule, by the config where the engine reads it, by the flag before both."""
    asked = case(model(config=config), engine=rule(state_type=kind, state_bytes_per_value=2))
    assert state_widths(replace(asked, options=vllm(state_dtype=flag))) == widths


# Pages.


def test_pages_of_layers_that_keep_unlike_caches() -> None:
    """A state of 8,002 bytes beside 160 bytes a token: blocks of 64 tokens, the least sixteens that hold the state."""
    engine = rule("vllm", state_type="model", state_bytes_per_value=2, kv_block_tokens=16)
    found = pages(case(model(STATE, MIXER), engine=engine))
    assert found is not None
    assert (found.group_layers, found.block_tokens, found.layer_page_bytes) == (1, 64, 64 * TOKEN_BYTES)
    assert set(found.kinds) == {Kind(1, 0, 8002, None), Kind(3, TOKEN_BYTES, 0, None)}
    three = pages(case(model(STATE, MIXER), (2**30,) * 3, engine=engine))
    assert three is not None
    assert Kind(1, 0, 2668, None) in three.kinds  # a third, rounded up
    small = pages(case(model(replace(STATE, state_elements=100), MIXER), engine=engine))
    assert small is not None
    assert (small.block_tokens, small.layer_page_bytes) == (16, 16 * TOKEN_BYTES)


def test_pages_of_windows() -> None:
    """Two and two layers: groups of two; one and three: of one; none where all keep alike, or nothing is profiled."""
    engine = rule("vllm", kv_block_tokens=16)
    even = pages(case(model(SLIDING, SLIDING, MIXER), engine=engine))
    assert even is not None
    assert (even.group_layers, even.block_tokens) == (2, 16)
    assert set(even.kinds) == {Kind(2, TOKEN_BYTES, 0, 30), Kind(2, TOKEN_BYTES, 0, None)}
    odd = pages(case(model(SLIDING, MIXER), engine=engine))
    assert odd is not None
    assert odd.group_layers == 1
    assert pages(case(engine=engine)) is None
    assert pages(case(model(SLIDING, MIXER), engine=engine._replace(profile="static"))) is None
    staged = pages(case(model(SLIDING, SLIDING, MIXER), (2**30,) * 2, engine=engine, options=vllm(pipeline_parallel=2)))
    assert staged is not None
    assert [kind.layers for kind in staged.kinds] == [1, 1]


# What is measured, or stands in memory, while prompts are read.


def on(memory_bytes: int, key: str = "card", **changes: object) -> Case:
    """A case of vLLM on a card of a size."""
    asked = case(cards_bytes=(memory_bytes,), engine=rule("vllm", **{"profile": "by card", **changes}))
    return replace(asked, target=replace(asked.target, device=replace(asked.target.device, key=key)))


GIB = 2**30


@pytest.mark.parametrize(
    ("asked", "run"),
    [
        (on(24 * GIB, prefill_chunk_tokens=2048), (2048, 256)),
        (on(70 * GIB), (8192, 1024)),
        (on(70 * GIB - 1, prefill_chunk_tokens=None), (2048, 256)),
        (on(80 * GIB, "a100-80gb", prefill_chunk_tokens=2048), (2048, 256)),
        (on(160 * GIB), (16_384, 1024)),
        (on(160 * GIB - 1), (8192, 1024)),
    ],
)
def test_the_profile_run_of_a_card(asked: Case, run: tuple[int, int]) -> None:
    """More tokens and sequences from 70 and from 160 GiB on, but for A100s; flags say otherwise."""
    assert profile_run(asked) == run
    flags = vllm(batch_tokens=100, max_sequences=200)
    assert profile_run(replace(asked, options=flags)) == (100, 100)
    assert profile_run(replace(asked, options=vllm(max_sequences=9))) == (run[0], 9)


@pytest.mark.parametrize(("context", "tokens"), [(1000, 2048), (5000, 5000), (32_768, 32_768), (32_769, 2048)])
def test_the_profile_run_of_a_whole_prompt(context: int, tokens: int) -> None:
    """vLLM before 0.8 ran the whole length, up to 32,768 tokens; one sequence where there are images."""
    old = on(24 * GIB, profile="whole length", prefill_chunk_tokens=2048)
    assert profile_run(replace(old, options=vllm(context_tokens=context))) == (tokens, 256)
    assert profile_run(replace(old, workload=Workload(1, context - 1, context))) == (tokens, 256)
    tower = Tensor("vision", (10, 10), Role.OTHER, Module.LINEAR, tower=Tower.VISION)
    seeing = replace(old, architecture=model(tensors=(*TENSORS, tower)))
    assert profile_run(seeing).sequences == 1


def test_the_step_that_ggml_reserves() -> None:
    """A whole micro-batch in whole rows of sequences, over a full cache; logits for the slots or for every token."""
    work = Workload(100, 28, 3000, batch_size=3)
    drawn = model(SLIDING, MIXER)
    asked = case(drawn, workload=work, engine=rule("llama.cpp"), options=EngineOptions("llama.cpp"))
    plan = asked.plan
    step = graph_step(asked, plan, model_shape(drawn))
    assert (step.tokens, step.sequences, step.streams) == (513, 3, 3)  # 512 in threes
    assert (step.cells, step.outputs) == (3072, 3)
    assert step.window_cells == plan.layer_tokens(SLIDING)
    assert step.value_ids == 2 * 16
    latent = model(Mixer(MixerKind.MLA, heads=4, kv_heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40))
    assert graph_step(replace(asked, architecture=latent), plan, model_shape(latent)).value_ids == 1
    logits = replace(asked, options=EngineOptions("llama.cpp", logits_all=True))
    assert graph_step(logits, plan, model_shape(drawn)).outputs == 513
    short = replace(asked, workload=Workload(100, 28, 128, batch_size=3))
    assert graph_step(short, short.plan, model_shape(drawn)).tokens == 513
    tiny = replace(asked, workload=Workload(10, 28, 38), options=EngineOptions("llama.cpp", prefill_chunk_tokens=600))
    assert graph_step(tiny, tiny.plan, model_shape(drawn)).tokens == 256  # no more than the cache holds
    assert not graph_step(asked, plan, model_shape(drawn)).rotates_keys
    packed = EngineOptions("llama.cpp", k_cache_type="q8_0")
    quantized = graph_step(replace(asked, options=packed), replace(asked, options=packed).plan, model_shape(drawn))
    assert (quantized.rotates_keys, quantized.rotates_values) == (True, False)


def test_scores_stand_where_nothing_caps_them() -> None:
    """4 heads x 50 tokens x 128 cells x the engine's bytes, of models that cap their scores, in the text's part too."""
    eager = rule(capped_score_bytes=6.0)
    for config in ({"attn_logit_softcapping": 50.0}, {"text_config": {"attn_logit_softcapping": 50.0}}):
        assert scores_bytes(case(model(config=config), engine=eager), 50) == 4 * 50 * 128 * 6
        assert scores_bytes(case(model(config=config), engine=rule(capped_score_bytes=0.0)), 50) == 0
    assert scores_bytes(case(engine=eager), 50) == 0


def test_inputs_are_kept_for_each_part_of_a_pipeline() -> None:
    """Four copies over several cards with layers of their own; one on one card, within layers, or beside the host."""
    over = partial(case, cards_bytes=(2**30, 2**30), engine=rule("llama.cpp"), split=Split.LAYER)
    assert pipeline_copies(over()) == 4
    assert pipeline_copies(case(split=Split.LAYER)) == 1
    assert pipeline_copies(over(split=Split.TENSOR)) == 1
    assert pipeline_copies(over(options=EngineOptions("llama.cpp", cache_on_host=True))) == 1
    assert pipeline_copies(over(options=EngineOptions("llama.cpp", tensor_overrides=(("x", "CPU"),)))) == 1


def test_the_largest_experts_of_a_layer() -> None:
    """Of one layer; none of a model without stacks."""
    assert largest_expert_bytes(case()) == 8 * 32 * 64 * 2
    assert largest_expert_bytes(case(model(tensors=TENSORS[:3]))) == 0


# Placements.


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
