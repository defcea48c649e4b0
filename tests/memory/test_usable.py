"""What of a device's memory a program finds: the rules against what drivers, Metal and boards printed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.api.asked import DeviceAsked
from sizer.api.targets import targets
from sizer.device.catalogue import find
from sizer.device.records import Device, Target
from sizer.device.stated import override
from sizer.device.usable import as_sold, free_memory_bytes, limit_note, usable_memory_bytes
from sizer.units import GB, GIB, MIB

TABLE = Path(__file__).parent.parent / "data" / "memory" / "usable.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
UNLIKE = {
    ("rtx-4090", "23028"),  # ECC switched on by its owner
    ("rtx-a6000", "46068"),  # the same
    ("p40", "24576"),  # ECC switched off
    ("rtx-3070", "7979"),  # a driver of 2021 prints the total less its reserve
}
"""Rows of cards that are set up otherwise than they are shipped, or whose old driver prints another figure."""


def drivers_rows() -> list[dict[str, str]]:
    """What nvidia-smi, rocm-smi and Vulkan printed of whole, catalogued cards."""
    rows = [row for row in ROWS if row["kind"] == "driver_total" and row["device_key"] and "MIG" not in row["kind"]]
    return [row for row in rows if (row["device_key"], row["usable_mib"]) not in UNLIKE]


@pytest.mark.parametrize("row", drivers_rows(), ids=lambda row: f"{row['device_key']}-{row['usable_mib']}")
def test_the_driver_total_is_told(row: dict[str, str]) -> None:
    """What a driver printed of a card is what the rule says, within 4 MiB or 0.01 %."""
    usable_bytes = usable_memory_bytes(find(row["device_key"]).device)
    assert usable_bytes is not None
    assert usable_bytes / MIB == pytest.approx(float(row["usable_mib"]), rel=1e-4, abs=4)


def test_programs_see_what_cuda_hands_out() -> None:
    """What torch saw on Linux: the median row within 1 %, nine of ten within 2.5 %."""
    errors = []
    for row in ROWS:
        if row["kind"] != "torch_total" or row["os"] != "linux" or not row["device_key"]:
            continue
        target = find(row["device_key"])
        free_bytes = free_memory_bytes(target, target.device)
        if target.device.vendor == "nvidia" and target.device.kind == "gpu" and free_bytes:
            errors.append(abs(free_bytes / MIB / float(row["usable_mib"]) - 1))
    errors.sort()
    assert len(errors) > 20
    assert errors[len(errors) // 2] < 0.01
    assert errors[len(errors) * 9 // 10] < 0.025


@pytest.mark.parametrize(
    ("name", "mib"),
    [("t4", 15360), ("a10", 23028), ("l4", 23034), ("l40s", 46068), ("a40", 46068), ("h100", 81559), ("h200", 143771)],
)
def test_ecc_is_taken_off(name: str, mib: int) -> None:
    """Cards with ECC show what nvidia-smi prints, not their label; a cloud's card the same."""
    assert (usable_memory_bytes(find(name).device) or 0) // MIB == mib


def test_a_cloud_card_shows_what_the_card_shows() -> None:
    """The label that a provider prints is not what its driver shows."""
    assert (usable_memory_bytes(find("aws:g4dn.xlarge").device) or 0) // MIB == 15360


@pytest.mark.parametrize(
    ("name", "low_gib", "high_gib"),
    [("dgx-spark", 101, 118.5), ("jetson-orin-nano-super", 6.3, 6.6), ("jetson-agx-orin-64gb", 60, 61.4)],
)
def test_a_board_with_one_memory_leaves_room_for_its_system(name: str, low_gib: float, high_gib: float) -> None:
    """A DGX Spark has 121.69 GiB in all, of which 101 to 118 are free at boot; Jetsons likewise."""
    target = find(name)
    free_bytes = free_memory_bytes(target, target.device)
    assert free_bytes is not None
    assert low_gib <= free_bytes / GIB <= high_gib


def test_an_apu_has_the_systems_memory() -> None:
    """--ram says what an APU's GPU shares, and there is no further host to spill to."""
    (target,) = targets(DeviceAsked(names=("ryzen-ai-9-hx-370",), ram_bytes=32 * GIB))
    assert free_memory_bytes(target, target.device) == 24 * GIB
    assert target.host is None


def test_memory_as_given_holds_for_a_cpu() -> None:
    """--memory with -d cpu is the memory, whatever this machine has."""
    (target,) = targets(DeviceAsked(names=("cpu",), memory_bytes=96 * GIB))
    assert free_memory_bytes(target, target.device) == 96 * GIB


