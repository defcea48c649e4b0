"""A load test of a server: text, Markdown, CSV, JSON."""

from __future__ import annotations

from collections.abc import Iterator

from sizer.benchmark.load.figures import MeasuredLoad, PredictedLoad
from sizer.benchmark.load.runner import LoadTest
from sizer.plain_json import to_json
from sizer.report.layout import Lay
from sizer.report.outputs import Document
from sizer.serving.simulated import Percentiles
from sizer.units import format_rate

HEADERS = ("load", "done", "TTFT ms p50/p90/p99", "TPOT ms p50/p90/p99", "gap p99", "tokens/s", "requests/s", "good/s")


def document(test: LoadTest) -> Document:
    """A line for each load and one for its prediction; CSV has a column for each percentile."""
    return Document(lambda: test, lambda: [_flat(load) for load in test.serving], lambda lay: _page(test, lay))


def _flat(load: MeasuredLoad) -> dict[str, object]:
    def leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
        if isinstance(value, dict):
            for part, one in value.items():
                yield from leaves(one, f"{name}_{part}" if name else part)
        else:
            yield name, value

    return dict(leaves(to_json(load), ""))


def _page(test: LoadTest, lay: Lay) -> str:
    rows = []
    for load in test.serving:
        rows.append(_measured(load))
        if load.predicted is not None:
            rows.append(_predicted(load.predicted))
    lines = [f"{test.model or 'the model'} served by {test.engine}, from outside", "", lay(HEADERS, rows), ""]
    lines += [f"Predicted: {test.deployment}, by simulating the requests that were sent."] if test.deployment else []
    lines += [] if test.deployment else [f"No prediction: {test.unpredicted}"]
    lines += [
        f"warning ({one.code}): {_name(load)}: {one.message} {one.remedy}"
        for load in test.serving
        for one in load.warnings
    ]
    if test.left_out:
        lines.append(f"Left out for want of time: {', '.join(test.left_out)}.")
    return "\n".join(lines)


def _name(load: MeasuredLoad) -> str:
    return f"{load.users} users" if load.users is not None else f"{load.rate_per_s:g}/s"


def _measured(load: MeasuredLoad) -> list[str]:
    good = load.goodput_requests_per_s
    return [
        _name(load), str(load.requests), _three(load.ttft_s), _three(load.tpot_s), _ms(load.inter_token_s.p99),
        format_rate(load.throughput_tokens_per_s), format_rate(load.requests_per_s),
        "-" if good is None else format_rate(good),
    ]  # fmt: skip


def _predicted(told: PredictedLoad) -> list[str]:
    rates = [format_rate(told.throughput_tokens_per_s), format_rate(told.requests_per_s)]
    return ["  predicted", "", _three(told.ttft_s), _three(told.tpot_s), "", *rates, ""]


def _three(times: Percentiles) -> str:
    return "/".join(_ms(one) for one in (times.p50, times.p90, times.p99))


def _ms(seconds: float) -> str:
    return format_rate(seconds * 1000)
