"""The built wheel works away from the checkout, with its data; so does the editable install."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sizer
from sizer.tables import data_dir

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    wheel = next(folder.glob("sizer_llm-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "sizer/data/devices.csv" in names
    assert "sizer/py.typed" in names
    assert "sizer/web/page/index.html" in names
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def installed(site: Path, *args: str) -> str:
    """What the installed package prints, run far from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    run = subprocess.run(
        [sys.executable, *args], check=True, capture_output=True, text=True, env=environment, cwd=site.parent
    )
    return run.stdout


@pytest.mark.installed
def test_wheel_finds_its_own_data(site: Path) -> None:
    """The package that runs is the wheel's, and so is its data folder."""
    where = installed(site, "-c", "import sizer.tables; print(sizer.tables.data_dir())").strip()
    assert Path(where) == site / "sizer" / "data"


@pytest.mark.installed
def test_wheel_answers(site: Path) -> None:
    """The first command of the README answers from the wheel alone."""
    args = ("-m", "sizer", "estimate", "meta-llama/Meta-Llama-3-8B-Instruct", "--device", "a100", "--json", "--offline")
    assert json.loads(installed(site, *args))["model"]["total_params"] == 8_030_261_248


def test_editable_install_finds_the_checkouts_data() -> None:
    """Where the package runs from the checkout, its data is the folder beside it."""
    package = Path(sizer.__file__).resolve().parent
    expected = package / "data" if (package / "data").is_dir() else package.parent / "data"
    assert data_dir() == expected
    assert (expected / "devices.csv").is_file()
