"""Speed counted on paper: what a step of a model drawn by hand moves and computes, and what the law makes of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import exp, hypot, log

import pytest
from drawn import (
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

from sizer.device.records import Device, LocalRatio, Target
from sizer.memory.records import Placement, Share
from sizer.model.architecture import Architecture, Basis, Mixer, MixerKind, Module, Role, Tensor
from sizer.speed import nearby
from sizer.speed.case import (
    SpeedCase,
    cpu_flops_per_s,
    nominal_flops_per_s,
    peak_doubt,
    product_type,
    prompt_flops_per_s,
    reachable_bytes_per_s,
    served_products,
    speed_case,
)  # fmt: skip
from sizer.speed.chunks import whole as at_once
from sizer.speed.launches import expert_amounts, layer_count, llama_layers, moe_layer_count
from sizer.speed.law import Amount, Constants, Term, combine
from sizer.speed.limits import fastest_decode
from sizer.speed.measured_here import as_measured_here, ratio_for
from sizer.speed.nearby import Likeness, Row, Traits, correction, lines_with, rows_of, traits, written
from sizer.speed.predict import Timed, _stages, decode_of, depth_of, predict, replicas
from sizer.speed.records import NONE, DraftMethod
from sizer.speed.speculative import draft_cost, expected_tokens, round_cost, speculation_of, step_s, verify_cost
from sizer.speed.splits import parallelism, pipeline_speedup, tensor_ranks
from sizer.speed.terms import (
    bandwidth_bytes_per_s,
    decode_amounts,
    host_bandwidth_bytes_per_s,
    host_share,
    nominal_bandwidth_bytes_per_s,
    peak_flops_per_s,
    prefill_amounts,
    prompt_peak_flops_per_s,
    prompt_traffic,
)  # fmt: skip
from sizer.speed.traffic import (
    attention_flops,
    causal_attended_tokens,
    copied_cache_bytes,
    decode_traffic,
    distinct_experts,
    expansion_flops,
    is_tied_head,
    pass_weight_bytes,
    prefill_traffic,
)  # fmt: skip
from sizer.speed.widths import Asked, Width
from sizer.tuning import tuned
from sizer.workload import Split, Workload

LATENT = Mixer(MixerKind.MLA, heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40)
STATE = Mixer(MixerKind.SSM, state_elements=1000)
CORRELATION = tuned("routing_correlation")

CARD = Device("card", "Card", "nvidia", "gpu", 2**30, 1e12, {"bf16": 1e14, "fp16_acc16": 2e14}, "hbm2")
OWN_KERNELS_FLOPS_PER_S = 1.5e14 * (2e14 / 1.5e14) ** 0.65
"""What llama.cpp's prompts on the card are relative to: its peak, with sums in 16 bits, to the power 0.65."""
EVERY_TERM = {
    "weights", "experts", "cache", "host", "compute", "tiles", "launch", "layers", "step", "moe_layers", "expert_calls",
    "cache_copies", "many", "sequences", "ranks", "moved", "rows", "hops", "prefill_compute", "prefill_experts",
    "prefill_attention", "prefill_weights", "prefill_cache", "prefill_host", "prefill_launch", "prefill_layers",
    "prefill_step", "prefill_ranks", "prefill_moved", "prefill_rows",
}  # fmt: skip
FLAT = Width(log(0.5), {}, -1.0, 1.0)
PLAIN = Constants(
    {name: Term(0.0, {}) for name in EVERY_TERM}, {}, {"decode": FLAT, "prefill": FLAT},
    {"decode": {"other": 1.0}, "prefill": {"other": 1.0}},
)  # fmt: skip
"""Constants that leave every amount as it is: what remains is the counting and the law."""


@pytest.fixture(autouse=True)
def _other() -> None:
    from sizer.speed.predict import OTHER_ENGINES

    for table in PLAIN.stretches.values():
        table[OTHER_ENGINES] = 1.0  # type: ignore[index]


def asked(  # noqa: PLR0917 - each test varies some of these
    architecture: Architecture | None = None,
    workload: Workload | None = None,
    engine: str = "vllm",
    target: Target | None = None,
    placement: Placement | None = None,
    precision: str = "bf16",
) -> SpeedCase:
    """A case of the drawn model on made-up cards."""
    drawn = architecture or model()
    weights = replace(stored(drawn), precision=precision)
    return speed_case(
        drawn, weights, target or Target(CARD), workload or Workload(100, 28, 128), engine, placement=placement
    )


# Traffic.


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


# Rates.


def test_ranks_add_their_bandwidth_and_layers_take_their_turns() -> None:
    """Two ranks of unlike cards: twice the slower; a layer split: by their memories' shares; copies: one's."""
    other = replace(CARD, bandwidth_bytes_per_s=5e11, memory_bytes=3 * 2**30)
    two = Target(CARD, others=(other,))
    work = Workload(100, 28, 128)
    tensor = asked(target=two, workload=replace(work, parallelism=Split.TENSOR))
    assert bandwidth_bytes_per_s(tensor) == 2 * 5e11
    assert tensor_ranks(tensor) == 2
    layer = asked(target=two, engine="llama.cpp", workload=replace(work, parallelism=Split.LAYER))
    assert bandwidth_bytes_per_s(layer) == pytest.approx(4 / (1 / 1e12 + 3 / 5e11))
    assert tensor_ranks(layer) == 1
    copies = asked(target=two, workload=replace(work, parallelism=Split.DATA))
    assert bandwidth_bytes_per_s(copies) == 1e12
    assert (replicas(copies), replicas(tensor), replicas(asked())) == (2, 1, 1)
    assert tensor_ranks(asked(target=Target(CARD, 16), workload=replace(work, parallelism=Split.TENSOR))) == 8
    assert peak_flops_per_s(tensor) == 2 * 1e14
    assert prompt_peak_flops_per_s(tensor) == 2 * prompt_flops_per_s(CARD)
    assert nominal_bandwidth_bytes_per_s(tensor) == bandwidth_bytes_per_s(tensor)


