"""A hundred machines by what their tools print: the right device, memory and bandwidth of each."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import machinefile
import pytest

from sizer.device import measured
from sizer.device import table as rows
from sizer.device.catalogue import find
from sizer.device.detect import detect, this_target
from sizer.device.machine import Machine
from sizer.device.naming import name_of, table_line
from sizer.device.records import Target
from sizer.device.usable import usable_memory_bytes
from sizer.units import GB, GIB

NAMES = machinefile.names()
ROOT = Path(__file__).parents[2]
MEMORY_WITHIN = 0.01


def _near(told: float | None, right: float | None) -> bool:
    if told is None or right is None:
        return told is right
    return abs(told / right - 1) <= MEMORY_WITHIN


def _gib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / GIB


def _gbs(bytes_per_s: float | None) -> float | None:
    return None if bytes_per_s is None else bytes_per_s / GB


def _left(machine: Machine, target: Target) -> list[str]:
    return [gpu.name for gpu in machine.gpus if gpu.integrated and target.device.kind not in {"apu", "sbc"}]


def wrong(machine: Machine, target: Target, expect: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is told and what is right, where they differ."""
    device, host = target.device, target.host
    keys = {expect["device"], *expect.get("key_any", ())}
    told = {
        "device": device.key if device.key not in keys else expect["device"],
        "kind": device.kind,
        "count": target.count,
        "others": [other.key for other in target.others],
        "basis": device.bandwidth_basis,
        "host": host.key if host else None,
        "host_count": target.host_count,
        "link": target.link,
        "left": _left(machine, target),
        "npus": list(machine.npus),
        "virtual": machine.virtual,
        "wsl": machine.wsl,
        "low_power": machine.low_power,
        "cores": machine.cores,
        "fast_cores": machine.fast_cores,
        "usable_cores": machine.usable_cores,
        "memory_only_nodes": len(machine.memory_only_nodes_bytes),
        "os": machine.os,
        "told_by": machine.gpus[0].told_by if machine.gpus else "",
    }
    usual = {"kind": "gpu", "count": 1, "others": []}
    found = {name: (told[name], right) for name, right in {**usual, **expect}.items() if told.get(name, right) != right}
    if "kind_any" in expect and device.kind in expect["kind_any"]:
        found.pop("kind", None)
    sizes = {
        "memory_gib": _gib(device.memory_bytes),
        "usable_gib": _gib(usable_memory_bytes(device)),
        "bandwidth_gbs": _gbs(device.bandwidth_bytes_per_s),
        "host_gib": _gib(target.host_memory_bytes),
        "host_gbs": _gbs(host.bandwidth_bytes_per_s) if host else None,
    }
    found |= {
        name: (size, expect[name]) for name, size in sizes.items() if name in expect and not _near(size, expect[name])
    }
    texts = {"doubt": machine.doubts, "hidden": machine.hidden, "note": target.notes}
    found |= {
        name: (said, expect[name])
        for name, said in texts.items()
        if name in expect and not any(expect[name] in text for text in said)
    }
    if "doubt" not in expect and machine.doubts:
        found["doubts"] = (machine.doubts, ())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_machine_is_told_right(name: str, tmp_path: Path) -> None:
    """Device, memory, bandwidth, host and what is said of it are those of the file's `expect`."""
    recorded = machinefile.read(name)
    machine = detect(recorded.edge(tmp_path))
    assert wrong(machine, this_target(machine=machine), recorded.expect) == {}


@pytest.mark.parametrize("name", NAMES)
def test_saved_rows_call_it_by_a_name_that_is_understood(name: str, tmp_path: Path) -> None:
    """What a benchmark saves as the device is the same device anywhere: key, kind, bandwidth and its basis, cores."""
    recorded = machinefile.read(name)
    target = this_target(machine=detect(recorded.edge(tmp_path)))
    device, again = target.device, find(name_of(target)).device
    assert (again.key, again.kind) == (device.key, device.kind)
    assert _near(again.bandwidth_bytes_per_s, device.bandwidth_bytes_per_s)
    assert (again.bandwidth_basis == "measured") == (device.bandwidth_basis == "measured")
    several = device.key in rows.by_key() and rows.device(rows.by_key()[device.key]).memory_options_bytes
    assert _near(again.memory_bytes, device.memory_bytes) or not several or device.kind == "cpu"
    assert again.cores == device.cores or device.kind != "cpu"


def test_measured_bandwidth_is_in_the_name(tmp_path: Path) -> None:
    """A slice of a socket that the probe measured is named with its cores and its rate, known CPU or not."""
    starts = {"kvm-epyc-nameless": "epyc-9005 2-core", "linux-zhaoxin": "ZHAOXIN KaiXian KX-7000/8 (unlisted"}
    for name, start in starts.items():
        machine = detect(machinefile.read(name).edge(tmp_path / name))
        measured.save(machine, {"memory_bandwidth_bytes_per_s": 46.2e9, "measured_at_s": 1.0, "notes": []})
        target = this_target(machine=machine)
        named = name_of(target)
        assert named.startswith(start)
        again = find(named).device
        assert (again.key, again.cores, again.bandwidth_basis) == (target.device.key, machine.cores, "measured")
        assert again.bandwidth_bytes_per_s == 46.2e9


def test_line_for_the_table_reads_back(tmp_path: Path) -> None:
    """The line that adds an unknown card has the table's columns, and what the driver said of the card."""
    target = this_target(machine=detect(machinefile.read("linux-unknown-nvidia").edge(tmp_path)))
    header, _ = rows.table()
    line = dict(zip(header, next(csv.reader([table_line(target.device)])), strict=True))
    assert (line["key"], line["memory_gb"], line["bandwidth_gbs"]) == ("nvidia-geforce-rtx-6090", "36", "2304")
    assert line["fp16_tflops_dense_tensor" if "fp16_tflops_dense_tensor" in header else "fp16_tflops"] == ""


def test_the_page_shows_what_is_found_now() -> None:
    """The table of docs/machines.md is what `python tools/machines.py` writes."""
    spec = importlib.util.spec_from_file_location("machines_table", ROOT / "tools" / "machines.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs" / "machines.md").read_text(encoding="utf-8") == tool.page()


def test_there_are_many_kinds() -> None:
    """At least sixty machines, of every system, each with a line that says what it stands for."""
    recorded = [machinefile.read(name) for name in NAMES]
    assert len(recorded) >= 60
    assert {machine.system for machine in recorded} >= {"Windows", "Linux", "Darwin"}
    assert all("device" in machine.expect and "memory_gib" in machine.expect for machine in recorded)
    assert all(machine.about for machine in recorded)


def test_a_line_for_the_table_has_no_control_characters() -> None:
    """A driver's name with a NUL and a mark of direction is written escaped: Python 3.10's csv takes no NUL at all."""
    line = table_line(replace(find("rtx-4090").device, key="odd", name="a\x00b\u202ec"))
    assert line.startswith("odd,")
    assert "a\\u0000b\\u202ec" in line
    assert line.isprintable()
