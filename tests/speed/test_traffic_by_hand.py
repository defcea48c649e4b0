"""What a step moves and computes of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from drawn import (
    ALL,
    EXPERTS,
    HEAD,
    HIDDEN,
    LAYERS,
    MIXER,
    NORM,
    QUERY,
    ROUTER,
    STACK,
    TENSORS,
    TOKEN_BYTES,
    VOCAB,
    WIDTH,
    model,
    stored,
)
from drawncases import LATENT, PLAIN, STATE, asked

from sizer.model.architecture import MixerKind
from sizer.speed.attended import attention_flops, copied_cache_bytes, expansion_flops, last_token_layers  # fmt: skip
from sizer.speed.predict import decode_of
from sizer.speed.routing import distinct_experts
from sizer.speed.traffic import (  # fmt: skip
    decode_traffic,
    is_tied_head,
    prefill_traffic,
)
from sizer.tuning import tuned
from sizer.workload import Workload

CORRELATION = tuned("routing_correlation")


@pytest.mark.parametrize(("batch", "each"), list(product([1, 3], [1, 5])))
def test_a_decode_step_by_stage(batch: int, each: int) -> None:
    """Weights once, two of eight experts a token, each sequence's cache; two FLOPs a multiply-add of all tokens."""
    work = Workload(100, 28, 128, batch_size=batch)
    found = decode_traffic(model(), stored(model()), work, tokens_per_sequence=each)
    of_one = 8 * (1 - 0.75 ** (1 + CORRELATION * (each - 1)))
    share = 1 - (1 - of_one / 8) ** batch
    tokens, context = batch * each, work.decode_context_tokens
    assert found.tokens == tokens
    assert found.stage("attention").weight_bytes == LAYERS * (QUERY + NORM) + NORM
    assert found.stage("attention").flops == 2 * LAYERS * 96 * HIDDEN * tokens
    assert found.stage("router")[1:] == (LAYERS * ROUTER, 0, 2 * LAYERS * EXPERTS * HIDDEN * tokens)
    assert found.stage("experts").weight_bytes == round(LAYERS * STACK * share)
    assert found.stage("experts").flops == 2 * LAYERS * 2 * WIDTH * HIDDEN * tokens
    assert found.stage("lm_head")[1:] == (HEAD, 0, 2 * VOCAB * HIDDEN * tokens)
    assert found.stage("embedding").weight_bytes == HIDDEN * 2 * tokens
    assert found.stage("kv").cache_bytes == LAYERS * batch * context * TOKEN_BYTES
    assert found.stage("kv").flops == LAYERS * tokens * 2 * 4 * (24 + 16) * context
    assert found.flops == sum(stage.flops for stage in found.stages)
    assert found.bytes_read == found.weight_bytes + found.cache_bytes


def test_bytes_a_token_are_a_sequences_share() -> None:
    """What a step of three sequences moves, a third of it for each."""
    work = Workload(100, 28, 128, batch_size=3)
    case = asked(workload=work)
    step = decode_traffic(case.architecture, case.stored, work)
    decode, _ = decode_of(case, PLAIN)
    assert decode.bytes_per_token == round(step.bytes_read / 3)


def test_experts_that_tokens_touch() -> None:
    """Of 8, with 2 a token: 3 independent tokens touch 4.625, alike ones 2; in between a further token counts in part.
    Many touch all, however alike they are."""
    assert distinct_experts(8, 2, 1) == 2
    assert distinct_experts(8, 2, 0) == 2
    assert distinct_experts(8, 2, 3) == 4.625
    assert distinct_experts(8, 2, 3, 0.0) == 2
    assert distinct_experts(8, 2, 3, 0.4) == pytest.approx(8 * (1 - 0.75**1.8))
    assert distinct_experts(8, 2, 100, 0.4) == pytest.approx(8, rel=1e-4)
    assert distinct_experts(8, 8, 3) == 8
    assert distinct_experts(2, 8, 3) == 2


