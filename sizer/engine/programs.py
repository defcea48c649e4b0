"""The programs, Python modules and images that start engines: rows of `data/engine_commands.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import pairwise

from sizer.engine.engines import engines
from sizer.frozen import dataclass
from sizer.tables import read_rows


@dataclass(frozen=True, slots=True)
class Program:
    """A row of `data/engine_commands.csv`: what starts an engine, and how many words after it are no flags.

    `serves` is slots where it starts several by itself, others where it names no model (what talks to it does), made
    where it makes a model of a file that others run. `sees` is hub where it loads the projector that lies beside
    a hub's file (always: beside any), `defaults` are flags of its own that are not the engine's. `when` are patterns,
    one of which must hold where a launcher starts several engines: `--runtime=vllm` of a flag's value, `word=*gguf*`
    of any word behind the program's. `library` is whose names of models it takes (`data/library_names.csv`), `note`
    what an answer must say of it.
    """

    kind: str
    words: tuple[str, ...]
    engine: str
    dialects: tuple[str, ...]
    positionals: int
    serves: str = ""
    sees: str = ""
    defaults: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    library: str = ""
    note: str = ""

    def meant(self, words: Sequence[str]) -> bool:
        """Whether a command that goes on with `words` starts this engine."""
        return not self.when or any(_holds(rule.lower(), words) for rule in self.when)


def _holds(rule: str, words: Sequence[str]) -> bool:
    """Whether the value of a flag, or any word (`word`), is of a pattern; the case of neither counts."""
    name, _, pattern = rule.partition("=")
    told = [word.lower() for word in words]
    if name == "word":
        return any(fnmatchcase(word, pattern) for word in told)
    joined = [word.partition("=")[2] for word in told if word.partition("=")[0] == name and "=" in word]
    apart = [value for flag, value in pairwise(told) if flag == name]
    return any(fnmatchcase(value, pattern) for value in [*joined, *apart])


@cache
def programs() -> tuple[Program, ...]:
    """The rows, those of most words first, and those that hold always last."""
    rows = [
        Program(
            row["kind"],
            tuple(row["words"].split()),
            row["engine"],
            tuple(row["dialects"].split()) or engines()[row["engine"]].flags,
            int(row["positionals"] or 0),
            row["serves"],
            row["sees"],
            tuple(row["defaults"].split()),
            tuple(row["when"].split()),
            row["library"],
            row["note"],
        )
        for row in read_rows("engine_commands.csv")
    ]
    return tuple(sorted(rows, key=lambda row: (-len(row.words), not row.when)))
