"""A recommendation for people and for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sizer.advise.advice import Advice
from sizer.advise.draft import Draft
from sizer.advise.hardware import Fitting
from sizer.advise.licenses import license_of
from sizer.advise.loss import loss_of
from sizer.advise.recipes import DRAFT_FLAGS, RECIPES, recipe
from sizer.answer.public import answer, model_estimate
from sizer.answer.records import Estimate
from sizer.report.rows import TABLE_STYLES, render_rows
from sizer.report.table import device_line, fits_text, gib, model_line, rate_text, tokens_text, workload_line
from sizer.units import format_count, format_gib, format_rate

HEADERS = ("", "precision", "engine", "KL loss", "total", "fits", "max ctx", "decode tok/s")


def advice_json(advice: Advice, draft: Draft | None = None) -> dict[str, Any]:
    """The chosen estimate, its neighbours, the alternatives and the command, with the names of the estimate's JSON."""
    assert advice.chosen is not None
    document = answer(advice.tried)
    return {
        "schema_version": document.schema_version,
        "model": document.model,
        "workload": answer([advice.chosen]).workload,
        "recommendation": {"precision": advice.chosen.precision, "reason": advice.reason},
        "chosen_model": advice.chosen.architecture.model_id,
        "estimate": model_estimate(advice.chosen),
        "better": model_estimate(advice.better) if advice.better else None,
        "cheaper": model_estimate(advice.cheaper) if advice.cheaper else None,
        "alternatives": [
            {"kind": way.kind, "text": way.text, "estimate": model_estimate(way.estimate)}
            for way in advice.alternatives
        ],
        "estimates": document.estimates,
        "draft": draft_json(draft) if draft else None,
        "command": command_of(advice, draft),
    }


def draft_json(draft: Draft) -> dict[str, Any]:
    """What a draft model gains, with its own estimate."""
    return {
        "model": draft.estimate.architecture.model_id,
        "pays": draft.pays,
        "fits": draft.fits,
        "draft_tokens": draft.draft_tokens,
        "acceptance": draft.acceptance,
        "break_even_acceptance": draft.break_even_acceptance,
        "verify_cost": draft.gain.verify_cost,
        "draft_cost": draft.gain.draft_cost,
        "tokens_per_step": draft.gain.tokens_per_step,
        "speedup": draft.gain.speedup,
        "tokens_per_s": draft.gain.tokens_per_s,
        "extra_bytes": draft.extra_bytes,
        "estimate": model_estimate(draft.estimate),
    }


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
        f"{gain.verify_cost:.2f} + {draft.draft_tokens} x {gain.draft_cost:.2f} of a plain step's time.",
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


def command_of(advice: Advice, draft: Draft | None = None) -> str | None:
    """What runs the advice, with the draft where it pays; None where there is no recipe for the engine."""
    chosen = advice.chosen
    if chosen is None or chosen.engine not in RECIPES:
        return None
    return recipe(chosen, draft=draft if draft is not None and draft.pays and chosen.engine in DRAFT_FLAGS else None)


def render_advice(advice: Advice, style: str, draft: Draft | None = None, *, draft_asked: bool = False) -> str:
    """The choice and its reason, the ladder with the choice marked, other ways, and the command that runs it."""
    from tabulate import tabulate

    chosen = advice.chosen
    assert chosen is not None
    lines = [model_line(advice.tried[0]), device_line(chosen), workload_line(chosen), ""]
    lines += [f"Run {chosen.precision} with {chosen.engine}. {advice.reason}", ""]
    rows = []
    for item in advice.tried:
        mark = "*" if item is chosen else ""
        estimated = "" if item.quality_kl_divergence is not None else "~"
        rows.append(
            [
                mark, item.precision, item.engine, f"{estimated}{loss_of(item):.2g}", gib(item.footprint.total_bytes),
                fits_text(item.placement, item.architecture.num_layers), tokens_text(item.max_context_tokens),
                _speed_cell(item),
            ]
        )  # fmt: skip
    lines.append(tabulate(rows, headers=HEADERS, tablefmt=TABLE_STYLES[style], disable_numparse=True))
    lines += ["", *(f"- {way.text}" for way in advice.alternatives[1:])] if advice.alternatives[1:] else []
    lines += ["", draft_text(draft, chosen)] if draft_asked else []
    notes = chosen.assumptions
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    command = command_of(advice, draft)
    lines += ["", command.rstrip("\n")] if command else []
    return "\n".join(lines)


