"""Whatever tools print, cut off, garbled or of another type: detection comes back; slow tools are not waited for."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import machinefile
import pytest

from sizer.device import edge as edges
from sizer.device.detect import detect, this_target
from sizer.device.edge import run_command, whole_number
from sizer.device.known import knowledge
from sizer.device.naming import name_of

NAMES = machinefile.names()
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, float("nan"), "", "N/A", "-5", "9" * 400, "\u00b2", "\x00", [], {}, [[]], [None],
    {"value": {}},
)  # fmt: skip


def _cut(text: str, chance: random.Random) -> str:
    """The text cut off, garbled, doubled, or with other numbers."""
    how = chance.randrange(5)
    place = chance.randrange(len(text) + 1)
    if how == 0:
        return text[:place]
    if how == 1:
        return text[:place] + "\ufffd\x00\u202e" + text[place + 3 :]
    if how == 2:
        return text + text[place:]
    if how == 3:
        return "".join(chance.choice(("0", "9" * 30, "-1", "x")) if letter.isdigit() else letter for letter in text)
    return text


def _wrong_types(value: Any, chance: random.Random) -> Any:
    """JSON with some of its values replaced by what nobody would write there."""
    if chance.random() < 0.2:
        return chance.choice(HOSTILE)
    if isinstance(value, dict):
        return {key: _wrong_types(one, chance) for key, one in value.items()}
    if isinstance(value, list):
        return [_wrong_types(one, chance) for one in value]
    return value


def _damage(text: str, chance: random.Random) -> str:
    if text[:1] in "{[" and chance.random() < 0.5:
        try:
            return json.dumps(_wrong_types(json.loads(text), chance))
        except ValueError:
            return text
    return _cut(text, chance)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_answers_do_not_stop_it(name: str, tmp_path: Path) -> None:
    """Every machine with every answer damaged eight ways: a machine and a target with finite figures come back."""
    for seed in range(8):
        chance = random.Random(f"{name} {seed}")
        recorded = machinefile.read(name)
        recorded.commands = {words: _damage(text, chance) for words, text in recorded.commands.items()}
        recorded.files = {path: _damage(text, chance) for path, text in recorded.files.items()}
        recorded.registry = {
            key: {
                sub: {one: chance.choice((told, *HOSTILE)) for one, told in values.items()}
                for sub, values in told.items()
            }
            for key, told in recorded.registry.items()
        }
        machine = detect(recorded.edge(tmp_path / str(seed)))
        target = this_target(machine=machine)
        assert target.device.key
        assert target.device.memory_bytes is None or target.device.memory_bytes > 0
        assert knowledge(machine, target).facts
        assert name_of(target)


def test_slow_tool_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not answer in time, fails or is missing counts as one that says nothing."""
    monkeypatch.setattr(edges, "COMMAND_TIMEOUT_S", 0.3)
    started = time.monotonic()
    assert run_command([sys.executable, "-c", "import time; print('late', flush=True); time.sleep(300)"]) == ""
    assert time.monotonic() - started < 150
    assert run_command([sys.executable, "-c", "raise SystemExit(3)"]) == ""
    assert run_command(["no-such-tool-anywhere"]) == ""


def test_answers_in_any_encoding_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no UTF-8 are replaced, a byte-order mark is dropped, and a question is asked once in a process."""
    monkeypatch.setattr(edges, "COMMAND_TIMEOUT_S", 300)
    script = (
        "import sys, time; sys.stdout.buffer.write(b'\\xef\\xbb\\xbf\\xce\\xa2 %d' % time.monotonic_ns() + b'\\xff')"
    )
    first = run_command([sys.executable, "-c", script])
    assert not first.startswith("\ufeff")
    assert first.endswith("\ufffd")
    assert run_command([sys.executable, "-c", script]) == first


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_numbers_of_any_kind_are_read_or_left(value: object) -> None:
    """A number from outside is a whole number or none; nothing raises."""
    assert whole_number(value) is None or isinstance(whole_number(value), int)
