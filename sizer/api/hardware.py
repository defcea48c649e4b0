"""Which devices and cloud instances run a model as asked, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.api.asked import Options, WorkAsked, check_number, check_text, names, split_options
from sizer.api.wanted import MOST_LISTED, WantedAsked
from sizer.errors import DoesNotFit, UsageError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.advise.hardware import Fitting
    from sizer.advise.public import HardwareRow
    from sizer.advise.recommend import Wanted
    from sizer.workload import Workload


def hardware(
    model: str,
    *,
    users: int | None = None,
    text: str = "",
    order: str = "price",
    prices: Sequence[str] = (),
    limit: int | None = None,
    prefer: str = "balanced",
    min_speed: float | None = None,
    max_loss: float | None = None,
    **options: Unpack[Options],
) -> tuple[HardwareRow, ...]:
    """Which devices, counts of them and cloud instances run a model as asked, as `sizer hardware` answers.

    `users` is how many sequences run at once, `text` keeps devices and instances with these words, `order` is memory,
    price or speed, `prices` override the table's (`h100=2.10`, USD an hour). Raises DoesNotFit where nothing runs it.
    """
    from sizer.advise.public import hardware_rows

    if users is not None:
        options["batch"] = users
    _, work, offline = split_options(options)
    wanted = WantedAsked(prefer, min_speed, max_loss).wanted(offer=True)
    check_text("text", text)
    check_number("limit", limit, 0, MOST_LISTED, whole=True)
    found, _ = hardware_for(model, work, wanted, text=text or "", order=order, prices=names(prices), offline=offline)
    return hardware_rows(found[:limit])


def hardware_for(
    model: str,
    work: WorkAsked,
    wanted: Wanted,
    *,
    text: str = "",
    order: str = "price",
    prices: Sequence[str] = (),
    offline: bool = False,
) -> tuple[list[Fitting], Workload]:
    """The targets that run a model as asked, and the workload that they were asked for. Raises DoesNotFit."""
    from sizer.advise.advice import usual_workload
    from sizer.advise.hardware import ORDERS, hardware
    from sizer.model.read.resolve import resolve
    from sizer.precision.names import canonical
    from sizer.serving.prices import stated_prices

    if order not in ORDERS:
        raise UsageError(f"order is {order!r}.", f"It is one of {', '.join(ORDERS)}.")
    architecture = resolve(model, offline=offline).architecture
    workload = usual_workload(architecture, work.workload(), work.context_tokens)
    workload = replace(workload, gpu_layers=None)
    if work.context_tokens is not None:
        # A context that was asked for is what the speed is asked at: decoding ends with it full.
        workload = replace(workload, prompt_tokens=workload.context_tokens - workload.output_tokens)
    precision = canonical(work.precisions[0]) if work.precisions else None
    found = hardware(
        architecture,
        workload,
        wanted,
        flags=work.flags,
        precision=precision,
        text=text,
        order=order,
        prices=stated_prices(prices),
    )
    if not found:
        raise DoesNotFit(f"no device in the table runs {model!r} as asked.", "Lower --min-speed, --context or --users.")
    return found, workload
