"""Orders that physics gives: more of everything is never slower, nothing is faster than its memory or its link."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sizer
from sizer.device.catalogue import find
from sizer.device.kinds import chip_of, generation, memory_class
from sizer.device.records import Device, Target, is_cpu
from sizer.device.stated import override
from sizer.device.table import all_devices
from sizer.engine.engines import find_engine
from sizer.model.read.resolve import resolve
from sizer.speed.law import constants
from sizer.speed.predict import predict, prefill_of, step_of, timed
from sizer.speed.prompt_terms import prefill_amounts, prompt_traffic
from sizer.speed.rates import instructions_share, peak_alone_flops_per_s, peak_flops_per_s, prompt_products_flops_per_s
from sizer.speed.records import Speed
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import decode_traffic
from sizer.tables import read_rows
from sizer.tuning import tuned
from sizer.workload import Workload
from tests.support.speedcases import case_of

MODEL = "meta-llama/Meta-Llama-3-8B-Instruct"
ENGINES = (("llama.cpp", "q4_k_m"), ("vllm", "fp8"), ("transformers", "bf16"))


def speed_of(target: Target, engine: str, precision: str, workload: Workload | None = None) -> Speed:
    """The speed of Llama-3-8B."""
    return predict(case_of(MODEL, target, engine, precision, workload or Workload()))


def faster_by(device: Device, factor: float) -> Device:
    """The device with every rate up by a factor."""
    peaks = {name: peak * factor for name, peak in device.peak_flops_per_s.items()}
    return replace(device, bandwidth_bytes_per_s=(device.bandwidth_bytes_per_s or 0) * factor, peak_flops_per_s=peaks)


@settings(deadline=None, max_examples=40)
@given(
    key=st.sampled_from(["rtx-3090", "a100-80gb-sxm", "mi300x", "m2-ultra", "arc-pro-b70", "v100-32gb-sxm2"]),
    engine=st.sampled_from(ENGINES),
    factor=st.floats(1.001, 4),
    batch=st.sampled_from([1, 4, 16]),
)
def test_every_rate_up_is_never_slower(key: str, engine: tuple[str, str], factor: float, batch: int) -> None:
    """A device with all its rates up decodes and reads prompts no slower, whatever its class of memory."""
    target = find(key)
    if find_engine(engine[0]).backend(target.device) is None:
        engine = ENGINES[0]  # which runs on all of them
    workload = Workload(batch_size=batch)
    before = speed_of(target, *engine, workload)
    after = speed_of(replace(target, device=faster_by(target.device, factor)), *engine, workload)
    assert after.decode.tokens_per_s >= before.decode.tokens_per_s * (1 - 1e-9)
    assert after.prefill.tokens_per_s >= before.prefill.tokens_per_s * (1 - 1e-9)


@pytest.mark.parametrize(
    ("key", "precision", "prompt_tokens"),
    [("ryzen-ai-max-395", "q6_k", 16_384), ("arc-pro-b70", "q4_k_m", 8192), ("rx-7900-xtx", "bf16", 4096)],
)
def test_more_compute_as_given_reads_no_prompt_slower(key: str, precision: str, prompt_tokens: int) -> None:
    """A 16-bit peak of the user's own brings the vector units' along, which a prompt's attention may run on."""
    work = Workload(prompt_tokens, 128, prompt_tokens + 128)
    given = [override(find(key), flops_per_s=times * 4e13) for times in (1, 2, 3, 6, 12)]
    rates = [speed_of(target, "llama.cpp", precision, work).prefill.tokens_per_s for target in given]
    assert all(more >= fewer * (1 - 1e-9) for fewer, more in pairwise(rates))
    assert rates[-1] > rates[0]


