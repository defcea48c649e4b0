"""Every row of a file predicted: what sweep prints and validate compares. A row is skipped only for a stated reason."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import fields, replace
from math import sqrt
from operator import attrgetter

from sizer.answer.drafts import beside, draft_named
from sizer.answer.estimate import parallelism_of
from sizer.calibrate.measurements import EXCLUDING_FLAGS, ReadRow
from sizer.calibrate.observations import measured_traffic, placed
from sizer.calibrate.plausible import impossible_decode, impossible_prompt, impossible_request
from sizer.calibrate.rows import ResolvedRow, resolve_measurement, routed_alike
from sizer.engine.engines import find_engine
from sizer.engine.flagged import with_options
from sizer.engine.memory_rules import engine_memory
from sizer.errors import SizerError
from sizer.frozen import NamedTuple, dataclass
from sizer.memory.case import Case
from sizer.memory.offload import counted_layers, layers_asked
from sizer.memory.placement import counted_bytes, place
from sizer.speed.law import constants
from sizer.speed.predict import decode_of, prefill_of, replicas
from sizer.speed.prompt_terms import prompt_traffic
from sizer.speed.records import Decode, Prefill
from sizer.units import GIB
from sizer.workload import Split

SCORED_FLAGS = frozenset({"aggregate", "verification"})
"""Flagged rows that are predicted as they are: so many sequences, or so many tokens of one, a step."""

MOST_REMEMBERED = 4096
"""Cases whose predictions are kept at once."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One quantity of one row, predicted; `measured` is None in a sweep. Speeds in tokens/s, memory in bytes."""

    id: str
    quantity: str
    measured: float | None
    predicted: float
    low: float | None
    high: float | None

    @property
    def signed_error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / (self.measured or 1) - 1

    @property
    def ape(self) -> float:
        """The absolute relative error."""
        return abs(self.signed_error)

    @property
    def covered(self) -> bool:
        """Whether the measured figure lies in the interval."""
        if self.low is None or self.high is None or self.measured is None:
            return False
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True)
class PredictedRow:
    """A row with its predictions, or the reason why it has none; `fits`: whether the devices hold it whole, None where
    nobody knows or its layers are left on the host on purpose."""

    measurement: ReadRow
    resolved: ResolvedRow | None
    predictions: tuple[Prediction, ...]
    reason: str = ""
    fits: bool | None = None


def predict_rows(rows: Iterable[ReadRow], *, with_flagged: bool = False) -> Iterator[PredictedRow]:
    """Each row predicted, in order.

    Rows with an excluding flag, and those that no physics allows, are skipped unless `with_flagged`. A case that was
    among the latest is not worked out again.
    """
    latest = _Latest()
    for row in rows:
        excluding = sorted(row.flags & EXCLUDING_FLAGS - SCORED_FLAGS)
        if excluding and not with_flagged:
            yield PredictedRow(row, None, (), f"flagged {', '.join(excluding)}")
            continue
        found = latest.predicted(row)
        odd = "" if with_flagged or found.resolved is None else _odd(found.resolved)
        yield replace(found, predictions=(), reason=odd) if odd else found


class _Latest:
    """The latest cases with what was predicted: tables repeat a few pairs of model and device."""

    def __init__(self) -> None:
        self._found: dict[Hashable, PredictedRow] = {}

    def predicted(self, row: ReadRow) -> PredictedRow:
        """The row with its predictions, or with the reason why it has none."""
        case = _case(row)
        found = self._found.get(case)
        if found is None:
            if len(self._found) >= MOST_REMEMBERED:
                del self._found[next(iter(self._found))]
            found = self._found[case] = _predicted(row)
            return found
        resolved = None if found.resolved is None else replace(found.resolved, measurement=row)
        measured = _measured(row, found.resolved)
        seen = tuple(
            Prediction(row.id, one.quantity, measured[one.quantity], one.predicted, one.low, one.high)
            for one in found.predictions
        )
        return PredictedRow(row, resolved, seen, found.reason, found.fits)


_ASKED = attrgetter(*(
    one.name
    for one in fields(ReadRow)
    if one.name not in {"id", "source", "row", "prefill_tokens_per_s", "decode_tokens_per_s", "memory_gib"}
))  # fmt: skip


def _case(row: ReadRow) -> Hashable:
    """What a prediction depends on: all of a row but its name, where it comes from and what was measured."""
    return (
        *_ASKED(row),
        row.is_measured,
        str(row.row.get("engine_flags") or ""),
        str(row.row.get("source_date") or ""),
        routed_alike(row.source),
    )


def _measured(row: ReadRow, resolved: ResolvedRow | None) -> dict[str, float | None]:
    """The measured figures; no memory where it is the system's: a process was measured, which is nothing to compare."""
    known = resolved is not None and resolved.target.device.memory_bytes is not None
    memory = row.memory_gib * GIB if row.memory_gib and known else None
    return {"decode": row.decode_tokens_per_s, "prefill": row.prefill_tokens_per_s, "memory": memory}


def _predicted(row: ReadRow) -> PredictedRow:
    try:
        resolved = resolve_measurement(row)
        memory = _memory(resolved)
        return PredictedRow(row, resolved, _predictions(resolved, memory), fits=memory.fits)
    except SizerError as error:
        return PredictedRow(row, None, (), error.message)
    except (ValueError, ArithmeticError) as error:
        return PredictedRow(row, None, (), f"its figures contradict each other: {error}")


