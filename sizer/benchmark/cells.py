"""Lists of prompts, outputs, depths and batches: the cells of one load, named as llama-bench names them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from statistics import fmean, median, stdev
from typing import Any

from sizer.benchmark.records import Caution, Outcome, Run, Spec
from sizer.benchmark.run_warnings import MAX_SPREAD, Warn, spread
from sizer.errors import BenchmarkFailed, UsageError
from sizer.frozen import dataclass
from sizer.units import format_seconds

MOST_CELLS = 256
"""Combinations that one run measures at the most: each is warmed up and repeated."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One test: `prompt_tokens` read or `output_tokens` made (the other is 0) by each of `batch_size` sequences,
    behind `depth_tokens` that lie in the cache already."""

    prompt_tokens: int
    output_tokens: int
    depth_tokens: int = 0
    batch_size: int = 1

    @property
    def name(self) -> str:
        """llama-bench's name: `pp512`, `tg128 @ d4096`."""
        test = f"pp{self.prompt_tokens}" if self.prompt_tokens else f"tg{self.output_tokens}"
        return f"{test} @ d{self.depth_tokens}" if self.depth_tokens else test

    @property
    def tokens(self) -> int:
        """Tokens of one sequence that are timed."""
        return self.prompt_tokens or self.output_tokens

    def seconds(self, run: Run) -> float:
        """The timed phase of a run."""
        return run.prefill_s if self.prompt_tokens else run.decode_s

    def spec(self, spec: Spec) -> Spec:
        """The spec of one generation that times this cell: a depth behind an output is the prompt before it."""
        if self.prompt_tokens:
            changed = replace(spec, prompt_tokens=self.prompt_tokens, output_tokens=1, depth_tokens=self.depth_tokens)
        else:
            changed = replace(spec, prompt_tokens=max(1, self.depth_tokens), output_tokens=self.output_tokens + 1)
        return replace(changed, batch_size=self.batch_size)