def test_a_benchmarks_sequences_are_routed_alike() -> None:
    """Of eight experts with two a token, three sequences touch what one touches where they are routed alike, and in
    between each further one counts in part."""

    def experts_bytes(share: float) -> int:
        work = Workload(100, 28, 128, batch_size=3, routed_alike=share)
        return decode_traffic(model(), stored(model()), work).stage("experts").weight_bytes

    whole = LAYERS * STACK
    found = [experts_bytes(share) for share in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([whole * touched / 8 for touched in (2, 8 * (1 - 0.75**2), 4.625)], rel=1e-6)


def test_what_does_not_run_is_not_read_and_hides_nothing_behind_it() -> None:
    """Layers that only checkpoints carry, first in the list, leave the step as it is without them."""
    work = Workload(100, 28, 128)
    first = model(tensors=tuple(reversed(TENSORS)))
    without = model(tensors=TENSORS[:-1])
    found, expected = (decode_traffic(one, stored(one), work) for one in (first, without))
    assert set(found.stages) == set(expected.stages)


def test_passes_run_the_layers_again_and_the_rest_once() -> None:
    """Twice through the layers: twice their bytes and FLOPs, one head and one final norm."""
    once, twice = (decode_traffic(one, stored(one), Workload(9, 1, 10)) for one in (model(), model(passes=2)))
    assert twice.stage("router").weight_bytes == 2 * once.stage("router").weight_bytes
    assert twice.stage("experts").flops == 2 * once.stage("experts").flops
    assert twice.stage("attention").weight_bytes == 2 * LAYERS * (QUERY + NORM) + NORM
    assert twice.stage("lm_head") == once.stage("lm_head")


def test_the_tied_head_is_the_table_as_wide_as_the_model() -> None:
    """Not a table of a layer, nor a narrower one, nor any where nothing is tied."""
    tied, table = model(tied_embeddings=True), TENSORS[0]
    assert is_tied_head(tied, table)
    assert not is_tied_head(model(), table)
    assert not is_tied_head(tied, replace(table, layers=(0,)))
    assert not is_tied_head(tied, replace(table, shape=(VOCAB, 16)))
    assert not is_tied_head(tied, TENSORS[2])


def test_latent_attention_absorbed_and_expanded() -> None:
    """Over 10 entries: on the latent's 40 twice a head, or on 24 + 16; rebuilding those costs 40 each."""
    assert attention_flops(LATENT, 10) == 2 * 4 * 2 * 40 * 10
    assert attention_flops(LATENT, 10, expanded=True) == 2 * 4 * (24 + 16) * 10
    assert expansion_flops(LATENT, 10) == 2 * 40 * 4 * (24 + 16) * 10
    assert attention_flops(STATE, 10) == 0
    assert attention_flops(replace(STATE, kind=MixerKind.LINEAR, heads=4, qk_head_dim=8, v_head_dim=8), 10) == 0
    drawn = model(LATENT)
    work = Workload(9, 1, 10, batch_size=3)
    context = work.decode_context_tokens
    absorbed, expanded = (
        decode_traffic(drawn, stored(drawn), work, tokens_per_sequence=2, mla_expanded=one).stage("kv")
        for one in (False, True)
    )
    assert absorbed.cache_bytes == expanded.cache_bytes == LAYERS * 3 * context * 40 * 2
    assert absorbed.flops == LAYERS * 6 * 2 * 4 * 80 * context
    assert expanded.flops == LAYERS * (6 * 2 * 4 * 40 * context + 3 * 2 * 40 * 4 * 40 * context)
    told, rebuilt = (
        prefill_traffic(drawn, stored(drawn), Workload(10, 1, 11), latent_absorbed=one).stage("kv").flops
        for one in (True, False)
    )
    assert (told, rebuilt) == (LAYERS * 2 * 4 * 80 * 55, LAYERS * 2 * 4 * 40 * 55)


@pytest.mark.parametrize("each", [1, 7])
def test_a_state_is_read_and_written_once_a_step(each: int) -> None:
    """1,000 values of 2 bytes both ways for each sequence; a token updates them with two multiply-adds a value."""
    drawn = model(STATE)
    work = Workload(9, 1, 10, batch_size=3)
    found = decode_traffic(drawn, stored(drawn), work, tokens_per_sequence=each).stage("state")
    assert found.cache_bytes == LAYERS * 3 * 1000 * 2 * 2
    assert found.flops == LAYERS * 3 * 1000 * 4 * each
    assert prefill_traffic(drawn, stored(drawn), work).stage("state").flops == LAYERS * 3 * 1000 * 4 * 9


def test_an_indexer_reads_all_of_its_keys_and_few_of_the_others() -> None:
    """Selecting 4 of 10 tokens: 4 rows of keys and values, 10 of the indexer's 6 values, in whole blocks."""
    sparse = model(replace(MIXER, selected_tokens=4, indexer_elements=6))
    work = Workload(10, 0, 10)
    assert decode_traffic(sparse, stored(sparse), work).stage("kv").cache_bytes == LAYERS * (4 * 80 + 10 * 6) * 2
    packed = replace(work, kv_precision="q8_0")
    assert decode_traffic(sparse, stored(sparse), packed).stage("kv").cache_bytes == LAYERS * -(-(380 * 34) // 32)


def test_a_cache_that_is_concatenated_is_read_written_and_repeated() -> None:
    """Two KV heads of 40 values for each of four query heads: the cache and the repeated one, both ways."""
    work = Workload(100, 28, 128, batch_size=3)
    context = work.decode_context_tokens
    assert copied_cache_bytes(model(), work, repeats=False) == LAYERS * context * 2 * 80 * 3 * 2
    assert copied_cache_bytes(model(), work, repeats=True) == LAYERS * context * 2 * (80 + 160) * 3 * 2
    alike = model(replace(MIXER, kv_heads=4))
    assert copied_cache_bytes(alike, work, repeats=True) == LAYERS * context * 2 * 160 * 3 * 2
    assert copied_cache_bytes(model(LATENT), work, repeats=True) == LAYERS * context * 2 * 40 * 3 * 2


@pytest.mark.parametrize(("chunk", "chunks", "rest"), [(None, 1, 0), (100, 3, 0), (150, 2, 0), (280, 1, 20)])
def test_a_prompt_by_stage(chunk: int | None, chunks: int, rest: int) -> None:
    """Three prompts of 100 behind 20 cached: weights once a chunk, FLOPs once a token, the head once a sequence. Tokens
    that are left over read the weights once more, but of the experts their own alone."""
    work = Workload(100, 1, 101, batch_size=3)
    found = prefill_traffic(model(), stored(model()), work, chunk_tokens=chunk, cached_tokens=20)
    size = chunk or 300

    def stacks(tokens: int) -> int:
        of_one = 8 * (1 - 0.75 ** (1 + CORRELATION * (min(tokens, 100) - 1)))
        return round(LAYERS * STACK * (1 - (1 - of_one / 8) ** max(1, tokens // 100)))

    assert found.tokens == 300
    assert found.stage("router").weight_bytes == (chunks + bool(rest)) * LAYERS * ROUTER
    assert found.stage("router").flops == 2 * LAYERS * EXPERTS * HIDDEN * 300
    assert found.stage("experts").weight_bytes == chunks * stacks(size) + (stacks(rest) if rest else 0)
    assert found.stage("experts").flops == 2 * LAYERS * 2 * WIDTH * HIDDEN * 300
    assert found.stage("lm_head")[1:] == (HEAD, 0, 2 * VOCAB * HIDDEN * 3)
    attended = sum(20 + token for token in range(1, 101))
    assert found.stage("kv").flops == LAYERS * 3 * 2 * 4 * (24 + 16) * attended
    assert found.stage("kv").cache_bytes == LAYERS * 3 * (20 + 100) * TOKEN_BYTES


@pytest.mark.parametrize(("chunk", "passes", "found"), [(100, 1, 100), (50, 2, 75), (25, 4, 62)])
def test_each_sequence_of_a_prompt_reads_its_own_cache(chunk: int, passes: int, found: int) -> None:
    """Three prompts of 100 in chunks of a prompt at most: each chunk reads what its sequence has then, on average."""
    three, one = (
        prefill_traffic(model(), stored(model()), Workload(100, 1, 101, batch_size=n), chunk_tokens=chunk)
        for n in (3, 1)
    )
    assert one.stage("kv").cache_bytes == LAYERS * passes * found * TOKEN_BYTES
    assert three.stage("kv").cache_bytes == 3 * one.stage("kv").cache_bytes


def test_layers_that_share_keys_run_for_a_prompts_last_token() -> None:
    """Of the last two layers, which read the second's keys, a prompt of 100 tokens multiplies one token where a runtime
    tells them apart; a layer that shares before one that does not runs for all."""
    shares = replace(MIXER, shares_kv=True)
    own, shared = model(MIXER), model(MIXER)
    layers = tuple(replace(layer, mixers=(shares,)) if layer.index > 1 else layer for layer in shared.layers)
    tensors = tuple(
        replace(tensor, name=f"{tensor.name}.{half[0]}", layers=half)
        for tensor in shared.tensors
        for half in ((0, 1), (2, 3))
        if tensor.layers == ALL
    )
    shared = replace(shared, layers=layers, tensors=tensors)
    assert last_token_layers(own) == frozenset()
    assert last_token_layers(shared) == {2, 3}
    assert last_token_layers(replace(shared, layers=(*layers[:3], own.layers[3]))) == frozenset()
    work = Workload(100, 1, 101)
    whole = prefill_traffic(shared, stored(shared), work)
    apart = prefill_traffic(shared, stored(shared), work, shared_apart=True)
    for stage in ("attention", "experts", "router"):
        every, few = whole.stage(stage).flops, apart.stage(stage).flops
        assert few == every / 2 + every / 2 / 100
    assert apart.stage("kv").flops == whole.stage("kv").flops * (50.5 + 1) / 101
    assert prefill_traffic(own, stored(own), work, shared_apart=True) == prefill_traffic(own, stored(own), work)