def test_peaks_of_a_card() -> None:
    """16-bit products, the faster sums where the engine takes them, twice the 32-bit peak, or what memory feeds; for a
    prompt a mean with what memory feeds and, where it is told, what the power sustains."""
    assert nominal_flops_per_s(CARD) == 1e14
    assert nominal_flops_per_s(CARD, "fp16") == 2e14
    assert nominal_flops_per_s(replace(CARD, peak_flops_per_s={"fp32": 3e13})) == 6e13
    fed = 1e12 * tuned("fed_flops_per_byte")
    assert nominal_flops_per_s(replace(CARD, peak_flops_per_s={})) == fed
    share, rest = tuned("peak_power"), tuned("fed_power")
    power = share / (share + rest)
    assert prompt_flops_per_s(CARD) == pytest.approx(1e14**power * fed ** (1 - power))
    sustained = (300 * tuned("flops_per_joule")) ** (1 - share - rest)
    assert prompt_flops_per_s(replace(CARD, tdp_w=300)) == pytest.approx(1e14**share * fed**rest * sustained)
    typed = replace(CARD, peak_flops_per_s={**CARD.peak_flops_per_s, "fp8": 4e14})
    assert prompt_flops_per_s(typed, products="fp8") == pytest.approx(4e14**power * fed ** (1 - power))
    assert prompt_flops_per_s(CARD, products="fp8") == prompt_flops_per_s(CARD)
    assert served_products("mxfp4") == served_products("nvfp4") == ("fp8", "fp4")
    assert (product_type("mxfp4"), served_products("q4_k"), served_products("fp8-block")) == ("", (), ("fp8",))
    assert [product_type(kernel) for kernel in ("fp8-block", "nvfp4", "w8a8-int8", "q4_k")] == [
        "fp8",
        "fp4",
        "int8",
        "",
    ]
    assert peak_doubt(CARD) == (0.0, 0.0)
    slower, faster = peak_doubt(replace(CARD, peak_flops_per_s={}))
    assert (slower, faster) == (-power * log(0.34), power * log(3.07))


def test_cpus_reach_a_power_of_their_bandwidth_and_compute_with_their_cores() -> None:
    """16 cores of 100 GFLOP/s, fewer with fewer threads; a measured bandwidth counts whole."""
    cpu = Device("cpu", "CPU", "nobody", "cpu", None, 2.4e11, cores=16)
    power, at = tuned("cpu_bandwidth_power"), tuned("cpu_reference_bytes_per_s")
    assert reachable_bytes_per_s(cpu) == pytest.approx(at * 4**power)
    assert reachable_bytes_per_s(replace(cpu, bandwidth_basis="measured")) == 2.4e11
    assert reachable_bytes_per_s(CARD) == 1e12
    assert cpu_flops_per_s(cpu) == 16 * tuned("core_flops_per_s")
    assert cpu_flops_per_s(cpu, 4) == 4 * tuned("core_flops_per_s")
    assert cpu_flops_per_s(cpu, 99) == 16 * tuned("core_flops_per_s")
    assert cpu_flops_per_s(replace(cpu, peak_flops_per_s={"fp32": 3.2e12}), 4) == 8e11
    unknown = replace(cpu, cores=None, bandwidth_bytes_per_s=3.2e11)
    assert cpu_flops_per_s(unknown) == 16 * tuned("core_flops_per_s")  # 8 x the root of 4
    assert cpu_flops_per_s(replace(unknown, bandwidth_bytes_per_s=1.0)) == tuned("core_flops_per_s")


@pytest.mark.parametrize(
    ("engine", "chunks", "speedup"), [("llama.cpp", 9, 1.6), ("llama.cpp", 1, 1.0), ("vllm", 9, 1)]
)
def test_chunks_follow_each_other_through_layers(engine: str, chunks: int, speedup: float) -> None:
    """Four chunks in flight on two cards: 8 / 5; one chunk, or an engine that sends none, no faster than one card."""
    split = Split.LAYER if engine == "llama.cpp" else Split.TENSOR
    case = asked(target=Target(CARD, 2), engine=engine, workload=Workload(100, 28, 128, parallelism=split))
    assert pipeline_speedup(case, chunks) == pytest.approx(speedup)
    assert pipeline_speedup(asked(engine=engine), chunks) == 1.0
    assert pipeline_speedup(replace(case, backend="vulkan"), chunks) == 1.0


def place_of(name: str, weights_bytes: int) -> Share:
    """A place that holds weights alone."""
    return Share(name, weights_bytes, 0, 0, 0, 0, 0, None, 1)


def split(on_card: int, on_host: int, *, experts: bool = False) -> Placement:
    """Weights divided between a card and the host."""
    return Placement("offload", (place_of("card", on_card),), place_of("host", on_host), True, 0, 1, None, experts)


def test_the_host_serves_its_share_at_its_rate() -> None:
    """A quarter of the weights there, over the memory of two sockets; a desktop's where no host is known."""
    host = Device("host", "Host", "nobody", "cpu", None, 5e10)
    with_host = Target(CARD, host=host, host_count=2)
    case = asked(target=with_host, placement=split(300, 100))
    assert host_share(case) == 0.25
    assert host_bandwidth_bytes_per_s(case) == 1e11
    assert host_share(asked()) == 0.0
    unknown = Target(CARD, host=replace(host, bandwidth_bytes_per_s=None))
    for target in (Target(CARD), unknown):
        assert host_bandwidth_bytes_per_s(asked(target=target)) == tuned("host_bytes_per_s")


