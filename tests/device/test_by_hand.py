"""Figures of parts of a machine, counted on paper: slices of a card, memory by its words, types by their number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.device.catalogue import find
from sizer.device.kinds import device_family, generation, memory_class
from sizer.device.modules import MEMORY_TYPES
from sizer.device.records import Device, is_cpu
from sizer.device.slices import MIG_RESERVE_BYTES
from sizer.device.table import all_devices
from sizer.device.typed import system_memory
from sizer.device.usable import usable_memory_bytes
from sizer.tables import matches, read_rows
from sizer.units import GIB


@pytest.mark.parametrize("name", ["mi250x", "mi250"])
def test_a_die_is_half_of_its_board(name: str) -> None:
    """One of two dies: half of the memory, the bandwidth and every peak."""
    board, die = find(name).device, find(f"{name} (1 GCD)").device
    assert die.memory_bytes == 64 * GIB
    assert board.bandwidth_bytes_per_s is not None
    assert die.bandwidth_bytes_per_s == pytest.approx(board.bandwidth_bytes_per_s / 2)
    assert {key: 2 * peak for key, peak in die.peak_flops_per_s.items()} == pytest.approx(dict(board.peak_flops_per_s))


def test_a_slice_that_no_driver_told_keeps_a_reserve_of_what_the_card_shows() -> None:
    """A profile without a row in data/mig_profiles.csv shows its part of what the whole card does, less the reserve."""
    whole, part = find("a30").device, find("a30 2g.12gb").device
    shown = usable_memory_bytes(whole)
    assert shown is not None
    assert part.memory_bytes == 12 * GIB
    assert part.memory_limit_bytes == shown // 2 - MIG_RESERVE_BYTES
    assert usable_memory_bytes(part) == part.memory_limit_bytes


@pytest.mark.parametrize(
    ("text", "gb_per_s"),
    [
        ("DDR5-5600 dual channel", 2 * 8 * 5.6),
        ("DDR4-3200 hexa channel", 6 * 8 * 3.2),
        ("DDR4-3200 six channels", 6 * 8 * 3.2),
        ("DDR5-4800 24 channels", 24 * 8 * 4.8),
        ("LPDDR5X-8533 256-bit", 32 * 8.533),
        ("LPDDR5X-8533 2048-bit", 256 * 8.533),
    ],
)
def test_memory_by_its_words_is_transfers_times_bytes(text: str, gb_per_s: float) -> None:
    """Channels of 64 bits, or the bus as it is told, up to the widest that is sold."""
    memory = system_memory(text)
    assert memory is not None
    assert memory.bandwidth_bytes_per_s == pytest.approx(gb_per_s * 1e9)


@pytest.mark.parametrize(
    "text", ["DDR5-4800 25 channels", "LPDDR5X-8533 2056-bit", "DDR5-4800 0 channels", "DDR5-4800"]
)
def test_memory_wider_than_any_or_of_no_width_is_none(text: str) -> None:
    """What cannot be, or has nothing to multiply, is not read as memory."""
    assert system_memory(text) is None


def test_memory_types_have_their_numbers() -> None:
    """SMBIOS (DMTF DSP0134, 7.18.2), in the hexadecimal of its table."""
    assert MEMORY_TYPES == {
        0x14: "DDR", 0x15: "DDR2", 0x18: "DDR3", 0x1A: "DDR4", 0x1D: "LPDDR3", 0x1E: "LPDDR4", 0x20: "HBM",
        0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
    }  # fmt: skip


def test_a_measured_card_keeps_its_class_and_a_measured_cpu_does_not() -> None:
    """A CPU whose bandwidth was measured is a class of its own; a GPU's memory is what it is."""

    def measured(device: Device) -> Device:
        return replace(device, bandwidth_basis="measured")

    card, cpu = find("rtx-4090").device, find("ryzen-9-7950x").device
    assert [memory_class(one) for one in (card, measured(card), cpu, measured(cpu))] == [
        "gddr",
        "gddr",
        "dimm",
        "measured",
    ]


def test_the_architecture_of_a_board_makes_its_generation() -> None:
    """NVIDIA's by Turing, Ampere, Ada and Hopper, Blackwell; a device of no known year counts as one of 2021."""
    assert generation(find("rtx-4090").device) == "nvidia-gddr-3"
    assert generation(find("h100").device) == "nvidia-hbm-3"
    assert generation(find("rtx-5090").device) == "nvidia-gddr-4"
    board = find("orange-pi-5").device
    assert board.release_year is None
    assert generation(board) == f"{device_family(board)}-1"


@pytest.mark.parametrize(
    ("late", "early"),
    [
        ("gtx-1630", "rtx-2080-ti"),  # Turing, of 2022 and 2018
        ("rtx-3050-6gb", "rtx-3090"),  # Ampere, of 2024 and 2020
        ("rtx-2000-ada", "rtx-4090"),  # Ada: its number is one of Turing's
        ("jetson-orin-nano-8gb", "jetson-agx-orin-64gb"),
        ("rx-6750-xt", "rx-6800"),  # RDNA 2, of 2022 and 2020
        ("rx-7600-xt", "rx-7900-xtx"),  # RDNA 3, of 2024 and 2022
    ],
)
def test_boards_of_one_architecture_are_of_one_generation(late: str, early: str) -> None:
    """However many years lie between them; the architecture before is another."""
    assert generation(find(late).device) == generation(find(early).device)


@pytest.mark.parametrize(
    ("newer", "older"),
    [("rtx-3050-6gb", "rtx-2060-12gb"), ("rx-7600", "rx-6950-xt"), ("rx-6400", "rx-5700-xt"),
     ("rtx-2000-ada", "rtx-a2000"), ("b200", "h200")],
)  # fmt: skip
def test_an_architecture_is_a_generation_of_its_own(newer: str, older: str) -> None:
    """Also where a board of the older one came later: an RX 6950 XT, an RTX 2060 of 12 GB."""
    assert generation(find(newer).device) > generation(find(older).device)


def test_every_row_of_an_architecture_names_devices_of_the_catalogue() -> None:
    """And no device is of two."""
    rows = [(row["vendor"], row["devices"].split()) for row in read_rows("gpu_architectures.csv")]
    seen = [(device.vendor, device.key) for device in all_devices() if not is_cpu(device)]
    for vendor, patterns in rows:
        keys = [key for maker, key in seen if maker == vendor]
        assert all(any(matches(one, key) for key in keys) for one in patterns), patterns
    for maker, key in seen:
        of = [patterns for vendor, patterns in rows if vendor == maker and any(matches(one, key) for one in patterns)]
        assert len(of) <= 1, key