@cache
def told(engine: str, precision: str) -> tuple[tuple[Device, Speed], ...]:
    """Every accelerator of the catalogue that an engine runs on, with its speed."""
    runs = find_engine(engine).backend
    devices = [device for device in all_devices() if device.bandwidth_bytes_per_s and not is_cpu(device)]
    return tuple((device, speed_of(Target(device), engine, precision)) for device in devices if runs(device))


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_no_device_of_the_catalogue_is_slower_with_every_rate_up(engine: str, precision: str) -> None:
    """Of all of them, none decodes or reads prompts slower with all its rates up by three tenths; nearly all faster."""
    found = []
    for device, before in told(engine, precision):
        after = speed_of(Target(faster_by(device, 1.3)), engine, precision)
        found.append(
            (
                after.decode.tokens_per_s / before.decode.tokens_per_s,
                after.prefill.tokens_per_s / before.prefill.tokens_per_s,
            )
        )
    assert len(found) > 300
    assert min(decode for decode, _ in found) >= 1 - 1e-9
    assert min(prefill for _, prefill in found) >= 1 - 1e-9
    assert sum(decode > 1.01 for decode, _ in found) > 0.9 * len(found)


@pytest.mark.parametrize("quantity", ["decode", "prefill"])
@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_better_cards_of_a_generation_are_hardly_ever_slower(engine: str, precision: str, quantity: str) -> None:
    """Over all ordered pairs of one maker, generation and class of memory, of which one has no specification below the
    other's: at most one in a hundred is told slower by more than 5 %, none by more than 40 % (cards measured apart)."""
    cards = [(device, getattr(speed, quantity).tokens_per_s) for device, speed in told(engine, precision)]
    ratios = [
        slow / fast
        for better, fast in cards
        for worse, slow in cards
        if better is not worse and _of_one_kind(better, worse) and _dominates(better, worse)
    ]
    assert len(ratios) > 1400
    assert sum(ratio > 1.05 for ratio in ratios) <= len(ratios) / 100
    assert max(ratios) < 1.4


@pytest.mark.parametrize(
    ("better", "worse"),
    [("rx-6800", "rx-6750-xt"), ("rtx-2080-ti", "rtx-2070-super-laptop"), ("gtx-1660-super", "gtx-1630"),
     ("rtx-3060-12gb", "rtx-3050-8gb"), ("jetson-agx-orin-64gb", "jetson-orin-nano-super")],
)  # fmt: skip
def test_no_card_is_slower_than_a_lesser_one_of_its_architecture(better: str, worse: str) -> None:
    """Whichever came first: the lesser boards are the later ones, and were told with the next architecture."""
    for engine, precision in (("llama.cpp", "q4_k_m"), ("vllm", "awq-int4"), ("transformers", "nf4")):
        more, less = (speed_of(find(key), engine, precision) for key in (better, worse))
        assert more.decode.tokens_per_s >= 0.98 * less.decode.tokens_per_s, (engine, "decode")
        assert more.prefill.ttft_s <= 1.02 * less.prefill.ttft_s, (engine, "prefill")


def _of_one_kind(one: Device, other: Device) -> bool:
    kinds = [(card.vendor, card.kind, generation(card), memory_class(card), _peak(card) > 0) for card in (one, other)]
    return kinds[0] == kinds[1] and kinds[0][-1]


def test_every_card_names_its_memory() -> None:
    """No card's class follows from a threshold: the table names the memory of each, V100, A30 and MI100 HBM2."""
    cards = [device for device in all_devices() if device.kind == "gpu"]
    assert [card.key for card in cards if not card.memory_type] == []
    for key in ("v100-16gb-pcie", "v100s-32gb-pcie", "a30", "mi100"):
        assert memory_class(find(key).device) == "hbm"
    assert memory_class(replace(cards[0], memory_type="")) == "unnamed"


def test_same_chips_share_what_was_measured() -> None:
    """GB200 is no slower than the B200 on its boards, in any engine that has rows of either."""
    for engine, precision in (("vllm", "fp8"), ("sglang", "fp8"), ("tensorrt-llm", "nvfp4")):
        one, board = (speed_of(find(key), engine, precision) for key in ("b200", "gb200"))
        assert board.decode.tokens_per_s >= one.decode.tokens_per_s


