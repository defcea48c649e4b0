"""What is known of a machine and how; and its report, which is the machine again and nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import machinefile
import pytest
from clirun import Run

from sizer.device.detect import detect, this_target
from sizer.device.known import BASES, knowledge
from sizer.device.recorded import Recorder, personal_names, without_what_is_personal, written

NAMES = machinefile.names()
PERSONAL = """Serial\t\t: 10000000abcdef01
"IOPlatformSerialNumber" = "C02XK0AAJG5J"
\tSerial Number: 01A2B3C4
"asic_serial": "0x7A0B1C2D3E4F", "uuid": "GPU-1c1e1f1a-0000-1111-2222-333344445555"
0::/system.slice/docker-4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a4f5e6d7c8b9a0000.scope
C:\\Users\\Erika Mustermann\\x /home/erika/models /Users/erika/.cache
link/ether 52:54:00:12:34:56 ERIKA-PC erika@erika-pc.example.org
"""


@pytest.mark.parametrize("name", NAMES)
def test_report_is_the_machine_again(name: str, tmp_path: Path) -> None:
    """What the report of a machine holds is enough to tell the same device, memory, bandwidth and doubts from it."""
    edge = machinefile.read(name).edge(tmp_path / "first")
    recorder = Recorder()
    machine = detect(recorder.listen(edge))
    text = written(recorder, edge, {"device": this_target(machine=machine).device.key}, name, ("nobody-here",))
    again = detect(machinefile.parse(name, text).edge(tmp_path / "again"))
    first, second = this_target(machine=machine), this_target(machine=again)
    assert (second.count, [other.key for other in second.others]) == (
        first.count,
        [other.key for other in first.others],
    )
    for name_of_fact in ("key", "kind", "memory_bytes", "bandwidth_bytes_per_s", "bandwidth_basis", "cores"):
        assert getattr(second.device, name_of_fact) == getattr(first.device, name_of_fact)
    assert again.doubts == machine.doubts
    assert [gpu.name for gpu in again.gpus] == [gpu.name for gpu in machine.gpus]


def test_report_names_nobody() -> None:
    """Host and user names, home folders, serial numbers, UUIDs, hardware addresses and container ids are gone."""
    environment = {"USER": "erika", "COMPUTERNAME": "ERIKA-PC"}
    text = without_what_is_personal(PERSONAL, (*personal_names(environment), "erika-pc.example.org"))
    for personal in (
        "erika",
        "mustermann",
        "c02xk0aajg5j",
        "abcdef01",
        "01a2b3c4",
        "7a0b",
        "1c1e1f1a",
        "4f5e",
        "52:54",
    ):
        assert personal not in text.casefold(), personal
    assert "system.slice" in text
    assert without_what_is_personal("processor : root\nmodel name : root beer", ("root",)).count("root") == 2


def test_command_prints_a_machine_file(run: Run) -> None:
    """`sizer probe --report` prints a file that reads back as a machine, and refuses other options beside it."""
    done = run("probe", "--report")
    assert done.code == 0
    assert machinefile.parse("here", done.out).expect["device"] == this_target(machine=detect()).device.key
    assert run("probe", "--report", "--json").code == 2


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_has_a_source(name: str, tmp_path: Path) -> None:
    """Each fact says how it is known, each gap what to type; a device of no table comes with its line."""
    machine = detect(machinefile.read(name).edge(tmp_path))
    target = this_target(machine=machine)
    known = knowledge(machine, target)
    assert all(fact.fact and fact.value and fact.source for fact in known.facts)
    assert all(unknown.reason and unknown.type for unknown in known.unknown)
    gaps = {unknown.fact for unknown in known.unknown}
    assert ("memory bandwidth" in gaps) == (target.device.bandwidth_bytes_per_s is None)
    assert ("memory bandwidth" in {fact.fact for fact in known.facts}) == (
        target.device.bandwidth_bytes_per_s is not None
    )
    assert bool(known.table_line) == known.table_line.startswith(target.device.key)
    assert target.device.bandwidth_basis in BASES


def test_json_says_how_it_knows(run: Run) -> None:
    """`--json` has the facts with their sources, what is not known and what does not add up."""
    told = json.loads(run("probe", "--json", "--seconds", "0.1").out)
    assert {"fact", "value", "source"} == set(told["facts"][0])
    assert isinstance(told["unknown"], list)
    assert told["doubts"] == []
    assert "memory bandwidth" in {fact["fact"] for fact in told["facts"]}


def test_table_fits_the_terminal(run: Run) -> None:
    """The text has the facts as a table within 100 columns, and the measurement below."""
    done = run("probe", "--seconds", "0.1")
    assert done.code == 0
    assert "how it is known" in done.out
    assert max(map(len, done.out.splitlines())) <= 100
    assert "CPU memory bandwidth" in done.out
