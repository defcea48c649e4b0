"""Two saved files side by side: a difference is said where it stands out of the noise, and only there."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from clirun import Run

from sizer.benchmark.compare import compare, two_sided_p
from sizer.benchmark.save import COLUMNS
from sizer.benchmark.saved import Saved, read_saved

CELL = {"model": "m", "precision": "bf16", "metric": "decode", "batch": "1", "prompt_tokens": "512",
        "context_tokens": "512", "output_tokens": "128"}  # fmt: skip


def _loads(chooser: random.Random, speed: float, loads: int, cells: int = 1) -> list[Saved]:
    """Single results of several loads, 3 % apart, of so many cells."""
    return [
        Saved({**CELL, "prompt_tokens": str(cell)}, {"decode": (speed * chooser.lognormvariate(0, 0.03),)})
        for cell in range(cells)
        for _ in range(loads)
    ]


@pytest.mark.parametrize(
    ("t", "freedom", "p"), [(12.706, 1, 0.05), (2.776, 4, 0.05), (4.604, 4, 0.01), (1.962, 1000, 0.05), (0, 3, 1)]
)
def test_students_t_as_in_its_table(t: float, freedom: float, p: float):
    """The integral gives the printed values of Student's distribution."""
    assert two_sided_p(t, freedom) == pytest.approx(p, abs=2e-4)
    assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)


def test_equals_are_seldom_called_different():
    """Of tables of eight cells measured twice at one speed, about one in twenty shows any difference."""
    chooser = random.Random(5)
    wrong = 0
    for _ in range(100):
        found = compare(_loads(chooser, 50, 5, 8), _loads(chooser, 50, 5, 8))
        wrong += any(line.verdict != "no difference" for line in found.lines)
    assert wrong / 100 < 0.12


def test_a_difference_beyond_the_noise_is_found():
    """15 % at 3 % noise is told, with its sign, and its interval holds the truth nearly always."""
    chooser = random.Random(6)
    found = [compare(_loads(chooser, 50, 5), _loads(chooser, 57.5, 5)).lines[0] for _ in range(100)]
    assert sum(line.verdict == "faster" for line in found) > 95
    assert sum(abs(line.change - 0.15) <= (line.half_width or 0) * 1.15 for line in found) > 87
    slower = compare(_loads(chooser, 50, 5), _loads(chooser, 40, 5)).lines[0]
    assert slower.verdict == "slower"


def test_runs_of_one_load_are_not_taken_for_loads():
    """Two loads may differ as two runs do: a shift of one deviation is no difference however many the runs."""
    runs = tuple(100 + (-1) ** i for i in range(40))
    one, other = Saved(CELL, {"decode": runs}), Saved(CELL, {"decode": tuple(value + 1 for value in runs)})
    assert compare([one], [other]).lines[0].verdict == "no difference"
    far = Saved(CELL, {"decode": tuple(value + 10 for value in runs)})
    assert compare([one], [far]).lines[0].verdict == "faster"


def test_a_single_run_has_no_verdict():
    """Where no spread is told, none is made up."""
    (line,) = compare([Saved(CELL, {"decode": (10.0,)})], [Saved(CELL, {"decode": (20.0,)})]).lines
    assert (line.verdict, line.p, line.half_width) == ("unknown", None, None)
    assert line.change == pytest.approx(1.0)


def test_what_differs_is_told_and_other_cells_are_listed():
    """Two engines can be compared; a cell that one file lacks is named."""
    a = [Saved({**CELL, "engine": "x"}, {"decode": (1.0,)}), Saved({**CELL, "engine": "x", "batch": "4"}, {})]
    b = [Saved({**CELL, "engine": "y"}, {"decode": (1.0,)})]
    found = compare(a, b)
    assert found.differs == {"engine": ("x", "y")}
    assert (len(found.lines), len(found.only_a), len(found.only_b)) == (1, 1, 0)


def _document(decode_s: float) -> dict[str, object]:
    runs = [{"prefill_s": 1 + shift, "decode_s": decode_s + shift} for shift in (-0.01, 0, 0.01)]
    told = {"engine": "transformers", "precision": "bf16", "model": "m", "prompt_tokens": 512, "output_tokens": 129,
            "batch_size": 2, "runs": runs, "versions": {"transformers": "5.23"}, "warnings": []}  # fmt: skip
    return {"schema_version": 1, "measurement": told}


def test_the_command_on_json_and_csv(run: Run, tmp_path: Path):
    """Both kinds of saved files are read; A against itself shows nothing; what is no result is refused in one line."""
    a, b, rows, bad = (tmp_path / name for name in ("a.json", "b.json", "rows.csv", "bad.json"))
    a.write_text(json.dumps(_document(2.0)), encoding="utf-8")
    b.write_text(json.dumps([_document(1.0)]), encoding="utf-8")
    (first, _) = compare(read_saved(a), read_saved(b)).lines
    assert first.a_tokens_per_s == pytest.approx(128)  # 2 sequences x 128 steps in 2 s
    shown = json.loads(run("bench", "--compare", str(a), str(b), "--json").out)
    assert [line["verdict"] for line in shown["lines"]] == ["faster", "no difference"]
    same = json.loads(run("bench", "--compare", str(a), str(a), "--json").out)
    assert {line["verdict"] for line in same["lines"]} == {"no difference"}
    row = {**dict.fromkeys(COLUMNS, ""), **CELL, "device": "rtx-4090", "decode_tokens_per_s": "10"}
    rows.write_text(f"{','.join(COLUMNS)}\n{','.join(row.values())}\n", encoding="utf-8")
    page = run("bench", "--compare", str(rows), str(rows))
    assert (page.code, "unknown" in page.out) == (0, True)
    bad.write_text('[{"measurement": 3}]', encoding="utf-8")
    refused = run("bench", "--compare", str(bad), str(a))
    assert (refused.code, refused.out, len(refused.err.strip().splitlines())) == (2, "", 1)


def test_a_list_and_a_single_run_of_the_same_prompt_meet():
    """The prompt of a single run is the list's without depth, its output the list's behind that prompt; no other."""
    single = [Saved({**CELL, "output_tokens": "16"}, {"decode": (10.0, 11.0), "prefill": (100.0, 101.0)})]
    empty = {"prompt_tokens": "", "output_tokens": ""}
    tests = ("512", "0", ""), ("512", "512", ""), ("", "0", "16"), ("", "512", "16"), ("", "512", "32")
    listed = [
        Saved(
            {**CELL, **empty, "prompt_tokens": prompt, "context_tokens": depth, "output_tokens": output},
            {"prefill" if prompt else "decode": (float(number), number + 1.0)},
        )
        for number, (prompt, depth, output) in enumerate(tests, 1)
    ]
    found = compare(listed, single)
    assert [(one.cell, one.quantity, round(one.a_tokens_per_s)) for one in found.lines] == [
        ("prompt 512", "prefill", 1),
        ("output 16, depth 512", "decode", 4),
    ]
    assert len(set(found.only_a)) == 3
    assert found.only_b == ()
