"""The rates that the amounts of a case are relative to: all its devices together, as its engine reaches them."""

from __future__ import annotations

from sizer.device.capability import cuda_capability
from sizer.device.kinds import die_of, instructions, memory_class
from sizer.device.records import is_cpu
from sizer.engine.releases import rules
from sizer.speed.case import SpeedCase, runtime_rule, standing
from sizer.speed.device_rates import (
    MATRIX_OVER_VECTOR,
    cpu_flops_per_s,
    fast_cores,
    nominal_bytes_per_s,
    nominal_flops_per_s,
    prompt_flops_per_s,
    reachable_bytes_per_s,
    sustained_share,
    vector_flops_per_s,
)
from sizer.speed.kernels import precision_class, product_type, served_products
from sizer.speed.splits import parallelism, tensor_ranks, within_layers
from sizer.tuning import tuned
from sizer.workload import Split


@standing
def working_threads(case: SpeedCase) -> int | None:
    """How many threads a CPU computes on: those asked for, else one for each fast core where the runtime leaves the
    efficient ones of a hybrid part alone (`data/kernel_facts.csv`); None: one for each core."""
    asked = case.workload.threads
    return asked if asked or not case.kernels.fast_cores else fast_cores(case.device)


@standing
def bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """Bandwidth that a step sees: of all ranks of a tensor group together, the harmonic mean of layer splits. Raises
    SizerError where a device's is not known."""
    rates = [reachable_bytes_per_s(device, working_threads(case)) for device in case.devices]
    if within_layers(case):
        return min(rates) * tensor_ranks(case)
    if parallelism(case) is Split.DATA:
        return rates[0]
    sizes = [device.memory_bytes or 1 for device in case.devices]
    return sum(sizes) / sum(size / rate for size, rate in zip(sizes, rates, strict=True))


@standing
def nominal_bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """The same with every device at its specification: no step moves its bytes faster."""
    reached = reachable_bytes_per_s(case.device, working_threads(case))
    return bandwidth_bytes_per_s(case) * nominal_bytes_per_s(case.device) / reached


@standing
def peak_flops_per_s(case: SpeedCase) -> float:
    """Nominal dense peak that a step sees; a CPU's is that of the cores that work on it."""
    if is_cpu(case.device):
        return cpu_flops_per_s(case.device, working_threads(case)) * tensor_ranks(case)
    return nominal_flops_per_s(case.device, case.engine.accumulates) * tensor_ranks(case)


def prompt_peak_flops_per_s(case: SpeedCase, products: str = "", *, packed: bool = True) -> float:
    """The same for a prompt, at the peak of a type of products where the device has one; products that are not `packed`
    are those of the maker's libraries, whose kernels reach the whole peak. Of a CPU's peak more cores reach less."""
    if is_cpu(case.device):
        power, unit = tuned("cpu_peak_power"), tuned("cpu_peak_unit_flops_per_s")
        reached: float = unit * (peak_flops_per_s(case) / unit) ** power
        return reached * instructions_share(case)
    reached = instructions_share(case) if packed else 1.0
    alone = peak_alone_flops_per_s(case, products, reached)
    if alone is None:
        alone = prompt_flops_per_s(case.device, case.engine.accumulates, products, reached)
    return alone * tensor_ranks(case)


@standing
def prompt_products_flops_per_s(case: SpeedCase) -> float:
    """The same at the peak of the format that the stored weights are multiplied in, or of the vector units."""
    if _on_vectors(case) == "all":
        return vector_flops_per_s(case.device) * tensor_ranks(case)
    kernel, bits = precision_class(case.stored.precision)
    return prompt_peak_flops_per_s(case, product_type(kernel), packed=bits != "float")


@standing
def experts_flops_per_s(case: SpeedCase) -> float:
    """What a prompt's experts are relative to: the same, or the vector units' peak where theirs alone run there."""
    if _on_vectors(case) == "experts":
        return vector_flops_per_s(case.device) * tensor_ranks(case)
    return prompt_products_flops_per_s(case)


@standing
def _on_vectors(case: SpeedCase) -> str:
    """Which of a prompt's products grow with the vector units, not with the matrix units, for how a runtime's kernels
    of a precision are made (`data/vector_products.csv`): all, those of experts, or none (empty)."""
    rule = runtime_rule(case, "vector_products.csv")
    if rule is None or is_cpu(case.device) or case.stored.precision not in rule["precisions"].split():
        return ""
    vendors, die = rule["vendors"].split(), die_of(case.device.key)
    excepted = die is not None and die.name in rule["except_dies"].split()
    return "" if excepted or (vendors and case.device.vendor not in vendors) else rule["parts"]


def format_flops_per_s(case: SpeedCase) -> float:
    """The nominal dense peak of the narrowest format that the stored weights are multiplied in, all ranks together."""
    peaks = case.device.peak_flops_per_s
    wanted = served_products(precision_class(case.stored.precision)[0])
    narrow = [peaks[name] * tensor_ranks(case) for name in wanted if name in peaks]
    return max([peak_flops_per_s(case), *narrow])


def peak_alone_flops_per_s(case: SpeedCase, products: str, reached: float) -> float | None:
    """What prompts are relative to where the peak alone tells: it, to a power (`peak_power`); None elsewhere.

    The larger a card, the less of it a prompt's chunks fill: least of it with a runtime's own kernels in small chunks,
    more of it with the maker's libraries. The unit is where a card's peak counts as it is: that of the cards that most
    runtimes share.
    """
    power = case.kernels.peak_power
    if power is None:
        return None
    unit = tuned("peak_unit_flops_per_s")
    peak = case.device.peak_flops_per_s.get(products) or nominal_flops_per_s(case.device, case.engine.accumulates)
    return float(unit * (peak * reached * sustained_share(case.device) / unit) ** power)


@standing
def attention_flops_per_s(case: SpeedCase) -> float:
    """What a prompt's attention is relative to: the same, or as much as a card's vector units have of it where the
    runtime's kernels weigh keys and values on those.

    A card with four times as many FLOPs on its matrix units as on its vector units counts as it is.
    """
    rate = prompt_peak_flops_per_s(case)
    if not case.kernels.vector_attention or is_cpu(case.device):
        return rate
    return rate * MATRIX_OVER_VECTOR * vector_flops_per_s(case.device) / nominal_flops_per_s(case.device)


def instructions_share(case: SpeedCase) -> float:
    """The share of a device's peak that the matrix instructions of a runtime's own kernels reach: the first row of
    `data/matrix_instructions.csv` that holds for the card's compute capability or the cores' instructions.

    Each architecture of NVIDIA's datacenter cards brought new ones (wgmma, tcgen05); kernels that keep to the older
    reach no more than those do. Cores with matrix units reach more than the fp32 peak that they are told by, but in
    formats that these do not multiply.
    """
    rows = rules("matrix_instructions.csv", "runtime").get(case.engine.runtime, ())
    if is_cpu(case.device):
        own, precision = instructions(case.device.key), case.stored.precision
        told = (row for row in rows if row["instructions"] == own)
        found = (row for row in told if precision not in row["except_precisions"].split())
    elif case.backend == "cuda" and memory_class(case.device) == "hbm":
        capability = cuda_capability(case.device)
        found = (row for row in rows if row["capability"] and capability >= float(row["capability"]))
    else:
        return 1.0
    return next((float(row["share"]) for row in found), 1.0)
