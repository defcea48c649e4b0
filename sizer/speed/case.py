"""What speed looks at: one model on one target with one engine, and the groups that its constants are fitted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from math import log

from sizer.device.capability import cuda_capability
from sizer.device.chip_parts import UNIFIED_KINDS, cpu_part
from sizer.device.kinds import chip_of, device_family, generation, instructions, memory_class
from sizer.device.records import Device, Target, is_cpu
from sizer.engine.engines import Engine, find_engine
from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import dataclass
from sizer.memory.records import Placement
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.tables import matches, read_rows
from sizer.tuning import tuned
from sizer.workload import Workload

DOUBLE = "-dq"
"""Scales that are quantized too: the kernel is that of plain ones, and unpacks them first."""
USUAL_CORES, USUAL_BANDWIDTH_BYTES_PER_S = 8, 8e10
FIRST_YEAR, LATEST_YEAR = 2023, 2026


@dataclass(frozen=True)
class SpeedCase:
    """One question to the law of speed.

    `backend` is the engine's on the device unless the asker names another that it has there; `year` is when the engine
    was built (None: now); `graphs` is whether its flags let it capture steps (None: they do not say). `chunk_tokens`
    is how many tokens of a prompt run at once (None: the engine's default), `scores` whether attention writes its
    scores to memory, as it does without flash attention. From `streams_from_tokens` tokens a pass on the device
    multiplies by what lies on the host; fewer the host multiplies itself.
    """

    architecture: Architecture
    stored: Stored
    target: Target
    workload: Workload
    engine: Engine
    backend: str
    engine_version: str = ""
    year: int | None = None
    placement: Placement | None = None
    graphs: bool | None = None
    chunk_tokens: int | None = None
    scores: bool = False
    streams_from_tokens: float = 1

    @property
    def device(self) -> Device:
        """The first device."""
        return self.target.device

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """All devices, equal ones repeated, unlike ones after them."""
        return (self.target.device,) * self.target.count + self.target.others

    @cached_property
    def groups(self) -> Mapping[str, str]:
        """Group names by level, from the widest (`runtime`) to the narrowest (`engine device`)."""
        return _groups(self)

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Who may own constants of a term, the first first: CPUs, the engine's runtime, the class of memory."""
        return (*(("cpu",) if is_cpu(self.device) else ()), self.engine.runtime, memory_class(self.device))

    def of_workload(self, workload: Workload) -> SpeedCase:
        """The same asked of another workload."""
        return self if workload == self.workload else replace(self, workload=workload)


def speed_case(
    architecture: Architecture,
    stored: Stored,
    target: Target,
    workload: Workload,
    engine: str,
    *,
    backend: str | None = None,
    engine_version: str | None = None,
    year: int | None = None,
    placement: Placement | None = None,
    graphs: bool | None = None,
    chunk_tokens: int | None = None,
    scores: bool = False,
    streams_from_tokens: float = 1,
) -> SpeedCase:
    """The case of these records. Raises UnknownEngine, UsageError for a backend that the engine has not got."""
    found = find_engine(engine)
    asked = found.backend_asked(backend or "", target.device)
    if found.leaves_gpu(target.device) or (asked == "cpu" and target.device.kind in UNIFIED_KINDS):
        target = replace(target, device=cpu_part(target.device))
    elif asked and "cpu" in asked and not is_cpu(target.device) and asked not in found.backends_on(target.device):
        asked = found.backend(target.device)  # `cpu` and `cpu+cuda` of a card's row name the place of some layers
    version = engine_version or ""
    backend = asked or "unknown"
    return SpeedCase(
        architecture, stored, target, workload, found, backend, version, year, placement, graphs, chunk_tokens, scores,
        streams_from_tokens,
    )  # fmt: skip


@cache
def precision_class(name: str) -> tuple[str, str]:
    """A precision's kernel (`q4_k` of `ud-q4_k_xl`, `exl3` of `exl3-4.25bpw`) and its wider class (`4bit`, `low` …)."""
    kernel = re.sub(r"_(xxs|xs|s|m|l|xl|p|moe)$", "", name.removeprefix("ud-"))
    kernel = re.sub(r"-g\d+$", "", kernel)
    kernel = {"fp16": "half", "bf16": "half", "q8_k": "q8_0"}.get(kernel, kernel).removesuffix(DOUBLE)
    if kernel in {"half", "fp32"}:
        return kernel, "float"
    trellis = re.match(r"exl\d", kernel)
    if trellis:
        return trellis[0], trellis[0]  # one kernel unpacks every width, at a cost of its own
    bits = re.search(r"\d+(?:\.\d+)?", kernel.replace("w4a16", "4").replace("w8a8", "8").replace("mxfp4", "4"))
    width = round(float(bits[0])) if bits else 4
    return kernel, "8bit" if width >= 7 else "4bit" if width >= 4 else "low"


@cache
def _bf16_kernels() -> frozenset[tuple[str, str]]:
    """Runtimes and backends that multiply bf16 by a kernel of its own, not by that of fp16."""
    return frozenset((row["runtime"], row["backend"]) for row in read_rows("bf16_kernels.csv"))


def _groups(case: SpeedCase) -> dict[str, str]:
    device = case.device
    family, kernel, bits = device_family(device), *precision_class(case.stored.precision)
    runtime, engine = case.engine.runtime, case.engine.name
    if kernel == "half" and is_cpu(device):
        kernel = case.stored.precision  # matrix units of CPUs multiply bf16, few of them fp16
    shared = kernel  # what all backends of the runtime tell of a precision
    if kernel == "half" and (runtime, case.backend) in _bf16_kernels():
        kernel = case.stored.precision
    built = case.year or LATEST_YEAR
    found = {
        "engine": engine,
        "runtime": runtime,
        "backend": f"{runtime} {case.backend}",
        "family": family,
        "generation": generation(device),
        "memory": memory_class(device),
        "backend family": f"{runtime} {case.backend} {family}",
        "backend generation": f"{runtime} {case.backend} {generation(device)}",
        "kernel": kernel,
        "bits": bits,
        "runtime kernel": f"{runtime} {shared}",
        "engine kernel": f"{engine} {shared}",
        "backend kernel": f"{runtime} {case.backend} {kernel}",
        "backend family kernel": f"{runtime} {case.backend} {family} {kernel}",
        "device": f"{chip_of(device.key)} {case.backend}",
        "engine device": f"{engine} {case.backend} {device.key}",
        "era": f"{runtime} {min(max(built, FIRST_YEAR), LATEST_YEAR)}",
        "link": _link(case),
        "split": f"{runtime} {_split(case)}",
        "graphs": f"{runtime} {'graphs' if in_graphs(case) else 'eager'}",
    }
    if kernel != shared:
        found["own kernel"] = f"{runtime} {case.backend} {kernel}"
    release = _release(case.engine_version)
    if release:
        found["version"] = f"{engine} {release}"
    known = instructions(device.key) if is_cpu(device) else ""
    if known:
        found["instructions"] = known
    return {level: f"{level}: {group}" for level, group in found.items()}


def in_graphs(case: SpeedCase) -> bool:
    """Whether a step is replayed from a captured graph: not where the engine's flags forbid it, else as
    `data/graph_capture.csv` tells of a release and a depth.

    Where no row tells of a runtime, its one way of running is all there is: called graphs.
    """
    if case.graphs is False:
        return False
    rule = runtime_rule(case, "graph_capture.csv")
    longest = rule["longest_context"] if rule else ""
    return not longest or case.workload.context_tokens <= int(longest)


def runtime_rule(case: SpeedCase, table: str) -> dict[str, str] | None:
    """The row of a table that holds for the case's runtime and release; None where no row tells of the runtime.

    Another engine's version says nothing of its runtime's: there the year decides.
    """
    rows = rules(table, "runtime").get(case.engine.runtime)
    version = case.engine_version if case.engine.name == case.engine.runtime else ""
    return rule_in_force(rows, version, f"{case.year}-12-31" if case.year else "") if rows else None


def _release(version: str) -> str:
    """A version up to its minor number (`0.6` of `0.6.3.post1`); empty for dates, hashes and build numbers."""
    numbers = re.match(r"v?(\d{1,2}\.\d{1,3})(?=\D|$)", version)
    return numbers[1] if numbers else ""


def _link(case: SpeedCase) -> str:
    if len(case.devices) == 1:
        return "none"
    return "nvlink" if (case.device.interconnect_bytes_per_s or 0) > 1e11 else "pcie"


def _split(case: SpeedCase) -> str:
    count = len(case.devices)
    if count == 1:
        return "one device"
    split = case.engine.split(case.workload.parallelism)
    return f"{split.value if split else 'split'} over {'2' if count == 2 else '3 or more'}"


def nominal_flops_per_s(device: Device, accumulates: str = "fp32") -> float:
    """An accelerator's nominal dense peak: 16-bit, else twice the 32-bit, else what the bandwidth lets expect."""
    peaks = device.peak_flops_per_s
    faster = peaks.get("fp16_acc16") if accumulates == "fp16" else None
    known = faster or peaks.get("bf16") or peaks.get("fp16") or 2 * peaks.get("fp32", 0)
    return known or _fed_flops_per_s(device)


UNTOLD_PEAK = (0.340, 3.07)
"""Peak over what memory feeds: nine of ten GPUs of `data/devices.csv` lie between (the median is 1.17)."""


def peak_doubt(device: Device) -> tuple[float, float]:
    """How much slower and faster (as logarithms) a prompt may be read where an accelerator's peak is not known."""
    if is_cpu(device) or device.peak_flops_per_s:
        return 0.0, 0.0
    power = _exponents(device)[0]
    return -power * log(UNTOLD_PEAK[0]), power * log(UNTOLD_PEAK[1])


def prompt_flops_per_s(device: Device, accumulates: str = "fp32", products: str = "", reached: float = 1.0) -> float:
    """What a prompt's arithmetic is relative to: a weighted geometric mean of the peak, of what the memory feeds and of
    what the power sustains (`peak_power` and `fed_power` of data/tuning.csv, the rest to the power).

    The more a peak outruns the memory that feeds it and the watts that drive it, the less of it engines reach: clocks
    fall under load. Where the power is not told, the other two. A decode step's error is lowest with the peak alone.
    The peak is that of `products` (`fp8`) where the device has such, else the 16-bit one; `reached` is the share of it
    that the kernels' instructions reach (`instructions_share`).
    """
    peak, fed, sustained = _exponents(device)
    nominal = device.peak_flops_per_s.get(products) or nominal_flops_per_s(device, accumulates)
    found = (nominal * reached) ** peak * _fed_flops_per_s(device) ** fed
    return float(found * ((device.tdp_w or 1.0) * tuned("flops_per_joule")) ** sustained)


def peak_alone_flops_per_s(case: SpeedCase, reached: float) -> float | None:
    """What prompts of a runtime with kernels of its own are relative to: the peak to a power; None for others.

    The larger a card, the less of it a chunk of 512 tokens fills (`data/peak_powers.csv`). The unit is where a card's
    peak counts as it is: that of the cards that most runtimes share.
    """
    power = _peak_powers().get((case.engine.runtime, case.backend))
    if power is None:
        return None
    unit, peak = tuned("peak_unit_flops_per_s"), nominal_flops_per_s(case.device, case.engine.accumulates)
    return float(unit * (peak * reached / unit) ** power)


@cache
def _peak_powers() -> dict[tuple[str, str], float]:
    return {(row["runtime"], row["backend"]): float(row["power"]) for row in read_rows("peak_powers.csv")}


def instructions_share(case: SpeedCase) -> float:
    """The share of a card's peak that the matrix instructions of a runtime's own kernels reach.

    Each architecture of NVIDIA's datacenter cards brought new ones (wgmma, tcgen05); kernels that keep to the older
    reach no more than those do (`data/matrix_instructions.csv`, from a compute capability on).
    """
    shares = _instruction_shares().get(case.engine.runtime)
    if not shares or case.backend != "cuda" or memory_class(case.device) != "hbm":
        return 1.0
    capability = cuda_capability(case.device)
    return next((share for least, share in shares if capability >= least), 1.0)


@cache
def _instruction_shares() -> dict[str, list[tuple[float, float]]]:
    """By runtime, the shares from a capability on, the highest first."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows("matrix_instructions.csv"):
        found.setdefault(row["runtime"], []).append((float(row["capability"]), float(row["share"])))
    return {runtime: sorted(shares, reverse=True) for runtime, shares in found.items()}


@cache
def product_type(kernel: str) -> str:
    """The peak that a precision's kernel multiplies at (`fp8`); empty where it is the 16-bit one."""
    return _products_row(kernel).get("peak", "")


@cache
def served_products(kernel: str) -> tuple[str, ...]:
    """The peaks that a server's products may reach with a precision's kernel, the highest that the device has."""
    return tuple(_products_row(kernel).get("served", "").split())


def _products_row(kernel: str) -> dict[str, str]:
    return next((row for row in read_rows("product_types.csv") if kernel in row["kernels"].split()), {})


def _exponents(device: Device) -> tuple[float, float, float]:
    """To what powers the peak, what memory feeds and the power count: 1 together."""
    peak, fed = tuned("peak_power"), tuned("fed_power")
    if device.tdp_w:
        return peak, fed, 1 - peak - fed
    return peak / (peak + fed), fed / (peak + fed), 0.0


def _fed_flops_per_s(device: Device) -> float:
    return (device.bandwidth_bytes_per_s or 5e10) * tuned("fed_flops_per_byte")


def reachable_bytes_per_s(device: Device) -> float | None:
    """The bandwidth that a step's memory traffic is relative to: the nominal one, less of it on wide CPUs.

    The more bandwidth a CPU's specification tells, the less of it its cores and their fabric reach: it counts to a
    power, equal at 60 GB/s (`cpu_bandwidth_power` of data/tuning.csv), and as far as its cores reach it where that is
    known (`data/cpu_shares.csv`). A measured bandwidth counts whole.
    """
    nominal = device.bandwidth_bytes_per_s
    if not nominal or not is_cpu(device) or device.bandwidth_basis == "measured":
        return nominal
    power = tuned("cpu_bandwidth_power")
    within_reach = nominal * _cores_share(device.key)
    return float(within_reach**power * tuned("cpu_reference_bytes_per_s") ** (1 - power))


@cache
def _cores_share(key: str) -> float:
    """How much of a chip's bandwidth its CPU's cores together reach; all, where no row tells less."""
    rows = read_rows("cpu_shares.csv")
    return next((float(row["share"]) for row in rows if any(matches(one, key) for one in row["devices"].split())), 1.0)


def cpu_flops_per_s(device: Device, threads: int | None = None) -> float:
    """Nominal fp32 peak of those cores of a CPU that compute: one a thread at most.

    The whole peak is the table's or the user's, else 100 GFLOP/s a core. Where the table tells no cores, they are what
    the bandwidth lets expect: 8 at 80 GB/s, growing with its root (4 at 20 GB/s, 16 at 320 GB/s).
    """
    bandwidth = device.bandwidth_bytes_per_s or USUAL_BANDWIDTH_BYTES_PER_S
    usual = max(1.0, USUAL_CORES * (bandwidth / USUAL_BANDWIDTH_BYTES_PER_S) ** 0.5)
    cores = device.cores or max(usual, threads or 0)
    whole = device.peak_flops_per_s.get("fp32") or cores * tuned("core_flops_per_s")
    return whole * min(threads or cores, cores) / cores
