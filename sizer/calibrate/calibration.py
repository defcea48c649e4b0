"""From measured rows to the constants document: fit, held-out errors, conformal spreads by evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sizer.calibrate.fit import Fitter, fit_terms, predicted_seconds
from sizer.calibrate.heldout import SCHEMES, Residual, conformal_bounds, counts, held_out
from sizer.calibrate.measurements import Measurement
from sizer.calibrate.observations import Observation, observe
from sizer.calibrate.terms import TERMS
from sizer.estimate.speed import EVIDENCE_LEVELS
from sizer.estimate.speed_law import Constants

COMMAND = "sizer calibrate data/measurements.csv --serving data/serving.csv"
LEAST_DECODE_SHARE = 0.6
SERVING_WEIGHT = 0.1
ENOUGH_ROWS = 40
"""Held-out rows that a level of evidence needs for bounds of its own; with fewer it takes those of all rows."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants document, and the held-out residuals of each quantity and scheme behind it."""

    document: Mapping[str, Any]
    residuals: Mapping[str, Mapping[str, Sequence[Residual]]]


def calibrate(rows: Sequence[Measurement], serving: Sequence[Measurement] = ()) -> Calibration:
    """Fits the constants of decode and prefill, and measures them on held-out rows. The same rows give the same.

    `serving` are rows of engines under load: they teach what batches and ranks cost, and are not scored.
    """
    observations = observe(rows)
    under_load = [replace(row, weight=SERVING_WEIGHT) for row in observe(serving) if row.quantity == "decode"]
    prefill = [row for row in observations if row.quantity == "prefill"]
    observations = requests_as_decode(observations, Constants(fit_terms(prefill, TERMS["prefill"]), {}, {}))
    observations += under_load
    terms: dict[str, Any] = {}
    spreads: dict[str, Any] = {}
    residuals: dict[str, dict[str, list[Residual]]] = {}
    for quantity, priors in TERMS.items():
        chosen = [row for row in observations if row.quantity == quantity]
        seen = counts(chosen)
        fitter = Fitter(chosen, priors)
        theta = fitter.solve()
        for name, term in fitter.terms(theta).items():
            effects = [[group, round(value, 5), seen.get(group, len(chosen))] for group, value in term.effects.items()]
            terms[name] = {"base": round(term.base, 5), "parent": term.parent, "effects": sorted(effects)}
        residuals[quantity] = {scheme: held_out(fitter, theta, scheme) for scheme in SCHEMES}
        spreads[quantity] = _spreads([one for scheme in residuals[quantity].values() for one in scheme])
    document = {
        "schema_version": 1,
        "command": COMMAND,
        "rows": len(observations),
        "counts": {name: n for name, n in sorted(counts(observations).items()) if _is_evidence(name)},
        "spreads": spreads,
        "terms": terms,
    }
    return Calibration(document, residuals)


def requests_as_decode(rows: Sequence[Observation], fitted: Constants) -> list[Observation]:
    """Requests turned into decode steps: their time less the prompt's predicted one, where decoding is most of it."""
    found = []
    for row in rows:
        if row.quantity != "request":
            found.append(row)
            continue
        prompt = replace(row, amounts=row.before)
        step_s = row.seconds - predicted_seconds(prompt, fitted) / row.outputs
        if step_s > LEAST_DECODE_SHARE * row.seconds:
            found.append(replace(row, quantity="decode", seconds=step_s))
    return found


def _is_evidence(group: str) -> bool:
    return group.partition(": ")[0] in EVIDENCE_LEVELS


def _spreads(residuals: Sequence[Residual]) -> list[list[Any]]:
    """Conformal bounds by evidence, and by evidence and engine where rows suffice, with the rows behind them."""
    everything = [one.log_ratio for one in residuals]
    groups: dict[str, list[float]] = {level: [] for level in EVIDENCE_LEVELS}
    for one in residuals:
        groups[one.evidence].append(one.log_ratio)
        groups.setdefault(f"{one.evidence}: {one.row.engine}", []).append(one.log_ratio)
    rows = []
    for name, found in groups.items():
        if len(found) < ENOUGH_ROWS and name not in EVIDENCE_LEVELS:
            continue
        low, high = conformal_bounds(found if len(found) >= ENOUGH_ROWS else everything)
        rows.append([name, round(low, 4), round(high, 4), len(found)])
    return rows