# Amounts.


def amounts_by_name(amounts: tuple[Amount, ...]) -> dict[str, float]:
    """Nominal seconds by term; no term twice."""
    found = {amount.term: amount.nominal_s for amount in amounts}
    assert len(found) == len(amounts)
    return found


@pytest.mark.parametrize("experts_away", [False, True])
def test_amounts_of_a_decode_step(experts_away: bool) -> None:
    """Bytes over the card's and the host's rates, FLOPs over the peak, and counts of layers, steps and sequences."""
    host = Device("host", "Host", "nobody", "cpu", None, 5e10)
    work = Workload(100, 28, 128, batch_size=3)
    held = split(3 * 10**5, 10**5, experts=experts_away)
    case = asked(target=Target(CARD, host=host), workload=work, placement=held)
    traffic = decode_traffic(case.architecture, case.stored, work)
    found = amounts_by_name(decode_amounts(case, traffic))
    experts = traffic.stage("experts").weight_bytes
    rest = traffic.weight_bytes - experts
    away = 0.25 * case.stored.weights_bytes / (LAYERS * STACK) if experts_away else 0.25
    rest_away = 0.0 if experts_away else 0.25
    assert found["weights"] == pytest.approx(rest * (1 - rest_away) / 1e12)
    assert found["experts"] == pytest.approx(experts * (1 - away) / 1e12)
    assert found["host"] == pytest.approx((experts * away + rest * rest_away) / 5e10)
    assert found["cache"] == pytest.approx(traffic.cache_bytes / 1e12)
    attention = traffic.stage("kv").flops
    assert found["compute"] == pytest.approx((traffic.flops - attention) / 1e14)
    assert found["attention"] == pytest.approx(attention / 1e14)
    assert found["many"] == pytest.approx(found["weights"] + found["experts"])
    assert found["sequences"] == pytest.approx(2 * 1e-4)
    assert found["step"] == 1e-3
    assert found["launch"] == found["moe_layers"] == pytest.approx(LAYERS * 1e-4)
    assert found["layers"] == pytest.approx(LAYERS * 1e-4 / (1e14 / 4 / 4e13) ** tuned("layer_power"))
    assert not {"ranks", "moved", "hops", "rows", "tiles", "cache_copies"} & found.keys()
    one = amounts_by_name(
        decode_amounts(asked(), decode_traffic(case.architecture, case.stored, Workload(100, 28, 128)))
    )
    assert not {"many", "sequences"} & one.keys()


def test_what_devices_say_to_each_other() -> None:
    """Ranks: two sums a layer, moved twice but for a rank's own part; layers: a hop; rows: a gather a further card."""
    linked = Target(CARD, 4, link_bytes_per_s=1e10)
    work = Workload(100, 28, 128, batch_size=3)
    step = decode_traffic(model(), stored(model()), work)

    def found(engine: str, how: Split, target: Target) -> dict[str, float]:
        return amounts_by_name(
            decode_amounts(asked(engine=engine, workload=replace(work, parallelism=how), target=target), step)
        )

    ranks = found("vllm", Split.TENSOR, linked)
    assert ranks["ranks"] == pytest.approx(LAYERS * 1e-4)
    assert ranks["moved"] == pytest.approx(2 * LAYERS * HIDDEN * 2 * 3 * 2 * 3 / 4 / 1e10)
    unknown = found("vllm", Split.TENSOR, replace(linked, link_bytes_per_s=None))
    assert unknown["moved"] == pytest.approx(ranks["moved"] * 1e10 / tuned("link_bytes_per_s"))
    assert found("llama.cpp", Split.LAYER, linked)["hops"] == pytest.approx(3e-4)
    assert found("llama.cpp", Split.ROW, linked)["rows"] == pytest.approx(LAYERS * 3 * 1e-4)


def test_a_few_tokens_are_vectors_and_more_are_tiles() -> None:
    """llama.cpp multiplies up to 8 tokens as vectors, the first apart; of 9, one vector's products and tiles. An
    expert's tokens fill tiles from the second token on: of 8 tokens two for each of eight experts, in tiles of 8."""
    for batch in (8, 9):
        work = Workload(100, 28, 128, batch_size=batch)
        case = asked(engine="llama.cpp", workload=work)
        step = decode_traffic(case.architecture, case.stored, work)
        found = amounts_by_name(decode_amounts(case, step))
        peak, tiled = nominal_flops_per_s(CARD, "fp16"), OWN_KERNELS_FLOPS_PER_S
        experts = step.stage("experts").flops
        products = step.flops - step.stage("kv").flops
        assert found["compute"] == pytest.approx(products / batch / peak)
        each = batch * 2 / distinct_experts(8, 2, batch)
        filling = max(8 / each, 1 + 8 / (2 * each))
        assert found["tile_experts"] == pytest.approx(experts * (1 - 1 / batch) * filling / tiled)
        if batch == 8:
            assert found["further"] == pytest.approx((products - experts) * 7 / 8 / peak)
            assert "tiles" not in found
        else:
            assert "further" not in found
            assert found["tiles"] == pytest.approx((products - experts) / tiled)


