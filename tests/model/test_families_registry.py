"""Every family is whole: a row, an entry in its maker's file, class defaults, an oracle; nothing stands beside."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
from oracles import BY_A_WRITTEN_FILE, BY_HAND, UNBUILT, UNCOUNTED, default_counts, drawn_by, published_names
from writtenconfigs import WRITTEN

from sizer.model import families
from sizer.model.blocks.towers import TOWERS
from sizer.model.registry import Row, family, supported
from sizer.tables import data_path, read_rows

FOLDER = Path(families.__file__).parent
MODEL = FOLDER.parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
# What each floor of the model's room may import of it.
BELOW = {
    "blocks": ("architecture", "config", "blocks"),
    "shapes": ("architecture", "config", "blocks", "registry", "shapes"),
    "families": ("architecture", "config", "blocks", "registry", "shapes"),
}


def name(row: Row) -> str:
    """A row's name in the list of tests."""
    return f"{row.model_type}-{row.architecture}"


@pytest.mark.parametrize("row", supported(), ids=name)
def test_a_row_has_its_family(row: Row) -> None:
    """The file that a row names describes its model_type; the row says whose code runs it."""
    assert row.module in MODULES, f"{row.model_type}: sizer/model/families/{row.module}.py is missing"
    known = import_module(f"sizer.model.families.{row.module}").FAMILIES
    assert row.model_type in known or row.architecture in known, f"no entry in FAMILIES of {row.module}.py"
    assert callable(family(row))
    assert row.code in ("transformers", "repository"), f"{row.model_type}: column code is {row.code!r}"


@pytest.mark.parametrize("row", supported(), ids=name)
def test_a_row_has_class_defaults(row: Row) -> None:
    """What a class of transformers takes for fields that a file leaves out is in data/config_defaults."""
    if row.code == "transformers":
        path = data_path(f"config_defaults/{row.model_type}.json")
        assert path.is_file(), f"run `python tools/config_defaults.py`: it writes {path.name}"


@pytest.mark.parametrize("row", supported(), ids=name)
def test_a_row_has_an_oracle(row: Row) -> None:
    """Each family is compared with transformers, or with a published count, or says why it is not."""
    written = row.model_type in {written[0] for written in WRITTEN}
    held = (
        drawn_by(row)
        or (row.model_type, row.architecture) in default_counts()
        or {row.model_type, row.architecture} & published_names()
        or written
        or row.model_type in BY_HAND
    )
    reasons = {**UNBUILT, **dict.fromkeys(UNCOUNTED, "no published count")}
    assert held or row.model_type in reasons, f"{row.model_type} has no oracle: see tests/support/oracles.py"
    if row.model_type in BY_A_WRITTEN_FILE:
        assert written or row.model_type in BY_HAND, f"{row.model_type}: no file in WRITTEN"


@pytest.mark.parametrize("module", MODULES)
def test_every_entry_has_a_row(module: str) -> None:
    """No family stands in a file without a row that leads to it; every file says in its docstring what is in it."""
    loaded = import_module(f"sizer.model.families.{module}")
    rows = {each for row in supported() if row.module == module for each in (row.model_type, row.architecture)}
    assert set(loaded.FAMILIES) <= rows, f"no row in data/families.csv: {sorted(set(loaded.FAMILIES) - rows)}"
    assert loaded.__doc__
    assert len((FOLDER / f"{module}.py").read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("model_type", TOWERS)
def test_every_tower_is_there_and_reached(model_type: str) -> None:
    """`TOWERS` names a function that exists, for a config class that some family's defaults or files name."""
    module, _, function = TOWERS[model_type].partition(".")
    assert callable(getattr(import_module(f"sizer.model.blocks.towers.{module}"), function))
    assert data_path(f"config_defaults/{model_type}.json").is_file()


def test_pairs_are_registered_once() -> None:
    """No model_type and class stand in two rows, and every row names its source."""
    rows = read_rows("families.csv")
    pairs = [(row["model_type"], row["architecture"]) for row in rows]
    assert len(pairs) == len(set(pairs)), sorted(pair for pair in pairs if pairs.count(pair) > 1)
    assert all(row["source"] for row in rows)


@pytest.mark.parametrize("floor", BELOW)
def test_imports_run_down(floor: str) -> None:
    """Families import shapes, shapes blocks, blocks the architecture; none imports another family or looks up."""
    allowed = re.compile(rf"sizer\.(errors|frozen|tables|model\.({'|'.join(BELOW[floor])}))(\.|$)")
    for path in (MODEL / floor).rglob("*.py"):
        if floor == "families" and path.stem == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sizer"):
                assert allowed.match(node.module or ""), f"{path.relative_to(MODEL)} imports {node.module}"
