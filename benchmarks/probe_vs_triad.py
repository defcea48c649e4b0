"""Does `sizer probe` reach what STREAM's compiled triad reaches? Both sweep the same memory in one run, pass by pass.

    python benchmarks/probe_vs_triad.py [--sweeps N]

Needs gcc and numpy. The triad (`benchmarks/triad.c`, gcc -O3 -fopenmp) is one kernel more in the probe's own sweep:
the same threads on the same cores, arrays as large, both keep their best of the same passes. Prints both rates in GB/s
and their ratio for each sweep; exits 1 where the median of the ratios is off by more than 15 %. Anything else that runs
on the machine takes memory from one of the two and not from the other, so look at the spread of the ratios first.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from sizer.device import probe
from sizer.device.bandwidth_loops import Kernel, Memory
from sizer.device.detect import detect
from sizer.device.probe import array_size, headline, placements, sweep
from sizer.units import GB

SOURCE = Path(__file__).parent / "triad.c"
COMPILED = "triad (gcc)"
MAX_DIFFERENCE = 0.15


def compiled_triad(folder: Path, items: int) -> Kernel:
    """The triad over three arrays of its own, of so many 8-byte numbers each."""
    path = folder / "triad.so"
    build = ["gcc", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(SOURCE), "-o", str(path)]
    subprocess.run(build, check=True)
    library = ctypes.CDLL(str(path))
    library.filled.restype = ctypes.c_void_p
    library.filled.argtypes = [ctypes.c_long, ctypes.c_double]
    library.triad.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 2
    arrays = [library.filled(items, value) for value in (1.0, 2.0, 3.0)]
    return Kernel(COMPILED, 3, lambda start, stop: library.triad(*arrays, start, stop))


def rates(array_bytes: int) -> tuple[float, float]:
    """The probe's headline and the compiled triad's best of one sweep, bytes per second."""
    found = sweep(array_bytes, placements(detect()), seconds=0.0)
    ours = headline(tuple(rate for rate in found if rate.kernel != COMPILED)).bytes_per_s
    return ours, max(rate.bytes_per_s for rate in found if rate.kernel == COMPILED)


def main() -> int:
    """Sweep with both; 1 where they do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=7)
    sweeps = parser.parse_args().sweeps
    if shutil.which("gcc") is None:
        parser.error("no gcc to build the triad with")
    array_bytes, _ = array_size(detect())
    real = probe.make_memory
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        triad = compiled_triad(Path(folder), array_bytes // 8)

        def with_triad(size: int, backend: str) -> Memory:
            memory = real(size, backend)
            return replace(memory, kernels=(*memory.kernels, triad))

        probe.make_memory = with_triad
        for _ in range(sweeps):
            ours, theirs = rates(array_bytes)
            ratios.append(ours / theirs)
            print(f"probe {ours / GB:6.1f} GB/s   triad {theirs / GB:6.1f} GB/s   ratio {ratios[-1]:.2f}", flush=True)
    middle = statistics.median(ratios)
    print(f"median ratio {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return int(abs(middle - 1) > MAX_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
