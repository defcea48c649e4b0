"""Which accelerators the environment hides from a program: `CUDA_VISIBLE_DEVICES` and its kin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sizer.device.machine import Gpu
from sizer.frozen import NamedTuple

# Maker -> the variables that hide its devices, in the order in which the runtimes apply them. HIP reads CUDA's as well.
VARIABLES = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    "intel": ("ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR"),
    "huawei": ("ASCEND_RT_VISIBLE_DEVICES",),
    "gaudi": ("HABANA_VISIBLE_DEVICES",),
    "google": ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"),
    "aws": ("NEURON_RT_VISIBLE_CORES",),
}
# An empty variable hides everything from these makers' runtimes; the others take it as none.
EMPTY_HIDES_ALL = frozenset({"nvidia", "amd"})
NVIDIA_UUIDS = ("GPU-", "MIG-")


class Card(NamedTuple):
    """An accelerator with the UUID by which a variable may name it."""

    gpu: Gpu
    uuid: str = ""


def visible(cards: Sequence[Card], maker: str, environment: Mapping[str, str]) -> tuple[tuple[Gpu, ...], str]:
    """The accelerators of one maker that a program sees, and what hides the others, empty where none is hidden."""
    left = list(cards)
    hiding = []
    for variable in VARIABLES.get(maker, ()):
        value = environment.get(variable)
        if value is None or not left or (not value.strip() and maker not in EMPTY_HIDES_ALL):
            continue
        remaining = _let_through(left, variable, value)
        if len(remaining) < len(left):
            hiding.append(f"{variable}={value}")
        left = remaining
    if not hiding:
        return tuple(card.gpu for card in left), ""
    number = len(cards) - len(left)
    return tuple(card.gpu for card in left), f"{number} of {len(cards)} hidden by {', '.join(hiding)}"


def _let_through(cards: list[Card], variable: str, value: str) -> list[Card]:
    if variable == "ONEAPI_DEVICE_SELECTOR":
        return _selected(cards, value)
    if variable == "NEURON_RT_VISIBLE_CORES":
        return cards  # it names cores of a device, not devices
    if value.strip().casefold() == "all":
        return cards
    if variable == "ZE_AFFINITY_MASK":
        value = re.sub(r"\.\d+", "", value)  # `0.1` is a tile of card 0
    chosen: set[int] = set()
    for one in (part.strip() for part in value.split(",")):
        number = _number(cards, one)
        if number is None:
            break  # the runtimes stop at the first that they do not know
        chosen.add(number)
    return [card for number, card in enumerate(cards) if number in chosen]


def _number(cards: list[Card], one: str) -> int | None:
    """The place of the card that a number or the start of a UUID names."""
    if one.isdecimal():
        return int(one) if int(one) < len(cards) else None
    if one.startswith(NVIDIA_UUIDS):
        return next((number for number, card in enumerate(cards) if card.uuid.startswith(one)), None)
    return None


def _selected(cards: list[Card], value: str) -> list[Card]:
    """`level_zero:0,1`, `*:gpu`, `opencl:cpu`, several by `;`, `!` leaves out: the common part of oneAPI's grammar."""
    kept: set[int] = set()
    dropped: set[int] = set()
    terms = [term.strip() for term in value.split(";") if term.strip()]
    for term in terms:
        _, _, devices = term.lstrip("!").partition(":")
        numbers: set[int] = set()
        for device in (part.strip() for part in devices.split(",")):
            if device in {"*", "gpu"}:
                numbers = set(range(len(cards)))
            elif device.partition(".")[0].isdecimal():
                numbers.add(int(device.partition(".")[0]))
        (dropped if term.startswith("!") else kept).update(numbers)
    if terms and all(term.startswith("!") for term in terms):
        kept = set(range(len(cards)))
    return [card for number, card in enumerate(cards) if number in kept - dropped]
