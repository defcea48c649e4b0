"""An engine's flags as it reads them: words of a command line become `EngineOptions`.

Engines parse by their own conventions; this takes what they share: `--flag value`, `--flag=value`, short forms, dashes
or underscores, switches with `--no-`, flags that take several words or repeat, JSON given in parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sizer.engine.flag_numbers import on_off
from sizer.engine.flag_table import PASSED, Flag, Match, find_flag, nearest_flag
from sizer.engine.flag_values import (
    GATHERED,
    JSON_KINDS,
    OPTIONAL_VALUE,
    SEVERAL_FIELDS,
    SEVERAL_WORDS,
    WITHOUT_VALUE,
    passed_words,
    read_value,
)
from sizer.engine.flag_words import require_word, words_of
from sizer.engine.json_values import document
from sizer.engine.options import EngineOptions, FlagValue
from sizer.errors import UsageError

_NUMBER = re.compile(r"-\d+(\.\d+)?")
_UNTOLD = re.compile(r"\$(?:\w+|\{\w+\}|\(.*\))")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
NUMBERS = frozenset({"int", "stoi", "float", "verified"})
PLACEHOLDER = re.compile(r"[$<{\[]")
NOTHING = frozenset({"", "none", "null"})
"""What Python and YAML write where nothing is set."""
MOST_WORDS = 2000
"""Words of one command, at most."""


@dataclass
class Read:
    """What the words say so far: fields, the engine's own words, what was not understood, what was no flag.

    `unless` are errors that stand unless a flag is given.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    given: dict[str, FlagValue] = field(default_factory=dict)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    positionals: list[str] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    unless: dict[str, UsageError] = field(default_factory=dict)


def read_flags(
    dialects: Sequence[str], words: Sequence[str], *, version: str = "", abbreviates: bool = False, positionals: int = 0
) -> Read:
    """The flags among `words`. The first `positionals` words that are no flag's are kept; more are unknown.

    Raises UsageError for a value that cannot be, or a flag without its value.
    """
    if len(words) > MOST_WORDS:
        raise UsageError(f"the command has {len(words):,} words.", f"At most {MOST_WORDS:,} are read.")
    read = Read()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            if (behind := find_flag(dialects, word)) is not None:
                _pass_on(behind.flag, rest, read, version)
                break
        elif not _is_flag(word):
            _plain_word(dialects, word, read, positionals)
        else:
            _read_flag(dialects, word, rest, read, version, abbreviates=abbreviates)
    for name, parts in read.documents.items():
        found = find_flag(dialects, name)
        if found is not None:
            _set(read, found.flag, name, json.dumps(parts))
    for by, error in read.unless.items():
        if by.lstrip("-") not in read.given:
            raise error
    return read


def _read_flag(
    dialects: Sequence[str], word: str, rest: list[str], read: Read, version: str, *, abbreviates: bool
) -> None:
    """One flag, with the words of `rest` that are its value: of a dialect, a part of a document, or unknown."""
    name, sign, attached = word.partition("=")
    match = find_flag(dialects, name, abbreviates) or _attached_level(dialects, word)
    if match is None:
        part = _document_part(dialects, name, abbreviates) if "." in name else None
        if part:
            _put_part(read, part[0], part[1], attached if sign else _next(rest, name))
        else:
            _unknown(dialects, name, rest, read, bool(sign))
        return
    if match.flag.kind == PASSED:
        _pass_on(match.flag, passed_words(attached if sign else _next(rest, name)), read, version)
        return
    level = word[2:] if match.flag.kind == "compilation" and not sign and re.fullmatch(r"-O\d", word) else ""
    _take(match, name, rest, read, attached if sign else level or None)
    if match.flag.lacks(version):
        read.removed.append(match.flag.lacks(version))