def _odd(resolved: ResolvedRow) -> str:
    """Why no device of its specification measured this row; empty where one may have."""
    row = resolved.measurement
    decoding, prefilling = placed(resolved)
    if row.decode_tokens_per_s and row.metric == "decode":
        traffic = measured_traffic(decoding, row)
        step_s = row.batch * row.tokens_a_step / row.decode_tokens_per_s
        if odd := impossible_decode(decoding, traffic, step_s):
            return odd
    if row.decode_tokens_per_s and row.metric == "request" and not resolved.measurement.over_one:
        outputs = max(1, decoding.workload.output_tokens)
        request_s = row.batch * outputs / row.decode_tokens_per_s
        read, _ = prompt_traffic(prefilling, resolved.prefill_depth_tokens)
        if odd := impossible_request(decoding, measured_traffic(decoding, row), read, request_s):
            return odd
    if row.prefill_tokens_per_s and row.prompt_tokens:
        read, chunks = prompt_traffic(prefilling, resolved.prefill_depth_tokens)
        return impossible_prompt(prefilling, read, chunks, read.tokens / row.prefill_tokens_per_s)
    return ""


def _predictions(resolved: ResolvedRow, memory: _Memory) -> tuple[Prediction, ...]:
    """Decode and prompt of a row beside what was measured, all sequences and copies together."""
    row = resolved.measurement
    decoding, prefilling = placed(resolved, whole=bool(memory.fits))
    fitted = constants()
    decode = decode_of(decoding, fitted, row.tokens_a_step, row.outputs_a_step)[0]
    step_s = 1 / decode.tokens_per_s
    prefill = prefill_of(prefilling, fitted, resolved.prefill_depth_tokens, step_s=step_s)[0]
    together = decoding.workload.batch_size * row.tokens_a_step * replicas(decoding)
    low, high = ((bound or 0.0) * together for bound in (decode.low_tokens_per_s, decode.high_tokens_per_s))
    rate = decode.tokens_per_s * together
    if row.metric == "request":
        rate, low, high = _request(resolved, decode, prefill)
    found = []
    if resolved.architecture.decodes:
        found.append(Prediction(row.id, "decode", row.decode_tokens_per_s, rate, low, high))
    if row.prompt_tokens:
        found.append(
            Prediction(
                row.id,
                "prefill",
                row.prefill_tokens_per_s,
                prefill.tokens_per_s,
                prefill.low_tokens_per_s,
                prefill.high_tokens_per_s,
            )
        )
    if memory.counted_bytes is not None:
        measured_bytes = _measured(row, resolved)["memory"]
        found.append(Prediction(row.id, "memory", measured_bytes, memory.counted_bytes, None, None))
    return tuple(found)


def _request(resolved: ResolvedRow, decode: Decode, prefill: Prefill) -> tuple[float, float, float]:
    """Generated tokens over total time of all sequences; the interval adds both spreads by their shares of it."""
    output, together = max(1, resolved.decoding.output_tokens), resolved.decoding.batch_size
    decoding_s = output / decode.tokens_per_s
    total_s = decoding_s + prefill.ttft_s
    rate = together * output / total_s
    shares = (decoding_s / total_s, prefill.ttft_s / total_s)
    bounds = []
    for ends in (
        (decode.low_tokens_per_s, prefill.low_tokens_per_s),
        (decode.high_tokens_per_s, prefill.high_tokens_per_s),
    ):
        ratios = ((ends[0] or 0) / decode.tokens_per_s, (ends[1] or 0) / prefill.tokens_per_s)
        spread = sqrt(sum((share * (ratio - 1)) ** 2 for share, ratio in zip(shares, ratios, strict=True)))
        bounds.append(spread)
    return rate, rate * max(0.0, 1 - bounds[0]), rate * (1 + bounds[1])


class _Memory(NamedTuple):
    """Memory as those who measure the engine count it, and whether the devices hold it whole; None where not known."""

    counted_bytes: int | None
    fits: bool | None


def _memory(resolved: ResolvedRow) -> _Memory:
    """The memory of a row as its engine's users measure it, and whether it fits; None for an engine without rules."""
    row = resolved.measurement
    version = resolved.options.version or row.engine_version
    date = str(row.row.get("source_date") or "")
    memory = engine_memory(resolved.engine, version, date)
    if memory is None:
        return _Memory(None, None)
    work = max(resolved.decoding, resolved.prefilling, key=lambda work: work.context_tokens)
    case = Case(
        resolved.architecture,
        resolved.stored,
        replace(work, context_tokens=max(work.context_tokens, resolved.options.context_tokens or 0)),
        resolved.target,
        with_options(memory, resolved.options),
        parallelism_of_row(resolved),
        can_offload=False,
        experts_first=False,
        options=resolved.options.at_version(version),
        engine_date=date,
        draft=beside(draft_named(resolved.options), find_engine(resolved.engine)),
    )
    needed, placement = place(case)
    asked = layers_asked(case)
    on_host = resolved.options.uses_host or (asked is not None and asked < counted_layers(case))
    fits = None if on_host or placement.available_bytes is None else placement.whole
    return _Memory(counted_bytes(needed, placement, memory), fits)


def parallelism_of_row(resolved: ResolvedRow) -> Split:
    """The split: as the row says, else the engine's first way."""
    return parallelism_of(find_engine(resolved.engine), resolved.decoding)
