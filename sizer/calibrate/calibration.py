"""From measured rows to the constants document: fit, held-out errors, conformal spreads by evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any

from sizer.calibrate.digests import digests
from sizer.calibrate.enough import can_leave_out, sets_intervals, too_few, why_none
from sizer.calibrate.fit_constants import Fitter, fitters
from sizer.calibrate.heldout import SCHEMES, Residual, counts, held_out, quantile
from sizer.calibrate.intervals import stretch_by_engine, widths
from sizer.calibrate.likeness import Alike
from sizer.calibrate.measurements import ReadRow
from sizer.calibrate.observation import Observation
from sizer.calibrate.observations import observe
from sizer.calibrate.terms import TERMS
from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass
from sizer.speed.law import CONSTANTS_FILE
from sizer.speed.nearby import written
from sizer.speed.predict import EVIDENCE_LEVELS
from sizer.tables import read_json
from sizer.tuning import tuned

COMMAND = "python tools/calibrate.py"
NORMAL_DEVIATIONS = 1.4826
"""Standard deviations of a normal distribution in its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants document, and the held-out residuals of each quantity and scheme behind it.

    `apart` are the residuals of rows that teach the fit but are not scored: they set no interval. `nearby` is the text
    of `data/nearby.tsv`. `too_few` says what the rows are too few for.
    """

    document: Mapping[str, Any]
    residuals: Mapping[str, Mapping[str, Sequence[Residual]]]
    apart: Mapping[str, Mapping[str, Sequence[Residual]]]
    nearby: str
    too_few: Sequence[str] = ()


def calibrate(rows: Sequence[ReadRow], serving: Sequence[ReadRow] = ()) -> Calibration:
    """Fits the constants of decode and prefill, and measures them on held-out rows. The same rows give the same.

    `serving` are rows of engines under load: they teach what batches and ranks cost, and are scored apart. A quantity
    that no row teaches keeps the constants of this version. Raises InvalidInputFile where no row teaches anything.
    """
    observations = learned_rows(rows, serving)
    if not observations:
        raise InvalidInputFile(f"No row teaches a speed ({why_none(rows)}).", "Fill decode_tokens_per_s.")
    ready = fitters(observations)
    found = {quantity: _fit(quantity, ready.get(quantity)) for quantity in TERMS}
    document = {
        "schema_version": 1,
        "command": COMMAND,
        "digests": digests(),
        "rows": len(observations),
        "counts": {name: n for name, n in sorted(counts(observations).items()) if _is_evidence(name)},
        "stretches": {quantity: one.stretches for quantity, one in found.items()},
        "widths": {quantity: one.width for quantity, one in found.items()},
        "terms": {name: term for one in found.values() for name, term in one.terms.items()},
    }
    nearby = sorted(line for one in found.values() for line in one.nearby.splitlines())
    return Calibration(
        document,
        {quantity: one.residuals for quantity, one in found.items()},
        {quantity: one.apart for quantity, one in found.items()},
        "".join(line + "\n" for line in nearby),
        tuple(said for one in found.values() for said in one.too_few),
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What the rows of one quantity give: its parts of the document, and its residuals by scheme."""

    terms: Mapping[str, Any]
    width: Mapping[str, Any]
    stretches: Mapping[str, Any]
    nearby: str
    residuals: Mapping[str, Sequence[Residual]]
    apart: Mapping[str, Sequence[Residual]]
    too_few: Sequence[str]


def _fit(quantity: str, fitter: Fitter | None) -> _Fitted:
    """The constants of one quantity and their held-out errors; where rows are too few for a part, that of this version.

    No fitter is no row. A scheme whose rows all have one key has no errors: nothing is left to fit without it.
    """
    import numpy as np

    shipped = read_json(CONSTANTS_FILE)
    width, stretches = shipped["widths"][quantity], shipped["stretches"][quantity]
    if fitter is None:
        terms = {name: shipped["terms"][name] for name in TERMS[quantity] if name in shipped["terms"]}
        nothing: dict[str, list[Residual]] = {scheme: [] for scheme in SCHEMES}
        return _Fitted(terms, width, stretches, "", nothing, nothing, list(too_few(quantity, [], nothing)))
    rows, theta = fitter.rows, fitter.solve()
    alike = Alike(rows)
    nearby = written(quantity, alike.spoken(np.log(fitter.seconds(theta)) - fitter.measured))
    found = {
        scheme: held_out(fitter, scheme, alike) if can_leave_out(rows, key) else [] for scheme, key in SCHEMES.items()
    }
    residuals = {scheme: [one for one in rest if one.row.scored] for scheme, rest in found.items()}
    apart = {scheme: [one for one in rest if not one.row.scored] for scheme, rest in found.items()}
    if sets_intervals(residuals):
        width, stretches = _intervals(residuals)
    few = list(too_few(quantity, rows, residuals))
    return _Fitted(_fitted_terms(fitter, theta), width, stretches, nearby, residuals, apart, few)


def _intervals(residuals: Mapping[str, Sequence[Residual]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The width that residuals set, and how far each engine's is stretched, as the document has them."""
    stretches = {engine: [round(stretch, 3), n] for engine, (stretch, n) in stretch_by_engine(residuals).items()}
    width = widths(one for rest in residuals.values() for one in rest)
    effects = [[name, effect] for name, effect in width.effects.items()]
    return {"base": width.base, "low": width.low, "high": width.high, "effects": effects}, stretches


def learned_rows(rows: Sequence[ReadRow], serving: Sequence[ReadRow]) -> list[Observation]:
    """What the fit sees of all rows, those under load with a weight of their own."""
    observations = observe(rows)
    share = tuned("serving_weight")
    under_load = [
        replace(row, weight=share, apart="under load") for row in observe(serving) if row.quantity == "decode"
    ]
    return observations + under_load


def _fitted_terms(fitter: Fitter, theta: Any) -> dict[str, Any]:
    """Each term as the document has it: its base, and each group's effect with its rows and their spread."""
    evidence = _evidence_by_group(fitter.rows, fitter.seconds(theta))
    return {
        name: {
            "base": round(term.base, 5),
            "parent": term.parent,
            "effects": sorted([group, round(value, 5), *evidence[group]] for group, value in term.effects.items()),
        }
        for name, term in fitter.terms(theta).items()
    }


def _evidence_by_group(rows: Sequence[Observation], predicted_s: Sequence[float]) -> dict[str, tuple[int, float]]:
    """The rows of each group, and how far they lie from the fit: their median |log(predicted / measured)| times 1.4826.

    That is the standard deviation of normal residuals, and bad rows hardly move it.
    """
    distances: dict[str, list[float]] = {}
    for row, seconds in zip(rows, predicted_s, strict=True):
        for group in row.groups.values():
            distances.setdefault(group, []).append(abs(log(seconds / row.seconds)))
    return {
        group: (len(found), round(NORMAL_DEVIATIONS * quantile(sorted(found), 0.5), 4))
        for group, found in distances.items()
    }


def _is_evidence(group: str) -> bool:
    """Whether what is told of a case, or how wide its intervals are, follows the number of the group's rows."""
    return group.partition(": ")[0] in (*EVIDENCE_LEVELS, "backend kernel")