def test_further_tokens_of_a_sequence_attend_in_tiles() -> None:
    """Of four tokens of one sequence one attends as in a plain step; of four sequences' tokens each does."""
    work = Workload(100, 28, 128)
    case = asked(engine="llama.cpp", workload=work)
    peak = nominal_flops_per_s(CARD, "fp16")
    step = decode_traffic(case.architecture, case.stored, work, tokens_per_sequence=4)
    found = amounts_by_name(decode_amounts(case, step))
    attention = step.stage("kv").flops
    assert found["attention"] == pytest.approx(attention / 4 / peak)
    assert found["further_attention"] == pytest.approx(attention * 3 / 4 / peak)
    apart = replace(case, workload=replace(work, batch_size=4))
    found = amounts_by_name(decode_amounts(apart, decode_traffic(case.architecture, case.stored, apart.workload)))
    assert found["attention"] == pytest.approx(attention / peak)
    assert found["further_attention"] == 0


def test_steps_of_a_prompt_have_no_output_head() -> None:
    """A step whose tokens put nothing out reads and multiplies all but the head; by itself each token has one."""
    work = Workload(100, 28, 128)
    case = asked(workload=work)
    every = decode_traffic(case.architecture, case.stored, work, tokens_per_sequence=4)
    none = decode_traffic(case.architecture, case.stored, work, tokens_per_sequence=4, outputs=0)
    one = decode_traffic(case.architecture, case.stored, work, tokens_per_sequence=4, outputs=1)
    head = every.stage("lm_head")
    assert every.weight_bytes - none.weight_bytes == head.weight_bytes > 0
    assert every.flops - none.flops == head.flops
    assert every.flops - one.flops == head.flops * 3 // 4
    assert one.weight_bytes == every.weight_bytes


def test_amounts_of_a_prompt() -> None:
    """1,000 tokens in two chunks of 512 through two cards: a pipeline's bytes and FLOPs, layers a chunk."""
    work = Workload(1000, 1, 1001, parallelism=Split.LAYER)
    case = asked(engine="llama.cpp", workload=work, target=Target(CARD, 2))
    traffic, chunks = prompt_traffic(case)
    assert (traffic.tokens, chunks.sizes, chunks.passes) == (1000, ((512, 1), (488, 1)), 2)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    faster = 2 * 2 / (2 + 2 - 1)
    peak = OWN_KERNELS_FLOPS_PER_S * faster
    kv, experts = traffic.stage("kv").flops, traffic.stage("experts").flops
    layers = llama_layers(model(), "kernels")
    assert found["prefill_compute"] == pytest.approx((traffic.flops - kv - experts) / peak)
    half = tuned("tile_rows") / 2  # 128 and 122 tokens for each of eight experts, half a tile more
    filling = (512 * (1 + half / 128) + 488 * (1 + half / 122)) / 1000
    assert found["prefill_experts"] == pytest.approx(experts * filling / peak)
    older = 0.31**0.65  # its attention keeps to older matrix instructions, of which a card like no other reaches least
    assert found["prefill_attention"] == pytest.approx(kv / (peak * older))
    assert found["prefill_weights"] == pytest.approx(traffic.weight_bytes / (1e12 * faster))
    assert found["prefill_cache"] == pytest.approx(traffic.cache_bytes / (1e12 * faster))
    assert found["prefill_layers"] == found["prefill_launch"] == pytest.approx(layers * 2 / faster * 1e-4)
    assert found["prefill_step"] == pytest.approx(2e-3)
    assert not {"prefill_host", "prefill_in_place", "prefill_on_cores"} & found.keys()
    assert "prefill_ranks" not in found


def test_a_prompt_over_ranks_and_beside_a_host() -> None:
    """Each layer's sums for every token; what lies on the host comes over each rank's link, as fast as its memory and
    as a mapped file's pages are copied; or its cores multiply it, read once."""
    host = Device("host", "Host", "nobody", "cpu", None, 5e10)
    work = Workload(100, 1, 101, parallelism=Split.TENSOR)
    target = Target(CARD, 2, link_bytes_per_s=1e10, host=host, host_link_bytes_per_s=2e10)
    case = asked(workload=work, target=target, placement=split(300, 100))
    traffic, chunks = prompt_traffic(case)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    assert chunks == at_once(100)
    assert found["prefill_ranks"] == pytest.approx(LAYERS * 1e-4)
    assert found["prefill_moved"] == pytest.approx(2 * LAYERS * HIDDEN * 2 * 100 * 2 * 1 / 2 / 1e10)
    hosted = (traffic.weight_bytes - HEAD) / 4
    assert found["prefill_host"] == pytest.approx(hosted / min(4e10, tuned("pageable_bytes_per_s")))
    assert found["prefill_weights"] == pytest.approx(traffic.weight_bytes * 3 / 4 / 2e12)
    near = replace(case, target=replace(target, host_link_bytes_per_s=9e10))
    (over,) = (one for one in prefill_amounts(near, traffic, chunks) if one.term == "prefill_host")
    assert over.least_s == pytest.approx(hosted / 5e10)
    on_cores = (traffic.flops - traffic.stage("kv").flops) / 4 / cpu_flops_per_s(host)
    for there in (replace(case, backend="cpu+cuda"), replace(case, streams_from_tokens=101)):
        amounts = amounts_by_name(prefill_amounts(there, traffic, chunks))
        assert amounts["prefill_in_place"] == pytest.approx(hosted / 5e10)
        assert amounts["prefill_on_cores"] == pytest.approx(on_cores)
        assert "prefill_host" not in amounts


