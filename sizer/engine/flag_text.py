"""Writing flags: a field of `EngineOptions` and its value, as the engine's own words. The same rows read them back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sizer.engine.flag_table import Flag, find_flag, flag_setting, flags_of, passing_flag, reached
from sizer.engine.flag_values import NINE_TENTHS, READERS, WITHOUT_VALUE
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError
from sizer.units import GIB, MIB

OF_THE_MODEL = frozenset({"model", "hub_file"})


def written(dialects: Sequence[str], field: str, value: Any, version: str = "") -> list[str]:
    """The words that set a field to a value, for an engine that reads these dialects.

    Raises UsageError where the engine has no flag for it.
    """
    return written_all(dialects, {field: value}, version)


def written_all(dialects: Sequence[str], fields: Mapping[str, Any], version: str = "") -> list[str]:
    """The words of several fields, in their order; a flag that sets two of them (keys and values) stands once.

    Flags that a launcher hands on to its engine stand in the launcher's one flag for them. Raises UsageError where the
    engine has no flag for a field.
    """
    words: list[str] = []
    handed_on: list[str] = []
    done: set[str] = set()
    for field, value in fields.items():
        if field in done:
            continue
        flag = flag_setting(dialects, field, version)
        beside = set(fields) & set(flag.sets) if flag is not None else {field}
        done |= beside if all(fields[name] == value for name in beside) else {field}
        used, told = _written(dialects, field, value, version)
        (words if used.dialect in dialects else handed_on).extend(told)
    passing = passing_flag(dialects) if handed_on else None
    if passing is None:
        return words
    return [*words, passing.written, *(handed_on if passing.written == "--" else [shlex.join(handed_on)])]


def _written(dialects: Sequence[str], field: str, value: Any, version: str) -> tuple[Flag, list[str]]:
    """The flag that sets a field to a value, and its words."""
    flag_found = flag_setting(dialects, field, version)
    told = flag_found is not None and len(flag_found.sets) > 1 and flag_found.kind in _WRITERS
    for flag in () if told else (flag for dialect in reached(dialects) for flag in flags_of(dialect)):
        if not flag.lacks(version) and (switch := _switch(flag, field, value)) is not None:
            return flag, [switch]
    if flag_found is None:
        raise UsageError(f"{dialects[0] if dialects else 'the engine'} has no flag for {field}.", "")
    text = _text(flag_found, value)
    spelled = flag_found.written
    return flag_found, [spelled, *text.split("\0")] if spelled.startswith("-") else [f"{spelled}={text}"]


def _switch(flag: Flag, field: str, value: Any) -> str | None:
    """The spelling of a switch that sets the field to this very value, or None."""
    if flag.kind not in WITHOUT_VALUE:
        return None
    constant = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if f"{field}={constant}" in flag.sets:
        return flag.written
    if field in flag.sets and isinstance(value, bool):
        positive = value is not (flag.kind == "not")
        return flag.written if positive else "--no-" + flag.written.removeprefix("--")
    return None


def _text(flag: Flag, value: Any) -> str:
    """A value as the flag's kind reads it. Raises UsageError for a flag that takes none."""
    if flag.kind not in READERS:
        raise UsageError(f"{flag.name} takes no value.", "")
    if flag.kind in _WRITERS and not isinstance(value, bool):
        return _WRITERS[flag.kind](value)
    return _plain(value, "\0" if flag.kind.endswith("+") else ",")


def _plain(value: Any, between: str = ",") -> str:
    if isinstance(value, tuple):
        return between.join(_plain(part) for part in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_nine_tenths(share: float) -> str:
    """A share of the card as TGI's flag says it, of the nine tenths that it takes at most."""
    if share > NINE_TENTHS:
        raise UsageError(f"a share of {share:g} is more than the engine takes.", "")
    return f"{share / NINE_TENTHS:g}"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "mib": lambda size: str(-(-int(size) // MIB)) if size >= 0 else "-1",
    "gib": lambda size: f"{size / GIB:g}",
    "nine_tenths": _of_nine_tenths,
    "layers": lambda count: "999" if count == -1 else str(count),
    "places": lambda pairs: ",".join(f"{pattern}={place}" for pattern, place in pairs),
    "limits": lambda pairs: ",".join(f"{place}={size}B" for place, size in pairs),
    "kobold_kv": lambda kind: {"f16": "0", "q8_0": "1", "q4_0": "2"}.get(kind, kind),
    "exl_cache": lambda kind: kind.removeprefix("exl-").upper(),
}
"""Kinds whose text is not the value itself."""


def flags_text(options: EngineOptions) -> str:
    """The engine's flags as `--engine` takes them, without those that name the model."""
    words: list[str] = []
    for name, value in options.given:
        match = find_flag(options.dialects or (options.engine,), f"--{name}")
        if match is not None and not set(match.flag.sets) & OF_THE_MODEL:
            for one in value if isinstance(value, tuple) else (value,):
                words += _as_given(match.flag, one)
    return " ".join(words)


def _as_given(flag: Flag, value: bool | float | str) -> list[str]:
    if not isinstance(value, bool):
        return [f"--{flag.name}", str(value)]
    if flag.kind not in WITHOUT_VALUE:
        return [f"--{flag.name}", "on" if value else "off"]
    return [f"--{flag.name}" if value else f"--no-{flag.name}"]
