"""Every class of transformers' causal-LM mapping, by default and by random configs, against the meta device."""

from __future__ import annotations

from random import Random

import pytest
from familyconfigs import Refused, difference, drawn
from metamodels import config_of, meta_model
from oracles import default_counts, mapped_classes
from oracles import drawn as drawn_rows

from sizer.errors import SizerError
from sizer.model.config import class_defaults
from sizer.model.families import build, supported

DRAWS = 4


def default_config(model_type: str, architecture: str) -> dict[str, object]:
    """A class's own default config as a file would state it, sub-configs null (they take their classes' defaults)."""
    defaults = class_defaults(model_type)
    nested = {name: None if spec["init"] or spec["optional"] else {} for name, spec in defaults.sub_configs.items()}
    return {**defaults.fields, **nested, "model_type": model_type, "architectures": [architecture]}


@pytest.mark.parametrize(
    ("model_type", "architecture", "params"),
    [(*names, params) for names, params in default_counts().items()],
)
def test_default_config_counts_to_the_parameter(model_type: str, architecture: str, params: int) -> None:
    """The full-size default config of every class that transformers builds has its parameters."""
    assert build(default_config(model_type, architecture), model_type).total_params == params


@pytest.mark.oracle
@pytest.mark.parametrize(("model_type", "architecture"), [row[:2] for row in drawn_rows("flat")])
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
    for model_type, architecture in mapped_classes():
        if model_type in known:
            continue
        with pytest.raises(SizerError) as refused:
            build({"model_type": model_type, "architectures": [architecture]}, "x")
        assert "meta device" in refused.value.hint
