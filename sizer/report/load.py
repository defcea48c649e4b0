"""A load test of a server: text, Markdown, CSV, JSON."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.benchmark.load import Load
from sizer.plain_json import to_json
from sizer.report.layout import Lay
from sizer.report.outputs import Document
from sizer.serving.simulated import Percentiles
from sizer.units import format_rate

HEADERS = ("users", "done", "TTFT ms p50/p90/p99", "TPOT ms p50/p90/p99", "gap p99 ms", "tokens/s", "requests/s",
           "good/s")  # fmt: skip


def document(loads: Sequence[Load]) -> Document:
    """A line for each number of users; JSON has them under `serving`, CSV a column for each percentile."""
    return Document(
        lambda: {"schema_version": 1, "serving": list(loads)},
        lambda: [_flat(load) for load in loads],
        lambda lay: _page(loads, lay),
    )


def _flat(load: Load) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, value in to_json(load).items():
        row |= {f"{name}_{part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
    return row


def _page(loads: Sequence[Load], lay: Lay) -> str:
    lines = [lay(HEADERS, [_cells(load) for load in loads])]
    lines += [
        f"{load.users} users: {load.failed} requests failed, {load.unfinished} did not finish."
        for load in loads
        if load.failed or load.unfinished
    ]
    if any(load.merged_tokens for load in loads):
        lines.append("The server sends several tokens an event: times between tokens are those between events.")
    return "\n".join(lines)


def _cells(load: Load) -> list[str]:
    good = load.goodput_requests_per_s
    return [
        str(load.users), str(load.requests), _three(load.ttft_s), _three(load.tpot_s),
        _ms(load.inter_token_s.p99), format_rate(load.throughput_tokens_per_s),
        format_rate(load.requests_per_s), "-" if good is None else format_rate(good),
    ]  # fmt: skip


def _three(times: Percentiles) -> str:
    return "/".join(_ms(one) for one in (times.p50, times.p90, times.p99))


def _ms(seconds: float) -> str:
    return format_rate(seconds * 1000)
