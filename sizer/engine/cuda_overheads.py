"""What CUDA's libraries take beside an engine that measures itself, by card: rows of `data/cuda_overheads.csv`."""

from __future__ import annotations

from functools import cache

from sizer.frozen import NamedTuple
from sizer.tables import matches, read_rows


class CudaOverhead(NamedTuple):
    """Bytes that torch keeps for cuBLAS, those outside of torch, and the sequences of the largest graph by default."""

    matmul_workspace_bytes: int
    context_bytes: int
    largest_graph: int


@cache
def _rows() -> tuple[tuple[tuple[str, ...], CudaOverhead], ...]:
    return tuple(
        (
            tuple(row["devices"].split()),
            CudaOverhead(int(row["matmul_workspace_bytes"]), int(row["context_bytes"]), int(row["largest_graph"])),
        )
        for row in read_rows("cuda_overheads.csv")
    )


@cache
def cuda_overhead(device_key: str) -> CudaOverhead:
    """The first row whose patterns hold for a device; the last holds for every one."""
    return next(found for patterns, found in _rows() if any(matches(one, device_key) for one in patterns))
