"""The rates that steps and prompts are relative to, on made-up cards, counted on paper."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
from drawncases import CARD, LIBRARIES_FLOPS_PER_S, asked, split

from sizer.device.catalogue import find
from sizer.device.chip_parts import cpu_part
from sizer.device.kinds import memory_class
from sizer.device.records import Device, Target, is_cpu
from sizer.device.table import all_devices
from sizer.errors import SizerError
from sizer.speed.device_rates import (  # fmt: skip
    core_kinds,
    cpu_flops_per_s,
    nominal_flops_per_s,
    peak_doubt,
    prompt_flops_per_s,
    reachable_bytes_per_s,
    sustained_share,
    vector_flops_per_s,
)
from sizer.speed.hosted import host_bandwidth_bytes_per_s, host_share  # fmt: skip
from sizer.speed.kernels import product_type, served_products  # fmt: skip
from sizer.speed.limits import products_limit
from sizer.speed.predict import replicas
from sizer.speed.prompt_terms import prompt_traffic
from sizer.speed.rates import (  # fmt: skip
    attention_flops_per_s,
    bandwidth_bytes_per_s,
    experts_flops_per_s,
    nominal_bandwidth_bytes_per_s,
    peak_flops_per_s,
    prompt_peak_flops_per_s,
    prompt_products_flops_per_s,
)
from sizer.speed.splits import pipeline_speedup, tensor_ranks
from sizer.tables import read_rows
from sizer.tuning import tuned
from sizer.workload import Split, Workload


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
    assert prompt_peak_flops_per_s(tensor) == pytest.approx(2 * LIBRARIES_FLOPS_PER_S)
    assert nominal_bandwidth_bytes_per_s(tensor) == bandwidth_bytes_per_s(tensor)


def test_attention_on_vector_units() -> None:
    """Where kernels run on vector units, a quarter of the matrix units' FLOPs counts as the peak and an eighth as half
    of it, whatever the products of weights take; where no fp32 peak is told, as the usual one."""
    eighth = replace(CARD, peak_flops_per_s={"fp16": 8e13, "fp32": 1e13})
    quarter = replace(CARD, peak_flops_per_s={"fp16": 8e13, "fp32": 2e13})
    untold = replace(CARD, peak_flops_per_s={"fp16": 8e13})
    usual = 4 * vector_flops_per_s(untold) / 8e13
    for backend, shares in (("vulkan", (0.5, 1, usual)), ("cuda", (1, 1, 1))):
        for card, share in zip((eighth, quarter, untold), shares, strict=True):
            case = replace(asked(engine="llama.cpp", target=Target(card)), backend=backend)
            assert attention_flops_per_s(case) == pytest.approx(prompt_peak_flops_per_s(case) * share)


def test_products_on_vector_units() -> None:
    """mistral.rs before 0.9 multiplies experts of 16 bits as fast as vector units allow, packed ones and later releases
    as other products; llama.cpp bf16 under Vulkan where no matrix unit takes it, and under SYCL anywhere."""
    peaks = {"fp16": 8e13, "fp32": 1e13}
    card = replace(CARD, peak_flops_per_s=peaks)
    case = replace(asked(engine="mistral.rs", target=Target(card)), backend="cuda")
    wide, packed = (replace(case, stored=replace(case.stored, precision=name)) for name in ("bf16", "q4_k_m"))
    old = replace(wide, engine_version="0.8.2")
    assert experts_flops_per_s(old) == 1e13
    assert prompt_products_flops_per_s(old) == prompt_products_flops_per_s(wide) > 1e13
    assert experts_flops_per_s(replace(wide, engine_version="0.9.0")) == prompt_products_flops_per_s(wide)
    assert experts_flops_per_s(replace(packed, engine_version="0.8.2")) == prompt_products_flops_per_s(packed)
    for key, vendor, backend, slow in (
        ("ryzen-ai-max-plus-395", "amd", "vulkan", True), ("r9700", "amd", "vulkan", False),
        ("rtx-3090", "nvidia", "vulkan", False), ("r9700", "amd", "rocm", False),
        ("arc-pro-b70", "intel", "sycl", True),
    ):  # fmt: skip
        device = replace(card, key=key, vendor=vendor)
        one = replace(asked(engine="llama.cpp", target=Target(device)), backend=backend)
        assert (prompt_products_flops_per_s(one) == experts_flops_per_s(one) == 1e13) == slow


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
    assert reachable_bytes_per_s(replace(cpu, cores=None)) == pytest.approx(at * 4**power)
    one = tuned("core_bytes_per_s")
    together = 8 ** tuned("core_bytes_power")  # eight cores reach less than eight times what one does
    eight = replace(cpu, bandwidth_bytes_per_s=one * together, cores=8)
    assert reachable_bytes_per_s(eight) == pytest.approx(at * (one * together / at / 2**0.5) ** power)
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
    ("engine", "chunks", "speedup"),
    [("llama.cpp", 9, 1.6), ("llama.cpp", 1, 1.0), ("llama.cpp", 1.5, 1.2), ("vllm", 9, 1)],
)
def test_chunks_follow_each_other_through_layers(engine: str, chunks: float, speedup: float) -> None:
    """Four chunks in flight on two cards: 8 / 5; one chunk, or an engine that sends none, no faster than one card; one
    and a half 3 / 2.5."""
    split = Split.LAYER if engine == "llama.cpp" else Split.TENSOR
    case = asked(target=Target(CARD, 2), engine=engine, workload=Workload(100, 28, 128, parallelism=split))
    assert pipeline_speedup(case, chunks) == pytest.approx(speedup)
    assert pipeline_speedup(asked(engine=engine), chunks) == 1.0
    assert pipeline_speedup(replace(case, backend="vulkan"), chunks) == 1.0


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


def test_no_product_beyond_the_peak_of_its_format() -> None:
    """Sixteen bits, unless a format, a runtime that quantizes activations or narrow sums allow more; the highest of all
    where a card tells no wide one."""
    card = replace(CARD, peak_flops_per_s={"bf16": 1e14, "fp16_acc16": 2e14, "fp8": 4e14, "int8": 3e14, "fp4": 8e14})
    told = {
        ("vllm", "bf16"): 1e14, ("vllm", "awq-int4"): 1e14, ("vllm", "fp8"): 4e14, ("vllm", "nvfp4"): 8e14,
        ("llama.cpp", "f16"): 2e14, ("llama.cpp", "q4_k_m"): 3e14,
    }  # fmt: skip
    for (engine, precision), peak in told.items():
        case = asked(engine=engine, target=Target(card), precision=precision)
        traffic, _ = prompt_traffic(case)
        assert products_limit(case, traffic) == pytest.approx(traffic.tokens * peak / traffic.flops)
        narrow = asked(engine=engine, target=Target(replace(card, peak_flops_per_s={"fp4": 8e14})), precision=precision)
        assert products_limit(narrow, traffic) == pytest.approx(traffic.tokens * 8e14 / traffic.flops)


def test_a_boards_power_sustains_a_share_of_its_peak() -> None:
    """Relative to the board of its die with the most watts a FLOP, to the power; the whole of it where that is not
    known, and no more than it. The table's figures are those of its boards with GDDR."""
    boards = {device.key: device for device in all_devices()}
    for row in read_rows("same_dies.csv"):
        known = [boards[key] for key in row["chips"].split() if key in boards]
        watts = [
            board.tdp_w / board.peak_flops_per_s["fp32"] * 1e12
            for board in known
            if board.tdp_w and board.peak_flops_per_s.get("fp32") and memory_class(board) == "gddr"
        ]
        assert row["watts_per_tflop"] == (f"{max(watts):.2f}" if len(watts) > 1 else ""), row["die"]
    l4 = boards["l4"]
    share = sustained_share(l4)
    assert share == pytest.approx((72 / 30.3 / 7.11) ** tuned("sustained_power"), rel=0.01)
    assert sustained_share(replace(l4, tdp_w=36)) == pytest.approx(share * 0.5 ** tuned("sustained_power"))
    assert sustained_share(replace(l4, tdp_w=720)) == 1
    assert sustained_share(replace(l4, tdp_w=None)) == sustained_share(replace(l4, key="none")) == 1
    assert sustained_share(boards["h100-80gb-pcie"]) == 1
    bound = replace(asked(target=Target(l4), engine="vllm"), backend="cuda")
    assert prompt_peak_flops_per_s(bound) == pytest.approx(
        1.5e14 * (l4.peak_flops_per_s["bf16"] * share / 1.5e14) ** 0.85
    )


