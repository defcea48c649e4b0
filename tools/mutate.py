"""Mutation testing: `nice python tools/mutate.py ROOM [COUNT] [--seed N]`, ROOM one of `tools/mutation.toml`.

A seeded sample of places is mutated by cosmic-ray's operators, one mutation at a time, and the tests that reach the
line run until one fails. Survivors are printed as differences; results stand in build/mutation.

Not cosmic-ray's own runner, which writes each mutant to disk and starts a process of seconds for it, and not mutmut,
which leaves decorated functions (properties, cached ones) alone, where much of this arithmetic stands: here a fork
imports the mutated text. Left out by rule, as no arithmetic: annotations, decorators, docstrings, messages (`raise`,
f-strings), `assert`, `strict=` of zip, imports.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.machinery
import io
import json
import os
import random
import re
import select
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401 - imported once, before the forks
import numpy as np  # noqa: F401
import pytest
import tabulate  # noqa: F401
import toml
from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import Visitor, mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutation"
SECONDS = 60
"""Of tests for one mutant, and before an endless loop counts as noticed."""
MOST_TESTS_S = 15.0

ARITHMETIC, SETS = "Add|Sub|Mul|Div|FloorDiv|Mod|Pow", "BitOr|BitAnd|BitXor|Sub"
ORDERS = "Eq|NotEq|Lt|LtE|Gt|GtE"
OPERATORS = re.compile(
    rf"""core/(NumberReplacer|AddNot|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue
    |ReplaceBreakWithContinue|ReplaceContinueWithBreak|ZeroIterationForLoop
    |ReplaceUnaryOperator_(Delete_Not|Delete_USub)
    |ReplaceBinaryOperator_({ARITHMETIC})_({ARITHMETIC})|ReplaceBinaryOperator_(BitOr|BitAnd|BitXor)_({SETS})
    |ReplaceComparisonOperator_({ORDERS})_({ORDERS})|ReplaceComparisonOperator_(Is_IsNot|IsNot_Is))""",
    re.VERBOSE,
)
"""Those whose mutants are not noticed by the interpreter itself."""


@dataclass(frozen=True)
class Mutant:
    """One mutation: the operator's `occurrence` in a file, which changes this line."""

    path: str
    line: int
    operator: str
    occurrence: int

    def text(self) -> str | None:
        """The mutated file."""
        changed = mutate_code(
            (ROOT / self.path).read_text(encoding="utf-8"), get_operator(self.operator)(), self.occurrence
        )
        return None if changed is None else str(changed)

    def difference(self) -> str:
        """The changed lines."""
        before, after = (ROOT / self.path).read_text(encoding="utf-8"), self.text() or ""
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"})


def sample(files: Iterable[str], count: int, seed: str) -> list[Mutant]:
    """So many places of the files, each with one of the mutations possible there."""
    places: dict[tuple[str, tuple[int, int]], list[Mutant]] = defaultdict(list)
    for path in files:
        source = (ROOT / path).read_text(encoding="utf-8")
        left_out = set(_left_out(ast.parse(source)))
        for name in sorted(name for name in operator_names() if OPERATORS.fullmatch(name)):
            for occurrence, start in enumerate(_positions(source, name)):
                if start not in left_out:
                    places[path, start].append(Mutant(path, start[0], name, occurrence))
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    chosen = draw.sample(sorted(places), min(count, len(places)))
    return [draw.choice(places[place]) for place in chosen]


def _positions(source: str, operator: str) -> list[tuple[int, int]]:
    """Where an operator mutates, in the order of its occurrences."""
    found: list[tuple[int, int]] = []

    class Collect(Visitor):  # type: ignore[misc]
        def visit(self, node: Any) -> Any:
            found.extend(start for start, _ in get_operator(operator)().mutation_positions(node))
            return node

    Collect().walk(get_ast(source))
    return found


