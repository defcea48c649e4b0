"""The device tables: schema, sources, ranges, and what is derived from them."""

from __future__ import annotations

import fnmatch
import random
import re
import statistics

import pytest

from sizer.device import table as rows
from sizer.device.catalogue import find
from sizer.device.clouds import instances, named_classes
from sizer.device.cpu_generations import family_keys, find_family
from sizer.device.interconnect import between_devices, linked_devices, pcie, to_host
from sizer.device.kinds import instructions
from sizer.tables import matches, read_rows
from sizer.units import GB, GIB

KINDS = {"gpu", "cpu", "apple", "apu", "sbc", "npu", "tpu"}


def test_keys_are_unique_and_rows_are_sourced() -> None:
    """Every device has its own lower-case key, a known kind and a source."""
    devices = rows.all_devices()
    assert len({device.key for device in devices}) == len(devices)
    for device in devices:
        assert re.fullmatch(r"[a-z0-9.-]+", device.key), device.key
        assert device.kind in KINDS
        assert device.source, device.key


def test_cores_are_sourced_and_agree_with_names() -> None:
    """Cores have a basis, lie within what was built, sum up, and are those of a name that tells them."""
    told = [row for row in read_rows("devices.csv") if row["cores"]]
    assert len(told) > 100
    for row in told:
        cores, basis = int(row["cores"]), row["cores_basis"]
        assert basis, row["key"]
        assert 2 <= cores <= 256, row["key"]
        parts = re.search(r"\d+(?: \+ \d+)+", basis)
        assert parts is None or sum(int(part) for part in parts[0].split(" + ")) == cores, row["key"]
        named = re.search(r"(\d+)-Core", row["name"] + row["aliases"]) if row["kind"] == "cpu" else None
        assert named is None or int(named[1]) == cores, row["key"]


def test_figures_are_plausible() -> None:
    """Memory, bandwidth and peaks lie within what was ever built: a slipped unit cannot hide."""
    for device in rows.all_devices():
        if device.memory_bytes is not None:
            assert 1 * GIB <= device.memory_bytes <= 600 * GIB, device.key
        if device.bandwidth_bytes_per_s is not None:
            assert 10 * GB <= device.bandwidth_bytes_per_s <= 30_000 * GB, device.key
        for name, peak in device.peak_flops_per_s.items():
            assert 1e10 <= peak <= 5e16, (device.key, name)
        if device.release_year is not None:
            assert 2010 <= device.release_year <= 2027, device.key


def test_cpu_bandwidth_is_channels_times_speed() -> None:
    """Where a CPU's channels and memory speed are known, eight bytes of each make up its bandwidth (within 12 %).

    Exceptions are parts whose fabric reads less than their channels deliver.
    """
    limited = {"epyc-7282"}
    for device in rows.all_devices():
        if device.kind != "cpu" or not device.mem_channels or not device.mem_mts or device.key in limited:
            continue
        assert device.bandwidth_bytes_per_s is not None
        derived = device.mem_channels * device.mem_mts * 8e6
        assert device.bandwidth_bytes_per_s == pytest.approx(derived, rel=0.12), device.key


@pytest.mark.parametrize("named", named_classes(), ids=lambda named: named.name)
def test_class_is_the_median_of_its_members(named) -> None:  # type: ignore[no-untyped-def]
    """The row that stands for a class has the median bandwidth of the class's members."""
    members = [
        device.bandwidth_bytes_per_s
        for device in rows.all_devices()
        if device.kind == named.kind
        and re.fullmatch(named.members, device.key)
        and device.bandwidth_bytes_per_s
        and (device.release_year or 0) >= named.since_year
    ]
    device = rows.device(rows.by_key()[named.key])
    assert len(members) >= 10
    assert device.bandwidth_bytes_per_s == statistics.median_low(members)


def test_instances_name_devices_of_the_table() -> None:
    """Every cloud instance has a device that the table holds, at least one of it, and a source."""
    for instance in instances():
        assert instance.device_key in rows.by_key(), instance.name
        assert instance.count >= 1
        assert instance.source
        device = rows.device(rows.by_key()[instance.device_key])
        if instance.device_memory_bytes and device.memory_bytes:
            assert instance.device_memory_bytes <= 1.01 * device.memory_bytes, instance.name


def test_families_are_like_rows_of_the_table() -> None:
    """Every CPU family takes its memory from a row that exists, and its pattern does not match that of a GPU."""
    assert len(set(family_keys())) == len(family_keys())
    for row in read_rows("cpu_families.csv"):
        assert row["like"] in rows.by_key(), row["key"]
        assert row["source"]
        re.compile(row["pattern"])