def _speed_cell(estimate: Estimate) -> str:
    if estimate.speed is None:
        return "-"
    decode = estimate.speed.decode
    return rate_text(decode.tokens_per_s, decode.low_tokens_per_s, decode.high_tokens_per_s)


def fit_rows(found: Sequence[Estimate], *, human: bool) -> list[dict[str, Any]]:
    """One row a model that fits: for people with rounded cells, for scripts with raw figures."""
    if not human:
        return [{**_fit_figures(item), "license": license_of(item.architecture.model_id)} for item in found]
    with_splits = any(not item.placement.whole for item in found)
    return [_fit_cells(item, with_splits) for item in found]


def _fit_cells(item: Estimate, with_splits: bool) -> dict[str, Any]:
    left = (item.placement.available_bytes or 0) - sum(share.total_bytes for share in item.placement.shares)
    held = "all" if item.placement.whole else f"{item.placement.gpu_layers}/{item.architecture.num_layers}"
    return {
        "model": item.architecture.model_id,
        "params": _params_text(item),
        "precision": item.precision,
        "GiB": gib(item.footprint.total_bytes),
        "left": gib(left),
        **({"layers": held} if with_splits else {}),
        "ctx": tokens_text(item.max_context_tokens),
        "decode tok/s": _speed_cell(item),
    }


def _params_text(item: Estimate) -> str:
    """`8.19B`, or `30.5B-A3.3B` where fewer are active."""
    model = item.architecture
    total = format_count(model.total_params)
    return total if model.experts is None else f"{total}-A{format_count(model.active_params)}"


def _fit_figures(item: Estimate) -> dict[str, Any]:
    public = model_estimate(item)
    return {
        "model": item.architecture.model_id,
        "total_params": item.architecture.total_params,
        "active_params": item.architecture.active_params,
        "engine": item.engine,
        "precision": item.precision,
        "total_bytes": public.memory.total_bytes,
        "available_bytes": public.memory.available_bytes,
        "fits": public.memory.fits,
        "gpu_layers": public.memory.gpu_layers,
        "host_bytes": public.memory.host_bytes,
        "max_context_tokens": public.memory.max_context_tokens,
        "decode_tokens_per_s": public.decode.tokens_per_s,
        "low_tokens_per_s": public.decode.low_tokens_per_s,
        "high_tokens_per_s": public.decode.high_tokens_per_s,
    }


def render_found(rows: Sequence[dict[str, Any]], style: str) -> str:
    """Rows of `fit_rows` or `hardware_rows` in the style asked for."""
    return render_rows(rows, style)


def hardware_rows(found: Sequence[Fitting], *, human: bool) -> list[dict[str, Any]]:
    """One row a device or instance: for people with rounded cells, for scripts with raw figures."""
    return [_hardware_cells(item) if human else _hardware_figures(item) for item in found]


def _hardware_cells(item: Fitting) -> dict[str, Any]:
    estimate, target = item.estimate, item.estimate.target
    name = item.rented or f"{f'{target.count} x ' if target.count > 1 else ''}{target.device.key}"
    return {
        "device": name,
        "memory": gib(item.memory_bytes),
        "link": target.link or "-",
        "precision": estimate.precision,
        "engine": estimate.engine,
        "decode tok/s": _speed_cell(estimate),
        "USD": f"{item.price_usd_launch:,.0f}" if item.price_usd_launch else "-",
    }


def _hardware_figures(item: Fitting) -> dict[str, Any]:
    figures = _fit_figures(item.estimate)
    target = item.estimate.target
    place = {"device": target.device.key, "count": target.count, "instance": item.rented or None, "link": target.link}
    return {**place, "memory_bytes": item.memory_bytes, "price_usd_launch": item.price_usd_launch, **figures}
