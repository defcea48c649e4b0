"""The class defaults in data/ against the config classes they were written from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sizer.model.config import class_defaults
from sizer.tables import data_path

TOOL = Path(__file__).parent.parent.parent / "tools" / "config_defaults.py"


@pytest.mark.oracle
def test_defaults_are_what_the_tool_writes(tmp_path: Path) -> None:
    """Every file of class defaults is what the tool writes from this transformers, and none is left over.

    The tool runs in a process of its own: building models changes the defaults of some config classes in place.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, str(TOOL), str(tmp_path)], check=True, capture_output=True, env=environment)
    written = {path.stem: json.loads(path.read_bytes()) for path in tmp_path.glob("*.json")}
    stored = {path.stem: json.loads(path.read_bytes()) for path in data_path("config_defaults").glob("*.json")}
    assert stored == written


def test_derived_values_are_no_defaults() -> None:
    """What a class derives from other fields (head size, KV heads) has no default: it follows the file's sizes."""
    fields = class_defaults("llama").fields
    assert fields["head_dim"] is None
    assert fields["num_key_value_heads"] is None


def test_unknown_or_odd_model_type_has_no_defaults() -> None:
    """A model_type that no class has, or that is no name, reads no file."""
    for model_type in ("lama7", "../families", "", 7, None):
        assert class_defaults(model_type).fields == {}