def test_boards_of_a_chip_are_told_alike() -> None:
    """An A800 came two years after the A100: both are its chip, with its generation, and neither is faster."""
    for one, board in (("a100-80gb-sxm", "a800-80gb-sxm"), ("a100-80gb-pcie", "a800-80gb-pcie")):
        speeds = [speed_of(find(key), "llama.cpp", "q4_k_m") for key in (one, board)]
        assert speeds[0].decode.tokens_per_s == pytest.approx(speeds[1].decode.tokens_per_s, rel=1e-3)
        assert speeds[0].prefill.tokens_per_s == pytest.approx(speeds[1].prefill.tokens_per_s, rel=0.05)


def test_a_die_has_the_year_of_its_first_board_and_one_generation() -> None:
    """The years of the table are those of the catalogue, and no board is of a generation of its own."""
    seen = {device.key: device for device in all_devices()}
    rows = list(read_rows("same_dies.csv"))
    assert len(rows) > 30
    for row in rows:
        boards = [seen[chip] for chip in row["chips"].split()]
        assert min(board.release_year or 9999 for board in boards) == int(row["year"]), row["die"]
        assert len({(generation(board)) for board in boards}) == 1, row["die"]


TOGETHER = (
    ("meta-llama/Llama-3.3-70B-Instruct", "a100-80gb-sxm", "vllm", "bf16"),
    ("Qwen/Qwen2.5-0.5B-Instruct", "a100-80gb-sxm", "transformers", "bf16"),
    ("Qwen/Qwen3-30B-A3B", "rx-7900-xtx", "llama.cpp", "q4_k_m"),
    ("openai/gpt-oss-20b", "rtx-3090", "llama.cpp", "q4_k_m"),
    ("Qwen/Qwen3-30B-A3B", "ryzen-ai-max-plus-395", "llama.cpp", "q4_k_m"),
    ("Qwen/Qwen3-8B", "apple-m4", "mlx-lm", "mlx-4bit"),
)


def _together(model: str, device: str, engine: str, precision: str, batch: int) -> Speed:
    return predict(case_of(model, device, engine, precision, Workload(512, 128, 640, batch_size=batch)))


@pytest.mark.parametrize(("model", "device", "engine", "precision"), TOGETHER)
def test_several_sequences_lie_between_one_and_one_after_the_other(
    model: str, device: str, engine: str, precision: str
) -> None:
    """Whatever rows near the case say: no sequence is faster for the others beside it, and all together decode and
    read prompts no slower than one after the other."""

    def told(batch: int) -> tuple[float, float]:
        speed = _together(model, device, engine, precision, batch)
        return speed.decode.tokens_per_s, speed.prefill.ttft_s

    alone, alone_s = told(1)
    for batch in (2, 3, 8, 9, 32):
        each, prompts_s = told(batch)
        assert alone / batch <= each * (1 + 1e-9)
        assert each <= alone * (1 + 1e-9)
        assert alone_s <= prompts_s * (1 + 1e-9)
        assert prompts_s <= batch * alone_s * (1 + 1e-9)


ADDED = (
    ("Qwen/Qwen3-8B", "apple-m4", "mlx-lm", "mlx-4bit"),
    ("meta-llama/Llama-3.1-8B", "m3-ultra", "mlx-lm", "mlx-4bit"),
    ("deepseek-ai/DeepSeek-V3", "m2-ultra", "llama.cpp", "q4_k_m"),
    ("deepseek-ai/DeepSeek-V3", "rx-7900-xtx", "llama.cpp", "q4_k_m"),
    ("google/gemma-3-4b-it", "rtx-4090", "llama.cpp", "q4_0"),
    ("Qwen/Qwen3-30B-A3B", "h100", "vllm", "bf16"),
    ("Qwen/Qwen3-8B", "epyc-9654", "llama.cpp", "q4_k_m"),
)
"""Engines whose kernels change with the number of tokens, and one whose do not."""


