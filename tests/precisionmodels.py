"""Models and measured rows that the precision tests share."""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

from sizer.model import families
from sizer.model.architecture import Architecture
from sizer.precision.gguf_tensors import GgufModel

DATA = Path(__file__).parent / "data" / "precision"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one CSV file of the test data."""
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def config(folder: str, name: str) -> dict[str, Any]:
    """One config.json of the test data."""
    loaded: dict[str, Any] = json.loads((DATA / folder / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@cache
def gguf_model(name: str) -> Architecture:
    """A model whose GGUF tensors `llama-quantize` sized."""
    return families.build(config("gguf_configs", name), name)


@cache
def quantized_model(name: str, dtype: str = "") -> Architecture:
    """A model that bitsandbytes, torchao or quanto really quantized."""
    fields = config("quant_configs", name)
    return families.build({**fields, "dtype": dtype} if dtype else fields, name)


@cache
def published_model(model_id: str) -> Architecture | None:
    """A model of the published files: one of the configs, with what differs from it."""
    known = json.loads((DATA / "published_models.json").read_text(encoding="utf-8"))
    if model_id not in known:
        return None
    fields = config("gguf_configs", known[model_id]["config"]) | known[model_id]["change"]
    return families.build(fields, model_id)


def file_elements(model: GgufModel) -> int:
    """Elements of all tensors of a GGUF file (what llama-quantize prints as its parameters)."""
    return sum(part.ne0 * part.rows * (len(part.layers) or 1) for part in model.tensors)