def _left_out(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Every position (line, column) within what is no arithmetic."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
            parts = [node]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts = [*node.decorator_list, getattr(node, "returns", None)]
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            parts = [node.annotation]
        elif (isinstance(node, ast.keyword) and node.arg == "strict") or (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        ):
            parts = [node]
        for part in parts:
            if part is not None:
                for line in range(part.lineno, part.end_lineno + 1):
                    last = part.end_col_offset if line == part.end_lineno else 300
                    yield from ((line, column) for column in range(part.col_offset if line == part.lineno else 0, last))


class Reached:
    """A pytest plugin: which test reaches which line of the room, and how long each takes."""

    def __init__(self, coverage: Any, files: set[str]) -> None:
        self.coverage, self.files = coverage, files
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Any:
        """Empty the room's caches, so that every test reaches what it needs, and note the lines."""
        for name, module in list(sys.modules.items()):
            if (
                name.startswith("sizer.")
                and os.path.relpath(getattr(module, "__file__", None) or "/", ROOT) in self.files
            ):
                for value in vars(module).values():
                    if hasattr(value, "cache_clear"):
                        value.cache_clear()
        self.coverage.switch_context(item.nodeid)
        started = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - started
        return result


def reach(room: str, setting: dict[str, Any], files: list[str]) -> dict[str, Any]:
    """The tests by line and their seconds: measured once in a fork, then kept."""
    kept = WORK / f"{room}-reach.json"
    if not kept.exists():

        def measure() -> int:
            import coverage

            cover = coverage.Coverage(include=[str(ROOT / path) for path in files], data_file=None)
            plugin = Reached(cover, set(files))
            cover.start()
            code = _pytest(
                ["--tb=short", *setting["tests"], *(f"--deselect={test}" for test in setting["leave_out"])], [plugin]
            )
            cover.stop()
            data = cover.get_data()
            lines = {
                os.path.relpath(path, ROOT): {
                    line: sorted(filter(None, tests)) for line, tests in data.contexts_by_lineno(path).items()
                }
                for path in data.measured_files()
            }
            kept.write_text(json.dumps({"lines": lines, "seconds": plugin.seconds}), encoding="utf-8")
            return code

        if _forked(measure, 1200, echo=True) != 0:
            kept.unlink(missing_ok=True)
            sys.exit("the tests must pass before anything is mutated")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def tests_of(mutant: Mutant, reached: dict[str, Any]) -> list[str]:
    """15 s of tests that reach the mutated line (for one that runs at import: its file), the quickest first."""
    lines = reached["lines"].get(mutant.path, {})
    tests = set(lines.get(str(mutant.line), ())) or {test for line in lines.values() for test in line}
    chosen, seconds = [], 0.0
    for test in sorted(tests, key=lambda name: (reached["seconds"][name], name)):
        seconds += reached["seconds"][test]
        if seconds > MOST_TESTS_S:
            break
        chosen.append(test)
    return chosen


def noticed(mutant: Mutant, tests: list[str]) -> bool:
    """Whether a test fails, or does not end, with the mutated text in the place of the file's."""
    text = mutant.text()
    name = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if text is None:
        raise ValueError(f"{mutant} changes nothing")

    class Mutated(importlib.machinery.SourceFileLoader):
        def get_code(self, fullname: str) -> Any:
            return compile(text, str(ROOT / mutant.path), "exec", dont_inherit=True)

    class Finder:
        @staticmethod
        def find_spec(fullname: str, _path: object = None, _target: object = None) -> Any:
            if fullname != name:
                return None
            return importlib.machinery.ModuleSpec(
                name, Mutated(name, str(ROOT / mutant.path)), origin=str(ROOT / mutant.path)
            )

    def run() -> int:
        sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
        return _pytest(["-x", *tests], [])

    return bool(tests) and _forked(run, SECONDS) != 0


def _pytest(arguments: list[str], plugins: list[Any]) -> int:
    quiet = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--hypothesis-seed=0",
        "--no-header",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    return int(pytest.main([*quiet, *arguments], plugins=plugins))


def _forked(work: Callable[[], int], seconds: float, *, echo: bool = False) -> int:
    """The exit code of some work in a fork; 99 where it did not end in time."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        code = 98
        try:
            if echo:
                code = work()
            else:
                sink = os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, 1)
                os.dup2(sink, 2)
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    handle = os.pidfd_open(child)
    ended, _, _ = select.select([handle], [], [], seconds)
    os.close(handle)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if ended else 99


def main() -> None:
    """Run one room and print its survivors and figures."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("room")
    ask.add_argument("count", type=int, nargs="?", default=60)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--again", action="store_true", help="only what lived the last time, its tests looked up anew")
    asked = ask.parse_args()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(WORK / "hypothesis")
    WORK.mkdir(parents=True, exist_ok=True)
    setting = toml.loads((ROOT / "tools" / "mutation.toml").read_text(encoding="utf-8"))[asked.room]
    files = sorted(str(path.relative_to(ROOT)) for pattern in setting["files"] for path in ROOT.glob(pattern))
    results = WORK / f"{asked.room}-{asked.seed}.json"
    mutants = sample(files, asked.count, f"{asked.room} {asked.seed}")
    if asked.again:
        lived = {tuple(mutant) for mutant in json.loads(results.read_text(encoding="utf-8"))["lived"]}
        mutants = [one for one in mutants if (one.path, one.operator, one.difference()) in lived]
        (WORK / f"{asked.room}-reach.json").unlink(missing_ok=True)
    reached = reach(asked.room, setting, files)
    living = []
    for number, mutant in enumerate(mutants, 1):
        tests = tests_of(mutant, reached)
        started = time.perf_counter()
        killed = noticed(mutant, tests)
        print(
            f"{number}/{len(mutants)} {'killed' if killed else 'LIVES'} {mutant.path}:{mutant.line} {mutant.operator} "
            f"({len(tests)} tests, {time.perf_counter() - started:.1f} s)",
            flush=True,
        )
        if not killed:
            print(mutant.difference(), flush=True)
            living.append((mutant.path, mutant.operator, mutant.difference()))
    results.write_text(json.dumps({"tried": len(mutants), "lived": living}, indent=1), encoding="utf-8")
    print(f"{asked.room}: {len(mutants) - len(living)} of {len(mutants)} mutants killed (seed {asked.seed})")


if __name__ == "__main__":
    main()