@pytest.mark.parametrize(("model", "device", "engine", "precision"), ADDED)
def test_sequences_that_are_added_make_no_less_together(model: str, device: str, engine: str, precision: str) -> None:
    """All sequences' tokens a second fall by no more than 3 % as others come, which could run one after the other: MLX
    on an M4 was told to lose 17 % from 2 to 10, DeepSeek-V3 in llama.cpp 15 % from 16 to 96."""
    most = 0.0
    for batch in (1, 2, 3, 4, 6, 8, 9, 10, 12, 16, 17, 24, 32, 33, 48, 64, 96, 128):
        together = batch * _together(model, device, engine, precision, batch).decode.tokens_per_s
        assert together >= 0.97 * most
        most = max(most, together)


@pytest.mark.parametrize("device", ["epyc-9654", "ryzen-9-7950x", "xeon-8480"])
@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_cores_verify_as_many_tokens_about_as_fast_as_they_read_them(device: str, engine: str) -> None:
    """The same products: a step of 33 to 128 tokens takes at most a fifth more than a prompt of as many behind the
    same cache, for its output head multiplies all of them, and no less than a step of one."""
    case = replace(case_of("Qwen/Qwen3-8B", device, engine, "bf16"), workload=Workload(1024, 1, 1025))
    fitted = constants()
    alone_s = step_of(case, 1, fitted).total_s
    for tokens in (2, 33, 64, 128):
        verified_s = step_of(case, tokens, fitted).total_s
        reading = replace(case, workload=Workload(tokens, 1, 1025 + tokens))
        traffic, chunks = prompt_traffic(reading, 1024)
        prompt_s = timed(prefill_amounts(reading, traffic, chunks), reading, fitted).total_s
        assert alone_s <= verified_s <= max(alone_s, 1.2 * prompt_s)


def test_boards_of_a_die_share_what_was_measured() -> None:
    """What SGLang's rows on an H100 say of a mixture holds in part for the H200, its die with faster memory, which has
    no rows of its own. A die names chips of the catalogue, each in one die alone."""
    one, other = (
        predict(case_of("Qwen/Qwen3-30B-A3B", key, "sglang", "bf16")).decode.nearby for key in ("h100-80gb-sxm", "h200")
    )
    assert 0 < abs(other.log_factor) < abs(one.log_factor)
    assert one.nearest > other.nearest == 0
    chips = [chip for row in read_rows("same_dies.csv") for chip in row["chips"].split()]
    assert len(chips) == len(set(chips))
    assert set(chips) <= {device.key for device in all_devices()}
    assert {chip_of(chip) for chip in chips} == set(chips)


def test_vector_units_quicken_small_kernels_under_cuda_alone() -> None:
    """Sixteen times the fp32 peak: the layers of llama.cpp take 16^-0.4 of their time on an RTX 4090, as before on an
    RX 7900 XTX, and in transformers, whose host launches each operation."""
    for key, engine, expected in (
        ("rtx-4090", "llama.cpp", 16 ** -tuned("layer_power")), ("rx-7900-xtx", "llama.cpp", 1.0),
        ("rtx-4090", "transformers", 1.0),
    ):  # fmt: skip
        target, layers = find(key), []
        for factor in (1, 16):
            peaks = {**target.device.peak_flops_per_s, "fp32": target.device.peak_flops_per_s["fp32"] * factor}
            one = replace(target, device=replace(target.device, peak_flops_per_s=peaks))
            case = case_of(MODEL, one, engine, "fp16")
            amounts = decode_amounts(case, decode_traffic(case.architecture, case.stored, case.workload))
            layers.append(sum(amount.nominal_s for amount in amounts if amount.term == "layers"))
        assert layers[1] / layers[0] == pytest.approx(expected)


