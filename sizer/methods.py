"""Quantization methods: one registration each, a row of `data/methods.csv`.

A row says which engines run the method, how a config.json and a repository's name tell it, whether group sizes can be
chosen, whether it is made while a model loads, and what was never compared with a file. Its precisions are the rows of
`data/precisions.csv` of this kind (name, spellings, scheme), their bytes those of `data/formats.csv`, their loss that
of
`data/quality.csv` or of GGUF types with as many bits.
"""

from __future__ import annotations

from functools import cache

from sizer.frozen import dataclass
from sizer.tables import read_rows, record_of


@dataclass(frozen=True, slots=True)
class Method:
    """One quantization method.

    `engines` run it, the usual one first. `config` maps what a config.json calls it (`quant_method`) to the reader of
    its settings: a function of `sizer.precision.configured_methods`, `plain:PRECISION` or `bits:FIELD`. `config_marks`
    are (name, fields, before): a config with one of these sets of fields is of that name though it names no method, or
    `before` it is asked. `words` maps patterns in a repository's name to a precision, or to `read:FUNCTION` of
    `sizer.model.read.name_quantization`; `stems` are letters that each of them has. `grouped`: group sizes can be
    chosen. `made_at_load`: the download is the model's own. `unchecked` is why its bytes are not exact. `unread` is why
    no config or no name tells it.
    """

    name: str
    engines: tuple[str, ...]
    config: tuple[tuple[str, str], ...]
    config_marks: tuple[tuple[str, tuple[str, ...], bool], ...]
    words: tuple[tuple[str, str], ...]
    stems: tuple[str, ...]
    grouped: bool
    made_at_load: bool
    unchecked: str
    unread: str
    source: str


@cache
def methods() -> dict[str, Method]:
    """Every method by its name, in the order in which names are tried."""
    return {row["kind"]: _method(row) for row in read_rows("methods.csv")}


def _method(row: dict[str, str]) -> Method:
    return record_of(
        Method,
        row,
        name=row["kind"],
        config=_pairs(row["config"], "="),
        config_marks=tuple(_mark(text) for text in row["config_marks"].split()),
        words=_pairs(row["words"], "=>"),
    )


def _pairs(text: str, sign: str) -> tuple[tuple[str, str], ...]:
    split = (entry.partition(sign) for entry in text.split())
    return tuple((before, after) for before, _, after in split)


def _mark(text: str) -> tuple[str, tuple[str, ...], bool]:
    name, _, fields = text.removeprefix("!").partition(":")
    return name, tuple(fields.split("+")), text.startswith("!")
