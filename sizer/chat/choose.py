"""Which precision a chat runs at: the one asked for, else the one that recommend chooses for this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizer.benchmark.backends import TRANSFORMERS
from sizer.benchmark.plan import Asked, spec_of
from sizer.benchmark.predict import predict
from sizer.benchmark.recipes_transformers import precisions
from sizer.errors import DoesNotFit

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.benchmark.records import Spec
    from sizer.model.read.resolve import Resolved

# Loaded from plain weights; the other precisions are those of repositories stored so.
FROM_PLAIN_WEIGHTS = ("fp32", "bf16", "fp16", "int8", "nf4")


def choose_precision(asked: Asked, resolved: Resolved) -> tuple[str, str]:
    """The precision to load and why. Raises DoesNotFit where recommend finds none that this machine holds."""
    from dataclasses import replace

    from sizer.advise.reasons import recommendation
    from sizer.precision.configured import configured_precision

    if asked.precision:
        return spec_of(asked, resolved).precision, "as asked"
    own = configured_precision(resolved.architecture)
    if own:
        return own, "as the repository is stored"
    candidates = [name for name in precisions() if name in FROM_PLAIN_WEIGHTS]
    found = [estimate_for(replace(asked, precision=name), resolved) for name in candidates]
    advice = recommendation([item for item in found if item is not None])
    if advice.precision is None:
        raise DoesNotFit(advice.reason, "--precision P loads one all the same.")
    return advice.precision, advice.reason


def estimate_for(asked: Asked, resolved: Resolved) -> Estimate | None:
    """The estimate of what a chat with `asked` runs."""
    spec: Spec = spec_of(asked, resolved)
    return predict(asked, spec, resolved, TRANSFORMERS.name)
