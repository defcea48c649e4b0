"""Points of servers under load compared with what is predicted: both times, in the shape of every validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import exp

from sizer.calibrate.load_cases import LoadCase, load_case, simulated_means
from sizer.calibrate.predictions import Prediction
from sizer.calibrate.validate import QUANTITIES, Validation, accuracy
from sizer.errors import SizerError
from sizer.frozen import dataclass
from sizer.serving.benchmark import Means
from sizer.serving.corrections import corrections
from sizer.serving.points import point
from sizer.serving.term_curves import TermCurves
from sizer.speed.law import constants

TIMES = ("ttft", "tpot")
GROUPED = "tpot"
"""The time that the groups of a validation tell."""

_GROUPINGS: Mapping[str, Callable[[LoadCase], str]] = {
    "engine": lambda case: case.served.case.engine.name,
    "device_kind": lambda case: case.served.case.device.kind,
    "moe": lambda case: "moe" if case.served.case.architecture.experts else "dense",
    "precision": lambda case: case.served.case.stored.precision,
    "system": lambda case: case.served.case.device.key,
    "model": lambda case: case.point.model,
}


@dataclass(frozen=True, slots=True)
class PredictedPoint:
    """A point with its predictions, or the reason why it has none."""

    id: str
    case: LoadCase | None
    predictions: tuple[Prediction, ...]
    reason: str = ""


def predict_points(rows: Iterable[Mapping[str, str]]) -> Iterator[PredictedPoint]:
    """Both times of each row, seconds, by simulation; a row that repeats another's case is simulated once."""
    known_curves: dict[object, dict[str, TermCurves]] = {}
    done: dict[object, Means] = {}
    for number, row in enumerate(rows, 1):
        name = row.get("id") or f"row {number}"
        try:
            case = load_case(point(row), constants(), known_curves)
            if case.simulated_by not in done:
                done[case.simulated_by] = simulated_means(case, corrections())
            yield PredictedPoint(name, case, _predictions(name, case, done[case.simulated_by]))
        except SizerError as error:
            yield PredictedPoint(name, None, (), error.message)
        except (ValueError, ArithmeticError) as error:
            yield PredictedPoint(name, None, (), f"its figures contradict each other: {error}")


def _predictions(name: str, case: LoadCase, seen: Means) -> tuple[Prediction, ...]:
    known, found = corrections(), []
    for quantity, measured, predicted in (
        ("ttft", case.point.ttft_s, seen.ttft_s),
        ("tpot", case.point.tpot_s, seen.tpot_s),
    ):
        low, high = known.spread(quantity, case.names)
        found.append(Prediction(name, quantity, measured, predicted, predicted * exp(low), predicted * exp(high)))
    return tuple(found)


def validate_points(rows: Iterable[PredictedPoint]) -> Validation:
    """The comparison of all points; groups are those of the time per token."""
    skipped: list[tuple[str, str]] = []
    compared: list[Prediction] = []
    groups: dict[str, dict[str, list[Prediction]]] = {name: defaultdict(list) for name in _GROUPINGS}
    count = 0
    for row in rows:
        count += 1
        measured = [one for one in row.predictions if one.measured]
        if not measured or row.case is None:
            skipped.append((row.id, row.reason or "no measured time"))
            continue
        compared += measured
        for name, key in _GROUPINGS.items():
            groups[name][key(row.case)] += [one for one in measured if one.quantity == GROUPED]
    return Validation(
        rows=count,
        scored=count - len(skipped),
        skipped=tuple(skipped),
        by_quantity={
            name: accuracy([one for one in compared if one.quantity == name]) for name in (*QUANTITIES, *TIMES)
        },
        by={
            name: {key: accuracy(members) for key, members in sorted(found.items(), key=lambda item: -len(item[1]))}
            for name, found in groups.items()
        },
        predictions=tuple(compared),
    )
