"""What rounds of speculative decoding cost beyond drafting and verifying, from measured gains (`data/speculation.csv`).

A row tells its gain and what was accepted: tokens a round over gain is the round's cost in plain steps; less what the
law says of verifying and drafting, the rest is the round's own. Its median is taken by runtime, dense models and
mixtures apart, and rows of a source are judged by the medians of the others.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from sizer.calibrate.measurements import measurement
from sizer.calibrate.observations import placed
from sizer.calibrate.rows import resolve_measurement
from sizer.errors import SizerError
from sizer.frozen import dataclass
from sizer.speed.law import Constants
from sizer.speed.speculative import ANY_ENGINE, draft_cost, draft_methods, verify_cost

FEWEST_ROWS = 4
HEADER = "runtime,kind,plain_steps,rows,source\n"
SOURCE = (
    "median over data/speculation.csv of tokens a round / gain less verifying and drafting: python tools/calibrate.py"
)
LEAST_ROUND = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """One measured gain with what the law says of its parts, in plain steps."""

    id: str
    source: str
    method: str
    runtime: str
    moe: bool
    tokens: float
    speedup: float
    known: float

    @property
    def kind(self) -> str:
        """Dense or mixture."""
        return "mixture" if self.moe else "dense"

    @property
    def rest(self) -> float:
        """Plain steps that verifying and drafting do not explain."""
        return self.tokens / self.speedup - self.known


def rounds(path: Path, fitted: Constants) -> list[Round]:
    """The rows that tell method, drafts a round, acceptance and gain of a model and a device that resolve."""
    found = []
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                one = _round(row, fitted)
            except (SizerError, ValueError):
                continue
            found += [one] if one else []
    return found


def _round(row: Mapping[str, str], fitted: Constants) -> Round | None:
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
    case, _ = placed(resolve_measurement(seen))
    known = verify_cost(case, drafts, fitted) + drafts * draft_cost(case, method, drafts, fitted)
    moe = case.architecture.experts is not None
    return Round(
        row["id"], row["source_url"], method.name, case.engine.runtime, moe, tokens, float(row["speedup"]), known
    )


def round_costs(found: Sequence[Round]) -> dict[tuple[str, str], tuple[float, int]]:
    """Plain steps a round by runtime and kind, and the rows behind them; `any` runtime where one has few."""
    groups: dict[tuple[str, str], list[float]] = {(ANY_ENGINE, "dense"): [], (ANY_ENGINE, "mixture"): []}
    for one in found:
        groups[ANY_ENGINE, one.kind].append(one.rest)
        groups.setdefault((one.runtime, one.kind), []).append(one.rest)
    return {
        name: (round(max(LEAST_ROUND, median(rests)), 3), len(rests))
        for name, rests in sorted(groups.items())
        if len(rests) >= FEWEST_ROWS or (name[0] == ANY_ENGINE and rests)
    }


def rounds_text(found: Sequence[Round]) -> str:
    """The text of `data/draft_rounds.csv`."""
    lines = [f'{runtime},{kind},{cost},{n},"{SOURCE}"\n' for (runtime, kind), (cost, n) in round_costs(found).items()]
    return HEADER + "".join(lines)


def held_out_gains(found: Sequence[Round]) -> Iterable[tuple[Round, float]]:
    """Each row with the gain that the other sources' rounds predict for it."""
    for source in sorted({one.source for one in found}):
        costs = round_costs([one for one in found if one.source != source])
        for one in found:
            if one.source == source:
                cost, _ = costs.get((one.runtime, one.kind)) or costs.get((ANY_ENGINE, one.kind), (0.0, 0))
                yield one, one.tokens / (one.known + cost)