def _pass_on(flag: Flag, words: Sequence[str], read: Read, version: str) -> None:
    """Words that a launcher hands on to its engine, which reads them after the launcher's own."""
    read.given[flag.name or flag.written] = " ".join(words)
    inner = read_flags(flag.sets, words, version=version, abbreviates=True)
    for name in GATHERED & set(inner.fields):
        inner.fields[name] = (*read.fields.get(name, ()), *inner.fields[name])
    read.fields.update(inner.fields)
    read.given.update(inner.given)
    read.unknown += inner.unknown
    read.removed += inner.removed


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NUMBER.fullmatch(word)


def _plain_word(dialects: Sequence[str], word: str, read: Read, positionals: int) -> None:
    """A word without a dash: `NAME=value` of an environment variable or parameter, the model, or nothing known."""
    assigned = _ASSIGNED.fullmatch(word)
    match = find_flag(dialects, assigned[1]) if assigned else None
    if assigned and match is not None:
        _set(read, match.flag, assigned[1], assigned[2])
    elif len(read.positionals) < positionals:
        read.positionals.append(word)
    else:
        read.unknown.append((word, ""))


def _attached_level(dialects: Sequence[str], word: str) -> Match | None:
    """`-O3`: an optimization level that stands at its flag."""
    return find_flag(dialects, "-O") if re.fullmatch(r"-O\d", word) else None


def _document_part(dialects: Sequence[str], name: str, abbreviates: bool) -> tuple[str, str] | None:
    """The JSON flag and the path below it of `--speculative-config.method`, or None."""
    base, _, path = name.partition(".")
    match = find_flag(dialects, base, abbreviates)
    return (match.flag.spellings[0], path) if match is not None and match.flag.kind in JSON_KINDS else None


