"""How a run keeps its cache and what it reserves, counted on paper: ranks, slots, pages, profile runs, placements."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from drawn import (
    MIXER,
    SLIDING,
    STATE,
    TENSORS,
    TOKEN_BYTES,
    case,
    model,
    on,
    rule,
    vllm,
)

from sizer.cache_formats import cache_format
from sizer.engine.flagged import with_options
from sizer.engine.options import EngineOptions
from sizer.memory.case import Case, formats, state_widths, window_cache
from sizer.memory.graph.shape import model_shape
from sizer.memory.pages import Kind, pages
from sizer.memory.profile_run import profile_run
from sizer.memory.prompt_chunk import prompt_chunk_tokens
from sizer.memory.working import (
    graph_step,
    largest_expert_bytes,
    pipeline_copies,
    scores_bytes,
)
from sizer.model.architecture import Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.units import GIB
from sizer.workload import Split, Workload

CARDS = (2**30,) * 4


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


@pytest.mark.parametrize(
    ("engine", "memory_bytes", "options", "tokens"),
    [
        ("vllm", 24 * GIB, {}, 2048),
        ("vllm", 80 * GIB, {}, 8192),
        ("vllm", 80 * GIB, {"batch_tokens": 4096}, 4096),
        ("sglang", 24 * GIB, {}, 4096),
        ("sglang", 80 * GIB, {}, 8192),
        ("sglang", 80 * GIB, {"prefill_chunk_tokens": 1024}, 1024),
        ("lmdeploy", 24 * GIB, {}, 8192),
    ],
)
def test_the_chunks_of_a_prompt(engine: str, memory_bytes: int, options: dict[str, int], tokens: int) -> None:
    """As an engine schedules prompts by card, and as flags say."""
    told = EngineOptions(engine, **options)
    memory = with_options(rule(engine), told)
    assert prompt_chunk_tokens(case(cards_bytes=(memory_bytes,), engine=memory, options=told)) == tokens


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