def test_the_host_multiplies_the_few_tokens_that_are_left_over() -> None:
    """100 tokens in chunks of 48: two chunks cross the link, four tokens are multiplied where the weights lie."""
    host = Device("host", "Host", "nobody", "cpu", None, 5e10)
    target = Target(CARD, 1, host=host, host_link_bytes_per_s=2e10)
    work = Workload(100, 1, 101)
    case = replace(
        asked(workload=work, target=target, placement=split(300, 100)), chunk_tokens=48, streams_from_tokens=32
    )
    traffic, chunks = prompt_traffic(case)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    crossing, left = (pass_weight_bytes(model(), stored(model()), work, tokens) / 4 for tokens in (48, 4))
    assert found["prefill_host"] == pytest.approx(2 * crossing / min(2e10, tuned("pageable_bytes_per_s")))
    assert found["prefill_in_place"] == pytest.approx(left / 5e10)
    products = (traffic.flops - traffic.stage("kv").flops) / 4 * 4 / 100
    assert found["prefill_on_cores"] == pytest.approx(products / cpu_flops_per_s(host))


# Layers and launches.


@pytest.mark.parametrize(("billions", "layers"), [(7.0, 32.0), (0.01, 8.0), (5000.0, 128.0)])
def test_layers_of_a_model_known_by_its_size(billions: float, layers: float) -> None:
    """32 at 7 B, never below 8 nor above 128; the power of the table in between, of the mean of total and active."""
    lump = Tensor("lump", (round(billions * 1e9),), Role.OTHER, Module.LINEAR)
    known = replace(model(tensors=(lump,)), layers=(), basis=Basis.NAME)
    assert layer_count(known) == pytest.approx(layers)
    assert moe_layer_count(known) == 0
    quarter = Tensor("experts", (4, 14 * 10**9), Role.EXPERT_UP, Module.EXPERT_STACK, active_experts=1)
    sparse = replace(known, tensors=(quarter,))
    assert layer_count(sparse) == pytest.approx(32 * 4 ** tuned("layers_power"))
    assert moe_layer_count(sparse) == layer_count(sparse)


def test_layers_count_with_their_passes() -> None:
    """Four layers, run three times."""
    assert layer_count(model(passes=3)) == 12
    assert moe_layer_count(model()) == LAYERS


@pytest.mark.parametrize(
    ("version", "calls", "each", "once"), [("4.50", EXPERTS, 10, 6), ("4.55", None, 12, 9), ("5.1", 0, 0, 17)]
)
def test_experts_called_one_by_one_launch_for_each(version: str, calls: int | None, each: int, once: int) -> None:
    """Every expert, those that the tokens chose, or none: launches a call and launches a layer of the table."""
    work = Workload(100, 28, 128, batch_size=3)
    case = speed_case(model(), stored(model()), Target(CARD), work, "transformers", engine_version=version)
    (found,) = expert_amounts(case)
    called = distinct_experts(EXPERTS, 2, 3) if calls is None else calls
    assert found.nominal_s == pytest.approx(LAYERS * (once + each * called) * 1e-5)


# The law, and what is told of it.


def test_squares_add_and_overhead_is_hidden_by_nothing() -> None:
    """3, 4 and 12 are 13; 2 more stand beside; a step of overhead alone is its overhead."""
    assert combine({"memory": 3.0, "compute": 4.0, "launch": 12.0, "overhead": 2.0}) == pytest.approx(15)
    assert combine({"memory": 0.0, "compute": 0.0, "launch": 0.0, "overhead": 2.0}) == 2.0


def test_a_fitted_term_is_never_less_than_physics_leaves_it() -> None:
    """A factor below the nominal rate stops there; a term that was never fitted is not counted."""
    amount = Amount("weights", "memory", 2.0, 1.5)
    assert [amount.weighed_s(factor) for factor in (2.0, 0.5, 0.0)] == [4.0, 1.5, 0.0]


def test_a_step_and_its_stages() -> None:
    """Amounts as they are make the step's time by the law; stages share memory and compute, overheads stand alone."""
    terms = (
        (Amount("weights", "memory", 3.0), 3.0), (Amount("compute", "compute", 4.0), 4.0),
        (Amount("launch", "launch", 12.0), 12.0), (Amount("step", "overhead", 2.0), 2.0),
        (Amount("moved", "overhead", 1.0), 1.0),
    )  # fmt: skip
    step = Timed(16.0, terms)
    assert step.bound == "overhead"  # 14 + 12 of launches, less the link's
    assert step.part_s("overhead") == 3.0
    work = Workload(100, 28, 128)
    traffic = decode_traffic(model(), stored(model()), work)
    found = {stage.stage: stage for stage in _stages(traffic, step, 32.0)}
    assert sum(stage.time_s for stage in found.values()) == pytest.approx(32.0)
    assert found["step"].time_s == pytest.approx(4.0)
    assert found["launch"].time_s == pytest.approx(2 * 12 * 12 / 13)
    assert (found["moved"].bound, found["step"].bound) == ("link", "overhead")
    by_bytes = {
        one.stage: max(3 * one.bytes_read / traffic.bytes_read, 4 * one.flops / traffic.flops) for one in traffic.stages
    }
    moving = 13 - 144 / 13
    for name, share in by_bytes.items():
        assert found[name].time_s == pytest.approx(2 * moving * share / sum(by_bytes.values()))
        reads, does = traffic.stage(name).bytes_read / traffic.bytes_read, traffic.stage(name).flops / traffic.flops
        assert found[name].bound == ("bandwidth" if 3 * reads >= 4 * does else "compute")


