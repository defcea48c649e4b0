"""Fuzzes what reads input from outside, with atheris (libFuzzer): `nice python tools/fuzz.py KIND SECONDS [FOLDER]`.

KIND is one of `tests/support/fuzz_targets.py`. The search follows the coverage of sizer's own code; it begins from the
committed corpus (`tests/data/fuzz/KIND`) and from valid inputs, and keeps what reaches new code in FOLDER/KIND (by
default build/fuzz). Each fault of another place is written to FOLDER/KIND-faults, and named on stderr; the search goes
on. `python tools/fuzz.py KIND --minimise [FOLDER]` writes the committed corpus anew: the smallest inputs, each of which
reaches lines that those before it do not.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import hashlib
import json
import random
import shutil
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import atheris
import coverage

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "data" / "fuzz"
SLOW_S = 5.0
MOST_BYTES = 8192
MOST_COMMITTED_BYTES = 50_000
CELLS = [
    text.encode("utf-8", "surrogatepass")
    for text in (
        "",
        "0",
        "-1",
        "nan",
        "inf",
        "1e400",
        "1e-320",
        "9" * 400,
        "=1+1",
        '"',
        "\ud800",
        "\u202e",
        "\0",
        "2xh100",
        "8B",
        "q4_k_m",
        "512",
        "4096",
        "tensor",
    )
]
"""What a cell is replaced by."""

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
with atheris.instrument_imports(include=["sizer"]):
    import fuzz_targets
    from hostile import HOSTILE


def seeds(kind: str) -> list[bytes]:
    """Valid inputs of a kind, from the repository's own files."""
    if kind == "config":
        paths = [*sorted((ROOT / "data/configs").glob("*.json"))[::9], *(ROOT / "tests/data/remote").glob("*--*.json")]
        return [data for path in paths if len(data := path.read_bytes()) <= MOST_BYTES]
    if kind == "rows":
        lines = (ROOT / "data/measurements.csv").read_bytes().splitlines(keepends=True)
        tables = [lines[0] + b"".join(lines[at : at + 3]) for at in range(1, len(lines), 150)]
        objects = [list(csv.DictReader(table.decode().splitlines())) for table in tables[::5]]
        listed = [json.dumps([{name: cell for name, cell in row.items() if cell} for row in rows]) for rows in objects]
        return [*tables, *(text.encode() for text in listed), *(text[1:-1].encode() for text in listed)]
    if kind == "stream":
        choices = b'data: {"choices":[{"text":"a","delta":{"content":"b"}}],'
        event = choices + b'"usage":{"completion_tokens":2,"prompt_tokens":9}}\n'
        return [b"\x40" + event * 3 + b"data: [DONE]\n\n", b"\x01: comment\n" + event * 2 + b'data: {"error":"x"}\n']
    if kind == "command":
        pages = "".join((ROOT / path).read_text(encoding="utf-8") for path in ("docs/check.md", "sizer/cli/check.py"))
        return [line.split("-- ", 1)[1].encode() for line in pages.splitlines() if "sizer check -d" in line]
    if kind == "gguf-head":
        return [data.rstrip(b"\0") for name, data in fuzz_targets.HEADERS if name == "gguf"]
    return [data for name, data in fuzz_targets.HEADERS if name == kind]


def words(kind: str) -> list[str]:
    """What such inputs are made of, for libFuzzer's dictionary."""
    if kind == "command":
        with (ROOT / "data/engine_flags.csv").open(encoding="utf-8") as file:
            return sorted({flag for row in csv.DictReader(file) for flag in row["flags"].split()})
    if kind == "rows":
        return (ROOT / "data/measurements.csv").read_text(encoding="utf-8").split("\n", 1)[0].split(",")
    return [
        "null",
        "true",
        "Infinity",
        "NaN",
        "1e308",
        "-1",
        "[]",
        "{}",
        "data: ",
        "[DONE]",
        '"choices"',
        '"delta"',
        '"usage"',
    ]