def _put_part(read: Read, flag: str, path: str, text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    inner = read.documents.setdefault(flag, {})
    *outer, last = path.split(".")
    for step in outer[:8]:
        below = inner.setdefault(step, {})
        inner = below if isinstance(below, dict) else {}
    inner[last.replace("-", "_")] = value


def _unknown(dialects: Sequence[str], name: str, rest: list[str], read: Read, has_value: bool) -> None:
    """A flag that no row has: named with the nearest; a word after it that is no flag is taken as its value."""
    read.unknown.append((name, nearest_flag(dialects, name)))
    if not has_value and rest and not _is_flag(rest[0]):
        rest.pop(0)


def _next(rest: list[str], name: str) -> str:
    if not rest:
        raise UsageError(f"{name} needs a value.", "It is the last word.")
    return rest.pop(0)


def _take(match: Match, name: str, rest: list[str], read: Read, attached: str | None) -> None:
    """One flag with the words that are its value."""
    flag = match.flag
    if flag.kind in WITHOUT_VALUE:
        value = True if attached is None else on_off(attached) is not False
        _switch(read, flag, value is not match.negated)
    elif attached is not None:
        _set(read, flag, name, attached)
    elif flag.kind in SEVERAL_WORDS or flag.kind == "words":
        taken = []
        while rest and not _is_flag(rest[0]):
            taken.append(rest.pop(0))
        _set(read, flag, name, ("\0" if flag.kind == "texts+" else " ").join(taken))
    elif flag.kind in OPTIONAL_VALUE and (not rest or not _reads(flag, rest[0])):
        _switch(read, flag, value=True)
    elif flag.kind == "pair":
        _set(read, flag, name, f"{_next(rest, name)} {_next(rest, name)}")
    else:
        if rest and _is_flag(rest[0]) and flag.sets:
            raise UsageError(f"{name} needs a value.", f"{rest[0]!r} follows it.")
        _set(read, flag, name, _next(rest, name))


def _reads(flag: Flag, word: str) -> bool:
    """Whether a word can be the value of a flag that may stand alone."""
    if _is_flag(word):
        return False
    try:
        read_value(flag.kind, word, flag.name)
    except UsageError:
        return False
    return True


def _switch(read: Read, flag: Flag, value: bool) -> None:
    """A switch: sets its field to yes or no, or to the constant that its row names."""
    read.given[flag.name] = value
    for target in flag.sets:
        name, sign, constant = target.partition("=")
        if sign:
            read.fields[name] = _constant(constant) if value else None
        else:
            read.fields[name] = value is not (flag.kind == "not")


def _constant(text: str) -> Any:
    if text in {"yes", "no"}:
        return text == "yes"
    return int(text) if text.lstrip("-").isdigit() else text


def _set(read: Read, flag: Flag, spelled: str, text: str) -> None:
    """A flag with its value. What it sets is its row's business; of what sets nothing only words and numbers count."""
    read.given[flag.name] = text.replace("\0", " ")
    _require_words(flag, spelled, text, read)
    if not flag.sets:
        _require_number(flag, spelled, text)
        return
    if flag.kind in WITHOUT_VALUE:
        _switch(read, flag, on_off(text) is not False)
        return
    if _UNTOLD.fullmatch(text):
        read.unknown.append((f"{spelled} {text} is what only a shell tells: it is left out", ""))
        return
    value = read_value(flag.kind, text, spelled)
    _require_words_within(flag, text)
    if flag.kind == "stoi" and (cut := re.match(r"\s*[+-]?\d+(?=\s*[^\d\s])", text)):
        own = f"the engine itself reads {cut[0].strip()} (std::stoi stops at what is no digit)"
        read.unknown.append((f"{spelled} {text} is taken as {value:,}; {own}: write {value}", ""))
    if isinstance(value, (int, float, str)):
        read.given[flag.name] = value
    if flag.kind in SEVERAL_FIELDS and isinstance(value, Mapping):
        read.fields.update(value)
        return
    for target in flag.sets:
        name, sign, constant = target.partition("=")
        if sign and flag.kind in OPTIONAL_VALUE:
            read.fields[name] = _constant(constant) if value is True else None if value is False else value
        elif sign and flag.kind == "words":
            read.fields[name] = _constant(constant)
        elif name in GATHERED:
            read.fields[name] = (*read.fields.get(name, ()), *(value if isinstance(value, tuple) else (value,)))
        else:
            read.fields[name] = value


def _require_words(flag: Flag, spelled: str, text: str, read: Read) -> None:
    """Raises UsageError for a value that is none of the flag's words, at the end where another flag may free it."""
    if not flag.words.allowed or _UNTOLD.fullmatch(text):
        return
    try:
        require_word(flag.words.allowed, text, spelled)
    except UsageError as error:
        if not flag.words.freed_by:
            raise
        read.unless[flag.words.freed_by] = error


def _require_number(flag: Flag, spelled: str, text: str) -> None:
    """Raises UsageError where a flag takes a number and its value is neither one nor stands for one (`$N`)."""
    if flag.kind in NUMBERS and not PLACEHOLDER.search(text) and text.strip().lower() not in NOTHING:
        read_value(flag.kind, text, spelled)


def _require_words_within(flag: Flag, text: str) -> None:
    """Raises UsageError for a value in a flag's JSON that is none of its key's words."""
    if flag.kind in JSON_KINDS and text.lstrip().startswith("{"):
        known = words_of(flag.dialect)
        for key, value in document(text).items():
            if (words := known.get(f"{flag.written}.{key}")) and isinstance(value, str):
                require_word(words.allowed, value, f"{flag.written} {key}")


def options_of(engine: str, version: str, read: Read, dialects: Sequence[str] = ()) -> EngineOptions:
    """The record of what was read; a field that a flag set to nothing keeps the engine's default."""
    kept = {name: value for name, value in read.fields.items() if value is not None}
    return EngineOptions(
        engine=engine,
        version=version,
        given=tuple(read.given.items()),
        unknown=(*((text, "") for text in read.removed), *read.unknown),
        dialects=tuple(dialects),
        **kept,
    )
