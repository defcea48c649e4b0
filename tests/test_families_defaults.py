"""The class defaults in data/ against the config classes they were written from."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from metamodels import quiet

from sizer.model.config import class_defaults
from sizer.tables import data_path

TOOL = Path(__file__).parent.parent / "tools" / "config_defaults.py"


def tool() -> ModuleType:
    """The script that writes the defaults."""
    spec = spec_from_file_location("config_defaults", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.oracle
def test_defaults_are_what_the_tool_writes() -> None:
    """Every file of class defaults is what the tool writes from this transformers, and none is left over."""
    with quiet():
        script = tool()
        written = {name: script.describe(config_class) for name, config_class in script.reached().items()}
    stored = {path.stem: json.loads(path.read_bytes()) for path in data_path("config_defaults").glob("*.json")}
    assert stored == json.loads(json.dumps(written))


def test_derived_values_are_no_defaults() -> None:
    """What a class derives from other fields (head size, KV heads) has no default: it follows the file's sizes."""
    fields = class_defaults("llama").fields
    assert fields["head_dim"] is None
    assert fields["num_key_value_heads"] is None


def test_unknown_or_odd_model_type_has_no_defaults() -> None:
    """A model_type that no class has, or that is no name, reads no file."""
    for model_type in ("lama7", "../families", "", 7, None):
        assert class_defaults(model_type).fields == {}
