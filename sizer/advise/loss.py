"""What an estimate's precision costs in quality, measured or not."""

from __future__ import annotations

from functools import lru_cache

from sizer.answer.records import Estimate
from sizer.engine.ladders import own_precision
from sizer.engine.precisions import store_for
from sizer.model.architecture import Architecture, Basis, Tower
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.stored import Stored
from sizer.precision.quality import LEGACY, kl_divergence, on_curve, rows

REFERENCE_MODEL = "meta-llama/Meta-Llama-3-8B-Instruct"
"""The shape that the rows of `data/quality.csv` were measured with."""
SIXTEEN_BITS = 16.0


def loss_of(estimate: Estimate) -> float:
    """KL divergence of an estimate's precision from the published checkpoint."""
    return loss_at(estimate.architecture, estimate.precision, estimate.engine, estimate.stored)


def loss_at(architecture: Architecture, precision: str, engine: str, stored: Stored | None = None) -> float:
    """KL divergence from the published checkpoint: none at its own precision, as measured where a source has it, else
    that of GGUF types whose layers have as many bits a weight (log-linear between them)."""
    if precision == own_precision(architecture, engine):
        return 0.0
    known = kl_divergence(precision)
    if known is not None:
        return known
    return expected_loss(layer_bits(stored or store_for(architecture, precision, engine)))


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


def expected_loss(bits_per_weight: float) -> float:
    """KL divergence of GGUF types with these bits a weight in the layers: an estimate for what no source compares."""
    return on_curve(_curve(), bits_per_weight)


def layer_params(architecture: Architecture) -> int:
    """Parameters of the text layers, which no precision of a tolerable loss stores in fewer bits."""
    return sum(
        tensor.total_elements
        for tensor in architecture.tensors
        if tensor.tower is Tower.TEXT and tensor.layers and not tensor.checkpoint_only
    )


@lru_cache(maxsize=64)
def least_bits(max_loss: float) -> float:
    """The fewest bits a weight in the layers that lose no more than this, as `expected_loss` has it."""
    low, high = 0.0, SIXTEEN_BITS
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if expected_loss(middle) <= max_loss else (middle, high)
    return low


@lru_cache(maxsize=1)
def _curve() -> tuple[tuple[float, float], ...]:
    """(bits a weight in the layers, KL divergence) of the usual k-quants and codebook types, most bits first."""
    entry = catalogue.find(REFERENCE_MODEL)
    assert entry is not None
    reference = build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
    points = sorted(
        (
            (layer_bits(store_for(reference, row.precision, "llama.cpp")), row.kl_divergence)
            for row in rows()
            if row.usual and row.size_gib is not None and row.kl_divergence > 0 and row.precision not in LEGACY
        ),
        reverse=True,
    )
    curve: list[tuple[float, float]] = []
    for bits, loss in points:
        curve.append((bits, max(loss, curve[-1][1]) if curve else loss))
    return tuple(curve)
