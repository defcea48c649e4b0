"""Repositories whose configs were derived: each builds what the hub counts, and says what it rests on."""

from __future__ import annotations

import json

import pytest

from sizer.model.architecture import Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.derived import derived, with_fields
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows

ROWS = list(read_rows("derived_shapes.csv"))


def test_each_row_builds_its_total() -> None:
    """Every derived config has the parameters that its row tells, has a source, and is read by no other lookup."""
    assert len({row["name"].lower() for row in ROWS}) == len(ROWS)
    for row in ROWS:
        entry = catalogue.shipped(row["relative"])
        assert entry is not None, row["name"]
        config = with_fields(dict(catalogue.as_shipped(entry)), json.loads(row["text_fields"]))
        assert build(config, row["name"]).total_params == int(row["total_params"]), row["name"]
        assert row["source"]
        assert catalogue.find(row["name"]) is None, row["name"]
        assert catalogue.of_same_shape(row["name"]) is None, row["name"]


@pytest.mark.parametrize("row", ROWS[:: len(ROWS) // 8], ids=lambda row: row["name"])
def test_a_derived_repository_is_told_without_the_hub(row: dict[str, str]) -> None:
    """Its parameters are the hub's, not those that its name rounds; the first note says what the config rests on."""
    found = resolve(row["name"].upper(), offline=True)
    assert (found.basis, found.architecture.total_params) == (Basis.CATALOGUE, int(row["total_params"]))
    assert found.notes[0].endswith(f" as {row['relative']} has it")
    of_relative = "max_position_embeddings" not in json.loads(row["text_fields"])
    assert ("its context too" in found.notes[0]) is of_relative


@pytest.mark.parametrize(
    "name", ["artificialguybr/Qwen2.5-0.5B-OpenHermes2.5", "silma-ai/SILMA-Kashif-2B-Instruct-v1.0"]
)
def test_a_model_that_writes_tokens_is_no_embedder_s_relative(name: str) -> None:
    """Types of both kinds have embedders of the same total: fine-tunes of Qwen2.5-0.5B-Instruct were told as one."""
    found = resolve(name, offline=True).architecture
    assert found.decodes
    assert found.max_context_tokens in {12288, 32768}


def test_fields_go_into_the_text_part() -> None:
    """A wrapper's own fields stay, its text part takes the model's, and what is the relative's own is gone."""
    config = {"a": 1, "quantization_config": {}, "text_config": {"hidden_size": 8, "layer_types": ["full"], "b": 2}}
    fields = {"hidden_size": 16, "tie_word_embeddings": True}
    text = {"hidden_size": 16, "b": 2, "tie_word_embeddings": True}
    assert with_fields(config, fields) == {"a": 1, "tie_word_embeddings": True, "text_config": text}


def test_what_was_not_derived_is_not_told() -> None:
    """A name without a row has no config here."""
    assert derived("nobody/nothing-8B") is None
