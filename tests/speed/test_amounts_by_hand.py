"""The amounts of steps and prompts of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import EXPERTS, HEAD, HIDDEN, LAYERS, MIXER, STACK, model, stored
from drawncases import CARD, OWN_KERNELS_FLOPS_PER_S, asked, split

from sizer.device.records import Device, Target
from sizer.model.architecture import Basis, Mixer, MixerKind, Module, Role, Tensor
from sizer.speed.case import PromptReading, SpeedCase, speed_case
from sizer.speed.chunks import Chunks
from sizer.speed.chunks import whole as at_once
from sizer.speed.device_rates import MATRIX_OVER_VECTOR, cpu_flops_per_s, nominal_flops_per_s, vector_flops_per_s
from sizer.speed.launches import expert_amounts, layer_count, llama_layers, moe_layer_count
from sizer.speed.law import Amount
from sizer.speed.prompt_terms import prefill_amounts, prompt_traffic  # fmt: skip
from sizer.speed.rates import bandwidth_bytes_per_s, prompt_peak_flops_per_s
from sizer.speed.routing import distinct_experts
from sizer.speed.terms import decode_amounts, vector_rows  # fmt: skip
from sizer.speed.traffic import decode_traffic, pass_weight_bytes, runs_in_text
from sizer.speed.unpacked import unpacked_bytes
from sizer.tuning import tuned
from sizer.workload import Split, Workload

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
    assert found["host_link"] == pytest.approx((experts * away + rest * rest_away) / 5e10)
    assert found["cache"] == pytest.approx(traffic.cache_bytes / 1e12)
    attention = traffic.stage("kv").flops
    assert found["compute"] == pytest.approx((traffic.flops - attention) / 1e14)
    assert found["attention"] == pytest.approx(attention / 1e14)
    assert found["many"] == pytest.approx(found["weights"] + found["experts"])
    assert found["sequences"] == pytest.approx(2 * 1e-4)
    assert found["step"] == 1e-3
    assert found["launch"] == found["moe_layers"] == pytest.approx(LAYERS * 1e-4)
    assert found["layers"] == pytest.approx(
        LAYERS * 1e-4 / (3e13 * (1e14 / 1.5e14) ** 0.65 / 4e13) ** tuned("layer_power")
    )
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


@pytest.mark.parametrize(
    ("batch", "version", "sorted_"),
    [(8, "9000", False), (9, "9000", True), (4, "8500", False), (8, "8500", True), (2, "7000", True)],
)
def test_a_few_tokens_are_vectors_and_more_are_tiles(batch: int, version: str, sorted_: bool) -> None:
    """llama.cpp multiplies up to 8 tokens as vectors, the first apart; of 9, one vector's products and tiles. So it
    does experts' tokens, up to 4 of them before April 2026 and one before February. Of more, each layer sorts them, and
    they fill tiles from the second token on: of 8 tokens two for each of eight experts, in tiles of 8."""
    work = Workload(100, 28, 128, batch_size=batch)
    case = replace(asked(engine="llama.cpp", workload=work), engine_version=version)
    step = decode_traffic(case.architecture, case.stored, work)
    found = amounts_by_name(decode_amounts(case, step))
    peak, tiled = nominal_flops_per_s(CARD, "fp16"), OWN_KERNELS_FLOPS_PER_S
    experts, beyond = step.stage("experts").flops, 1 - 1 / batch
    products = step.flops - step.stage("kv").flops
    assert found["compute"] == pytest.approx((products / batch + (0 if sorted_ else experts * beyond)) / peak)
    assert ("sorted_experts" in found) is ("tile_experts" in found) is sorted_
    if sorted_:
        each = batch * 2 / distinct_experts(8, 2, batch)
        filling = max(8 / each, 1 + 8 / (2 * each))
        assert found["tile_experts"] == pytest.approx(experts * beyond * filling / tiled)
        assert found["sorted_experts"] == pytest.approx(LAYERS * 1e-4)
    vectors = peak * (MATRIX_OVER_VECTOR * vector_flops_per_s(CARD) / nominal_flops_per_s(CARD)) ** 0.5
    if batch <= 8:
        assert found["further"] == pytest.approx((products - experts) * beyond / vectors)
        assert "tiles" not in found
    else:
        assert "further" not in found
        assert found["tiles"] == pytest.approx((products - experts) / tiled)


def test_cores_multiply_several_tokens_as_they_do_prompts() -> None:
    """On llama.cpp's cores the second token is a prompt's already: one vector's products, and those of all but one
    beside a prompt's peak."""
    cores = Device("cores", "Cores", "nobody", "cpu", None, 1e11, {"fp32": 1e12}, cores=8)
    work = Workload(100, 28, 128, batch_size=3)
    case = replace(asked(engine="llama.cpp", workload=work, target=Target(cores)), engine_version="9000")
    step = decode_traffic(case.architecture, case.stored, work)
    found = amounts_by_name(decode_amounts(case, step))
    products, experts = step.flops - step.stage("kv").flops, step.stage("experts").flops
    assert found["compute"] == pytest.approx(products / 3 / 1e12)
    assert found["tiles"] == pytest.approx((products - experts) * 2 / 3 / prompt_peak_flops_per_s(case))
    assert found["tile_experts"] == pytest.approx(experts * 2 / 3 / prompt_peak_flops_per_s(case))
    assert "further" not in found


