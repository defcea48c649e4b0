"""Rows of steps that run several tokens of one sequence (`data/verify.csv`): what verifying a draft costs."""

from __future__ import annotations

import csv
from pathlib import Path

from sizer.calibrate.measurements import ReadRow, measurement
from sizer.errors import InvalidInputFile


def read_verification(path: Path) -> list[ReadRow]:
    """The rows that tell tokens/s at so many tokens a step; those of one token are decode rows.

    Rows that tell the cost against one token alone (`v`) teach nothing without their base, and those of kernels that
    later releases replaced (`current` is `old`) nothing about today's: they are left out.
    InvalidInputFile where the file is no such table.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if "tokens_a_step" not in (reader.fieldnames or ()):
            raise InvalidInputFile(f"{str(path)!r} has no column 'tokens_a_step'.", "Give data/verify.csv.")
        return [
            measurement(_as_measurement(row)) for row in reader if row["tokens_per_s"] and row.get("current") != "old"
        ]


def _as_measurement(row: dict[str, str]) -> dict[str, str]:
    flags = "" if row["tokens_a_step"] == "1" else "verification"
    return {**row, "decode_tokens_per_s": row["tokens_per_s"], "metric": "decode", "output_tokens": "1", "flags": flags}
