"""Rows of engines under load (`data/serving.csv`) as rows of the law: time per output token of concurrent requests.

They teach the law what batches, tensor-parallel ranks and many sequences cost. Their time to first token includes
queueing at that concurrency and is not used here; attention that is replicated by data parallelism or experts spread
by expert parallelism are left to the corrections of `load_fit`, which both times of every point teach.
"""

from __future__ import annotations

from pathlib import Path

from sizer.calibrate.measurements import ReadRow, measurement
from sizer.serving.layout import NODE_DEVICES
from sizer.serving.points import Point, point, read_rows

SOURCE = "serving"


def read_serving(path: Path) -> list[ReadRow]:
    """The rows of a serving table that one tensor-parallel group served. InvalidInputFile where it is no such table."""
    rows = [one for one in map(point, read_rows(path)) if _plain(one)]
    return [measurement(_as_measurement(row, number)) for number, row in enumerate(rows, 1)]


def _plain(one: Point) -> bool:
    """One tensor-parallel group within a node, with a time per token, that no drafter helped."""
    layout = one.layout
    alone = layout.attention_groups == layout.stages == 1 and not layout.expert_parallel
    return alone and layout.devices <= NODE_DEVICES and bool(one.tpot_s) and not one.script.drafted


def _as_measurement(one: Point, number: int) -> dict[str, str]:
    """A point in the columns of the measurements: the aggregate speed of its concurrent requests."""
    users = one.load.users or 1
    return {
        "id": f"{SOURCE} {one.row['system']}-{number}",
        "engine": one.engine,
        "engine_version": one.engine_version,
        "backend": "cuda",
        "model": one.model,
        "precision": one.precision,
        "device": one.device,
        "device_count": str(one.devices),
        "parallelism": "tensor" if one.devices > 1 else "",
        "batch": str(users),
        "prompt_tokens": str(one.load.prompt_tokens),
        "context_tokens": str(one.load.prompt_tokens),
        "output_tokens": str(one.load.output_tokens),
        "metric": "served",
        "decode_tokens_per_s": str(users / (one.tpot_s or 1)),
        "flags": "aggregate",
        "source_date": "2026",
    }
