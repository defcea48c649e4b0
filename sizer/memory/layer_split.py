"""Which device holds which layer where their number decides, as engines on ggml deal them out; what each then holds.

Flags that keep tensors elsewhere do not change it: where the first layers' experts lie on the host, the devices of the
last layers hold more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sizer.memory.case import Case
from sizer.memory.shares import Held, kv_by_layer, usable_bytes, weights_by_layer
from sizer.memory.tensor_places import Told


def capacities_of(case: Case) -> list[int]:
    """The proportions by which layers are dealt out: as --tensor-split says, else by what each device has."""
    devices = case.devices
    capacities = [int(part * 1000) for part in case.options.tensor_split[: len(devices)]]
    if len(capacities) < len(devices) or not any(capacities):
        capacities = [usable_bytes(case, device) or 0 for device in devices]
    return capacities


def by_count(layers: int, capacities: Sequence[int]) -> list[int]:
    """The device of each layer where their number decides, the output counted as one more (llama-model.cpp)."""
    total, ends, held = sum(capacities) or 1, [], 0
    for capacity in capacities:
        held += capacity
        ends.append(held / total)
    last = len(capacities) - 1
    return [
        next((number for number, end in enumerate(ends) if index / (layers + 1) < end), last) for index in range(layers)
    ]


def even_counts(sizes: Sequence[int], first_bytes: int, output_bytes: int, rooms: Sequence[int]) -> list[int]:
    """How many layers each device takes, in their order and the output as one more, so that the fullest is emptiest.

    `first_bytes` lie on the first device besides, `output_bytes` is the output's. Rooms are filled to the least share
    of them that holds everything; where not even all of it does, the last device takes the rest.
    """
    counts = _filled(sizes, first_bytes, output_bytes, rooms)
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        found = _filled(sizes, first_bytes, output_bytes, [int(room * middle) for room in rooms])
        if found is None:
            low = middle
        else:
            high, counts = middle, found
    if counts is None:
        counts = [0] * (len(rooms) - 1) + [len(sizes)]
    return [*counts[:-1], counts[-1] + 1]


def _filled(sizes: Sequence[int], first_bytes: int, output_bytes: int, rooms: Sequence[int]) -> list[int] | None:
    """Layers that each room takes before the next is begun; None where the rooms do not hold all."""
    counts, index = [], 0
    for number, room in enumerate(rooms):
        left = room - (0 if number else first_bytes) - (output_bytes if number == len(rooms) - 1 else 0)
        before = index
        while index < len(sizes) and sizes[index] <= left:
            left -= sizes[index]
            index += 1
        if left < 0:
            return None
        counts.append(index - before)
    return counts if index == len(sizes) else None


def parts_by_layer(case: Case, held: Held, layers: range, told: Told, counted: Collection[int]) -> list[Held]:
    """What each device holds of `held`: its layers, less what flags keep elsewhere, and what they bring to it.

    Only `counted` layers count as a device's. The output lies with the last layers; what belongs to no layer (tables,
    a projector, a draft) on the first device.
    """
    count = len(case.devices)
    positions = dict(zip(layers, by_count(len(layers), capacities_of(case)), strict=True))
    layer_bytes, _, _, output_bytes = weights_by_layer(case.stored)
    caches = kv_by_layer(case)
    weights, cache, states, numbers = ([0] * count for _ in range(4))
    for layer, position in positions.items():
        moved = {device: size for device, size in told.moved.get(layer, {}).items() if device < count}
        weights[position] += layer_bytes.get(layer, 0) - told.host.get(layer, 0) - sum(moved.values())
        for device, size in moved.items():
            weights[device] += size
        kept = (0, 0) if case.options.caches_on_host else caches[layer]
        cache[position] += kept[0]
        states[position] += kept[1]
        numbers[position] += layer in counted
    if held.weights_bytes - sum(weights) >= output_bytes:
        weights[-1] += output_bytes
    weights[0] += held.weights_bytes - sum(weights)
    cache[0] += held.kv_cache_bytes - sum(cache)
    states[0] += held.state_bytes - sum(states)
    return [Held(*part) for part in zip(weights, cache, numbers, states, strict=True)]