@dataclass(frozen=True)
class CellMeasurement:
    """The figures of one cell; of the two speeds only the one that it times is told.

    `decode_tokens_per_s` is one sequence's, `prefill_tokens_per_s` the whole batch's, both the median of the runs;
    `mean_tokens_per_s` and `deviation_tokens_per_s` (of the sample; None of one run) are of the same figure.
    """

    name: str
    engine: str
    precision: str
    model: str
    prompt_tokens: int
    output_tokens: int
    depth_tokens: int
    batch_size: int
    decode_tokens_per_s: float | None
    prefill_tokens_per_s: float | None
    mean_tokens_per_s: float
    deviation_tokens_per_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    weights_bytes: int | None
    peak_memory_bytes: int | None
    load_s: float | None
    random_weights: bool
    threads: int | None
    runs: tuple[Mapping[str, float | None], ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    warnings: tuple[Caution, ...]
    backend: str = ""
    device: str = ""
    device_name: str = ""
    device_count: int = 1
    measured_on: str = ""
    memory: Mapping[str, Any] = field(default_factory=dict)


def cells_of(
    prompts: Sequence[int], outputs: Sequence[int], depths: Sequence[int], batches: Sequence[int]
) -> tuple[Cell, ...]:
    """Every prompt and every output at each depth and batch, the cheap ones first. Raises UsageError for too many."""
    found = dict.fromkeys(
        cell
        for batch in batches
        for depth in depths
        for cell in (
            *(Cell(prompt, 0, depth, batch) for prompt in prompts),
            *(Cell(0, output, depth, batch) for output in outputs),
        )
    )
    if len(found) > MOST_CELLS:
        raise UsageError(f"The lists make {len(found)} cells.", f"At most {MOST_CELLS} are measured in one load.")
    return tuple(found)


class Budget:
    """Time that is left for cells, by what earlier ones took for a token."""

    def __init__(self, ends_s: float | None, clock: Callable[[], float] = time.time) -> None:
        self.ends_s = ends_s
        self.clock = clock
        self._pace: dict[bool, float] = {}

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds more end in time."""
        return self.ends_s is None or self.clock() + seconds <= self.ends_s

    def takes(self, cell: Cell, generations: int) -> float:
        """What a cell is thought to take; 0 before one of its kind was measured."""
        return self._pace.get(bool(cell.prompt_tokens), 0.0) * cell.tokens * generations

    def took(self, cell: Cell, seconds: float) -> None:
        """Learn from one generation."""
        self._pace[bool(cell.prompt_tokens)] = seconds / cell.tokens


def time_cells(
    spec: Spec, start: Callable[[Spec], Callable[[], Run]], stage: Callable[[str], None]
) -> Iterator[tuple[Cell, tuple[Run, ...]]]:
    """Warm up and time each cell of `spec.cells` with the generation that `start` makes of its spec.

    A cell is told after each of its runs, with all that it has: whoever is cut off in the next has them. One that the
    budget does not allow is left out.
    """
    budget = Budget(spec.ends_s)
    cells = [Cell(**values) for values in spec.cells]
    for number, cell in enumerate(cells, 1):
        left_s = sum(budget.takes(one, spec.warmups + spec.repeats) for one in cells[number - 1 :])
        left = f", about {format_seconds(left_s)} left" if left_s else ""
        stage(f"measuring {cell.name}, batch {cell.batch_size} (cell {number} of {len(cells)}{left})")
        if not budget.allows(budget.takes(cell, spec.warmups + 1)):
            continue
        generate = start(cell.spec(spec))
        runs: list[Run] = []
        took_s = 0.0
        for index in range(spec.warmups + spec.repeats):
            if not budget.allows(took_s):
                break
            before = time.perf_counter()
            run = generate()
            took_s = time.perf_counter() - before
            budget.took(cell, took_s)
            if index >= spec.warmups:
                runs.append(run)
                yield cell, tuple(runs)


def kept_cells(
    timed: Iterable[tuple[Cell, tuple[Run, ...]]], keep: Callable[[Sequence[Mapping[str, Any]]], None]
) -> tuple[Mapping[str, Any], ...]:
    """The cells of an outcome, as they come handed to `keep` too: what is there if the worker is ended."""
    found: dict[Cell, Mapping[str, Any]] = {}
    for cell, runs in timed:
        found[cell] = {"cell": asdict(cell), "runs": [asdict(run) for run in runs]}
        keep(tuple(found.values()))
    return tuple(found.values())


def measured_cells(
    spec: Spec, outcome: Outcome, machine: Mapping[str, Any], measured_on: str
) -> list[tuple[Cell, CellMeasurement]]:
    """The figures of each cell that an outcome has; BenchmarkFailed where it has none."""
    found = []
    for told in outcome.cells:
        cell = Cell(**told["cell"])
        runs = tuple(Run(**run) for run in told["runs"])
        found.append((cell, _figures(cell, runs, spec, outcome, machine, measured_on)))
    if not found:
        raise BenchmarkFailed("No cell was measured within the budget.", "Raise --budget, or ask for fewer tokens.")
    return found


def left_out(spec: Spec, measured: Sequence[Cell]) -> list[Cell]:
    """The cells that were asked for and not measured."""
    return [cell for cell in (Cell(**values) for values in spec.cells) if cell not in measured]


def _figures(  # noqa: PLR0917
    cell: Cell, runs: tuple[Run, ...], spec: Spec, outcome: Outcome, machine: Mapping[str, Any], measured_on: str
) -> CellMeasurement:
    """One cell's figures: medians over its runs, of the prompt or of the tokens written. Raises BenchmarkFailed."""
    seconds = [cell.seconds(run) for run in runs]
    if min(seconds) <= 0:
        raise BenchmarkFailed(f"{cell.name} took no time.", "Ask for more tokens.")
    prefill = bool(cell.prompt_tokens)
    timed = cell.tokens * (cell.batch_size if prefill else 1)
    speeds = [timed / one for one in seconds]
    middle = timed / median(seconds)
    return CellMeasurement(
        name=cell.name,
        engine=outcome.engine,
        precision=outcome.precision,
        model=outcome.model or spec.model,
        **asdict(cell),
        decode_tokens_per_s=None if prefill else middle,
        prefill_tokens_per_s=middle if prefill else None,
        mean_tokens_per_s=fmean(speeds),
        deviation_tokens_per_s=stdev(speeds) if len(speeds) > 1 else None,
        ttft_s=median(seconds) if prefill else None,
        tpot_s=None if prefill else median(seconds) / cell.tokens,
        weights_bytes=outcome.weights_bytes,
        peak_memory_bytes=outcome.peak_memory_bytes,
        load_s=outcome.load_s,
        random_weights=spec.random_weights,
        threads=outcome.threads,
        runs=tuple({"prefill_s": one if prefill else None, "decode_s": None if prefill else one} for one in seconds),
        machine=machine,
        versions=outcome.versions,
        warnings=(*_judge(seconds), *outcome.cautions),
        backend=spec.backend,
        device=outcome.device,
        device_name=outcome.device_name,
        device_count=outcome.device_count,
        measured_on=measured_on,
        memory=outcome.memory,
    )


def _judge(seconds: Sequence[float]) -> list[Caution]:
    apart = spread(seconds)
    if apart is None:
        return [Warn.FEW_RUNS.caution("1 run: no spread can be told.")]
    return [Warn.NOISY.caution(f"times spread by {apart:.0%} of their median.")] if apart > MAX_SPREAD else []
