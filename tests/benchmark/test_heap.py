"""Quantizing while loading takes no more memory than the quantized model and one large tensor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

# Eight layers of 12.6 million parameters each, in four bits; the peak is counted from just before the load.
SCRIPT = """
import re, sys
from pathlib import Path
import bitsandbytes, torch
from sizer.benchmark.records import Spec
from sizer.benchmark.torch_memory import resident_weight_bytes, without_holes
from sizer.benchmark.transformers_loading import load
CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=1024, intermediate_size=2816,
              num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=16, vocab_size=1024, dtype="bfloat16")
STATUS, MODEL = Path("/proc/self/status"), Spec("transformers", "toy", "nf4", config=CONFIG, device="cpu")
def kib(name): return int(re.search(name + r":\\s+(\\d+)", STATUS.read_text()).group(1))
load(MODEL, torch.device("cpu"))  # what the first load imports is not the model's
Path("/proc/self/clear_refs").write_text("5")
before = kib("VmRSS")
with without_holes():
    model = load(MODEL, torch.device("cpu"))
print((kib("VmHWM") - before) * 1024, resident_weight_bytes(model))
"""
LARGEST_TENSOR_BYTES = 1024 * 2816 * 4  # in 32 bits, as it is quantized
SLACK_BYTES = 8 * 2**20


@pytest.mark.oracle
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts the peak anew")
def test_a_load_leaves_no_holes():
    """The peak of a four-bit load stays within the model, one tensor in full width and a little."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}  # threads have stacks: as many as on any other machine
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=900, env=environment
    )
    peak_bytes, weights_bytes = map(int, done.stdout.split())
    assert weights_bytes > 50e6
    assert peak_bytes < weights_bytes + 2 * LARGEST_TENSOR_BYTES + SLACK_BYTES
