"""Bytes and devices of a loaded torch model: its weights, the peaks of each counter, the GPUs it lies on."""

from __future__ import annotations

from typing import Any

from sizer.bench.launch import over_ranks
from sizer.bench.observe import process_peak_bytes


def resident_weight_bytes(model: Any) -> int:
    """Bytes of every weight in memory, tied ones once: parameters, saved buffers, bitsandbytes' scales and codes."""
    sizes = {}
    for tensor in _weight_tensors(model):
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        if local.device.type != "meta" and local.numel():
            sizes[local.device, local.data_ptr()] = local.numel() * local.element_size()
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


def trim_heap() -> None:
    """Give freed memory back to the system, where the C library can (glibc)."""
    import ctypes
    import sys

    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def memory_peaks(device: Any, foreign_bytes: int) -> dict[str, int]:
    """Peaks by each counter: the process's, torch's allocator's, and the device's (allocator + driver context).

    `foreign_bytes` were taken on the device before this process touched it.
    """
    peaks = {"process_peak_bytes": process_peak_bytes() or 0}
    if device.type == "cuda":
        peaks.update(_gpu_peaks(device, foreign_bytes))
    return dict(zip(peaks, over_ranks(list(peaks.values())), strict=True))


def _gpu_peaks(device: Any, foreign_bytes: int) -> dict[str, int]:
    import torch

    indices = range(torch.cuda.device_count()) if device.index is None else [device.index]
    used = {index: torch.cuda.max_memory_allocated(index) for index in indices}
    busy = [index for index in indices if used[index]]
    context_bytes = 0
    for index in busy:
        free_bytes, total_bytes = torch.cuda.mem_get_info(index)
        context_bytes += max(0, total_bytes - free_bytes - torch.cuda.memory_reserved(index) - foreign_bytes)
    allocated_bytes = sum(used.values())
    return {
        "allocator_peak_bytes": allocated_bytes,
        "allocator_reserved_peak_bytes": sum(torch.cuda.max_memory_reserved(index) for index in busy),
        "context_bytes": context_bytes,
        "device_peak_bytes": allocated_bytes + context_bytes,
    }


def device_used_bytes(device: Any) -> int:
    """Bytes that others hold on the device, by the driver's counter, read before this process has a context there."""
    if device.type != "cuda":
        return 0
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used)
    except Exception:  # no driver library: the context's size then includes what others hold
        return 0


def synchronize(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def gpu_indices(model: Any, device: Any) -> list[int]:
    if device.type != "cuda":
        return []
    placed = {parameter.device.index or 0 for parameter in model.parameters() if parameter.device.type == "cuda"}
    return sorted(placed)
