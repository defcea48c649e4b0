"""Bytes and devices of a loaded torch model: its weights, the peaks of each counter, the GPUs it lies on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sizer.benchmark.launch import over_ranks
from sizer.benchmark.observe import process_peak_bytes
from sizer.benchmark.observe_gpu import used_bytes
from sizer.units import MIB

# glibc's malloc.h and mallopt(3): parameters, and where the threshold that grows with freed blocks ends (64 bits).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGEST_THRESHOLD_BYTES = 32 * MIB


def resident_weight_bytes(model: Any) -> int:
    """Bytes of every weight in memory, tied ones once: parameters, saved buffers, bitsandbytes' scales and codes."""
    sizes = {}
    for tensor in _weight_tensors(model):
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        # Weights that accelerate keeps on the host until they are needed stand here as shapes alone.
        place = id(tensor) if local.device.type == "meta" else local.data_ptr()
        if local.numel():
            sizes[local.device, place] = local.numel() * local.element_size()
    return sum(sizes.values())


def _weight_tensors(model: Any) -> list[Any]:
    tensors = [*model.state_dict(keep_vars=True).values()] if not _is_bitsandbytes(model) else []
    tensors = [tensor for tensor in tensors if hasattr(tensor, "data_ptr")]
    tensors += list(model.parameters())
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for holder in (state, getattr(state, "state2", None)):
            tensors += [getattr(holder, name, None) for name in ("absmax", "code", "offset")]
        tensors.append(getattr(parameter, "SCB", None))
    return [tensor for tensor in tensors if tensor is not None]


def _is_bitsandbytes(model: Any) -> bool:
    return bool(getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False))


@contextlib.contextmanager
def without_holes() -> Iterator[None]:
    """Keep a load from leaving holes in the heap, where the C library can be told to (glibc).

    Quantizing frees a large tensor for each small one that it makes. In the heap the small one takes a part of the
    large one's place, and the rest is lost: half as much as the model again. So each has pages of its own while
    loading; afterwards the heap behaves as glibc's own does once it has met large blocks.
    """
    import ctypes
    import sys

    library: Any = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, MIB)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, LARGEST_THRESHOLD_BYTES)
        library.mallopt(_TRIM_THRESHOLD, 2 * LARGEST_THRESHOLD_BYTES)
        library.malloc_trim(0)


def memory_peaks(foreign_bytes: Mapping[int, int]) -> dict[str, int]:
    """Peaks by each counter: the process's, torch's allocator's, and the device's (allocator + driver context).

    `foreign_bytes` is what others held on each GPU before this process touched it. All ranks together.
    """
    peaks = {"process_peak_bytes": process_peak_bytes() or 0}
    if foreign_bytes:
        peaks.update(_gpu_peaks(foreign_bytes))
    return dict(zip(peaks, over_ranks(list(peaks.values())), strict=True))


def _gpu_peaks(foreign_bytes: Mapping[int, int]) -> dict[str, int]:
    import torch

    busy = [index for index in foreign_bytes if torch.cuda.max_memory_allocated(index)]
    allocated_bytes = sum(torch.cuda.max_memory_allocated(index) for index in busy)
    context_bytes = 0
    for index in busy:
        free_bytes, total_bytes = torch.cuda.mem_get_info(index)
        ours_bytes = total_bytes - free_bytes - foreign_bytes[index]
        context_bytes += max(0, ours_bytes - torch.cuda.memory_reserved(index))
    return {
        "allocator_peak_bytes": allocated_bytes,
        "allocator_reserved_peak_bytes": sum(torch.cuda.max_memory_reserved(index) for index in busy),
        "context_bytes": context_bytes,
        "device_peak_bytes": allocated_bytes + context_bytes,
    }


def gpus_of(device: Any) -> list[int]:
    """The GPUs that a model on `device` may use: that one, or all for a bare `cuda`."""
    import torch

    if device.type != "cuda":
        return []
    return list(range(torch.cuda.device_count())) if device.index is None else [device.index]


def used_by_now(indices: Sequence[int]) -> dict[int, int]:
    """Bytes in use on each GPU by the driver's counter; asked before this process has a context there."""
    return {index: used_bytes(uuids([index])) for index in indices}


def uuids(indices: Sequence[int]) -> list[str]:
    """The driver's names of torch's GPUs, which CUDA_VISIBLE_DEVICES may have renumbered."""
    import torch

    return [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in indices]


def synchronize(device: Any) -> None:
    """Wait until the device, or every GPU that holds something of this process, has done its work."""
    import torch

    if device.type == "cuda":
        for index in gpus_of(device):
            if torch.cuda.memory_allocated(index):
                torch.cuda.synchronize(index)
    elif device.type == "mps":
        torch.mps.synchronize()


def gpus_in_use(model: Any) -> list[int]:
    """The GPUs that hold some of the model."""
    return sorted({tensor.device.index or 0 for tensor in model.parameters() if tensor.device.type == "cuda"})