def test_a_chips_cores_compute_at_their_own_rates() -> None:
    """Four cores of 32 FLOPs a cycle at 3.2 GHz and four of 16 at 2.06 in an M1: eight threads have them all, five the
    fast ones and a slow one; a peak that is told stands over them. Every chip of the table has as many cores there."""
    fast, slow = 32 * 3.2e9, 16 * 2.06e9
    chip = cpu_part(find("apple-m1").device)
    assert cpu_flops_per_s(chip) == pytest.approx(4 * fast + 4 * slow)
    assert cpu_flops_per_s(chip, 5) == pytest.approx(4 * fast + slow)
    assert cpu_flops_per_s(chip, 2) == pytest.approx(2 * fast)
    assert cpu_flops_per_s(replace(chip, peak_flops_per_s={"fp32": 8e11}), 4) == 4e11
    case = asked(engine="llama.cpp", target=Target(chip), workload=Workload(100, 28, threads=4))
    assert peak_flops_per_s(case) == pytest.approx(4 * fast)
    assert prompt_peak_flops_per_s(case) == pytest.approx(1e12 * (4 * fast / 1e12) ** tuned("cpu_peak_power"))
    told = [device for device in all_devices() if device.cores and core_kinds(device.key)]
    assert len(told) > 60
    assert [one.key for one in told if sum(n for n, _ in core_kinds(one.key)) != one.cores] == []


