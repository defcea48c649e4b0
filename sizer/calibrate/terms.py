"""What is fitted: each term's prior, the groups that may move it, and how far they usually do.

A spread is the standard deviation (of the logarithm) that is expected among groups of that level: ridge penalties are
its inverse square, so an effect of few rows stays near zero and the factor near that of the wider groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TermPrior:
    """A term's usual log-factor, the spread of each level of groups, and the term whose effects it shares."""

    base: float
    spreads: dict[str, float] = field(default_factory=dict)
    parent: str = ""


_KERNELS = {"backend kernel": 0.2, "backend family kernel": 0.08}
_RATE = {
    "engine": 0.4,
    "runtime": 0.3,
    "backend": 0.2,
    "family": 0.15,
    "backend family": 0.15,
    "generation": 0.12,
    "device": 0.06,
    "era": 0.2,
    "version": 0.15,
    "runtime kernel": 0.2,
    "log bandwidth": 0.1,
    "log bandwidth beyond 1 TB/s": 0.2,
    **_KERNELS,
}
_COUNT = {
    "engine": 1.0,
    "engine kernel": 0.4,
    "runtime": 0.7,
    "backend": 0.5,
    "family": 0.4,
    "backend family": 0.3,
    "generation": 0.2,
    "memory": 0.4,
    "era": 0.4,
    "version": 0.4,
}
_CACHE = {
    "engine": 1.5,
    "engine kernel": 0.5,
    "runtime": 1.0,
    "backend": 0.5,
    "backend family": 0.3,
    "era": 0.5,
    "version": 0.5,
}
_SHARED = {"runtime": 0.3, "backend": 0.2, "backend family": 0.15}

DECODE_TERMS = {
    "weights": TermPrior(0.35, _RATE),
    "experts": TermPrior(0.3, _SHARED, "weights"),
    "cache": TermPrior(0.3, _CACHE, "weights"),
    "host": TermPrior(0.3, {"runtime": 0.3}),
    "compute": TermPrior(0.5, {"runtime": 0.7, "backend": 0.5, "family": 0.6, "backend kernel": 0.5}),
    "threads": TermPrior(0.0, {"runtime": 0.5, "kernel": 0.5}),
    "launch": TermPrior(
        -1.0, {"runtime": 1.5, "engine": 0.7, "runtime kernel": 0.5, "engine kernel": 0.5, "era": 0.4, "version": 0.3}
    ),
    "expert_launch": TermPrior(-4.0, {"runtime": 2.0, "engine": 1.0, "runtime kernel": 0.7}),
    "layers": TermPrior(0.0, _COUNT),
    "moe_layers": TermPrior(
        -1.0, {"runtime": 1.0, "engine": 1.0, "runtime kernel": 0.5, "backend": 0.4, "family": 0.3}
    ),
    "step": TermPrior(-2.0, {"runtime": 0.6, "engine": 0.6, "backend": 0.4}),
    "sequences": TermPrior(-2.0, {"runtime": 0.7, "engine": 0.5}),
    "ranks": TermPrior(-2.0, {"engine": 0.6, "link": 0.6}),
    "moved": TermPrior(-1.0, {"link": 0.5}),
    "hops": TermPrior(0.0, {"runtime": 0.5}),
}

_COMPUTE = {
    "engine": 0.3,
    "runtime": 0.5,
    "backend": 0.4,
    "family": 0.4,
    "backend family": 0.3,
    "generation": 0.25,
    "backend generation": 0.2,
    "device": 0.1,
    "era": 0.3,
    "bits": 0.2,
    "backend kernel": 0.3,
    "backend family kernel": 0.15,
}

PREFILL_TERMS = {
    "prefill_compute": TermPrior(0.9, _COMPUTE),
    "prefill_experts": TermPrior(0.7, {"runtime": 0.5, "engine": 0.3, "backend family": 0.3}, "prefill_compute"),
    "prefill_attention": TermPrior(0.5, {"runtime": 0.5, "backend": 0.3, "family": 0.4}, "prefill_compute"),
    "prefill_weights": TermPrior(0.3, {"runtime": 0.3, "backend family": 0.2}),
    "prefill_host": TermPrior(0.3),
    "prefill_launch": TermPrior(-1.0, {"runtime": 1.0, "engine": 0.7, "era": 0.4}),
    "prefill_layers": TermPrior(0.0, _COUNT),
    "prefill_step": TermPrior(0.0, {"runtime": 0.8, "engine": 0.7, "backend": 0.5}),
    "prefill_ranks": TermPrior(-1.0, {"engine": 0.6, "link": 0.6}),
    "prefill_moved": TermPrior(0.0, {"link": 0.5}),
}
TERMS = {"decode": DECODE_TERMS, "prefill": PREFILL_TERMS}
