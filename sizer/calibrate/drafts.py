"""What rounds of speculative decoding cost beyond drafting and verifying, from measured gains (`data/speculation.csv`).

A row tells its gain and what was accepted: tokens a round over gain is the round's cost in plain steps; less what the
law says of verifying and drafting, the rest is the round's own, told as the host's work: so many milliseconds whatever
the model. That is inferred (gains of sources left out are told better so than in plain steps), no trace shows it. Its
median is taken by runtime, and rows of a source are judged by the medians of the others.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import exp
from pathlib import Path
from statistics import median_low

from sizer.calibrate.heldout import Residual
from sizer.calibrate.measurements import ReadRow, measurement
from sizer.calibrate.observations import placed
from sizer.calibrate.rows import resolve_measurement
from sizer.errors import SizerError
from sizer.frozen import NamedTuple, dataclass
from sizer.speed.case import SpeedCase
from sizer.speed.law import Constants, constants
from sizer.speed.records import DraftMethod
from sizer.speed.speculative import (
    ANY_ENGINE,
    draft_cost,
    draft_methods,
    replay_cost,
    replays_states,
    step_s,
    verify_cost,
)
from sizer.speed.terms import vector_rows

FEWEST_ROWS = 4
"""Rows that a runtime needs for a round of its own; with fewer it has that of all."""
HEADER = "runtime,round_ms,rows,source\n"
SOURCE = (
    "median over data/speculation.csv of tokens a round / gain less verifying and drafting, times a plain step: "
    "python tools/calibrate.py"
)
SOURCE_OF_ANY = "median of the runtimes': python tools/calibrate.py"
LEAST_ROUND = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """One measured gain with what the law says of its parts, in plain steps: of `step_s` seconds by the law, and of
    `measured_s` by the row (the law's, where it tells none)."""

    id: str
    source: str
    method: str
    runtime: str
    moe: bool
    tokens: float
    speedup: float
    verified: float
    drafted: float
    step_s: float
    measured_s: float

    @property
    def known(self) -> float:
        """Plain steps of verifying and drafting."""
        return self.verified + self.drafted

    @property
    def kind(self) -> str:
        """Dense or mixture."""
        return "mixture" if self.moe else "dense"

    @property
    def rest_s(self) -> float:
        """Seconds that verifying and drafting do not explain."""
        return (self.tokens / self.speedup - self.known) * self.measured_s


class _Told(NamedTuple):
    """What a row tells of a round: how many tokens it drafts and yields, how, and how much faster that is."""

    row: Mapping[str, str]
    method: DraftMethod
    drafts: int
    tokens: float
    speedup: float
    seen: ReadRow

    @property
    def steps(self) -> float:
        """Plain steps that the round takes."""
        return self.tokens / self.speedup


def rounds(path: Path, fitted: Constants) -> list[Round]:
    """The rows that tell method, drafts a round, acceptance and gain of a model and a device that resolve."""
    return [_round(told, case, fitted) for told, case in _resolved(path)]


def read_drafted(path: Path) -> list[ReadRow]:
    """Those of engines with kernels of their own for few tokens, as rows of a verification told over a plain step: what
    a round takes beyond its drafts. Elsewhere a round's own cost is more than what verifying adds, and they tell none,
    nor do rounds that run what they accepted once more.
    """
    found = []
    for told, case in _resolved(path):
        if vector_rows(case) and told.seen.batch == 1 and not replays_states(case):
            over_one = told.steps - told.drafts * draft_cost(case, told.method, told.drafts, constants())
            row = {**told.seen.row, "tokens_a_step": told.drafts + 1, "over_one": over_one, "flags": "drafted"}
            found.append(measurement(row))
    return found


def _resolved(path: Path) -> list[tuple[_Told, SpeedCase]]:
    with path.open(encoding="utf-8", newline="") as lines:
        found = [_with_case(row) for row in csv.DictReader(lines)]
    return [one for one in found if one is not None]


def _with_case(row: Mapping[str, str]) -> tuple[_Told, SpeedCase] | None:
    """What a row tells with its case; None where it tells too little, or of what is not known."""
    try:
        told = _told(row)
        return None if told is None else (told, placed(resolve_measurement(told.seen))[0])
    except (SizerError, ValueError):
        return None


def _told(row: Mapping[str, str]) -> _Told | None:
    """A row with a method that is known and what it tells a round to yield; None where it tells too little."""
    method = draft_methods().get(row["method"])
    drafts = int(row["draft_tokens"]) if row["draft_tokens"] else 0
    if method is None or drafts < 1 or not row["acceptance"] or not row["speedup"]:
        return None
    told, kind = float(row["acceptance"]), row["acceptance_kind"]
    if kind.startswith("per-token") and method.passes != "none":
        tokens = 1 + drafts * told  # accepted over drafted; what copies the text does not draft in every round
    elif kind.startswith("mean accepted length"):
        tokens = told
    else:
        return None
    seen = measurement(
        {
            "id": row["id"], "engine": row["engine"], "model": row["target_model"], "device": row["device"],
            "precision": row["target_precision"], "device_count": row["device_count"], "batch": row["batch"],
            "context_tokens": row["context_tokens"] or "512", "output_tokens": "128", "source_date": row["source_date"],
            "source_url": row["source_url"],
        }
    )  # fmt: skip
    return _Told(row, method, drafts, tokens, float(row["speedup"]), seen)


def _round(told: _Told, case: SpeedCase, fitted: Constants) -> Round:
    drafted = told.drafts * draft_cost(case, told.method, told.drafts, fitted)
    moe = case.architecture.experts is not None
    verified = verify_cost(case, told.drafts, fitted) + replay_cost(case, told.drafts, told.tokens, fitted)
    plain_s = step_s(case, 1, fitted)
    source, runtime, baseline = told.row["source_url"], case.engine.runtime, told.row.get("baseline_tokens_per_s")
    measured_s = case.workload.batch_size / float(baseline) if baseline else plain_s
    gain = told.tokens, told.speedup, verified, drafted, plain_s, measured_s
    return Round(told.seen.id, source, told.method.name, runtime, moe, *gain)


def round_costs(found: Sequence[Round]) -> dict[str, tuple[float, int]]:
    """Seconds of a round by runtime, and the rows behind them; of `any` runtime the median of all runtimes'.

    Of an even number the lower of the middle two: anything makes a report's round slow (two of an Intel card and of two
    machines on a network took a fifth of a second), nothing makes one faster than it is.
    """
    groups: dict[str, list[float]] = {}
    for one in found:
        groups.setdefault(one.runtime, []).append(one.rest_s)
    each = {name: (max(LEAST_ROUND, median_low(rests)), len(rests)) for name, rests in sorted(groups.items())}
    if not each:
        return {}
    any_s = median_low(seconds for seconds, _ in each.values())
    return {ANY_ENGINE: (any_s, len(found)), **{name: one for name, one in each.items() if one[1] >= FEWEST_ROWS}}


def rounds_text(found: Sequence[Round]) -> str:
    """The text of `data/draft_rounds.csv`."""
    lines = [
        f'{runtime},{1000 * seconds:.3f},{n},"{SOURCE_OF_ANY if runtime == ANY_ENGINE else SOURCE}"\n'
        for runtime, (seconds, n) in round_costs(found).items()
    ]
    return HEADER + "".join(lines)


def held_out_gains(found: Sequence[Round], residuals: Sequence[Residual] = ()) -> Iterable[tuple[Round, float]]:
    """Each row with the gain that the other sources' rounds predict for it.

    Where a row taught the law what verifying costs, `residuals` tell what the fit without its source says of that.
    """
    missed = {one.row.id: one for one in residuals if one.row.against}
    told = [_without_itself(one, missed.get(one.id)) for one in found]
    for source in sorted({one.source for one in found}):
        costs = round_costs([one for one in told if one.source != source])
        for one in told:
            if one.source == source:
                cost_s, _ = costs.get(one.runtime) or costs.get(ANY_ENGINE, (0.0, 0))
                yield one, one.tokens / (one.known + cost_s / one.step_s)


def _without_itself(one: Round, missed: Residual | None) -> Round:
    return one if missed is None else replace(one, verified=max(1.0, missed.row.seconds * exp(missed.log_ratio)))
