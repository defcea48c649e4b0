"""Two benchmark files side by side: text, Markdown, CSV, JSON."""

from __future__ import annotations

from dataclasses import asdict

from sizer.benchmark.compare import Comparison, Line
from sizer.report.layout import Lay
from sizer.report.outputs import Document
from sizer.units import format_rate

HEADERS = ("cell", "", "A, tokens/s", "B, tokens/s", "B/A - 1", "95 %", "verdict")


def document(found: Comparison) -> Document:
    """The comparison as a document; JSON and CSV hold every figure unrounded."""
    return Document(lambda: found, lambda: [asdict(line) for line in found.lines], lambda lay: _page(found, lay))


def _page(found: Comparison, lay: Lay) -> str:
    lines = [f"{name}: A {a or '?'}, B {b or '?'}" for name, (a, b) in found.differs.items()]
    lines += [*([""] if lines else []), lay(HEADERS, [_cells(line) for line in found.lines])]
    notes = dict.fromkeys(f"{line.cell}: {line.note}." for line in found.lines if line.note)
    lines += ["", *notes] if notes else []
    lines += [
        f"Only in {side}: {cell}." for side, cells in (("A", found.only_a), ("B", found.only_b)) for cell in cells
    ]
    return "\n".join(lines)


def _cells(line: Line) -> list[str]:
    half = "-" if line.half_width is None else "> 100%" if line.half_width > 1 else f"± {line.half_width:.1%}"
    return [
        line.cell, line.quantity, format_rate(line.a_tokens_per_s), format_rate(line.b_tokens_per_s),
        f"{line.change:+.1%}", half, line.verdict,
    ]  # fmt: skip
