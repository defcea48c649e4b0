"""Every real config of the catalogue against the parameter count that its authors publish."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from sizer.model.families import build
from sizer.tables import data_path

# Checkpoints of these classes hold, besides the model, the layers of multi-token prediction that sizer lists; what is
# left is the router's correction bias and scales, which are buffers.
MTP_TYPES = ("deepseek_v3", "deepseek_v4", "deepseek_v32", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa")


def published() -> list[dict[str, str]]:
    """Rows of the catalogue with a published count."""
    with data_path("models.csv").open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["config_file"] and row["reference_params"]]


def config(row: dict[str, str]) -> dict[str, Any]:
    """The config.json of a row."""
    fields: dict[str, Any] = json.loads((data_path("configs") / row["config_file"]).read_bytes())
    return fields


@pytest.mark.parametrize("row", published(), ids=lambda row: row["id"])
def test_real_config_counts_to_the_parameter(row: dict[str, str]) -> None:
    """A real config has its published parameters, to the last one."""
    assert build(config(row), row["id"]).total_params == int(row["reference_params"])


@pytest.mark.parametrize(
    "row",
    [row for row in published() if row["checkpoint_params"] and row["model_type"] in MTP_TYPES],
    ids=lambda row: row["id"],
)
def test_prediction_layers_make_up_the_checkpoint(row: dict[str, str]) -> None:
    """Multi-token prediction layers are beside the model's parameters, and explain what the checkpoint stores."""
    fields = config(row)
    built = build(fields, row["id"])
    if not any(fields.get(name) for name in ("num_nextn_predict_layers", "num_mtp_layers")):
        assert built.checkpoint_params == built.total_params
        return
    assert built.checkpoint_params > built.total_params
    if row["id"] != "zai-org/GLM-4.6":  # its published total is smaller than its two sisters' of the same config
        assert built.checkpoint_params == pytest.approx(int(row["checkpoint_params"]), rel=1e-4)


@pytest.mark.parametrize("row", published(), ids=lambda row: row["id"])
def test_every_published_model_is_consistent(row: dict[str, str]) -> None:
    """Layers, experts and active parameters of a real model agree with each other."""
    built = build(config(row), row["id"])
    assert [layer.index for layer in built.layers] == list(range(built.num_layers))
    assert built.active_params <= built.total_params <= built.checkpoint_params
    assert (built.experts is None) == (
        built.active_params == built.total_params
    ) or built.experts == built.active_experts
    names = [(tensor.name, layer) for tensor in built.tensors for layer in tensor.layers or (-1,)]
    assert len(names) == len(set(names)), "a tensor is listed twice"
    assert built.max_context_tokens is None or built.max_context_tokens > 0


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        (
            {"model_type": "RefinedWebModel", "multi_query": True, "parallel_attn": True, "hidden_size": 4544,
             "n_head": 71, "n_layer": 32, "vocab_size": 65024, "bias": False},
            6_921_720_704,
        ),
        (
            {"model_type": "RefinedWeb", "n_head_kv": 8, "parallel_attn": True, "hidden_size": 8192, "n_head": 128,
             "n_layer": 60, "vocab_size": 65024, "bias": False},
            41_303_293_952,
        ),
        (
            {"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16, "vocab_size": 250880},
            559_214_592,
        ),
    ],
    ids=["falcon-7b", "falcon-40b", "bloom-560m"],
)  # fmt: skip
def test_first_names_of_fields_are_read(fields: dict[str, Any], params: int) -> None:
    """Repositories from before a family's fields were renamed still count to their published parameters."""
    assert build(fields, "x").total_params == params
