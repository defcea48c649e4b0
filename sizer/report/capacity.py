"""A capacity for people and for scripts: what a machine serves, a table by users, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sizer.plain_json import to_json
from sizer.report.layout import Lay, cells_of, fits
from sizer.report.outputs import Document
from sizer.serving.records import Apart, Capacity, Day, ServedRow
from sizer.units import format_rate, format_seconds, significant

BINDS = {
    "ttft": "the time to the first token",
    "tpot": "the time per token",
    "cache": "the cache: requests wait for room",
    "sequences": "the engine's places: requests wait for one",
    "none": "nothing up to there",
}


def document(found: Sequence[Capacity]) -> Document:
    """The capacities of one model: an object, or a list where several devices were asked for."""
    return Document(
        record=lambda: found[0] if len(found) == 1 else list(found),
        rows=lambda: [_flat(one, row) for one in found for row in one.serving],
        page=lambda lay: "\n\n".join(_page(one, lay) for one in found),
    )


def _flat(one: Capacity, row: ServedRow) -> Mapping[str, Any]:
    """A row with its case, percentiles as columns of their own."""
    case = {"model": one.model, "device": one.device, "devices": one.devices, "engine": one.engine}
    flat: dict[str, Any] = {**case, "precision": one.precision}
    for name, value in to_json(row).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{part}": number for part, number in value.items()})
        else:
            flat[name] = " ".join(value) if isinstance(value, list) else value
    return flat


def _page(one: Capacity, lay: Lay) -> str:
    lines = [_headline(one), _answer(one), ""]
    lines.append(cells_of(_told([_cells(row) for row in one.serving]), lay))
    lines += [*_day(one.day), *_apart(one.disaggregated)]
    notes = [f"Price: {one.price}." if one.price else "No price is known: --price 2.10 gives one.", *one.assumptions]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _headline(one: Capacity) -> str:
    shared = f"{one.replicas} x {one.parallelism}" if one.replicas > 1 else one.parallelism
    return (
        f"{one.model}, {one.precision}, {one.engine} on {one.devices} x {one.device} ({shared}); "
        f"prompt {one.prompt_tokens:,}, output {one.output_tokens:,}."
    )


def _answer(one: Capacity) -> str:
    """`40 users within a first token of 1 s and 50 ms a token (p90); the next ones break the time per token.`"""
    limits = []
    if one.ttft_limit_s is not None:
        limits.append(f"a first token of {format_seconds(one.ttft_limit_s)}")
    if one.tpot_limit_s is not None:
        limits.append(f"{format_seconds(one.tpot_limit_s)} a token")
    within = f" within {' and '.join(limits)} ({one.percentile})" if limits else ""
    rate = f", {significant(one.max_requests_per_s)} requests a second" if one.max_requests_per_s is not None else ""
    if not one.max_users:
        broken = BINDS.get(one.binding, one.binding)
        return f"No user is served{within}: one alone on each replica breaks {broken}, and more machines do not help."
    text = f"{one.max_users:,} users{rate} a machine{within}; what binds: {BINDS.get(one.binding, one.binding)}."
    if not one.met:
        beyond = (
            "What is asked does not meet the limits on" if limits else "More requests are asked for than is served by"
        )
        return f"{text} {beyond} {_count(one.machines)}."
    return text if one.machines == 1 else f"{text} {_count(one.machines)} for what is asked."


def _count(machines: int) -> str:
    return f"{machines:,} machine{'' if machines == 1 else 's'}"


def _cells(row: ServedRow) -> dict[str, Any]:
    return {
        "users": f"{row.users:,}",
        "req/s": significant(row.requests_per_s),
        "TTFT p50": f"{format_seconds(row.ttft_s.p50)}",
        "p90": format_seconds(row.ttft_s.p90),
        "p99": format_seconds(row.ttft_s.p99),
        "TPOT ms (90 %)": f"{_ms(row.tpot_s.p50)} ({_ms(row.low_tpot_s)}-{_ms(row.high_tpot_s)})",
        "p99 ms": _ms(row.tpot_s.p99),
        "tok/s": format_rate(row.throughput_tokens_per_s),
        "cache": f"{row.kv_used_fraction:.0%}",
        "$/M out": "-" if row.usd_per_million_tokens is None else significant(row.usd_per_million_tokens),
        "breaks": _breaks(row.fails),
    }


def _breaks(fails: Sequence[str]) -> str:
    """What a load breaks first, and how much else, which JSON and CSV name: a row fits a screen."""
    if not fails:
        return "-"
    first = "places" if fails[0] == "sequences" else fails[0]
    return first if len(fails) == 1 else f"{first}+{len(fails) - 1}"


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without a price or a limit that none of them tells of, nor the slowest tokens where figures of many
    users leave no room: the table fits a screen."""
    empty = {name for name in ("$/M out", "breaks") if all(row[name] == "-" for row in rows)}
    told = [{name: cell for name, cell in row.items() if name not in empty} for row in rows]
    widths = [max(len(name), *(len(row[name]) for row in told)) for name in (told[0] if told else ())]
    if fits(widths):
        return told
    return [{name: cell for name, cell in row.items() if name != "p99 ms"} for row in told]


def _ms(seconds: float) -> str:
    return significant(seconds * 1000)


def _day(day: Day | None) -> Iterator[str]:
    if day is None:
        return
    cost = ""
    if day.usd_per_day_peak is not None and day.usd_per_day_following is not None:
        whole, followed = (
            _per_million(day.usd_per_million_tokens_peak),
            _per_million(day.usd_per_million_tokens_following),
        )
        cost = f", ${day.usd_per_day_peak:,.0f} a day{whole}; "
        cost += f"${day.usd_per_day_following:,.0f} if they follow the hours{followed}"
    yield ""
    yield (
        f"The day: {day.requests:,.0f} requests, {_count(day.peak_machines)} at its peak{cost} "
        f"({day.machine_hours:,.0f} machine hours)."
    )


def _per_million(usd: float | None) -> str:
    return "" if usd is None else f" (${significant(usd)} a million generated tokens)"


def _apart(found: Apart | None) -> Iterator[str]:
    if found is None:
        return
    yield ""
    yield (
        f"Prompts apart (by arithmetic): {found.prefill_devices} devices read, {found.decode_devices} "
        f"decode: {significant(found.requests_per_s)} requests a second, {found.users:,} users; first token p50 "
        f"{format_seconds(found.ttft_s.p50)}, p90 {format_seconds(found.ttft_s.p90)}, then "
        f"{format_seconds(found.tpot_s.p90)} a token (p90); "
        f"a prompt's cache crosses the link in {format_seconds(found.transfer_s)}."
    )
