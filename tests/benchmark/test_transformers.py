"""The transformers backend on tiny models, really loaded, quantized and run in its child process."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tinymodels import QWEN3, QWEN3_MOE, save_model, write_config

from sizer.benchmark.child import measure
from sizer.benchmark.records import Outcome, Spec
from sizer.benchmark.transformers_backend import run
from sizer.benchmark.transformers_loading import pick_device
from sizer.errors import BenchmarkFailed, ModelError, UsageError

pytestmark = pytest.mark.oracle

WAIT_S = 600
"""Longer than a busy machine takes: only what hangs waits so long."""
LINEAR = [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)] * 2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
UNQUANTIZED_BYTES = 2 * (512 * 64 + 2 * (64 + 64 + 16 + 16) + 64)


def _here(**options: Any) -> Outcome:
    """The backend in this process: for what fails before anything is loaded."""
    return run(Spec("transformers", options.pop("model", "tiny"), device="cpu", **options), lambda _stage: None)


def _run(config: dict[str, Any] | None = None, **options: Any) -> Outcome:
    fields = {"prompt_tokens": 16, "output_tokens": 6, "repeats": 2, "device": "cpu", **options}
    return measure(Spec("transformers", fields.pop("model", "tiny"), config=config, **fields), WAIT_S)


def _weights(precision: str) -> int:
    elements = [rows * columns for rows, columns in LINEAR]
    if precision == "int8":
        return UNQUANTIZED_BYTES + sum(elements) + 4 * sum(rows for rows, _ in LINEAR)
    if precision == "nf4":
        return UNQUANTIZED_BYTES + sum(n // 2 + 4 * math.ceil(n / 64) + 64 for n in elements)
    return (UNQUANTIZED_BYTES + 2 * sum(elements)) * (2 if precision == "fp32" else 1)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "nf4"])
def test_random_weights_have_the_true_bytes(precision: str):
    """Resident bytes equal the arithmetic of each scheme: data, scales and code tables, a tied head once."""
    outcome = _run(QWEN3, precision=precision)
    assert outcome.weights_bytes == _weights(precision)
    assert (len(outcome.runs), outcome.warmup_runs, outcome.decode_steps) == (2, 1, 5)
    assert outcome.peak_memory_bytes is not None
    assert outcome.peak_memory_bytes > outcome.weights_bytes


def test_undone_quantization_is_told():
    """Where transformers turns fp8 into 16-bit weights (no GPU), the figures are said to be those of bf16."""
    outcome = _run({**QWEN3, "hidden_size": 128, "intermediate_size": 128}, precision="fp8", repeats=1)
    assert outcome.precision == "bf16"
    assert "dequantized" in [caution.code for caution in outcome.cautions]


def test_mixture_of_experts_is_built():
    """Expert stacks get their weights too: per layer a router and 8 x 3 matrices of 64 x 32."""
    dense = 2 * (64 * 64 * 2 + 32 * 64 * 2)
    experts = 2 * (8 * 3 * 64 * 32 + 8 * 64)
    assert _run(QWEN3_MOE, precision="bf16").weights_bytes == UNQUANTIZED_BYTES + 2 * (dense + experts)


def test_two_ranks_share_the_weights():
    """Under torch's launcher two ranks hold the matrices once together, and only the norms twice."""
    outcome = _run(QWEN3, precision="bf16", parallelism="tensor", device_count=2)
    norms = UNQUANTIZED_BYTES - 2 * 512 * 64
    whole = _weights("bf16")
    assert whole <= (outcome.weights_bytes or 0) <= whole + norms
    assert outcome.device_count == 2
    assert len(outcome.runs) == 2


def test_ranks_die_with_their_launcher():
    """kill -9 of torch's launcher leaves no rank, though each is in a session of its own."""
    import psutil

    ranks: list[psutil.Process] = []

    def progress(stage: str) -> None:
        if stage.startswith("measuring"):
            (launcher,) = [
                child for child in psutil.Process().children() if "sizer.benchmark.worker" in child.cmdline()
            ]
            ranks.extend(launcher.children(recursive=True))
            launcher.kill()

    spec = Spec("transformers", "tiny", "bf16", QWEN3, prompt_tokens=16, output_tokens=400, device="cpu")
    with pytest.raises(BenchmarkFailed, match="was killed"):
        measure(replace(spec, parallelism="tensor", device_count=2), WAIT_S, progress)
    assert len(ranks) >= 2
    _, alive = psutil.wait_procs(ranks, timeout=WAIT_S)
    assert not alive


