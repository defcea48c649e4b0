"""What an estimate's precision costs in quality: measured for the model, else told by its kind and scaled.

The KL divergence is from the published checkpoint. Best evidence first: the checkpoint's own precision loses nothing; a
measured row of this very model (`data/quality_models.csv`); the table of Llama-3-8B (`data/quality.csv`) or other
models' rows of the scheme (`data/quality_schemes.csv`); the curve of GGUF types by bits a weight
(`data/quality_curve.csv`). What is not of the model itself is scaled by active parameters to the power -0.2 (large
models lose less), and, where other precisions of the kind were measured of the model, by what those lose.
`tools/quality.py` makes the tables and says how far off the scaled figures are on models left out.
"""

from __future__ import annotations

from functools import lru_cache

from sizer.answer.records import Estimate
from sizer.engine.ladders import own_precision
from sizer.engine.stored import store_for
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Tower
from sizer.model.stored import Stored
from sizer.precision.names import canonical, precision_of
from sizer.precision.quality import (
    SIXTEEN_BITS,
    as_others_of_model,
    benchmark_recovery_pct,
    errors_by_basis,
    kl_divergence,
    kl_of_model,
    kl_of_scheme,
    layer_bits,
    measured_of_model,
    on_curve,
    over_curve,
    points,
    scaled_by_active,
)

WORDS = ((0.002, "none to notice"), (0.02, "hard to notice"), (0.08, "small slips"), (0.3, "visibly worse"))
"""Plain words for a KL divergence up to each bound; beyond the last, broken. docs/advice.md says what they rest on."""
BROKEN = "often wrong"


@dataclass(frozen=True, slots=True)
class Loss:
    """A KL divergence from the published checkpoint, with what it rests on.

    `basis` is checkpoint, measured, model, table, scheme or bits; `factor` how far off such figures were in nine of ten
    models left out (1 where it was measured or is nothing).
    """

    kl_divergence: float
    basis: str
    factor: float

    @property
    def low(self) -> float:
        """The lower end of where it may lie."""
        return self.kl_divergence / self.factor

    @property
    def high(self) -> float:
        """The upper end."""
        return self.kl_divergence * self.factor

    @property
    def top_token_disagreement(self) -> float:
        """Share of tokens at which the most likely one differs: 0.36 KL^0.46, fitted on rows that tell both."""
        return float(min(1.0, 0.36 * self.kl_divergence**0.46))

    @property
    def words(self) -> str:
        """What a reader of the answers sees."""
        return next((words for bound, words in WORDS if self.kl_divergence <= bound), BROKEN)


def loss_of(estimate: Estimate) -> float:
    """KL divergence of an estimate's precision from the published checkpoint."""
    return quality_of(estimate).kl_divergence


def quality_of(estimate: Estimate) -> Loss:
    """What an estimate's precision loses, and what that rests on."""
    return _quality(estimate.architecture, estimate.precision, estimate.engine, estimate.stored)


def loss_at(architecture: Architecture, precision: str, engine: str, stored: Stored | None = None) -> float:
    """KL divergence of a precision with an engine."""
    return _quality(architecture, precision, engine, stored).kl_divergence


def _quality(architecture: Architecture, precision: str, engine: str, stored: Stored | None) -> Loss:
    """The loss by the best evidence there is."""
    if precision == own_precision(architecture, engine):
        return Loss(0.0, "checkpoint", 1.0)
    name = canonical(precision)
    own = kl_of_model(architecture.model_id, name)
    if own is not None:
        return Loss(own, "measured", 1.0)
    table = kl_divergence(name)
    if table == 0:
        return Loss(0.0, "checkpoint", 1.0)
    told, basis = told_loss(architecture, name, engine, stored)
    others = _others(architecture, name, engine)
    if others:
        told, basis = as_others_of_model(told, others), "model"
    return Loss(told, basis, errors_by_basis()[basis])


def told_loss(architecture: Architecture, name: str, engine: str, stored: Stored | None = None) -> tuple[float, str]:
    """The loss of a canonical precision that other models' rows tell, and what it rests on."""
    found, basis = kl_divergence(name), "table"
    if found is None:
        found, basis = _by_scheme(architecture, name, engine, stored)
    return scaled_by_active(found, architecture.active_params), basis


def _others(architecture: Architecture, name: str, engine: str) -> list[tuple[float, float]]:
    """What was measured of this model at other precisions of the kind: (told, measured) of each that loses
    something."""
    scheme = precision_of(name).scheme
    alike = [
        (told_loss(architecture, other, engine)[0], measured)
        for other, measured in measured_of_model(architecture.model_id).items()
        if precision_of(other).scheme == scheme
    ]
    return [(told, measured) for told, measured in alike if told > 0]


def _by_scheme(architecture: Architecture, name: str, engine: str, stored: Stored | None) -> tuple[float, str]:
    """The loss at Llama-3-8B's size that other models of a scheme, or its bits alone, tell."""
    widths = over_curve(name)
    known = None if widths is not None else kl_of_scheme(name)
    if known is not None:
        return known, "scheme"
    by_bits = expected_loss(layer_bits(stored or store_for(architecture, name, engine)))
    return (by_bits, "bits") if widths is None else (by_bits * widths, "scheme")


def recovery_pct(estimate: Estimate) -> float | None:
    """What is left of benchmark scores at an estimate's precision, in percent; None where no source tells."""
    return benchmark_recovery_pct(canonical(estimate.precision))


def expected_loss(bits_per_weight: float) -> float:
    """KL divergence of GGUF types with these bits a weight in the layers of Llama-3-8B: for what no source compares."""
    return on_curve(points(), bits_per_weight)


@lru_cache(maxsize=256)
def layer_params(architecture: Architecture) -> int:
    """Parameters of the text layers, which no precision of a tolerable loss stores in fewer bits."""
    return sum(
        tensor.total_elements
        for tensor in architecture.tensors
        if tensor.tower is Tower.TEXT and tensor.layers and not tensor.checkpoint_only
    )


@lru_cache(maxsize=64)
def least_bits(max_loss: float) -> float:
    """The fewest bits a weight in the layers that lose no more than this in any model, as `expected_loss` has it."""
    low, high = 0.0, SIXTEEN_BITS
    for _ in range(20):
        middle = (low + high) / 2
        loss = scaled_by_active(expected_loss(middle), LARGEST_ACTIVE)
        low, high = (low, middle) if loss <= max_loss else (middle, high)
    return low


LARGEST_ACTIVE = 5e11
"""More active parameters than any catalogued model has: no model loses less at the same bits."""
