"""What each rank holds of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import (
    HEAD,
    LAYERS,
    MIXER,
    NORM,
    QUERY,
    ROUTER,
    STACK,
    TABLE,
    TOKEN_BYTES,
    WEIGHTS,
    case,
    model,
    rule,
)  # fmt: skip

from sizer.cache_formats import cache_format
from sizer.engine.options import EngineOptions
from sizer.memory.cache import CachePlan, whole_cache
from sizer.memory.case import blocks
from sizer.memory.footprint import footprint
from sizer.memory.placement import place
from sizer.memory.shard import rank_architecture, rank_token_bytes, tensor_shard
from sizer.memory.shares import host_tables_bytes
from sizer.model.architecture import Mixer, MixerKind
from sizer.workload import Split, Workload

FP16 = cache_format("fp16")
PLAN = CachePlan(1, 1, 100, 16, FP16, FP16, "window", 4, 2, drops_conv_column=True)
STATE = Mixer(MixerKind.SSM, state_elements=1000)
LATENT = Mixer(MixerKind.MLA, heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40)


@pytest.mark.parametrize(("ranks", "heads"), [(1, 2), (2, 1), (4, 1), (8, 1)])
def test_ranks_keep_whole_heads_at_least_one(ranks: int, heads: int) -> None:
    """Two heads on eight ranks: each rank keeps one, which lies four times; a latent lies on every rank whole."""
    of_rank = rank_architecture(model(), ranks)
    assert [layer.mixers[0].kv_heads for layer in of_rank.layers] == [heads] * LAYERS
    assert whole_cache(of_rank, PLAN).attention_bytes == LAYERS * 100 * heads * (24 + 16) * 2
    assert whole_cache(rank_architecture(model(LATENT), ranks), PLAN).attention_bytes == LAYERS * 100 * 40 * 2


def test_three_heads_on_two_ranks_are_two_each() -> None:
    """Heads are whole: the larger part counts."""
    three = replace(MIXER, heads=6, kv_heads=3)
    assert rank_architecture(model(three), 2).layers[0].mixers[0].kv_heads == 2


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_holds_a_part_of_matrices_and_all_of_the_rest(ranks: int) -> None:
    """Tables, head, queries and stacks are divided; norms and routers are whole; layers for drafting are not loaded."""
    held = tensor_shard(case(cards_bytes=(2**30,) * ranks, workload=Workload(96, 32, 128)))
    divided = TABLE + HEAD + LAYERS * (QUERY + STACK)
    assert held.weights_bytes == divided // ranks + NORM + LAYERS * (ROUTER + NORM)
    assert held.layers == LAYERS
    tokens = blocks(128, rule().kv_block_tokens)
    assert held.kv_cache_bytes == LAYERS * tokens * 1 * (24 + 16) * 2


def test_a_table_on_the_host_spares_each_rank_its_part() -> None:
    """A table that the engine keeps in the host's memory is divided by the ranks; a tied one is not spared."""
    spared = rule(embedding_on_host=True)
    two = case(cards_bytes=(2**30, 2**30), engine=spared)
    on_cards = replace(two, target=replace(two.target, device=replace(two.target.device, kind="gpu")))
    assert host_tables_bytes(on_cards) == TABLE
    assert host_tables_bytes(two) == 0  # no GPU: one memory
    assert tensor_shard(two).weights_bytes - tensor_shard(on_cards).weights_bytes == TABLE // 2
    tied = replace(on_cards, architecture=replace(two.architecture, tied_embeddings=True))
    assert host_tables_bytes(tied) == 0


def test_replicas_divide_experts_and_stages_divide_layers() -> None:
    """Two replicas of one rank: half the experts each, all the rest; two stages: half of everything, and 2 layers."""
    cards = (2**30, 2**30)
    copies = tensor_shard(case(cards_bytes=cards, options=EngineOptions("vllm", data_parallel=2, tensor_parallel=1)))
    assert copies.weights_bytes == WEIGHTS - LAYERS * STACK // 2
    stages = case(cards_bytes=cards, options=EngineOptions("vllm", pipeline_parallel=2))
    assert (stages.ranks, stages.stages, stages.replicas) == (1, 2, 1)
    held = tensor_shard(stages)
    assert (held.weights_bytes, held.layers) == (WEIGHTS // 2, 2)
    assert held.kv_cache_bytes * 2 == footprint(stages).kv_cache.size_bytes


def test_replicas_divide_the_sequences() -> None:
    """Five sequences over two replicas: three on the fuller one."""
    options = EngineOptions("vllm", data_parallel=2, tensor_parallel=1)
    held = tensor_shard(case(cards_bytes=(2**30, 2**30), options=options, workload=Workload(96, 32, 128, batch_size=5)))
    assert held.kv_cache_bytes == 3 * LAYERS * blocks(128, rule().kv_block_tokens) * TOKEN_BYTES


def test_states_are_divided_by_ranks_and_stages() -> None:
    """1,001 values in 16 bits a layer, 8,008 bytes: 2,002 on each of four; a rank's bytes a sequence round up."""
    odd = model(replace(STATE, state_elements=1001))
    four = case(odd, (2**30,) * 4, engine=rule("vllm"), options=EngineOptions("vllm", pipeline_parallel=2))
    assert tensor_shard(four).state_bytes == 4 * 1001 * 2 // 4
    three = case(odd, (2**30,) * 3, engine=rule("vllm"))
    assert rank_token_bytes(three, PLAN._replace(state_bytes=2, conv_bytes=2), 7) == 2670  # 8,008 / 3, rounded up
    assert rank_token_bytes(three, PLAN._replace(state_bytes=2, conv_bytes=2), 7000) == 2670


def test_data_parallel_copies_hold_the_model_and_their_sequences() -> None:
    """Five sequences on two cards: the whole model on both, and the cache of three on the fuller one."""
    asked = case(cards_bytes=(2**30, 2**30), split=Split.DATA, workload=Workload(96, 32, 128, batch_size=5))
    needed, placement = place(asked)
    assert placement.kind == "data"
    tokens = blocks(128, rule().kv_block_tokens)
    for share in placement.shares:
        assert share.weights_bytes == needed.weights.size_bytes == WEIGHTS
        assert share.kv_cache_bytes == 3 * LAYERS * tokens * TOKEN_BYTES