def test_speeds_of_a_request() -> None:
    """A step's rate, the prompt's time, and output over both; all sequences together produce as many times that."""
    work = Workload(100, 28, 128, batch_size=3)
    found = predict(speed_case(model(), stored(model()), Target(CARD), work, "vllm"), PLAIN)
    case = asked(workload=work)
    amounts = decode_amounts(case, decode_traffic(case.architecture, case.stored, work))
    parts = dict.fromkeys(("memory", "compute", "launch", "overhead"), 0.0)
    for amount in amounts:
        parts[amount.part] += amount.nominal_s
    step = hypot(parts["memory"], parts["compute"], parts["launch"]) + parts["overhead"]
    assert found.decode.tokens_per_s == pytest.approx(1 / step)
    assert found.decode.low_tokens_per_s == pytest.approx(exp(-0.5) / step)
    assert found.prefill.high_tokens_per_s == pytest.approx(found.prefill.tokens_per_s * exp(0.5))
    assert found.prefill.tokens_per_s * found.prefill.ttft_s == pytest.approx(300)
    latency = found.prefill.ttft_s + 28 * step
    assert found.request.latency_s == pytest.approx(latency)
    assert found.request.tokens_per_s == pytest.approx(28 / latency)
    assert found.request.throughput_tokens_per_s == pytest.approx(3 * 28 / latency)
    assert found.decode.nearby == NONE == (0.0, 0, 0.0)


def test_a_full_cache_is_told_where_it_slows_decoding() -> None:
    """A cache of five million tokens beside small weights is told, one of 128 is not; both ends are the law's own."""
    long = asked(workload=Workload(100, 28, 5_000_000))
    found = depth_of(long, decode_of(long, PLAIN)[0], PLAIN)
    assert found is not None
    assert found.full_context_tokens == 5_000_000
    full = asked(workload=Workload(4_999_999, 1, 5_000_000))
    empty = asked(workload=Workload(1, 1, 2))
    assert found.full_tokens_per_s == pytest.approx(decode_of(full, PLAIN)[0].tokens_per_s)
    assert found.empty_tokens_per_s == pytest.approx(decode_of(empty, PLAIN)[0].tokens_per_s)
    short = asked(workload=Workload(100, 28, 128))
    assert depth_of(short, decode_of(short, PLAIN)[0], PLAIN) is None
    assert depth_of(replace(long, architecture=model(decodes=False)), decode_of(long, PLAIN)[0], PLAIN) is None


def test_widths_multiply_and_are_bounded() -> None:
    """e^(base + effects) times the ends and the stretch; a bounded one spans a factor of six at most, in proportion."""
    width = Width(log(0.1), {"engine: a": log(2.0)}, -1.0, 2.0)
    assert width.distance(("engine: a", "engine: b")) == pytest.approx(0.2)
    assert width.ends(("engine: a",), 1.5, 6.0) == pytest.approx((-0.3, 0.6))
    assert width.ends((), 30.0) == pytest.approx((-3.0, 6.0))
    assert width.ends((), 30.0, 6.0) == pytest.approx((-log(6) / 3, log(6) * 2 / 3))


@pytest.mark.parametrize(
    ("nearest", "word"),
    [(0.0, "none"), (0.01, "far"), (0.2, "apart"), (0.49, "apart"), (0.5, "near"), (0.8, "alike"), (1.0, "alike")],
)
def test_the_nearest_row_is_alike_near_apart_or_far(nearest: float, word: str) -> None:
    """From 0.8, 0.5, 0.2 and 0.01 on."""
    found = Asked("engine device", nearest, 4, "vllm", "vllm cuda", "ada", "4bit", True).groups
    assert found == (
        "evidence: engine device", "evidence: engine device, mixture", f"nearest: {word}", "kernel rows: some",
        "engine: vllm", "backend: vllm cuda", "family: ada", "bits: 4bit", "mixture",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "word"), [(0, "none"), (1, "few"), (3, "few"), (4, "some"), (12, "some"), (13, "many")]
)
def test_rows_of_a_kernel_are_none_few_some_or_many(rows: int, word: str) -> None:
    """Less than 1, 4 and 13."""
    found = Asked("none", 0.0, rows, "vllm", "vllm cuda", "ada", "4bit", False).groups
    assert f"kernel rows: {word}" in found
    assert found[-1] == "dense"


# Rows nearby.

SEEN = Traits("e b d", "q4_k", "4bit", "m", "F", False, "none 1", 2025, 20.0, -2.0, chip="d")
LIKE = Likeness(
    die=0.9, bits=0.7, kernel=0.5, family=0.6, model=0.3, moe=0.2, link=0.4, one=0.8, size=2.0, depth=4.0, years=3.0,
    tokens=5.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({}, 1.0), ({"kernel": "q5_k"}, 0.7), ({"kernel": "half", "bits": "float"}, 0.5), ({"bits": "float"}, 1.0),
        ({"model": "n"}, 0.6), ({"model": "n", "family": "G"}, 0.3), ({"family": "G"}, 1.0), ({"moe": True}, 0.2),
        ({"link": "pcie 2"}, 0.4), ({"link": "none 2"}, 1.0), ({"size": 21.0}, exp(-0.5)), ({"size": 17.0}, exp(-1.5)),
        ({"depth": 0.0}, exp(-0.5)), ({"year": 2027}, exp(-2 / 3)), ({"year": 2024}, exp(-1 / 3)),
        ({"tokens": 2.0}, 0.8 * exp(-0.4)), ({"chip": "c"}, 0.9), ({"chip": "c", "kernel": "q5_k"}, 0.9 * 0.7),
        ({"kernel": "q5_k", "model": "n", "moe": True, "link": "x", "size": 22.0, "depth": -6.0, "year": 2026},
         0.7 * 0.6 * 0.2 * 0.4 * exp(-1 - 1 - 1 / 3)),
    ],
)  # fmt: skip
def test_likeness_multiplies(changes: dict[str, object], weight: float) -> None:
    """A factor for each trait that differs, a decay over size, depth, years and tokens."""
    assert LIKE.between(SEEN, SEEN._replace(**changes)) == pytest.approx(weight)
    assert LIKE.between(SEEN._replace(**changes), SEEN) == pytest.approx(weight)


