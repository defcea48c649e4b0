"""Starts one rank per device with torch's own launcher (torchrun), in this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sizer.benchmark.records import SPEC_FILE, Spec


def launch(spec: Spec) -> int:
    """Run `spec` in `spec.device_count` ranks and return torchrun's status.

    The ranks inherit the lifeline (stdin) and the event pipe (stdout); rank 0 alone reports. A rank that dies takes
    the others with it: torchrun stops them.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    if spec.device == "cpu" or not _has_gpu():
        threads = spec.threads or (os.cpu_count() or 1)
        os.environ["OMP_NUM_THREADS"] = str(max(1, threads // spec.device_count))
    arguments = ["--standalone", "--nproc-per-node", str(spec.device_count), "--log-dir", spec.scratch]
    try:
        torchrun([*arguments, "-m", "sizer.benchmark.worker", str(Path(spec.scratch) / SPEC_FILE)])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        sys.stderr.write(f"rank {rank} ended with status {failure.exitcode}\n")
        return 1
    return 0


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def over_ranks(values: list[int]) -> list[int]:
    """Each value summed over all ranks; unchanged where there is one rank."""
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    sums = torch.tensor(values, dtype=torch.int64, device=device)
    distributed.all_reduce(sums)
    return [int(value) for value in sums.tolist()]