def test_cores_of_parts_that_the_table_does_not_list() -> None:
    """A part number tells a CPU's cores where the table has its generation alone; every row is of a known family."""
    told = {
        "Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz": 12,
        "13th Gen Intel(R) Core(TM) i5-1335U": 10,
        "Intel Xeon Gold 5218 CPU @ 2.30GHz": 16,
        "AMD Ryzen 9 5900HX with Radeon Graphics": 8,
        "AMD Ryzen 7 PRO 5750G": 8,
    }
    assert {name: find(name).device.cores for name in told} == told
    assert find("Intel Xeon Platinum 8259CL CPU @ 2.50GHz").device.cores is None  # made for one cloud, in no table
    for row in read_rows("cpu_cores.csv"):
        assert row["source"]
        assert row["vendor"] in {"intel", "amd"}
        assert 1 <= int(row["performance_cores"]) + int(row["efficient_cores"]) <= 288, row["part"]


def test_the_table_knows_what_every_listed_cpu_multiplies_with() -> None:
    """Each x86 or Arm CPU of the table has instructions, whose patterns tell apart what numbers tell apart."""
    listed = [row["key"] for row in read_rows("devices.csv") if row["kind"] == "cpu"]
    assert [key for key in listed if not instructions(key)] == []
    assert instructions("i7-12700h") == "intel avx-vnni"
    assert instructions("i7-8700k") == "intel avx2"


def test_patterns_are_those_of_the_shell() -> None:
    """Stars and question marks match what `fnmatch` says they do."""
    signs = random.Random(1)
    for _ in range(5000):
        pattern = "".join(signs.choice("ab*?") for _ in range(signs.randint(0, 6)))
        text = "".join(signs.choice("ab") for _ in range(signs.randint(0, 7)))
        assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern), (pattern, text)


def test_aliases_and_model_numbers_lead_to_devices() -> None:
    """Every extra alias, CPU model number and Arm part number leads to a device, and has a source."""
    for row in read_rows("device_aliases.csv"):
        target = find(row["alias"])
        assert any(row["means"] in note for note in target.notes), row["alias"]
        assert row["source"]
    for row in read_rows("cpu_models.csv"):
        assert find_family(row["name"]) is not None, row["name"]
        assert int(row["first_model"]) <= int(row["last_model"])
        assert row["source"]
    for row in read_rows("arm_cpus.csv"):
        assert not row["device_key"] or row["device_key"] in rows.by_key()
        assert row["source"]


# Parts whose memory differs from their generation's: a halved fabric, a cloud's own clock.
UNLIKE_THEIR_FAMILY = {"epyc-7282", "xeon-6975p-c"}


def test_families_tell_the_bandwidth_of_listed_cpus() -> None:
    """If a listed Intel or AMD CPU were not listed, its family would give its bandwidth within 12 %."""
    checked = 0
    for device in rows.all_devices():
        known = device.bandwidth_bytes_per_s
        if device.kind != "cpu" or device.vendor not in {"intel", "amd"} or device.key in UNLIKE_THEIR_FAMILY:
            continue
        found = find_family(device.name)
        assert found is not None, device.name
        assert found.device.bandwidth_bytes_per_s == pytest.approx(known, rel=0.12), device.name
        checked += 1
    assert checked > 200


def test_links_are_per_direction() -> None:
    """NVLink 3 of an A100 is 300 GB/s each way, half of what the vendor prints; x8 slots are half of x16."""
    a100, rtx = rows.device(rows.by_key()["a100-80gb-sxm"]), rows.device(rows.by_key()["rtx-4060"])
    link, slot, host = between_devices(a100), between_devices(rtx), to_host(a100)
    assert link is not None
    assert (link.name, link.bytes_per_s) == ("NVLink 3", 300 * GB)
    assert slot is not None
    assert (slot.name, slot.bytes_per_s) == ("PCIe 4.0 x8", 15.5 * GB)
    assert host is not None
    assert host.name == "PCIe 4.0 x16"
    assert a100.interconnect_bytes_per_s == 2 * link.bytes_per_s


def test_stated_interconnects_agree_with_the_link_table() -> None:
    """Wherever a device states its interconnect, the link that is found for it has the same rate (both ways)."""
    for device in rows.all_devices():
        if device.interconnect_bytes_per_s is None:
            continue
        link = between_devices(device)
        assert link is not None, device.key
        assert 2 * link.bytes_per_s == pytest.approx(device.interconnect_bytes_per_s), device.key


def test_shared_memory_needs_no_link() -> None:
    """Chips that use the host's memory have no host link; unknown slots have none either."""
    assert to_host(rows.device(rows.by_key()["apple-m2-ultra"])) is None
    assert pcie("") is None


def test_a_racks_link_joins_more_than_a_machine() -> None:
    """NVLink of GB200 joins the 72 of a rack; that of a B200 stays in its machine, and a card in a slot has none."""
    found = {key: linked_devices(rows.device(rows.by_key()[key])) for key in ("gb200", "b200", "rtx-4060")}
    assert found == {"gb200": 72, "b200": 0, "rtx-4060": 0}
