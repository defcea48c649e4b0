"""One benchmark from question to result: resolve, predict, refuse or run, measure, save."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizer.benchmark.backends import BACKENDS
from sizer.benchmark.child import Progress, measure
from sizer.benchmark.plan import DEFAULT_MODEL, Asked, refuse_what_cannot_fit, spec_of
from sizer.benchmark.predict import predict
from sizer.benchmark.records import Measurement, Spec
from sizer.benchmark.summary import measurement
from sizer.errors import BenchmarkFailed, InvalidInputFile, ModelError
from sizer.frozen import dataclass
from sizer.version import package_version

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.model.read.resolve import Resolved


@dataclass(frozen=True)
class Result:
    """A measurement, and the estimate it is set beside (None where none could be made)."""

    measured: Measurement
    predicted: Estimate | None


def bench(asked: Asked, *, timeout_s: float, force: bool, progress: Progress) -> Result:
    """Estimate, refuse what cannot fit unless forced, then load and generate in a child process.

    Raises DoesNotFit, BenchmarkFailed, UsageError and what resolving the model raises.
    """
    resolved = resolve_asked(asked)
    spec = with_found_threads(spec_of(asked, resolved))
    starts = BACKENDS[spec.backend].starts
    predicted = predict(asked, spec, resolved, spec.backend) if starts else None
    if not force:
        refuse_what_cannot_fit(predicted, asked)
    outcome = measure(spec, timeout_s, progress)
    if not starts:
        predicted = predict(asked, spec, resolved, asked.engine or outcome.engine)
    elif outcome.precision != spec.precision:  # the engine could not run it and took another
        predicted = predict(asked, replace(spec, precision=outcome.precision), resolved, spec.backend)
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    return Result(measurement(spec, outcome, machine(), now), predicted)


def with_found_threads(spec: Spec) -> Spec:
    """The spec with the threads that the probe found best where the processor has fast and slow cores, and nobody asked
    for another number: engines take a thread a core, and wait for the slowest."""
    if spec.threads is not None or not BACKENDS[spec.backend].starts:
        return spec
    from sizer.device import measured
    from sizer.device.detect import detect

    seen = detect()
    known = measured.load(seen).measurement if seen.fast_cores else None
    return replace(spec, threads=measured.best_threads(known.document)) if known else spec


def save(path: Path, result: Result) -> None:
    """Append the result to a results file, and let later estimates here learn from it.

    BenchmarkFailed leaves the file as it was; the row is then kept in a file of its own, and stands in the message.
    """
    from sizer.benchmark.save import append, keep

    new_row = row_of(result)
    try:
        append(path, new_row)
    except (BenchmarkFailed, InvalidInputFile) as error:
        kept = keep(path, new_row)
        where = f"The row is kept in {str(kept)!r}." if kept else f"The row: {','.join(new_row.values())}"
        raise type(error)(error.message, f"{where} {error.hint}") from error
    learn(result)


def learn(result: Result) -> bool:
    """Keep measured over predicted speed for later estimates on this machine; False where there is nothing to learn.

    A prediction that was itself scaled by earlier benchmarks is taken back to what it was before.
    """
    from sizer.device.detect import detect
    from sizer.device.local_ratios import remember
    from sizer.device.records import LocalRatio
    from sizer.speed.measured_here import ratio_for

    measured, predicted = result.measured, result.predicted
    here = predicted is not None and predicted.target.asked in {"this", "cpu", "cuda", "mps"}
    told = BACKENDS[measured.backend].starts and not measured.warnings
    if predicted is None or predicted.speed is None or not here or not told:
        return False
    before = ratio_for(predicted.target.local_ratios, predicted.engine, predicted.precision)
    decode = measured.decode_tokens_per_s / predicted.speed.decode.tokens_per_s * (before.decode if before else 1)
    prefill = measured.prefill_tokens_per_s / predicted.speed.prefill.tokens_per_s * (before.prefill if before else 1)
    try:
        remember(detect(), LocalRatio(predicted.engine, predicted.precision, decode, prefill, measured.measured_on))
    except OSError:
        return False
    return True


def row_of(result: Result) -> dict[str, str]:
    """The result as a row of the measurements format."""
    from sizer.benchmark.save import row

    return row(result.measured, result.predicted, package_version())


@lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """This machine as JSON values, with a fingerprint that tells it from others."""
    from sizer.device.detect import detect
    from sizer.device.measured import fingerprint
    from sizer.plain_json import to_json

    seen = detect()
    return {**to_json(seen), "fingerprint": fingerprint(seen)}


def resolve_asked(asked: Asked) -> Resolved | None:
    """The model; a server may call it what it likes, so an unknown name there is no error."""
    from sizer.model.read.resolve import resolve

    if not asked.server_url:
        return resolve(asked.model or DEFAULT_MODEL, offline=asked.offline or not asked.model)
    if not asked.model:
        return None
    try:
        return resolve(asked.model, offline=asked.offline)
    except ModelError:
        return None
