"""Rows of steps of several tokens, of one sequence or one of each (`data/verify.csv`): what verifying costs."""

from __future__ import annotations

import csv
from pathlib import Path

from sizer.calibrate.measurements import ReadRow, measurement
from sizer.errors import InvalidInputFile


def read_verification(path: Path) -> list[ReadRow]:
    """The rows that tell tokens/s at so many tokens a step, or what such a step costs over one of one token (`v`).

    Those of one token are decode rows. Rows of kernels that later releases replaced (`current` is `old`) tell nothing
    about today's, and those of a whole round or of no format nothing about a step: they are left out.
    InvalidInputFile where the file is no such table.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if "tokens_a_step" not in (reader.fieldnames or ()):
            raise InvalidInputFile(f"{str(path)!r} has no column 'tokens_a_step'.", "Give data/verify.csv.")
        return [
            measurement(_as_measurement(row))
            for row in reader
            if row.get("current") != "old" and (row["tokens_per_s"] or (row["v"] and row["precision"]))
        ]


def _as_measurement(row: dict[str, str]) -> dict[str, str]:
    flags = "" if row["tokens_a_step"] == (row.get("batch") or "1") == "1" else "verification"
    over_one = "" if row["tokens_per_s"] else row["v"]
    return {
        **row,
        "over_one": over_one,
        "decode_tokens_per_s": row["tokens_per_s"],
        "metric": "decode",
        "output_tokens": "1",
        "flags": flags,
    }
