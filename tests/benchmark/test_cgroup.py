"""A container's memory limit and the kernel's out-of-memory killer, tried for real where cgroups may be made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_BYTES = 300 * 2**20
CONTROL = Path("/sys/fs/cgroup")
# (folder of a memory controller, name of its limit) for version 1 and version 2.
CONTROLLERS = ((CONTROL / "memory", "memory.limit_in_bytes"), (CONTROL, "memory.max"))

# Enters the group, then measures; the child inherits the group. EATER is what takes the memory.
SCRIPT = """
import os, sys
from pathlib import Path
group, model = Path(sys.argv[1]), sys.argv[2]
(group / "cgroup.procs").write_text(str(os.getpid()))
from sizer.benchmark.child import measure
from sizer.benchmark.records import Spec
from sizer.device.detect import detect
from sizer.errors import BenchmarkFailed
print(detect().memory_bytes)
try:
    measure(Spec("llama.cpp", model, "q4_k_m", prompt_tokens=8, output_tokens=4), 300)
except BenchmarkFailed as error:
    print(error.message)
"""
EATER = "x = bytearray(0)\nwhile True:\n    x.extend(bytes(2**24))\n"


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory group with a limit, below the root's; skipped where none may be made."""
    for root, limit in CONTROLLERS:
        folder = root / f"sizer-test-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / limit).write_text(str(LIMIT_BYTES), encoding="ascii")
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        yield folder
        assert not (folder / "cgroup.procs").read_text(encoding="ascii").strip(), "processes are left"
        folder.rmdir()
        return
    pytest.skip("no memory cgroup can be made here")


def _said(group: Path, folder: Path, **environment: str) -> list[str]:
    model = folder / "model-Q4_K_M.gguf"
    model.write_bytes(b"GGUF")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(group), str(model)],
        env={**os.environ, "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.glob("sizer-bench-*"))
    return done.stdout.splitlines()


def test_the_killer_takes_the_child_alone(group: Path, tmp_path: Path):
    """A worker that eats beyond the limit is killed by the kernel; the command sees the limit, and tells."""
    package = tmp_path / "llama_cpp.py"
    package.write_text(
        "def llama_supports_gpu_offload():\n    return False\ndef Llama(**_):\n    " + EATER.replace("\n", "\n    ")
    )
    limit, said = _said(group, tmp_path, PATH="/nowhere", PYTHONPATH=str(tmp_path))
    assert int(limit) == LIMIT_BYTES
    assert said.startswith("The kernel killed the benchmark for want of memory while loading")


def test_the_killer_takes_the_engine(group: Path, tmp_path: Path):
    """A program that the worker started and the kernel killed is told apart from one that failed by itself."""
    program = tmp_path / "llama-bench"
    program.write_text(f"#!{sys.executable}\n{EATER}", encoding="utf-8")
    program.chmod(0o755)
    _, said = _said(group, tmp_path, PATH=str(tmp_path))
    assert said == "The kernel killed the benchmark for want of memory while running llama-bench."
