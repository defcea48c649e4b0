"""An offline estimate imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = (
    "torch", "transformers", "accelerate", "bitsandbytes", "huggingface_hub", "numpy", "scipy", "matplotlib",
    "requests", "httpx", "gguf", "safetensors", "psutil", "pynvml",
)  # fmt: skip

PROBE = """
import json, sys
{before}
from sizer.cli import cli
try:
    cli.main({args!r}, standalone_mode=False)
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(args: list[str], before: str = "") -> set[str]:
    """Names of the modules that a command has imported when it is done."""
    code = PROBE.format(args=args, before=before)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stderr.splitlines()[-1]))


ESTIMATE = ["estimate", "meta-llama/Meta-Llama-3-8B-Instruct", "--device", "a100", "--offline"]


def test_estimate_imports_nothing_heavy() -> None:
    """No framework, numeric library or network client is loaded for a catalogued model."""
    assert not modules_after(ESTIMATE) & set(HEAVY)


def test_a_plain_estimate_reads_no_table_of_flags() -> None:
    """Flags and command lines are read when someone gives one: not for an engine's name alone."""
    readers = {"sizer.engine.flag_table", "sizer.engine.flags", "sizer.engine.commands"}
    assert not modules_after([*ESTIMATE, "--engine", "vllm"]) & readers
    assert readers <= modules_after([*ESTIMATE, "--engine", "vllm --max-num-seqs 4"])


def test_a_plain_estimate_reads_no_releases() -> None:
    """Since when an engine has code for a model is read where a version is named, and not for the newest."""
    reader = "sizer.engine.first_versions"
    assert reader not in modules_after(ESTIMATE)
    assert reader in modules_after([*ESTIMATE, "--engine", "vllm@0.9.2"])


def test_the_probe_sees_heavy_imports() -> None:
    """The check above can fail: a module imported on purpose shows up."""
    assert "psutil" in modules_after(ESTIMATE, before="import psutil")


def test_python_api_imports_no_more_than_the_command() -> None:
    """`import sizer` and one estimate stay as light as the command line."""
    code = (
        "import sys, sizer; sizer.estimate('Qwen/Qwen3-8B', device='rtx-4090', precision='q4_k_m', offline=True);"
        f"heavy = set({HEAVY!r}) & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
