"""Lists in one load: the cells, their names, their figures and the budget."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from clirun import Run as Sizer
from tinymodels import write_config

from sizer.benchmark.cell_runner import CellResult
from sizer.benchmark.cells import Budget, Cell, cells_of, left_out, measured_cells, time_cells
from sizer.benchmark.records import Outcome, Run, Spec
from sizer.calibrate.measurements import read_measurements
from sizer.errors import UsageError
from sizer.report.cells import document
from sizer.report.layout import text_table


def _spec(*cells: Cell, **options: object) -> Spec:
    return Spec("transformers", "m", cells=tuple(asdict(cell) for cell in cells), **options)  # type: ignore[arg-type]


def test_cells_are_named_as_llama_bench_names_them():
    """Each prompt and output at each depth and batch, once."""
    cells = cells_of((512, 2048), (128,), (0, 4096), (1, 4))
    assert len(cells) == len(set(cells)) == 3 * 2 * 2
    assert [cell.name for cell in cells[:6]] == [
        "pp512", "pp2048", "tg128", "pp512 @ d4096", "pp2048 @ d4096", "tg128 @ d4096",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="300"):
        cells_of(range(1, 300), (1,), (0,), (1,))


def test_figures_are_those_of_the_timed_phase():
    """Median, mean and sample deviation of tokens/s by hand; the phase that was not asked for is null."""
    tg, pp = Cell(0, 10, 64), Cell(100, 0, 0, 2)
    runs = [Run(9.0, seconds) for seconds in (1.0, 2.0, 2.0)], [Run(seconds, 9.0) for seconds in (1.0, 2.0)]
    told = tuple(
        {"cell": asdict(cell), "runs": [asdict(run) for run in some]} for cell, some in zip((tg, pp), runs, strict=True)
    )
    outcome = Outcome("transformers", (), 1, 0, 0, cells=told)
    (_, decode), (_, prefill) = measured_cells(_spec(tg, pp), outcome, {}, "")
    assert (decode.decode_tokens_per_s, decode.prefill_tokens_per_s) == (5.0, None)
    assert decode.mean_tokens_per_s == pytest.approx(20 / 3)
    assert decode.deviation_tokens_per_s == pytest.approx(2.886751)
    assert (prefill.prefill_tokens_per_s, prefill.decode_tokens_per_s) == (pytest.approx(200 / 1.5), None)
    assert prefill.ttft_s == 1.5


def test_a_depth_behind_an_output_is_the_prompt_before_it():
    """tg8 @ d64 generates after 64 tokens; pp16 @ d64 reads behind a cache of 64."""
    spec = _spec()
    output, prompt = Cell(0, 8, 64, 2).spec(spec), Cell(16, 0, 64).spec(spec)
    assert (output.prompt_tokens, output.output_tokens, output.depth_tokens, output.batch_size) == (64, 9, 0, 2)
    assert (prompt.prompt_tokens, prompt.depth_tokens) == (16, 64)


def test_the_budget_leaves_out_what_would_pass_it():
    """With a clock that the runs advance: cells are measured while they fit, and the rest are named."""
    cells = [Cell(0, tokens) for tokens in (10, 20, 1000, 30)]
    budget = Budget(100.0, lambda: 0.0)
    budget.took(cells[0], 10.0)
    assert [budget.allows(budget.takes(cell, 2)) for cell in cells] == [True, True, False, True]
    past = _spec(*cells, ends_s=1.0, warmups=0, repeats=1)  # 1970
    done = list(time_cells(past, lambda _spec: lambda: Run(1.0, 1.0), lambda _stage: None))
    assert done == []
    assert left_out(past, [cells[1]]) == [cells[0], cells[2], cells[3]]
    endless = _spec(*cells, warmups=1, repeats=2)
    told = list(time_cells(endless, lambda _spec: lambda: Run(1.0, 1.0), lambda _stage: None))
    assert [len(runs) for _, runs in told] == [1, 2] * 4  # after each run, with all that the cell has
    assert [len(runs) for runs in dict(told).values()] == [2, 2, 2, 2]


def test_warnings_tell_cells_of_unlike_batch_apart():
    """Each of two cells that differ by batch alone has its own line of warnings."""
    cells = Cell(32, 0), Cell(32, 0, 0, 4)
    told = tuple({"cell": asdict(cell), "runs": [asdict(Run(2.0, 2.0))]} for cell in cells)
    outcome = Outcome("transformers", (), 1, 0, 0, cells=told)
    results = [CellResult(one, None) for _, one in measured_cells(_spec(*cells), outcome, {}, "")]
    page = document(results, (), list).page(text_table)
    warned = [line for line in page.splitlines() if line.startswith("warning (few-runs)")]
    assert [line.split(": ")[1] for line in warned] == ["pp32", "pp32 batch 4"]


@pytest.mark.oracle
def test_one_load_measures_every_cell(run: Sizer, tmp_path: Path):
    """JSON is a list with a row a cell, each saved row is read without fault, and a depth really lies in the cache."""
    folder, saved = write_config(tmp_path / "tiny"), tmp_path / "rows.csv"
    done = run(
        "bench", str(folder), "--random-weights", "--device", "cpu", "--offline", "--repeats", "2", "--json",
        "--prompt", "16,32", "--output", "4", "--depth", "0,64", "--save", str(saved),
    )  # fmt: skip
    assert done.code == 0, done.err
    names = [one["measurement"]["name"] for one in json.loads(done.out)]
    assert names == ["pp16", "pp32", "tg4", "pp16 @ d64", "pp32 @ d64", "tg4 @ d64"]
    rows = read_measurements(saved)
    assert [(row.prompt_tokens, row.context_tokens, row.output_tokens) for row in rows[2:4]] == [
        (None, 0, 4), (16, 64, None),
    ]  # fmt: skip
    assert not any(row.bad for row in rows)
    assert len({row.id for row in rows}) == 6


@pytest.mark.parametrize(
    "arguments", [("--prompt", "1,x"), ("--batch", "0,1"), ("--depth", "-5"), ("--budget", "soon")]
)
def test_a_list_that_is_none_is_refused(run: Sizer, arguments: tuple[str, str]):
    """A bad number in a list is one line that names the option."""
    refused = run("bench", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert arguments[0] in refused.err


def test_lists_are_refused_where_they_are_not_measured(run: Sizer):
    """A server is asked with users, not with cells."""
    refused = run("bench", "--server", "http://127.0.0.1:9", "--prompt", "1,2")
    assert refused.code == 2
