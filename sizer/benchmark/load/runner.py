"""A load test from question to result: each load measured beside its own prediction, and saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from sizer.benchmark.load.asked import LoadAsked
from sizer.benchmark.load.beside import Deployed, predicted, try_deployed
from sizer.benchmark.load.drive import Driven, load_test
from sizer.benchmark.load.figures import MeasuredLoad
from sizer.benchmark.load.rows import COLUMNS, row
from sizer.benchmark.records import SCHEMA_VERSION
from sizer.benchmark.runner import machine
from sizer.benchmark.save import append_all
from sizer.benchmark.summary import ratio
from sizer.errors import SizerError, UsageError
from sizer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LoadTest:
    """The loads of one test in their order, each with its `predicted` figures (None where none could be made).

    `deployment` is what was predicted, `unpredicted` why nothing was; `left_out` are loads that had no time left.
    """

    model: str
    engine: str
    deployment: str
    unpredicted: str
    serving: tuple[MeasuredLoad, ...]
    left_out: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


def bench_load(
    asked: LoadAsked, save_to: Path | None = None, progress: Callable[[str], None] = lambda _stage: None
) -> LoadTest:
    """Measure, predict beside, and append a row a load to `save_to`, each as soon as it is measured.

    Raises BenchmarkFailed where nobody is answered, UsageError where rows are to be saved that cannot say of what.
    """
    found: list[MeasuredLoad] = []
    one, why = try_deployed(asked, "")
    if save_to is not None and one is None:
        raise UsageError(f"A row to save says what served, and that is not known: {why}", _HOW)

    def keep(driven: Driven) -> None:
        measured = driven.measured
        if one is not None:
            measured = _beside(one, driven)
        if save_to is not None and one is not None:
            now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
            digits = "".join(filter(str.isdigit, now))
            name = f"sizer-load-{machine().get('fingerprint', 'unknown')}-{digits}-{len(found) + 1}"
            append_all(save_to, [row(measured, one, name, now)], COLUMNS)
        found.append(measured)

    client = load_test(asked, progress, keep)
    missing = tuple(load.words for load in asked.stages()[len(found) :])
    engine, words = (one.served.engine, one.words) if one else (client.engine, "")
    return LoadTest(client.model, engine, words, why, tuple(found), missing)


_HOW = "Give the server's --command, or the model, --precision and --device."


def _beside(one: Deployed, driven: Driven) -> MeasuredLoad:
    """The measured load with its prediction; without one where it is too much to simulate."""
    measured = driven.measured
    try:
        told = predicted(one, driven.load, measured, driven.sizes)
    except SizerError:
        return measured
    residual = {
        "ttft": ratio(measured.ttft_s.p50, told.ttft_s.p50),
        "tpot": ratio(measured.tpot_s.p50, told.tpot_s.p50),
        "throughput": ratio(measured.throughput_tokens_per_s, told.throughput_tokens_per_s),
    }
    return replace(measured, predicted=told, residual=residual)