def test_older_matrix_instructions_reach_less_of_newer_datacenter_cards() -> None:
    """llama.cpp multiplies packed weights by mma.sync: prompts are told against 0.62 of an H100's peak and 0.31 of a
    B200's, and all of an A100's and an RTX 5090's; bf16, which libraries multiply, too."""
    for key, precision, share in (
        ("h100-80gb-sxm", "q4_k_m", 0.62), ("b200", "q4_k_m", 0.31), ("b300", "q8_0", 0.31),
        ("a100-80gb-sxm", "q8_0", 1), ("rtx-5090", "q4_k_m", 1), ("gb10", "q8_0", 1),
        ("h100-80gb-sxm", "bf16", 1),
    ):  # fmt: skip
        case = case_of(MODEL, key, "llama.cpp", precision)
        whole = peak_alone_flops_per_s(case, "", 1.0)
        assert whole is not None
        assert prompt_products_flops_per_s(case) == pytest.approx(whole * share**0.75)
    served = case_of(MODEL, "h100-80gb-sxm", "vllm", "fp8")
    assert instructions_share(served) == 1


def test_matrix_units_of_cores_count_where_the_runtime_uses_them() -> None:
    """A Xeon with AMX reads transformers' prompts against four times its fp32 peak, llama.cpp's and an EPYC's against
    one, all to a power; a decode step's products are relative to one everywhere."""
    power, unit = tuned("cpu_peak_power"), tuned("cpu_peak_unit_flops_per_s")
    for key, engine, precision, factor in (
        ("xeon-8480", "transformers", "bf16", 4), ("xeon-8480", "llama.cpp", "q8_0", 1),
        ("epyc-9654", "transformers", "bf16", 1),
    ):  # fmt: skip
        case = case_of(MODEL, key, engine, precision)
        whole = factor * unit * (peak_flops_per_s(case) / unit) ** power
        assert prompt_products_flops_per_s(case) == pytest.approx(whole)


def test_a_chunk_of_512_tokens_fills_less_of_a_larger_card() -> None:
    """Four times the peak, and the watts for it: llama.cpp's products under CUDA take 4^-0.75 of their time, those of
    vLLM, which reads larger chunks by the maker's libraries, 4^-0.85."""
    for engine, precision, power in (("llama.cpp", "q4_k_m", 0.75), ("vllm", "bf16", 0.85)):
        rates = []
        for factor in (1, 4):
            target = find("rtx-4090")
            peaks = {name: peak * factor for name, peak in target.device.peak_flops_per_s.items()}
            watts = (target.device.tdp_w or 0) * factor
            one = replace(target, device=replace(target.device, peak_flops_per_s=peaks, tdp_w=watts))
            case = case_of(MODEL, one, engine, precision)
            rates.append(prompt_products_flops_per_s(case))
        assert rates[1] / rates[0] == pytest.approx(4**power)


def test_bf16_without_a_kernel_of_fp16_tells_nothing_of_fp16() -> None:
    """SYCL and Vulkan multiply bf16 by kernels of their own: their rows of bf16 are no rows of fp16. CUDA's are."""
    target = {"sycl": "arc-pro-b70", "vulkan": "arc-pro-b70", "cuda": "rtx-4090"}
    for backend, device in target.items():
        kernels = {
            case_of(MODEL, device, "llama.cpp", name, backend=backend).groups["backend kernel"]
            for name in ("bf16", "fp16")
        }
        assert len(kernels) == (1 if backend == "cuda" else 2)


@pytest.mark.parametrize("key", ["a100-80gb-sxm", "rtx-4090", "h100-80gb-sxm", "rtx-3060-12gb"])
def test_double_quantized_scales_save_memory_and_no_time(key: str) -> None:
    """nf4 with quantized scales unpacks them first: it is never faster than plain nf4."""
    plain, double = (speed_of(find(key), "transformers", name).decode.tokens_per_s for name in ("nf4", "nf4-dq"))
    assert plain >= double