def test_floats_under_rocm_take_blocks_of_128_tokens() -> None:
    """Sixteen tokens multiply eight times what they are beside packed weights, which have tiles as narrow as they."""
    card, work = replace(CARD, vendor="amd", key="rx-7900-xtx"), Workload(100, 28, 128, batch_size=16)
    for precision, times in (("fp16", 8), ("q8_0", 1)):
        case = replace(
            asked(engine="llama.cpp", target=Target(card), precision=precision, workload=work), backend="rocm"
        )
        step = decode_traffic(case.architecture, case.stored, work)
        products = step.flops - step.stage("kv").flops - step.stage("experts").flops
        tiles = amounts_by_name(decode_amounts(case, step))["tiles"]
        peak = prompt_peak_flops_per_s(case, packed=precision != "fp16")
        assert tiles == pytest.approx(times * products / peak)


def test_mlx_multiplies_as_many_vectors_as_its_chip_is_told_and_blocks_of_32_beyond() -> None:
    """Packed weights by 5 to 12 vectors, floats by tiles from the second token on; 16 tokens take a block of 32."""
    chip = replace(CARD, vendor="apple", kind="apple")

    def rows(key: str, precision: str = "mlx-4bit", built: str = "") -> int:
        target = Target(replace(chip, key=key))
        return vector_rows(replace(asked(engine="mlx-lm", target=target, precision=precision), built=built))

    assert (rows("apple-m5-max", "bf16"), rows("apple-m1-max"), rows("apple-m2-ultra")) == (1, 5, 11)
    assert (rows("apple-m3-max"), rows("apple-m4", built="2026-01-01"), rows("apple-m5-max")) == (12, 9, 12)
    work = Workload(100, 28, 128, batch_size=16)
    case = asked(engine="mlx-lm", target=Target(replace(chip, key="apple-m4")), precision="mlx-4bit", workload=work)
    step = decode_traffic(case.architecture, case.stored, work)
    found = amounts_by_name(decode_amounts(case, step))
    products = step.flops - step.stage("kv").flops - step.stage("experts").flops
    assert found["tiles"] == pytest.approx(2 * products / prompt_peak_flops_per_s(case, packed=True))


@pytest.mark.parametrize(
    ("engine", "version", "times"), [("llama.cpp", "9000", 1), ("llama.cpp", "5000", 3), ("ik_llama.cpp", "", 3)]
)
def test_a_cache_of_all_sequences_is_weighed_whole(engine: str, version: str, times: int) -> None:
    """Where sequences share their cells (llama.cpp before streams, ik_llama.cpp) a CPU weighs each of three tokens
    against all three's cells: one token's share as in a plain step, the rest as further tokens."""
    cores = Device("cores", "Cores", "nobody", "cpu", None, 1e11, {"fp32": 1e12}, cores=8)
    work = Workload(100, 28, 128, batch_size=3)
    case = replace(asked(engine=engine, workload=work, target=Target(cores)), engine_version=version)
    step = decode_traffic(case.architecture, case.stored, work)
    found = amounts_by_name(decode_amounts(case, step))
    attention = step.stage("kv").flops
    assert found["attention"] == pytest.approx(attention / 1e12)
    assert found["further_attention"] == pytest.approx((times - 1) * attention / 1e12)


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


def test_keys_that_no_cache_serves() -> None:
    """Under Vulkan each tile of 16 queries reads its head's keys and values again from four KV heads on, here 100
    tokens behind 1,000; with fewer heads, or elsewhere, a cache serves them."""
    four = Mixer(MixerKind.FULL, heads=8, kv_heads=4, qk_head_dim=24, v_head_dim=16)
    work = Workload(100, 1, 1101)
    for mixer, backend, deep in ((four, "vulkan", True), (MIXER, "vulkan", False), (four, "cuda", False)):
        case = replace(asked(model(mixer), engine="llama.cpp", workload=work), backend=backend)
        found = amounts_by_name(prefill_amounts(case, *prompt_traffic(case, 1000)))
        assert ("prefill_streamed" in found) == deep
        if deep:
            attended = sum(range(1, 101)) + 100 * 1000
            layers = len(model(mixer).layers)
            moved = layers * attended / 16 * four.heads * (24 + 16) * 2
            assert found["prefill_streamed"] == pytest.approx(moved / bandwidth_bytes_per_s(case))


