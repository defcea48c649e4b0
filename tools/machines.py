"""Writes the table of recorded machines in docs/machines.md: what each is, and what is found of it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import machinefile  # noqa: E402

from sizer.device import measured  # noqa: E402
from sizer.device.detect import detect, this_target  # noqa: E402
from sizer.units import GIB, format_bandwidth  # noqa: E402

PAGE = ROOT / "docs" / "machines.md"
BEGIN, END = "<!-- machines -->", "<!-- end -->"


def table() -> str:
    """The table in Markdown, a row a recorded machine."""
    rows = ["| machine | found | memory | bandwidth | what it stands for |", "| --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        real, measured.folder = measured.folder, lambda: Path(folder) / "data"
        try:
            rows += [_row(name, Path(folder) / name) for name in machinefile.names()]
        finally:
            measured.folder = real
    return "\n".join(rows)


def _row(name: str, root: Path) -> str:
    recorded = machinefile.read(name)
    target = this_target(machine=detect(recorded.edge(root)))
    device = target.device
    times = f" x{target.count}" if target.count > 1 else ""
    others = "".join(f" + {other.key}" for other in target.others)
    memory = f"{device.memory_bytes / GIB:.4g} GiB" if device.memory_bytes else "unknown"
    rate = format_bandwidth(device.bandwidth_bytes_per_s) if device.bandwidth_bytes_per_s else "unknown"
    return f"| {name} | {device.key}{times}{others} ({device.kind}) | {memory} | {rate} | {recorded.about} |"


def page() -> str:
    """The page with the table as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
