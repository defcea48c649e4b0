"""What a precision costs in quality: KL divergence from the 16-bit model, where a source measured it.

`data/quality.csv` is llama.cpp's own table for Llama-3-8B. Of the two rows that some types have, the default is the one
most files are made by: without an importance matrix from four bits on, with one below.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import exp, log

from sizer.frozen import dataclass
from sizer.model.architecture import Tower
from sizer.model.stored import Stored
from sizer.precision.names import Precision, precision_of
from sizer.tables import read_rows, record_of

# Blocks of 32 without k-quants' two-level scales: worse than others of their size, so no guide for other schemes.
LEGACY = frozenset({"q4_0", "q4_1", "q5_0", "q5_1"})
SIXTEEN_BITS = 16.0
REFERENCE_MODEL = "meta-llama/Meta-Llama-3-8B-Instruct"
"""The shape that the rows of `data/quality.csv` were measured with."""
REFERENCE_ACTIVE, ACTIVE_POWER = 8_030_261_248, -0.2
"""Large models lose less: about active parameters to the power -0.2, over the models of `data/quality_facts.csv`."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One measured row: what the precision costs on the model it was measured with."""

    precision: str
    imatrix: bool
    model: str
    kl_divergence: float
    delta_perplexity: float
    size_gib: float | None
    usual: bool
    source: str


@lru_cache(maxsize=1)
def rows() -> tuple[Quality, ...]:
    """The rows of the table."""
    return tuple(record_of(Quality, row) for row in read_rows("quality.csv"))


def quality(precision: str, *, imatrix: bool | None = None) -> Quality | None:
    """The measured quality of a precision, or None where no source has it. Raises UnknownPrecision.

    `imatrix` asks for the row with or without an importance matrix; by default the usual one.
    """
    name = _measured_name(precision_of(precision))
    return next(
        (row for row in rows() if row.precision == name and (row.usual if imatrix is None else row.imatrix is imatrix)),
        None,
    )


def _measured_name(row: Precision) -> str:
    """The name that the table has: interleaved types hold the same values, short names the same file."""
    if row.kind == "gguf-repacked":
        return row.name.rsplit("_r", 1)[0]
    return row.ftype.lower() if row.kind == "gguf" else row.name


def kl_divergence(precision: str) -> float | None:
    """Mean KL divergence from the 16-bit model, or None where no source measured it. Raises UnknownPrecision."""
    found = quality(precision)
    return None if found is None else found.kl_divergence


def on_curve(curve: Sequence[tuple[float, float]], bits_per_weight: float) -> float:
    """The divergence at these bits per weight on a curve of (bits, divergence), most bits first.

    Log-linear between its points, its ends beyond them, none from 16 bits on.
    """
    if bits_per_weight >= SIXTEEN_BITS:
        return 0.0
    for (upper, less), (lower, more) in pairwise(curve):
        if lower <= bits_per_weight <= upper:
            share = (upper - bits_per_weight) / (upper - lower) if upper > lower else 0.0
            return exp(log(less) + share * (log(more) - log(less)))
    return curve[0][1] if bits_per_weight > curve[0][0] else curve[-1][1]


def scaled_by_active(loss: float, active_params: float) -> float:
    """A loss of Llama-3-8B as that of a model with so many active parameters."""
    return float(loss * (active_params / REFERENCE_ACTIVE) ** ACTIVE_POWER)


def layer_bits(stored: Stored) -> float:
    """Mean bits a weight of the layers' matrices.

    Embeddings and the output head, which some schemes leave in 16 bits, buy a scheme no quality in the layers.
    """
    size_bytes = elements = 0
    for entry in stored.tensors:
        tensor = entry.tensor
        if tensor.tower is Tower.TEXT and tensor.layers and len(tensor.shape) > 1 and not tensor.checkpoint_only:
            size_bytes += entry.size_bytes
            elements += tensor.total_elements
    if not elements:  # known by its name alone: one tensor stands for all
        size_bytes, elements = stored.weights_bytes, sum(entry.tensor.total_elements for entry in stored.tensors)
    return 8 * size_bytes / max(1, elements)


@lru_cache(maxsize=1)
def points() -> tuple[tuple[float, float], ...]:
    """The curve of `data/quality_curve.csv`: (bits a weight in the layers, KL divergence), most bits first."""
    return tuple((float(row["bits_per_weight"]), float(row["kl_divergence"])) for row in read_rows("quality_curve.csv"))


@lru_cache(maxsize=1)
def _by_model() -> dict[tuple[str, str], float]:
    found = read_rows("quality_models.csv")
    return {(row["model"].lower(), row["precision"]): float(row["kl_divergence"]) for row in found}


def kl_of_model(model_id: str, precision: str) -> float | None:
    """The measured divergence of this very model at a canonical precision; None where nobody measured it."""
    return _by_model().get((model_id.lower(), precision))


def measured_of_model(model_id: str) -> dict[str, float]:
    """The measured divergences of this very model by canonical precision; empty where nobody measured it."""
    name = model_id.lower()
    return {precision: loss for (model, precision), loss in _by_model().items() if model == name}


NEAR = 0.1
"""What is added to the distance of two losses (in the logarithm): rows much alike count ten times one a factor 2.5 away
and no more. Of 66 losses left out, told so, half lie within 1.3 of their own and nine of ten within 2.1, for 1.4 and
2.6 of the tables (`data/quality_errors.csv`)."""


def as_others_of_model(told: float, others: Sequence[tuple[float, float]]) -> float:
    """A told loss as the model's other precisions show it: `others` are (told, measured) of each, the nearest first in
    weight. What loses more than any that was measured is not told to lose less for them; without others it stays."""
    if not others:
        return told
    weights = [1 / (NEAR + abs(log(told / other))) for other, _ in others]
    ratios = [log(measured / other) for other, measured in others]
    mean = sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True)) / sum(weights)
    return told * exp(max(0.0, mean) if told > max(other for other, _ in others) else mean)


@lru_cache(maxsize=1)
def _by_scheme() -> dict[str, float]:
    return {row["precision"]: float(row["kl_divergence"]) for row in read_rows("quality_schemes.csv")}


def kl_of_scheme(precision: str) -> float | None:
    """The divergence that other models' rows of a canonical precision tell for Llama-3-8B's size; None without rows."""
    return _by_scheme().get(precision)


@lru_cache(maxsize=1)
def _by_family() -> dict[str, float]:
    return {row["prefix"]: float(row["over_curve"]) for row in read_rows("quality_families.csv")}


def over_curve(precision: str) -> float | None:
    """How a scheme of many widths (`exl3-4.25bpw`) compares with GGUF types of as many bits; None for other schemes."""
    return next((ratio for prefix, ratio in _by_family().items() if precision.startswith(prefix)), None)


@lru_cache(maxsize=1)
def _recoveries() -> dict[str, float]:
    return {row["precision"]: float(row["recovery_pct"]) for row in read_rows("quality_benchmarks.csv")}


def benchmark_recovery_pct(precision: str) -> float | None:
    """What is left of benchmark scores at a canonical precision, in percent; None where no source tells."""
    return _recoveries().get(precision)


@lru_cache(maxsize=1)
def errors_by_basis() -> dict[str, float]:
    """The factor within which nine of ten figures of a basis lay on models left out (`data/quality_errors.csv`)."""
    return {row["basis"]: float(row["p90_factor"]) for row in read_rows("quality_errors.csv")}