def test_rows_say_the_sum_of_their_weights_by_likeness() -> None:
    """Two rows alike in all and one of a bigger model; near are those of a likeness of a quarter or more."""
    size = tuned("like_size")
    bigger, far = (SEEN._replace(size=SEEN.size + apart) for apart in (size, 9 * size))
    found = correction(SEEN, [Row(SEEN, 0.1), Row(SEEN, -0.3), Row(bigger, 0.5), Row(far, 2.0)])
    assert found.log_factor == pytest.approx(0.1 - 0.3 + 0.5 * exp(-1) + 2.0 * exp(-9))
    assert (found.rows, found.nearest) == (3, 1.0)


def test_rows_are_read_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """By engine, device and quantity, and by model; the first and the last line too."""
    other = SEEN._replace(pair="e b z", model="long-name-7b", moe=True)
    rows = [Row(SEEN, 0.125, f"id-{number}", 12.5) for number in range(3)]
    text = written("decode", [*rows, Row(other, -0.5, "id-9", 1.5)]) + written("prefill", rows[:1])
    monkeypatch.setattr(nearby, "_text", lambda: "\n" + text)
    rows_of.cache_clear()
    try:
        assert rows_of("e b d", "decode") == tuple(rows)
        assert rows_of("e b d", "prefill") == tuple(rows[:1])
        assert rows_of("e b z", "decode") == (Row(other, -0.5, "id-9", 1.5),)
        assert rows_of("e b", "decode") == rows_of("e b z", "prefill") == ()
        assert lines_with("Long-Name-7B") == (("decode", Row(other, -0.5, "id-9", 1.5)),)
        assert [quantity for quantity, _ in lines_with("m")] == ["decode"] * 3 + ["prefill"]
        assert lines_with("name") == ()
    finally:
        rows_of.cache_clear()


def test_traits_of_a_case() -> None:
    """The logarithm of the active parameters, and of the cache's time over that of weights and experts, to a tenth."""
    case = asked()
    amounts = [Amount("weights", "memory", 3.0), Amount("experts", "memory", 1.0), Amount("cache", "memory", 2.0)]
    found = traits(case, amounts)
    assert found.size == pytest.approx(log(case.architecture.active_params), abs=0.05)
    assert found.depth == pytest.approx(log(0.5 + 0.01), abs=0.05)
    prompt = [Amount("prefill_compute", "compute", 4.0), Amount("prefill_attention", "compute", 1.0)]
    assert traits(case, prompt).depth == pytest.approx(log(0.25 + 0.01), abs=0.05)
    assert traits(case, prompt, 8).tokens == pytest.approx(log(8))
    assert (found.moe, found.link, found.kernel, found.bits) == (True, "none 1", "half", "float")


# Drafting, and this machine's own measurements.


def test_a_round_costs_verifying_drafting_and_itself() -> None:
    """Tokens of a round over plain steps; a head drafts with its part of the layers and of the output head."""
    case = asked()
    plain = step_s(case, 1, PLAIN)
    assert verify_cost(case, 4, PLAIN) == pytest.approx(step_s(case, 5, PLAIN) / plain)
    step = decode_traffic(case.architecture, case.stored, case.workload)
    head = step.stage("lm_head").weight_bytes / step.bytes_read
    method = DraftMethod("m", (), "token", 1.0, 0.25)
    once = 1 / LAYERS * (1 - head) + 0.25 * head
    assert draft_cost(case, method, 4, PLAIN) == pytest.approx(once)
    assert draft_cost(case, method._replace(passes="round"), 4, PLAIN) == pytest.approx(once / 4)
    assert draft_cost(case, method._replace(passes="none"), 4, PLAIN) == 0.0
    assert draft_cost(case, method._replace(deepest=3), 4, PLAIN) == pytest.approx(once * 3 / 4)
    assert draft_cost(case, method._replace(deepest=4), 4, PLAIN) == pytest.approx(once)
    small = model(tensors=TENSORS[:3])
    drafter = (small, stored(small))
    assert draft_cost(case, drafter, 4, PLAIN) == pytest.approx(step_s(asked(small), 1, PLAIN) / plain)
    found = speculation_of(case, method, 4, 3.0, PLAIN)
    cost = found.verify_cost + 4 * once + round_cost("vllm", True)
    assert found.speedup == pytest.approx(3.0 / cost)
    assert found.tokens_per_s == pytest.approx(3.0 / cost / plain)
    assert expected_tokens(0.5, 2) == 1.75
    assert expected_tokens(1.0, 2) == 3.0


def test_verifying_never_costs_less_than_vectors_did() -> None:
    """llama.cpp's tiles may do 9 tokens in less time than its vectors do 8: the larger counts."""
    case = asked(engine="llama.cpp")
    plain = step_s(case, 1, PLAIN)
    nine, eight = step_s(case, 9, PLAIN), step_s(case, 8, PLAIN)
    assert verify_cost(case, 8, PLAIN) == pytest.approx(max(nine, eight) / plain)
    assert verify_cost(case, 3, PLAIN) == pytest.approx(step_s(case, 4, PLAIN) / plain)


