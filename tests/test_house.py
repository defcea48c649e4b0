"""The house: every room stands in CONTRIBUTING's table, and imports run one way, without circles."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sizer.tables import read_rows

ROOT = Path(__file__).parent.parent
ROOMS = (
    {
        "frozen",
        "regex",
        "deadline",
        "signals",
        "printable",
        "units",
        "errors",
        "tables",
        "tuning",
        "formats",
        "cache_formats",
        "workload",
        "plain_json",
        "methods",
        "version",
        "user_folder",
    },
    {"model", "device"},
    {"precision"},
    {"engine"},
    {"memory"},
    {"speed"},
    {"serving"},
    {"answer"},
    {"advise", "calibrate"},
    {"api", "benchmark", "chat", "report"},
    {"cli", "web", "mcp"},
)
"""Floors from the ground up: a room imports from its own floor and from those below."""
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package by its dotted name."""
    for path in sorted((ROOT / "sizer").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


NAMES = {name for name, _ in modules()}


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree, parsed once for all that look at it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    """The room that a module stands in."""
    room = module.split(".")[1] if "." in module else ""
    return "" if room == "__main__" else room


def imported(path: Path) -> Iterator[str]:
    """Modules of sizer that a file imports, within its functions too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sizer"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in NAMES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("sizer."))


def test_imports_run_downward() -> None:
    """No module imports one of a higher floor, not even within a function."""
    upward = [
        f"{name} -> {other}"
        for name, path in modules()
        for other in imported(path)
        if room_of(name) and room_of(other) and FLOOR[room_of(other)] > FLOOR[room_of(name)]
    ]
    assert upward == []


def test_no_circles() -> None:
    """The modules can be put in an order in which each stands after those that it imports."""
    graph: dict[str, set[str]] = defaultdict(set)
    for name, path in modules():
        graph[name] |= {other for other in imported(path) if other != name and not name.startswith(f"{other}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_every_room_has_its_line() -> None:
    """A new folder or module at the top stands in CONTRIBUTING's table of rooms; what is gone stands there no more."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## The shape of the code")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {name.removesuffix(".py").removesuffix("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    here = {room_of(name) for name, _ in modules()} - {""}
    assert told == here
    assert here <= set(FLOOR)


def test_frozen_records_come_from_one_place() -> None:
    """A frozen dataclass of the standard library takes half a millisecond of every start, a named tuple of typing's a
    tenth: those of `sizer.frozen` do not."""
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        if name != "sizer.frozen" and "@dataclass(frozen=True" in text:
            assert re.search(r"^from sizer.frozen import .*dataclass$", text, re.MULTILINE), f"{name} takes another"
        assert "dataclasses.dataclass(frozen=True" not in text or name == "sizer.frozen", name
        assert not re.search(r"^from typing import.*NamedTuple", text, re.MULTILINE) or name == "sizer.frozen", name


def test_every_test_says_what_must_hold() -> None:
    """Each test of the tree has a docstring: what a reader learns where it fails."""
    silent = [
        f"{path.name}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


LONGEST_FILE, LONGEST_FUNCTION = 350, 46
"""Lines: a file of one idea, and functions a little beyond what a reader should need to hold (40)."""


def test_files_and_functions_are_held_in_a_glance() -> None:
    """No file of the package and none of its functions is longer than a reader can hold."""
    long = []
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        long += [f"{name}: {text.count(chr(10))} lines"] * (text.count("\n") > LONGEST_FILE)
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                long += [f"{name}.{node.name}: {lines} lines"] * (lines > LONGEST_FUNCTION)
    assert long == []


NAMED_BY = {
    "sizer.engine.containers": "the image of llama.cpp takes --server before its words",
    "sizer.engine.served_yaml": "words of others' documents",
}
"""Modules that know an engine by its name, and why."""


def test_no_engine_s_or_device_s_name_is_behaviour() -> None:
    """Code compares with no name of an engine or of a device: a column says what they have in common."""
    known = {row["name"] for row in read_rows("engines.csv")} | {row["key"] for row in read_rows("devices.csv")}
    by_name = {
        name
        for name, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Compare)
        for part in (node.left, *node.comparators)
        for inner in ast.walk(part)
        if isinstance(inner, ast.Constant) and inner.value in known
    }
    assert by_name == set(NAMED_BY)


LONGEST_SILENT = 20
"""Lines of a function from which on its name alone does not tell a reader what it gives."""


def test_long_functions_say_what_they_give() -> None:
    """A function of so many lines has a docstring, the private ones too; special methods have their class's."""
    silent = [
        f"{name}.{node.name}"
        for name, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__") and not ast.get_docstring(node)
        if (node.end_lineno or 0) - node.lineno + 1 >= LONGEST_SILENT
    ]
    assert silent == []


def test_what_is_private_stays_in_its_file() -> None:
    """A name that begins with an underscore is imported by no other module."""
    taken = [
        f"{name} takes {alias.name} of {node.module}"
        for name, path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sizer")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert taken == []


EXPLAIN_THEMSELVES = {"SCHEMA_VERSION", "EXIT_INTERRUPTED"}


def test_every_figure_says_where_it_comes_from() -> None:
    """A number at the top of a module stands beside its source, its fit or its reason; powers of ten and of two, which
    `units` holds, need none, and a family's are its files'."""
    silent = [
        f"{name}: {target}"
        for name, path in modules()
        if ".families." not in name and name != "sizer.units"
        for block in blocks_of(path)
        if not any(map(tells, block))
        for statement, _ in block
        for target in figures_of(statement)
        if target not in EXPLAIN_THEMSELVES
    ]
    assert silent == []


def blocks_of(path: Path) -> Iterator[list[tuple[ast.stmt, str]]]:
    """Top-level statements that stand together with no blank line between, each with its text and the comment above."""
    lines = path.read_text(encoding="utf-8").splitlines()
    block: list[tuple[ast.stmt, str]] = []
    end = 0
    for statement in ast.parse("\n".join(lines)).body:
        between = lines[end : statement.lineno - 1]
        if block and not all(line.startswith("#") for line in between):
            yield block
            block = []
        above = [line for line in between if line.startswith("#")]
        block.append((statement, "\n".join([*above, *lines[statement.lineno - 1 : statement.end_lineno]])))
        end = statement.end_lineno or statement.lineno
    yield block


def tells(told: tuple[ast.stmt, str]) -> bool:
    """Whether a statement is a docstring, or has a comment."""
    statement, text = told
    return (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)) or "#" in text


def figures_of(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to plain numbers, alone or in tuples and tables."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return
    parts = list(ast.walk(statement.value))
    if any(isinstance(part, ast.Call) for part in parts):
        return
    if any(isinstance(part, ast.Constant) and type(part.value) in (int, float) for part in parts):
        yield ast.unparse(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target)
