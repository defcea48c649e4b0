"""Models and measured rows that the precision tests share."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sizer.model import families
from sizer.model.architecture import Architecture, Module, Role, Tensor
from sizer.precision.gguf_tensors import GgufModel
from sizer.precision.reference import reference_architecture

DATA = Path(__file__).parent.parent / "data" / "precision"


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


def experts_model(experts: int = 8) -> Architecture:
    """A small mixture of experts with a router, a head, a draft layer and a vision tower's worth of exceptions."""
    base = reference_architecture()
    every = (0, 1)
    tensors = (
        Tensor("model.embed_tokens.weight", (1000, 256), Role.EMBEDDING, Module.EMBEDDING),
        Tensor("model.layers.{layer}.self_attn.q_proj.weight", (256, 256), Role.Q, Module.LINEAR, every),
        Tensor("model.layers.{layer}.mlp.gate.weight", (experts, 256), Role.ROUTER, Module.PARAMETER, every),
        Tensor(
            "model.layers.{layer}.mlp.experts.down_proj", (experts, 256, 128), Role.EXPERT_DOWN, Module.EXPERT_STACK,
            every, 2,
        ),
        Tensor("model.layers.{layer}.norm.weight", (256,), Role.NORM, Module.NORM, every),
        Tensor("lm_head.weight", (1000, 256), Role.LM_HEAD, Module.LINEAR),
        Tensor("mtp.proj.weight", (256, 512), Role.OTHER, Module.LINEAR, checkpoint_only=True),
    )  # fmt: skip
    return replace(base, tensors=tensors, layers=base.layers[:2], experts=experts, hidden_size=256, vocab_size=1000)