def test_amounts_of_a_prompt() -> None:
    """1,000 tokens in two chunks of 512 through two cards: a pipeline's bytes and FLOPs, layers a chunk. For what a
    token takes, the second chunk is 488 / 512 of one."""
    work = Workload(1000, 1, 1001, parallelism=Split.LAYER)
    case = asked(engine="llama.cpp", workload=work, target=Target(CARD, 2))
    traffic, chunks = prompt_traffic(case)
    assert (traffic.tokens, chunks.sizes, chunks.passes) == (1000, ((512, 1), (488, 1)), 2)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    by_pass, full = 2 * 2 / (2 + 2 - 1), 1000 / 512
    faster = 2 * full / (full + 2 - 1)
    peak = OWN_KERNELS_FLOPS_PER_S * faster
    kv, experts = traffic.stage("kv").flops, traffic.stage("experts").flops
    layers = llama_layers(model(), "kernels")
    assert found["prefill_compute"] == pytest.approx((traffic.flops - kv - experts) / peak)
    half = tuned("tile_rows") / 2  # 128 and 122 tokens for each of eight experts, half a tile more
    filling = (512 * (1 + half / 128) + 488 * (1 + half / 122)) / 1000
    of_experts = filling * 1000 / (512 * (1 + half / 128))
    together = OWN_KERNELS_FLOPS_PER_S * 2 * of_experts / (of_experts + 2 - 1)
    assert found["prefill_experts"] == pytest.approx(experts * filling / together)
    older = 0.31**0.75  # its attention keeps to older matrix instructions, of which a card like no other reaches least
    assert found["prefill_attention"] == pytest.approx(kv / (peak * older))
    assert found["prefill_weights"] == pytest.approx(traffic.weight_bytes / (1e12 * by_pass))
    assert found["prefill_cache"] == pytest.approx(traffic.cache_bytes / (1e12 * faster))
    assert found["prefill_layers"] == found["prefill_launch"] == pytest.approx(layers * 2 / by_pass * 1e-4)
    assert found["prefill_step"] == pytest.approx(2e-3)
    assert not {"prefill_host", "prefill_in_place", "prefill_on_cores"} & found.keys()
    assert "prefill_ranks" not in found


def test_values_between_a_prompt_s_products() -> None:
    """What goes into and out of a layer's matrices passes the vector units of all ranks: 96 + 64 of the query, 8 + 64
    of the router, twice 32 + 64 of two experts, 240 FLOPs' time each; not on cores, nor where no unit is told."""
    work = Workload(100, 1, 101, parallelism=Split.TENSOR)
    every = 100 * LAYERS * (160 + 72 + 2 * 96) * 240
    card = replace(CARD, peak_flops_per_s={"bf16": 1e14, "fp32": 2e13})
    for count in (1, 2):
        case = asked(workload=work, target=Target(card, count))
        found = amounts_by_name(prefill_amounts(case, *prompt_traffic(case)))
        assert found["prefill_activations"] == pytest.approx(every / (count * 2e13))
    for other in (replace(card, kind="cpu"), replace(card, kind="npu")):
        case = asked(workload=work, target=Target(other))
        assert "prefill_activations" not in amounts_by_name(prefill_amounts(case, *prompt_traffic(case)))


def test_few_tokens_of_an_expert() -> None:
    """Two tokens leave each expert that they touch little more than one, and half a tile beside it."""
    case = asked(workload=Workload(2, 1, 3))
    traffic, chunks = prompt_traffic(case)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    each = 2 * 2 / distinct_experts(EXPERTS, 2, 2)
    products = traffic.stage("experts").flops
    rest = traffic.flops - traffic.stage("kv").flops - products
    slower = 1 + tuned("tile_rows") / 2 / each
    assert found["prefill_experts"] / found["prefill_compute"] == pytest.approx(products * slower / rest)


def packed(case: SpeedCase, *, experts: bool) -> SpeedCase:
    """The same with a byte for each weight of all parts, or of stacks of experts alone."""
    parts = tuple(
        replace(part, size_bytes=part.tensor.total_elements)
        if not experts or part.tensor.module is Module.EXPERT_STACK
        else part
        for part in case.stored.tensors
    )
    return replace(case, stored=replace(case.stored, tensors=parts))