def test_prompts_are_no_faster_than_the_link_to_experts_on_the_host() -> None:
    """Experts on the host cross the link once a chunk of the prompt: no prompt is read faster than that."""
    one = sizer.estimate(
        "openai/gpt-oss-120b",
        device="rtx-4090",
        precision="mxfp4",
        engine="llama.cpp",
        prompt=2048,
        ram_bytes=64 * 2**30,
        offline=True,
    ).estimates[0]
    target = find("rtx-4090")
    link = target.host_link_bytes_per_s or 32e9
    chunks = 4
    assert one.memory.host_bytes > 30 * 2**30
    assert one.prefill.ttft_s is not None
    assert one.prefill.ttft_s >= 0.9 * chunks * one.memory.host_bytes / link


@pytest.mark.parametrize("model", ["Qwen/Qwen3-30B-A3B", "meta-llama/Meta-Llama-3-8B-Instruct"])
@pytest.mark.parametrize("device", ["rtx-4090", "gb10", "m2-ultra", "ryzen-9-7950x", "2xrtx-3090", "8xh100"])
def test_a_token_more_of_a_prompt_costs_a_step_at_most(model: str, device: str) -> None:
    """A longer prompt never takes less time, and the first token of a new chunk no more than a step of decoding behind
    the rest, of a mixture as of a dense model: it is routed to few experts. So on several cards, where a full chunk has
    none of its size behind it. 5 % are left to what rows nearby say."""
    case = case_of(model, device, "llama.cpp", "q4_k_m")
    fitted, before_s = constants(), 0.0
    for tokens in (1, 31, 32, 33, 300, 511, 512, 513, 514, 600, 1023, 1024, 1025, 4096, 4097):
        reading = replace(case, workload=Workload(tokens, 1, tokens + 1))
        seconds, step_s = prefill_of(reading, fitted)[0].ttft_s, step_of(reading, 1, fitted).total_s
        assert seconds >= before_s * (1 - 1e-9)
        if tokens % 512 == 1 and tokens > 1:
            assert seconds <= 1.05 * (before_s + step_s)
        before_s = seconds


@pytest.mark.parametrize(("engine", "precision"), ENGINES[:2])
def test_better_cards_are_hardly_ever_slower(engine: str, precision: str) -> None:
    """Over all pairs of a maker's cards of which one has no specification below the other's and is no older: of these
    at most one in two hundred is told slower by more than 5 %, none by more than 40 % (measured classes of memory)."""
    cards = [card for card in all_devices() if card.kind == "gpu" and card.bandwidth_bytes_per_s and _peak(card)]
    told = [(card, speed_of(Target(card), engine, precision).decode.tokens_per_s) for card in cards if _runs(card)]
    ratios = [
        slow / fast
        for better, fast in told
        for worse, slow in told
        if better is not worse and better.vendor == worse.vendor and _dominates(better, worse)
    ]
    assert len(ratios) > 5000
    assert sum(ratio > 1.05 for ratio in ratios) <= len(ratios) / 200
    assert max(ratios) < 1.4


def _runs(card: Device) -> bool:
    return card.vendor in {"nvidia", "amd"}


def _peak(card: Device) -> float:
    return card.peak_flops_per_s.get("bf16") or card.peak_flops_per_s.get("fp16") or 0.0


def _dominates(better: Device, worse: Device) -> bool:
    return (
        (better.bandwidth_bytes_per_s or 0) >= (worse.bandwidth_bytes_per_s or 0)
        and _peak(better) >= _peak(worse)
        and (better.memory_bytes or 0) >= (worse.memory_bytes or 0)
        and (better.tdp_w or 0) >= (worse.tdp_w or 0)
        and (better.release_year or 0) >= (worse.release_year or 0)
    )


