"""The models found on this machine, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sizer.answer.public import NO_DECODING, model_estimate
from sizer.report.outputs import Document, listing
from sizer.report.table import gib, rate_text, tokens_text

if TYPE_CHECKING:
    from sizer.api.installed import Installed


def installed_document(found: Sequence[Installed]) -> Document:
    """One row a model: where it lies, what it takes, how fast it runs, or why that is not known."""
    return listing([_figures(item) for item in found], _cells)


def _figures(item: Installed) -> dict[str, Any]:
    """One model that lies here, with its estimate or the reason why there is none."""
    kept = item.kept
    where = {"program": kept.program, "model": kept.name, "path": str(kept.path), "file_bytes": kept.size_bytes}
    if item.estimate is None:
        return {**where, **dict.fromkeys(_ESTIMATED), "engine": kept.engine, "problem": item.problem}
    public = model_estimate(item.estimate)
    decode = public.decode or NO_DECODING
    figures = (
        public.engine,
        public.precision,
        item.estimate.architecture.total_params,
        public.memory.total_bytes,
        public.memory.available_bytes,
        public.memory.fits,
        public.memory.max_context_tokens,
        decode.tokens_per_s,
        decode.low_tokens_per_s,
        decode.high_tokens_per_s,
    )
    return {**where, **dict(zip(_ESTIMATED, figures, strict=True)), "problem": None}


_ESTIMATED = (
    "engine", "precision", "total_params", "total_bytes", "available_bytes", "fits", "max_context_tokens",
    "decode_tokens_per_s", "low_tokens_per_s", "high_tokens_per_s",
)  # fmt: skip


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    rate = row["decode_tokens_per_s"]
    speed = "-" if rate is None else rate_text(rate, row["low_tokens_per_s"], row["high_tokens_per_s"])
    return {
        "program": row["program"],
        "model": row["model"],
        "precision": row["precision"] or "-",
        "GiB": gib(row["total_bytes"]) if row["total_bytes"] else "-",
        "fits": "-" if row["fits"] is None else "yes" if row["fits"] else "no",
        "max ctx": tokens_text(row["max_context_tokens"]),
        "decode tok/s": speed if row["problem"] is None else row["problem"],
    }
