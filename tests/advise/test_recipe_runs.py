"""The transformers recipe, executed on a tiny random Llama with a tokenizer trained here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from advice import model, target
from tinymodels import save_model

from sizer.advise.recipes import recipe
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.workload import Workload

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny model in a folder whose name needs quoting."""
    return save_model(tmp_path_factory.mktemp("it's a model") / "tiny")


@pytest.mark.parametrize("precision", ["bf16", "fp32", "nf4", "int8"])
def test_the_recipe_runs(folder: Path, precision: str) -> None:
    """The code as emitted loads the model at its precision and answers a chat turn; nothing goes to the network."""
    work = Workload(output_tokens=4)
    item = estimate(Question(model("Qwen/Qwen3-0.6B"), target("rtx-4090"), precision, work, engine="transformers"))
    named = replace(item, architecture=replace(item.architecture, model_id=str(folder)))
    code = recipe(named) + "print(generate.model.get_memory_footprint())\n"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    footprint_bytes = int(run.stdout.strip().splitlines()[-1])
    ratio = footprint_bytes / _plain_bytes(folder)
    low, high = {"fp32": (1.9, 2.1), "bf16": (0.95, 1.05)}.get(precision, (0.2, 0.95))
    assert low <= ratio <= high


def _plain_bytes(folder: Path) -> int:
    """Bytes of the saved 16-bit weights."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