def test_vector_units_are_told_or_follow_the_matrix_units() -> None:
    """An fp32 peak as it is; else 30 TFLOP/s beside 150 of 16 bits, and 2^0.65 times as many beside twice as many. The
    rule tells the cards of the table that tell both within a factor of 1.8, two of three."""
    assert vector_flops_per_s(replace(CARD, peak_flops_per_s={"fp32": 4e13, "bf16": 1e14})) == 4e13
    assert vector_flops_per_s(replace(CARD, peak_flops_per_s={"bf16": 1.5e14})) == pytest.approx(3e13)
    assert vector_flops_per_s(replace(CARD, peak_flops_per_s={"bf16": 3e14})) == pytest.approx(3e13 * 2**0.65)
    both = [card for card in all_devices() if not is_cpu(card) and {"fp32", "bf16"} <= set(card.peak_flops_per_s)]
    off = []
    for card in both:
        untold = {name: peak for name, peak in card.peak_flops_per_s.items() if name != "fp32"}
        ratio = vector_flops_per_s(replace(card, peak_flops_per_s=untold)) / card.peak_flops_per_s["fp32"]
        off.append(max(ratio, 1 / ratio))
    assert sorted(off)[len(off) * 2 // 3] < 1.9


def test_an_unknown_bandwidth_is_said_to_be_unknown() -> None:
    """Nothing is assumed for a device whose bandwidth nobody tells."""
    with pytest.raises(SizerError, match=r"bandwidth of .* is not known"):
        reachable_bytes_per_s(replace(CARD, bandwidth_bytes_per_s=None))
    with pytest.raises(SizerError, match=r"bandwidth of .* is not known"):
        nominal_flops_per_s(replace(CARD, peak_flops_per_s={}, bandwidth_bytes_per_s=None))


def test_few_multiprocessors_read_less_than_their_memory_brings() -> None:
    """An H20's 78 at 28 GB/s each beside 4 TB/s; an A100's 108 read nearly all of 2; no card is told more than its
    memory's, and one of no row all of it."""
    few, each = find("h20").device, tuned("unit_bytes_per_s")
    assert reachable_bytes_per_s(few) == pytest.approx(((78 * each) ** -8 + 4e12**-8) ** (-1 / 8))
    for key, least, most in (("h20", 0.5, 0.6), ("a100-80gb-sxm", 0.97, 1.0), ("h200", 0.7, 0.8)):
        device = find(key).device
        assert least < reachable_bytes_per_s(device) / (device.bandwidth_bytes_per_s or 0) < most
    other = find("b200").device
    assert reachable_bytes_per_s(other) == other.bandwidth_bytes_per_s
    case = asked(target=Target(few))
    assert nominal_bandwidth_bytes_per_s(case) == pytest.approx(4e12)
