"""What flags keep from a layer's own device: `-ot PATTERN=PLACE`, `--cpu-moe`, `--n-cpu-moe`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from sizer.frozen import NamedTuple
from sizer.memory.case import Case
from sizer.precision.gguf_tensors import layer_tensor_name

HOST = -1
"""The number that stands for the host among those of devices."""
EXPERT_STACKS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of experts in a GGUF file: llama.cpp common/common.h LLM_FFN_EXPS_REGEX."""


class Told(NamedTuple):
    """Bytes that flags keep from a layer's own device: on the host, and on a device of a number, by layer."""

    host: Mapping[int, int]
    moved: Mapping[int, Mapping[int, int]]


def told_bytes(case: Case) -> Told:
    """Bytes that flags keep on the host or put on a device of their choice, by layer; the first pattern decides."""
    patterns = [(re.compile(pattern), _place(place)) for pattern, place in _overrides(case)]
    host: dict[int, int] = defaultdict(int)
    moved: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if (tensor.checkpoint_only and not case.drafts_by_itself) or not tensor.layers:
            continue
        named = layer_tensor_name(tensor, case.architecture)
        for layer in tensor.layers:
            name = named.replace("{layer}", str(layer))
            place = next((place for pattern, place in patterns if pattern.search(name)), None)
            if place == HOST:
                host[layer] += entry.size_bytes // len(tensor.layers)
            elif place is not None:
                moved[layer][place] += entry.size_bytes // len(tensor.layers)
    return Told(host, moved)


def _place(name: str) -> int | None:
    """The number of the device that a buffer is called after (CUDA1), HOST for the host's (CPU, CUDA_Host)."""
    if name.upper().startswith("CPU") or name.upper().endswith("_HOST"):
        return HOST
    number = re.search(r"\d+$", name)
    return int(number[0]) if number else None


def _overrides(case: Case) -> list[tuple[str, str]]:
    """Patterns and places in the order in which they decide: those of -ot, then the shorthands for experts."""
    told = list(case.options.tensor_overrides)
    number = case.options.cpu_moe_layers
    if number is not None and number < 0:
        told.append((EXPERT_STACKS, "CPU"))
    elif number is not None:
        layers = map(str, range(min(number, case.architecture.num_layers)))
        told.append((rf"blk\.({'|'.join(layers) or '-'}){EXPERT_STACKS}", "CPU"))
    return told
