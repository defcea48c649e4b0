"""A recommendation for people and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from sizer.advise.advice import Advice
from sizer.advise.draft import Draft
from sizer.advise.fitting_models import Found
from sizer.advise.hardware import Fitting
from sizer.advise.public import (
    command_of,
    first_command,
    fit_rows,
    hardware_rows,
    nothing_recommended,
    recommended,
)
from sizer.answer.loss import quality_of
from sizer.answer.measured import measured_as_asked
from sizer.answer.records import Estimate
from sizer.plain_json import to_json
from sizer.report.layout import Lay, cells_of
from sizer.report.outputs import Document
from sizer.report.table import (
    MEASURED,
    device_line,
    fits_text,
    flat_rows,
    gib,
    measured_lines,
    model_line,
    notes_lines,
    rate_text,
    tokens_text,
    workload_line,
)
from sizer.report.wrap import typed
from sizer.units import format_gib, format_rate

MARKED = f"{MEASURED} was measured with this engine and precision on this device: sizer measured MODEL tells by whom."
FIRST_COMMANDS = 3
"""Of how many models a list shows the command; `--json` has all."""
SHORT_KINDS = {"instruct": "chat", "reasoning": "thinks"}
HEADERS = ("", "precision", "engine", "KL", "what it costs", "total", "fits", "ctx")


def draft_text(draft: Draft | None, large: Estimate) -> str:
    """Whether a draft pays, the arithmetic, and what it rests on."""
    if draft is None:
        return "Speculative decoding: no model of the catalogue that could draft for this one fits beside it."
    model = draft.estimate.architecture
    name = f"{model.model_id} at {draft.estimate.precision}"
    verdict = f"{name} pays" if draft.pays else f"no draft pays; the best, {name}, does not"
    if not draft.fits:
        verdict = f"{name} does not fit beside it"
    gain = draft.gain
    lines = [
        f"Speculative decoding: {verdict}: {gain.speedup:.2f} times, {format_rate(gain.tokens_per_s)} tokens/s, with "
        f"{draft.draft_tokens} drafted at once and {format_gib(draft.extra_bytes)} more.",
        f"- A step yields {gain.tokens_per_step:.2f} tokens at an acceptance of {draft.acceptance:.2f} and takes "
        f"{gain.verify_cost:.2f} + {draft.draft_tokens} x {gain.draft_cost:.2f} + {gain.round_cost:.2f} of a plain "
        "step's time.",
    ]
    if draft.break_even_acceptance is None:
        lines.append("- No acceptance makes it faster than decoding without it.")
    else:
        lines.append(f"- It gains from an acceptance of {draft.break_even_acceptance:.2f} on; --acceptance says yours.")
    lines.append(
        f"- Vocabularies of {large.architecture.vocab_size:,} and {model.vocab_size:,} entries: both must have one "
        "tokenizer, which the sizes alone do not prove."
    )
    return "\n".join(lines)


TEXT_ALONE = "The command is for text: without --no-mmproj it reads images too."


def render_advice(advice: Advice, lay: Lay, draft: Draft | None = None, *, draft_asked: bool = False) -> str:
    """The choice and its reason, the ladder with the choice marked, other ways, and the command that runs it."""
    chosen = advice.chosen
    assert chosen is not None
    lines = [model_line(advice.tried[0]), device_line(chosen), workload_line(chosen), ""]
    lines += [f"Run {chosen.precision} with {chosen.engine}. {advice.reason}", ""]
    headers = (*HEADERS, _speed_head(chosen))
    lines.append(lay(headers, [_tried_cells(item, item is chosen) for item in _with_chosen(advice)]))
    lines += _unlike(chosen, advice.tried)
    lines += measured_lines([chosen]) or _marked(advice.tried)
    lines += ["", *(f"- {way.text}" for way in advice.alternatives[1:])] if advice.alternatives[1:] else []
    lines += ["", draft_text(draft, chosen)] if draft_asked else []
    command = command_of(advice, draft)
    lines += notes_lines([*chosen.assumptions, *([TEXT_ALONE] if command and "--no-mmproj" in command else [])])
    lines += ["", typed(command.rstrip("\n"))] if command else []
    return "\n".join(lines)


def _unlike(chosen: Estimate, tried: Sequence[Estimate]) -> list[str]:
    """That the other rows have another cache or context than the chosen one, whose own stand above the table."""
    own, other = chosen.workload, tried[0].workload
    if (own.kv_precision, own.context_tokens) == (other.kv_precision, other.context_tokens):
        return []
    at = f"a {other.kv_precision} cache, a context of {other.context_tokens:,}"
    return ["", f"* as above the table; the other rows with what was asked for: {at}."]


def _marked(estimates: Sequence[Estimate]) -> list[str]:
    """What the mark behind a speed means, behind an empty line; nothing where none is marked."""
    return ["", MARKED] if any(map(measured_as_asked, estimates)) else []


def _with_chosen(advice: Advice) -> list[Estimate]:
    """What was tried, with the chosen estimate in its place where a smaller cache or a shorter context changed it."""
    chosen = advice.chosen
    assert chosen is not None
    rows = [chosen if _rung(item) == _rung(chosen) else item for item in advice.tried]
    return rows if chosen in rows else [chosen, *rows]


def _rung(item: Estimate) -> tuple[str, str, str]:
    return item.architecture.model_id, item.engine, item.precision


def _tried_cells(item: Estimate, marked: bool) -> list[str]:
    loss = quality_of(item)
    about = "" if loss.factor == 1 else "~"
    return [
        "*" if marked else "",
        item.precision,
        item.engine,
        f"{about}{loss.kl_divergence:.2g}",
        loss.words,
        gib(item.footprint.total_bytes),
        fits_text(item.placement, item.architecture),
        tokens_text(item.max_context_tokens),
        _speed_cell(item),
    ]


def _speed_cell(estimate: Estimate) -> str:
    """The speed with its interval, marked where this engine was measured so on this device."""
    pace = estimate.pace
    if pace is None:
        return "-"
    told = rate_text(pace.rate, pace.low, pace.high)
    return f"{told} {MEASURED}" if measured_as_asked(estimate) else told


def _short_speed(estimate: Estimate) -> str:
    """`36.9 (22-54)`: beside a long name the interval's ends have two digits."""
    pace = estimate.pace
    if pace is None:
        return "-"
    ends = "" if pace.low is None or pace.high is None else f" ({_two_digits(pace.low)}-{_two_digits(pace.high)})"
    mark = f" {MEASURED}" if measured_as_asked(estimate) else ""
    return format_rate(pace.rate) + ends + mark