@pytest.mark.parametrize(
    ("device", "precision", "version", "built", "rows"),
    [
        ("rtx-4090", "q2_k", "", "", 4),
        ("rtx-4090", "q4_k_m", "b10573", "", 7),
        ("rtx-4090", "q4_k_m", "b10200", "", 8),
        ("rtx-4090", "q4_k_m", "", "2026-08-01", 8),
        ("rtx-4090", "q8_0", "", "", 8),
        ("rtx-5090", "q5_k_m", "", "", 5),
        ("rtx-3090", "q4_k_m", "", "", 8),
        ("jetson-agx-orin-64gb", "q6_k", "", "", 1),
    ],
)
def test_cards_that_take_fewer_tokens_by_vectors(device, precision, version, built, rows) -> None:
    """By card, kernel and release: eight of all before llama.cpp chose by them."""
    target = Target(replace(CARD, key=device))
    case = replace(asked(engine="llama.cpp", target=target, precision=precision), backend="cuda")
    assert vector_rows(replace(case, engine_version=version, built=built)) == rows


def test_experts_one_after_the_other() -> None:
    """A runtime that loops over experts takes two operations for each one of each layer's stacks and chunk, four in
    builds that gather each one's tokens, and writes and reads packed stacks once more in 16 bits; one with grouped
    products takes neither."""
    case = replace(asked(engine="llama.cpp", workload=Workload(1000, 1, 1001), precision="q8_0"), backend="sycl")
    case = packed(case, experts=True)
    parts = [part for part in case.stored.tensors if part.tensor.module is Module.EXPERT_STACK]
    traffic, chunks = prompt_traffic(case)
    found = amounts_by_name(prefill_amounts(case, traffic, chunks))
    stacks = sum(len(part.tensor.layers) for part in parts)
    assert found["prefill_calls"] == pytest.approx(2 * 8 * stacks * 2 * 1e-5)  # all eight experts, two chunks
    gathering = amounts_by_name(prefill_amounts(replace(case, built="2026-05-06"), traffic, chunks))
    assert gathering["prefill_calls"] == pytest.approx(2 * 8 * stacks * 4 * 1e-5)
    written = 2 * sum(part.tensor.total_elements for part in parts) * 2
    assert found["prefill_unpacking"] == pytest.approx(written / 1e12)
    assert found["prefill_weights"] == pytest.approx((traffic.weight_bytes + written) / 1e12)
    grouped = replace(case, backend="cuda")
    others = amounts_by_name(prefill_amounts(grouped, traffic, chunks))
    assert not {"prefill_calls", "prefill_unpacking"} & others.keys()
    assert others["prefill_weights"] == pytest.approx(traffic.weight_bytes / 1e12)


def test_packed_matrices_that_are_unpacked_for_each_chunk() -> None:
    """All matrices but the head and what is looked up are written in 16 bits and read again: once a chunk of more
    tokens than vectors take, on cards whose matrix units no kernel of packed weights had then."""
    every = {"engine": "llama.cpp", "precision": "q8_0"}
    case = packed(replace(asked(workload=Workload(1000, 1, 1001), **every), backend="sycl"), experts=False)
    unread = {Role.EMBEDDING, Role.POSITION, Role.LM_HEAD}
    running = [
        part.tensor for part in case.stored.tensors if runs_in_text(part.tensor) and part.tensor.role not in unread
    ]
    values = sum(tensor.total_elements for tensor in running)
    assert unpacked_bytes(case, Chunks(1000, 512)) == pytest.approx(2 * values * 2)
    assert unpacked_bytes(case, Chunks(516, 512)) == pytest.approx(
        2 * values
    )  # a rest of four is multiplied by vectors
    assert unpacked_bytes(case, Chunks(8, 8)) == 0
    card = replace(CARD, key="rtx-3090")
    older = replace(case, backend="cuda", built="2024-05-01", target=Target(card))
    assert unpacked_bytes(older, Chunks(512, 512)) == pytest.approx(2 * values)
    assert unpacked_bytes(replace(older, target=Target(replace(CARD, key="p40"))), Chunks(512, 512)) == 0
    assert unpacked_bytes(replace(older, built="2026-05-01"), Chunks(512, 512)) == 0
    floats = replace(asked(workload=Workload(1000, 1, 1001), engine="llama.cpp"), backend="sycl")
    assert unpacked_bytes(floats, Chunks(512, 512)) == 0


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
    for there in (replace(case, backend="cpu+cuda"), replace(case, reading=PromptReading(streams_from_tokens=101))):
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
        asked(workload=work, target=target, placement=split(300, 100)),
        reading=PromptReading(48, False, 32),
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