def test_gpu_peak_is_allocator_and_context(monkeypatch: pytest.MonkeyPatch):
    """On a GPU the peak is what torch allocated at most plus what its context took; others' memory is not ours."""
    import torch

    from sizer.benchmark.torch_memory import memory_peaks

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: [5_000, 0][index])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: 6_000)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 5_500)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (80_000 - 5_500 - 400 - 3_000, 80_000))
    peaks = memory_peaks({0: 3_000, 1: 0})
    assert peaks["context_bytes"] == 400
    assert peaks["allocator_reserved_peak_bytes"] == 6_000
    assert peaks["device_peak_bytes"] == 5_400


def test_absent_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch):
    """Asking for a GPU that torch does not see says what to do."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no GPU"):
        pick_device("cuda")


def test_compiled_generation_runs():
    """With --compile the decode step goes through torch.compile and the static cache."""
    outcome = _run(QWEN3, precision="bf16", compiled=True, repeats=1, output_tokens=4)
    assert len(outcome.runs) == 1


def test_saved_model_is_loaded(tmp_path: Path):
    """A local directory of safetensors is loaded as it is, and quantized on the way where asked."""
    folder = str(save_model(tmp_path / "model"))
    assert _run(model=folder, precision="bf16").weights_bytes == _weights("bf16")
    assert _run(model=folder, precision="nf4").weights_bytes == _weights("nf4")


def test_pickles_are_not_opened(tmp_path: Path):
    """A directory that only has a .bin is refused, also by the loader itself."""
    folder = write_config(tmp_path / "pickled")
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(BenchmarkFailed, match="cannot be loaded"):
        _here(model=str(folder), precision="bf16")


def test_unknown_architecture_is_told():
    """A model type that transformers lacks is a model error (exit 3) that names it."""
    with pytest.raises(ModelError, match="'nosuch'") as caught:
        _here(config={**QWEN3, "model_type": "nosuch"}, precision="bf16")
    assert caught.value.exit_code == 3


def test_gptq_needs_a_repository_stored_so(tmp_path: Path):
    """transformers cannot make GPTQ while loading: a plain repository is a usage error."""
    folder = str(write_config(tmp_path / "plain"))
    with pytest.raises(UsageError, match="gptq-int4"):
        _here(model=folder, precision="gptq-int4")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS holds on Linux only")
def test_memory_limit_is_one_clear_line(tmp_path: Path):
    """Under `ulimit -v` the command fails with exit 5 and one line about memory; nothing is left."""
    limit_bytes = 2_500_000_000
    big = {**QWEN3, "hidden_size": 4096, "intermediate_size": 16384, "num_hidden_layers": 8}
    code = (
        "import sys, json\nfrom sizer.benchmark.child import measure\nfrom sizer.benchmark.records import Spec\n"
        "from sizer.errors import BenchmarkFailed\n"
        "spec = Spec('transformers', 'big', 'bf16', config=json.loads(sys.argv[1]), device='cpu', output_tokens=4)\n"
        "try:\n    measure(spec, 600)\nexcept BenchmarkFailed as error:\n    print(error); sys.exit(error.exit_code)"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(big)],
        capture_output=True,
        text=True,
        check=False,
        # Each thread takes addresses: their number is not to be that of the machine's processors.
        env={**os.environ, "TMPDIR": str(tmp_path), **dict.fromkeys(THREADS, "2"), "MALLOC_ARENA_MAX": "2"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes)),
    )
    assert done.returncode == 5, done.stderr
    assert "memory" in done.stdout
    assert done.stdout.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_tensors_are_made_in_parts_alike():
    """A rank that asks for its rows gets its rows' shape and no more memory than that."""
    import torch

    from sizer.benchmark.random_weights import TILE_ELEMENTS, MadeTensor

    made = MadeTensor("q.weight", (4096, 1024), torch.bfloat16)
    assert made[0:2048].shape == (2048, 1024)
    whole = made[...]
    assert whole.numel() > TILE_ELEMENTS
    assert whole.untyped_storage().nbytes() == whole.numel() * 2
    assert len({tuple(line[:8].tolist()) for line in whole[::512]}) == 8, "rows repeat: experts would be chosen alike"
    assert 0 < whole.float().std() < 0.03
