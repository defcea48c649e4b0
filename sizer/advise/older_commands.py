"""Commands as an older version of an engine takes them: rows of `data/older_commands.csv`."""

from __future__ import annotations

import re

from sizer.engine.releases import version_numbers
from sizer.tables import read_rows


def as_older(text: str, engine: str, version: str) -> str:
    """The lines of a recipe as a version of the engine that is named takes them; unchanged where none is, or where it
    takes what the newest does.

    A row's `pattern` is replaced by `older` in each line, in the table's order; its line `first` comes before all.
    """
    asked = version_numbers(version)
    lines = text.splitlines(keepends=True)
    before: list[str] = []
    for row in read_rows("older_commands.csv") if asked else ():
        if row["engine"] != engine or asked >= version_numbers(row["before_version"]):
            continue
        pattern = re.compile(row["pattern"])
        for place, line in enumerate(lines):
            found = pattern.search(line)
            if found is not None:
                lines[place] = pattern.sub(row["older"], line)
                before += [found.expand(row["first"]) + "\n"] if row["first"] else []
    return "".join([*dict.fromkeys(before), *lines])