def _speed_head(estimate: Estimate) -> str:
    """What the speeds of a table count."""
    return "tok/s" if estimate.architecture.decodes else "texts/s"


def _two_digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def advice_document(advice: Advice, draft: Draft | None, *, draft_asked: bool) -> Document:
    """A recommendation: the whole record for scripts, what was tried as rows, the choice and its reason for people."""
    return Document(
        record=lambda: recommended(advice, draft) if advice.chosen else nothing_recommended(advice),
        rows=lambda: flat_rows(advice.tried),
        page=lambda lay: render_advice(advice, lay, draft, draft_asked=draft_asked),
    )


def fit_document(found: Sequence[Found], notes: Sequence[str] = ()) -> Document:
    """The models that fit: raw rows for scripts, rounded cells, what runs the first ones and the notes for people."""
    at_once = (command for item in found if (command := first_command(item.estimate, at_once=True)))
    commands = [typed(f"  {command}") for command in islice(at_once, FIRST_COMMANDS)]
    marked = _marked([item.estimate for item in found])[1:]
    after = [*(["To run the first of them:", *commands, ""] if commands else []), *marked, *notes]
    with_splits = any(not item.estimate.placement.whole for item in found)
    return _found(lambda: fit_rows(found), lambda: [_fit_cells(item, with_splits) for item in found], after)


def hardware_document(found: Sequence[Fitting], notes: Sequence[str] = ()) -> Document:
    """The devices and instances that run a model: raw rows for scripts, the model and rounded cells for people."""

    def page(lay: Lay) -> str:
        head = [model_line(found[0].estimate), workload_line(found[0].estimate), ""] if found else []
        table = cells_of([_hardware_cells(item) for item in found], lay)
        return "\n".join([*head, table, *(["", *notes] if notes else [])])

    return Document(
        lambda: list(hardware_rows(found)), lambda: [_named_first(to_json(row)) for row in hardware_rows(found)], page
    )


def _found(
    records: Callable[[], Sequence[Any]], cells: Callable[[], list[dict[str, Any]]], notes: Sequence[str]
) -> Document:
    return Document(
        record=lambda: list(records()),
        rows=lambda: [_named_first(to_json(row)) for row in records()],
        page=lambda lay: "\n".join([cells_of(cells(), lay), *(["", *notes] if notes else [])]),
    )


def _named_first(row: dict[str, Any]) -> dict[str, Any]:
    """A row that begins with what it is of."""
    first: dict[str, Any] = {name: row[name] for name in ("device", "count", "model") if name in row}
    return {**first, **row, "measured": "; ".join(f"{one['tokens_per_s']:g}" for one in row["measured"])}


def _fit_cells(found: Found, with_splits: bool) -> dict[str, Any]:
    item = found.estimate
    held = "all" if item.placement.whole else f"{item.placement.gpu_layers}/{item.architecture.num_layers}"
    return {
        "model": item.architecture.model_id,
        "released": found.released[:7] or None,
        "rating": f"{found.rating.rating:.0f}" if found.rating else None,
        "precision": item.precision,
        **({"layers": held} if with_splits else {}),
        "GiB": gib(item.footprint.total_bytes),
        "tok/s": _short_speed(item) + ("" if item.architecture.decodes else " texts/s"),
        "kind": SHORT_KINDS.get(found.kind, found.kind or "?"),
    }


def _usd(price: float | None) -> str:
    """Dollars and cents; of less than a cent two digits."""
    if price is None:
        return "-"
    return f"{price:.2f}" if price >= 0.01 else f"{price:.1g}"


def _hardware_cells(item: Fitting) -> dict[str, Any]:
    estimate, target = item.estimate, item.estimate.target
    name = item.rented or (f"{target.count} x {target.device.key}" if target.count > 1 else target.asked)
    return {
        "device": name,
        "GiB": gib(item.memory_bytes),
        "precision": estimate.precision,
        "engine": estimate.engine,
        f"{_speed_head(estimate)} each": _speed_cell(estimate),
        "buy $": f"{item.price_usd_launch:,.0f}" if item.price_usd_launch else "-",
        "rent $/h": f"{item.usd_per_hour:.2f}" if item.usd_per_hour is not None else "-",
        "$/M tok": _usd(item.usd_per_million_tokens),
    }