def mutate(kind: str, data: bytes, most: int, seed: int) -> bytes:
    """An input with values of its JSON or cells of its rows replaced; one time of five, and elsewhere, by libFuzzer."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    if draw.random() < 0.2:
        return atheris.Mutate(data, most)
    lines = data.split(b"\n") if kind in {"rows", "stream"} else [data]
    at = draw.randrange(len(lines))
    before, line = (b"data: ", lines[at][6:]) if lines[at].startswith(b"data: ") else (b"", lines[at])
    try:
        table = json.loads(line)
        assert isinstance(table, (dict, list))
        for _ in range(draw.randint(1, 3)):
            _change(table, draw)
        lines[at] = before + json.dumps(table).encode("utf-8")
    except (ValueError, RecursionError, AssertionError):
        if kind != "rows":
            return atheris.Mutate(data, most)
        cells = line.split(b",")
        cells[draw.randrange(len(cells))] = draw.choice([*CELLS, *cells])
        lines[at] = b",".join(cells)
    changed = b"\n".join(lines)
    return changed if len(changed) <= most else data


def _change(table: Any, draw: random.Random) -> None:
    """One value somewhere in a tree of JSON is replaced by a hostile one, by another of its values, or dropped."""
    within = table
    while within:
        name = draw.choice(list(within) if isinstance(within, dict) else range(len(within)))
        if isinstance(within[name], (dict, list)) and draw.random() < 0.7:
            within = within[name]
            continue
        others = [copy.deepcopy(value) for value in (within.values() if isinstance(within, dict) else within)]
        within[name] = draw.choice([*HOSTILE, draw.randint(0, 9000), *others])
        if isinstance(within, dict) and draw.random() < 0.3:
            del within[name]
        break


class Search:
    """One search: the faults that it has seen, and how many inputs were read or refused."""

    def __init__(self, kind: str, faults: Path) -> None:
        self.kind, self.faults = kind, faults
        self.seen: set[str] = set()
        self.tried = self.read = 0

    def one(self, data: bytes) -> None:
        """Feed one input; what is no refusal is written down, once for each place."""
        start = time.process_time()
        self.tried += 1
        try:
            self.read += fuzz_targets.run(self.kind, data)
            place = f"slow: {time.process_time() - start:.0f} s" if time.process_time() - start > SLOW_S else ""
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = (
                f"{type(error).__name__} at {frames[-1].filename.removeprefix(str(ROOT))}:{frames[-1].lineno}: {error}"[
                    :200
                ]
            )
        key = place.split(": ", 1)[0]
        if place and key not in self.seen:
            self.seen.add(key)
            name = hashlib.sha256(data).hexdigest()[:16]
            self.faults.mkdir(parents=True, exist_ok=True)
            (self.faults / name).write_bytes(data)
            print(f"FAULT {self.kind} {name} {place}", file=sys.stderr, flush=True)


def main(kind: str, what: str, folder: str = str(ROOT / "build" / "fuzz")) -> None:
    """Search for so many seconds, or write the least corpus."""
    work = Path(folder) / kind
    work.mkdir(parents=True, exist_ok=True)
    if what == "--minimise":
        commit(kind, work)
        return
    for data in seeds(kind):
        (work / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    dictionary = Path(folder) / f"{kind}.dict"
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words(kind))
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped), encoding="utf-8")
    search = Search(kind, Path(folder) / f"{kind}-faults")
    with atheris.instrument_imports(include=["sizer"]):  # what is imported within functions
        for data in seeds(kind):
            search.one(data)
    mutator = {"custom_mutator": partial(mutate, kind)} if kind in {"config", "rows", "stream"} else {}
    known = [str(path) for path in (CORPUS / kind,) if path.is_dir()]
    limits = [f"-max_len={MOST_BYTES}", "-timeout=60", "-rss_limit_mb=4096", "-len_control=0", f"-dict={dictionary}"]
    atheris.Setup(
        [sys.argv[0], *limits, "-print_final_stats=1", f"-max_total_time={what}", str(work), *known],
        search.one,
        **mutator,
    )
    atheris.Fuzz()


def commit(kind: str, work: Path) -> None:
    """Keep in the committed corpus what reaches lines that smaller inputs do not, as far as there is room."""
    committed = CORPUS / kind
    shutil.rmtree(committed, ignore_errors=True)
    committed.mkdir(parents=True)
    room, reached = MOST_COMMITTED_BYTES, set[tuple[str, int]]()
    for path in sorted(work.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        data = path.read_bytes()
        if len(data) > room:
            break
        cover = coverage.Coverage(source_pkgs=["sizer"], data_file=None, messages=False)
        cover.start()
        with contextlib.suppress(Exception):
            fuzz_targets.run(kind, data)
        cover.stop()
        found = cover.get_data()
        lines = {(file, line) for file in found.measured_files() for line in found.lines(file) or ()}
        if lines - reached:
            room -= len(data)
            reached |= lines
            (committed / path.name[:16]).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
