"""Verdicts on engine commands as text and as records."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Any

from sizer.advise.check import Checked
from sizer.report.layout import Lay
from sizer.report.outputs import Document, together
from sizer.report.wrap import typed


def check_document(found: Sequence[Checked]) -> Document:
    """The verdicts of one command, one a device."""
    return together([_verdict(item) for item in found])


def _verdict(item: Checked) -> Document:
    def record() -> Any:
        from sizer.answer.public import check_answer

        return check_answer(item.estimate, item.starts, item.reason, item.change)

    def rows() -> list[dict[str, Any]]:
        from sizer.report.table import flat_rows

        told = {"starts": item.starts, "reason": item.reason, "change": "; ".join(item.change)}
        return [{**row, **told} for row in flat_rows([item.estimate])]

    return Document(record, rows, lambda lay: _page(item, lay))


def _page(item: Checked, lay: Lay) -> str:
    """The estimate's table, and the verdict under it."""
    from sizer.report.table import render

    lines = [render([item.estimate], lay), "", f"{'It starts' if item.starts else 'It does not start'}: {item.reason}"]
    if item.change:
        lines += ["Any one of these makes it start:", *(f"  {change}" for change in item.change)]
    elif not item.starts:
        lines += ["No flag alone makes it start. What runs there, and what runs it:", *_elsewhere(item)]
    return "\n".join(lines)


def _elsewhere(item: Checked) -> list[str]:
    """The commands that tell what else would do: another precision there, another device."""
    model, target = quote(item.estimate.architecture.model_id), item.estimate.target
    device = f" -d {quote(target.asked)}" if target.asked and target.asked not in {"this", "custom"} else ""
    return [typed(f"  sizer recommend {model}{device}"), typed(f"  sizer hardware {model}")]