def test_ratios_of_this_machine_are_those_of_the_engine_and_precision() -> None:
    """The median of the same pair, dated by the last; other engines and precisions say nothing."""
    ratios = [
        LocalRatio("vllm", "bf16", 0.5, 2.0, "2026-01-01"), LocalRatio("vllm", "bf16", 0.7, 4.0, "2026-02-01"),
        LocalRatio("vllm", "fp8", 9.0, 9.0, "2026-03-01"), LocalRatio("transformers", "bf16", 8.0, 8.0, "2026-03-01"),
    ]  # fmt: skip
    assert ratio_for(ratios, "vllm", "bf16") == LocalRatio("vllm", "bf16", pytest.approx(0.6), 3.0, "2026-02-01")
    assert ratio_for(ratios, "vllm", "int8") is None
    work = Workload(100, 28, 128, batch_size=3)
    before = predict(speed_case(model(), stored(model()), Target(CARD), work, "vllm"), PLAIN)
    after = as_measured_here(before, Target(CARD, local_ratios=tuple(ratios)), work, "vllm", "bf16")
    assert after.decode.tokens_per_s == pytest.approx(0.6 * before.decode.tokens_per_s)
    assert after.decode.low_tokens_per_s == pytest.approx(0.6 * (before.decode.low_tokens_per_s or 0))
    assert after.prefill.ttft_s == pytest.approx(before.prefill.ttft_s / 3)
    latency = after.prefill.ttft_s + 28 / after.decode.tokens_per_s
    assert after.request == pytest.approx((28 / latency, latency, 84 / latency))
    assert sum(one.time_s for one in after.decode_stages) == pytest.approx(1 / after.decode.tokens_per_s)
    assert sum(one.time_s for one in after.prefill_stages) == pytest.approx(after.prefill.ttft_s)


def test_what_devices_share_is_told_to_the_law() -> None:
    """One device has no link and no split; two over NVLink and over PCIe, three or more; the groups say it."""
    fast = replace(CARD, interconnect_bytes_per_s=6e11)
    found = {}
    for name, target in (
        ("one", Target(fast)),
        ("nvlink", Target(fast, 2)),
        ("pcie", Target(CARD, 2)),
        ("four", Target(CARD, 4)),
    ):
        told = asked(target=target, workload=Workload(100, 28, 128, parallelism=Split.TENSOR)).groups
        found[name] = (told["link"], told["split"])
    assert found == {
        "one": ("link: none", "split: vllm one device"),
        "nvlink": ("link: nvlink", "split: vllm tensor over 2"),
        "pcie": ("link: pcie", "split: vllm tensor over 2"),
        "four": ("link: pcie", "split: vllm tensor over 3 or more"),
    }
    assert parallelism(asked(workload=Workload(100, 28, 128, parallelism=Split.TENSOR))) is None


def test_notes_of_what_nobody_measured() -> None:
    """A device like others, an engine like others, a model known by its name alone: each is said where it holds."""
    case = asked()
    assert [note.startswith("No measured row of vllm") for note in predict(case, PLAIN).notes] == [True]
    (like,) = predict(case, PLAIN._replace(counts={case.groups["engine"]: 5})).notes
    assert "devices like it" in like or "engines like it" in like
    measured = PLAIN._replace(counts={case.groups["engine device"]: 5})
    assert predict(case, measured).notes == ()
    named = replace(case, architecture=replace(case.architecture, basis=Basis.NAME, layers=()))
    assert ["known from the name" in note for note in predict(named, measured).notes] == [True]


def test_nothing_decodes_faster_than_its_fastest() -> None:
    """The bytes of a step at the nominal rate; endless where this machine's own measurements stand above the law."""
    case = asked()
    step = decode_traffic(case.architecture, case.stored, case.workload)
    assert fastest_decode(case) == pytest.approx(1e12 / step.bytes_read)
    assert decode_of(case, PLAIN)[0].tokens_per_s <= fastest_decode(case)
    here = Target(CARD, local_ratios=(LocalRatio("vllm", "bf16", 2.0, 2.0, "2026-01-01"),))
    for target in (here, Target(replace(CARD, bandwidth_bytes_per_s=None))):
        assert fastest_decode(replace(case, target=target)) == float("inf")


@pytest.mark.parametrize(("engine", "width"), [("llama.cpp", 2 * 40), ("vllm", 24 + 16)])
def test_a_prompts_latent_attention_is_the_engines(engine: str, width: int) -> None:
    """On the latent, twice its width a head, or on the heads' own widths: 100 tokens attend to 5,050 entries."""
    traffic, _ = prompt_traffic(asked(model(LATENT), engine=engine))
    assert traffic.stage("kv").flops == LAYERS * 2 * 4 * width * 5050


def test_biases_and_norms_are_read_and_not_multiplied() -> None:
    """Whatever their role or their module: bytes of each layer, no FLOPs."""
    bias = replace(TENSORS[3], name="bias", shape=(96,), role=Role.BIAS)
    norm = replace(TENSORS[4], name="gate_norm", role=Role.OTHER)
    work = Workload(9, 1, 10)
    plain, more = (decode_traffic(one, stored(one), work) for one in (model(), model(tensors=(*TENSORS, bias, norm))))
    assert more.flops == plain.flops
    assert more.weight_bytes - plain.weight_bytes == LAYERS * (96 + HIDDEN) * 2


def test_an_encoder_sees_all_of_its_window() -> None:
    """Ten tokens attend to ten, or to a window of four."""
    mixer = Mixer(MixerKind.BIDIRECTIONAL, heads=1, kv_heads=1, qk_head_dim=8, v_head_dim=8)
    assert causal_attended_tokens(mixer, 10) == 100
    assert causal_attended_tokens(replace(mixer, window_tokens=4), 10) == 40
