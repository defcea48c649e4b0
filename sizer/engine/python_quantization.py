"""What Python code asks transformers to quantize a model to while it loads: the calls of its `quantization_config`.

Rows of `data/python_quantization.csv`, by the class; bitsandbytes' own are flags of the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from sizer.errors import UnknownPrecision, UsageError
from sizer.frozen import NamedTuple
from sizer.precision.names import canonical
from sizer.tables import read_rows

Told = Mapping[str, Any]


class Configuration(NamedTuple):
    """A class: the arguments that a precision's name is made of, with the class's own values (empty: it wants one).

    `reads` tells how an argument's text is read where it is not the name's part itself. An argument of `otherwise` that
    is true makes the precision behind it.
    """

    arguments: tuple[tuple[str, str], ...]
    reads: Mapping[str, str]
    precision: str
    otherwise: tuple[tuple[str, str], ...]

    def value(self, name: str, usual: str, told: Told) -> str:
        """An argument as the name has it: by its name, by its place where it is the first, else the class's own.

        Empty for one that the class wants or that its name tells nothing of.
        """
        first = name == self.arguments[0][0]
        found = told.get(name, told.get("", usual) if first else usual)
        read = READERS.get(self.reads.get(name, ""))
        return read(str(found)) if read is not None else "" if found is None else str(found)


def _width(text: str) -> str:
    """The width of torchao's types: `int4_weight_only`, `Int8DynamicActivationInt8WeightConfig`, `float8_...`."""
    lowered = text.lower()
    widths = re.findall(r"(int4|int8|float8|fp8)_?weight", lowered) or re.findall(r"int4|int8|float8|fp8", lowered)
    return str(widths[-1]).replace("float8", "fp8") if widths else ""


READERS: Mapping[str, Callable[[str], str]] = {"width": _width}


@cache
def configurations() -> Mapping[str, Configuration]:
    """The rows by class."""
    found = {}
    for row in read_rows("python_quantization.csv"):
        words = [word.partition("=") for word in row["arguments"].split()]
        named = [(name.partition(":"), usual) for name, _, usual in words]
        found[row["call"]] = Configuration(
            tuple((name, usual) for (name, _, _), usual in named),
            {name: kind for (name, _, kind), _ in named if kind},
            row["precision"],
            tuple((pair.partition("=")[0], pair.partition("=")[2]) for pair in row["otherwise"].split()),
        )
    return found


def made_by(call: str, told: Told) -> str:
    """The precision's name. Raises UsageError for a class that no row knows, and arguments that only running tells."""
    row = configurations().get(call)
    if row is None:
        raise UsageError(f"{call}(...) names no precision that sizer knows.", f"Known: {', '.join(configurations())}.")
    read = {name for name, _ in (*row.arguments, *row.otherwise)} | ({""} if row.arguments else set())
    hidden = next((name for name in read if name in told and told[name] is None), None)
    if hidden is not None:
        what = f"what {call}(...) quantizes to is told by running the code alone."
        raise UsageError(what, f"Write {hidden or 'its first argument'} there.")
    for name, precision in row.otherwise:
        if told.get(name):
            return precision
    values = {name: row.value(name, usual, told) for name, usual in row.arguments}
    try:
        return canonical(row.precision.format(**values)) if all(values.values()) else _unknown(call, values)
    except UnknownPrecision:
        return _unknown(call, values)


def _unknown(call: str, values: Mapping[str, str]) -> str:
    """Raises UsageError for arguments that make no precision of the table."""
    said = ", ".join(f"{name}={value}" for name, value in values.items() if value)
    raise UsageError(f"{call}({said or '...'}) names no precision that sizer knows.", "'sizer precisions' lists them.")