def test_a_card_is_sold_in_gib() -> None:
    """12GB typed for a card are its 12 GiB, with a note; 12GiB and odd sizes stay."""
    assert as_sold(12 * GB) == 12 * GIB
    assert as_sold(12 * GIB) == 12 * GIB
    assert as_sold(12 * GB + 1) == 12 * GB + 1
    target = override(find("rtx-3060-12gb"), memory_bytes=12 * GB)
    assert target.device.memory_bytes == 12 * GIB
    assert any("12 GB of memory are 12 GiB" in note for note in target.notes)


@pytest.mark.parametrize(
    ("name", "key", "gib"), [("rtx 4090 48GB", "rtx-4090", 48), ("RTX 2080 Ti 22GB", "rtx-2080-ti", 22)]
)
def test_a_refitted_card_is_known_by_its_memory(name: str, key: str, gib: int) -> None:
    """A card with twice its chips is the same card with more memory, and the note says so."""
    target = find(name)
    assert (target.device.key, target.device.memory_bytes) == (key, gib * GIB)
    assert any("refitted" in note for note in target.notes)


def test_parts_of_a_card_have_their_own_memory() -> None:
    """A vGPU profile and a MIG instance have what their names say, less what the driver keeps."""
    vgpu = find("NVIDIA A40-24Q").device
    assert (vgpu.key, usable_memory_bytes(vgpu)) == ("a40", 24 * GIB)
    for name, shown_mib in (
        ("h100-80gb-sxm 3g.40gb", 40448),
        ("h200 2g.35gb", 33280),
        ("h100-80gb-pcie 1g.20gb", 20096),
    ):
        assert usable_memory_bytes(find(name).device) == shown_mib * MIB
    unseen = usable_memory_bytes(find("a100-80gb-sxm 3g.40gb").device) or 0
    assert unseen / MIB == pytest.approx(40192, rel=0.02)


@given(st.integers(1, 200), st.integers(0, 50))
def test_more_memory_is_never_less_usable(gib: int, more_gib: int) -> None:
    """Usable memory grows with the label, and is never more than that."""

    def usable(size_gib: int) -> int:
        card = Device("rtx-5090", "", "nvidia", "gpu", size_gib * GIB, None)
        return free_memory_bytes(Target(card), card) or 0

    assert usable(gib) <= usable(gib + more_gib) <= (gib + more_gib) * GIB


def test_what_is_put_aside_is_taken_off() -> None:
    """`reserve_bytes` is what else uses the card."""
    card = Device("card", "", "", "gpu", 24 * GIB, None)
    assert free_memory_bytes(Target(card, reserve_bytes=2 * GIB), card) == 22 * GIB


def test_a_mac_is_told_how_to_give_more() -> None:
    """A model that is too large for Metal's share names the setting that raises it; other devices are told nothing."""
    mac = find("apple-m4 16GB").device
    assert "iogpu.wired_limit_mb=13312" in limit_note(mac)
    assert "iogpu.wired_limit_mb=117964" in limit_note(find("apple-m4-max 128GB").device)
    assert limit_note(find("apple-m1 8GB").device) == ""
    assert not limit_note(find("rtx-4090").device)


@pytest.mark.parametrize(("name", "usable_gib"), [("ryzen-ai-9-hx-370", 24.0), ("m3-max", 28.0), ("m3-max 96GB", 28.0)])
def test_a_chip_that_shares_memory_has_what_ram_says(name: str, usable_gib: float) -> None:
    """--ram is the one memory of an APU and a Mac: a share of it is usable, and no size is assumed any more."""
    (target,) = targets(DeviceAsked(names=(name,), ram_bytes=(32 if "ryzen" in name else 36) * GIB))
    assert target.device.memory_bytes == target.host_memory_bytes
    assert (free_memory_bytes(target, target.device) or 0) / GIB == pytest.approx(usable_gib, abs=0.2)
    assert not any("the largest is assumed" in note for note in target.notes)


@pytest.mark.parametrize(
    ("name", "gib"), [("ryzen-9-7950x", 40), ("2x epyc 9654", 20), ("consumer-cpu", 40), ("cpu", 40)]
)
def test_ram_is_a_cpu_s_memory(name: str, gib: int) -> None:
    """`--ram` of a CPU's machine is its memory, in the table and in what a model may take; two sockets share it."""
    (target,) = targets(DeviceAsked(names=(name,), ram_bytes=40 * 2**30))
    assert target.device.memory_bytes == gib * 2**30
    assert free_memory_bytes(target, target.device) == gib * 2**30
