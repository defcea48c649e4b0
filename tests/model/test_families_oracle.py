"""Every class of transformers' causal-LM mapping, by default and by random configs, against the meta device."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import pytest
from familyconfigs import Refused, difference, drawn
from hybridconfigs import CLASSES as HYBRIDS
from metamodels import config_of, meta_model

from sizer.errors import SizerError
from sizer.model.config import class_defaults
from sizer.model.families import build, supported

DATA = Path(__file__).parent.parent / "data" / "families"
DRAWS = 4

# Wrappers, whose configs are nested, are drawn by tests of their own; so are hybrids, whose patterns must fit together.
NESTED = ("dots3_note", "emu3", "gemma3n", "qwen4_exp")

# transformers 5.23 builds none of these from a config of its own class, whatever the fields.
UNBUILT = {
    "cohere_compass_text": "its rotary embedding looks for a key that the config class never sets",
    "gemma4_assistant": "nested: the text config's layers must all share caches",
    "gemma4_unified_assistant": "nested: the text config's layers must all share caches",
    "musicgen": "the causal class takes the nested decoder config",
    "musicgen_melody": "the causal class takes the nested decoder config",
}


def rows() -> list[dict[str, str]]:
    """Each class of the mapping with what transformers 5.23 counts for its default config."""
    with (DATA / "default_params.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def drawn_classes() -> list[tuple[str, str]]:
    """(model_type, class) of the flat families."""
    mapped = {(row["model_type"], row["architecture"]) for row in rows()}
    with (DATA.parent / "multimodal" / "classes.csv").open(encoding="utf-8", newline="") as lines:
        nested = {row["model_type"] for row in csv.DictReader(lines)}.union(NESTED)
    return [
        (row.model_type, row.architecture)
        for row in supported()
        if (row.model_type, row.architecture) in mapped and row.model_type not in {*nested, *HYBRIDS, *UNBUILT}
    ]


def default_config(model_type: str, architecture: str) -> dict[str, object]:
    """A class's own default config as a file would state it, sub-configs null (they take their classes' defaults)."""
    defaults = class_defaults(model_type)
    nested = {name: None if spec["init"] or spec["optional"] else {} for name, spec in defaults.sub_configs.items()}
    return {**defaults.fields, **nested, "model_type": model_type, "architectures": [architecture]}


@pytest.mark.parametrize(
    ("model_type", "architecture", "params"),
    [(row["model_type"], row["architecture"], int(row["params"])) for row in rows() if row["built"] == "yes"],
)
def test_default_config_counts_to_the_parameter(model_type: str, architecture: str, params: int) -> None:
    """The full-size default config of every class that transformers builds has its parameters."""
    assert build(default_config(model_type, architecture), model_type).total_params == params


@pytest.mark.oracle
@pytest.mark.parametrize(("model_type", "architecture"), drawn_classes())
def test_drawn_configs_list_every_parameter(model_type: str, architecture: str) -> None:
    """Small configs with any flag, tied or not, list transformers' parameters, in modules of the right class."""
    compared, random = 0, Random(model_type)
    for _ in range(3 * DRAWS):
        fields = drawn(model_type, random)
        try:
            assert difference(model_type, architecture, fields) == "", fields
        except Refused:
            continue
        compared += 1
        if compared == DRAWS:
            break
    assert compared, "transformers refuses every draw: the test holds nothing"


@pytest.mark.oracle
def test_oracle_sees_a_difference() -> None:
    """The comparison can fail: a config with one more layer is not the model."""
    fields = drawn("llama", Random(0))
    model = meta_model(config_of("llama", fields), "LlamaForCausalLM")
    more = {**fields, "num_hidden_layers": fields["num_hidden_layers"] + 1, "model_type": "llama"}
    assert build(more, "llama").total_params != sum(weight.numel() for weight in model.parameters())


def test_every_class_is_described_or_refused_with_a_reason() -> None:
    """Each class of the mapping has a row, or an error that says what to do; none falls through to another."""
    known = {row.model_type for row in supported()}
    for row in rows():
        if row["model_type"] in known:
            continue
        with pytest.raises(SizerError) as refused:
            build({"model_type": row["model_type"], "architectures": [row["architecture"]]}, "x")
        assert "meta device" in refused.value.hint