@pytest.mark.parametrize("engine", ENGINES, ids=lambda pair: pair[0])
def test_no_prompt_is_faster_than_the_products_of_its_matrices(engine: tuple[str, str]) -> None:
    """Two FLOPs for each weight of the layers, at the highest peak of the table, cores at eight times their fp32 one:
    no device's prompt is read faster, and no interval reaches beyond."""
    tensors = resolve(MODEL, offline=True).architecture.tensors
    in_layers = sum(tensor.total_elements for tensor in tensors if tensor.layers and len(tensor.shape) > 1)
    seen = 0
    for device in all_devices():
        known = device.bandwidth_bytes_per_s and device.peak_flops_per_s
        if not known or (find_engine(engine[0]).backend(device) in {None, "cpu"} and not is_cpu(device)):
            continue
        peak = max(*device.peak_flops_per_s.values(), 8 * device.peak_flops_per_s.get("fp32", 0) * is_cpu(device))
        for batch in (1, 32):
            prefill = speed_of(Target(device), *engine, Workload(batch_size=batch)).prefill
            assert prefill.low_tokens_per_s <= prefill.tokens_per_s <= prefill.high_tokens_per_s
            assert prefill.high_tokens_per_s * 2 * in_layers <= peak * 1.000001, device.key
        seen += 1
    assert seen > 100


def test_a_layer_on_the_host_costs_its_own_bytes_alone() -> None:
    """One of 36 layers there adds no more than three times what the host's memory takes to read it: not the input
    table, of which a token reads a row."""
    options = {"device": "rtx-4090", "precision": "q4_k_m", "host": "ryzen-7-7700", "offline": True}
    whole, split = (sizer.estimate("Qwen/Qwen3-8B", gpu_layers=layers, **options).estimates[0] for layers in (37, 36))
    layer_bytes = whole.memory.devices[0].weights_bytes - split.memory.devices[0].weights_bytes
    host = find("ryzen-7-7700").device
    assert host.bandwidth_bytes_per_s is not None
    assert split.decode.tpot_s - whole.decode.tpot_s < 3 * layer_bytes / host.bandwidth_bytes_per_s


@pytest.mark.parametrize(
    ("several", "engine", "parallel", "one", "alike"),
    [
        ("4xh100", "vllm", "data", "h100", "vllm"),
        ("4xh100", "vllm --data-parallel-size 4", None, "h100", "vllm"),
        ("4xh100", "vllm -dp 4 --enable-expert-parallel", None, "h100", "vllm"),
        ("4xh100", "vllm -tp 2 -dp 2", None, "2xh100", "vllm -tp 2"),
        ("4xh100", "vllm -tp 2 -dp 2 --enable-expert-parallel", None, "2xh100", "vllm -tp 2"),
    ],
)
def test_copies_of_a_model_share_the_sequences_out(
    several: str, engine: str, parallel: str | None, one: str, alike: str
) -> None:
    """A sequence is as fast as in one copy that has its share of them; all together make that many times as much."""
    import sizer

    copies = 4 if one == "h100" else 2
    asked = {"precision": "bf16", "context": 4096, "offline": True}
    split = {"parallel": parallel} if parallel else {}
    shared = sizer.estimate("Qwen/Qwen3-8B", device=several, engine=engine, batch=16, **split, **asked).estimates[0]
    alone = sizer.estimate("Qwen/Qwen3-8B", device=one, engine=alike, batch=16 // copies, **asked).estimates[0]
    assert shared.decode.tokens_per_s == pytest.approx(alone.decode.tokens_per_s, rel=0.02)
    assert shared.prefill.ttft_s == pytest.approx(alone.prefill.ttft_s, rel=0.05)
    together = copies * alone.request.throughput_tokens_per_s
    assert shared.request.throughput_tokens_per_s == pytest.approx(together, rel=0.05)
    assert shared.memory.kv_capacity_tokens == copies * alone.memory.kv_capacity_tokens
