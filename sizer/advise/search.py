"""`choose` over a ladder without estimating what cannot be chosen: for searches over many models or devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sizer.advise.family import listing
from sizer.advise.recommend import (
    READING_TOKENS_PER_S,
    TOLERABLE_LOSS,
    WORTHWHILE_GAIN,
    Wanted,
    choose,
    eligible,
    keeps_benchmarks,
    reaches,
    worth_losing,
)
from sizer.answer.estimate import estimate
from sizer.answer.loss import layer_params, least_bits, loss_at
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.device.records import Target
from sizer.device.usable import free_memory_bytes
from sizer.engine.engines import default_engine
from sizer.engine.ladders import own_precision
from sizer.engine.stored import store_for
from sizer.memory.shares import weights_by_layer
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.precision.configured import configured_precision
from sizer.precision.identity_cache import IdentityCache
from sizer.precision.names import precision_of
from sizer.speed.case import speed_case
from sizer.speed.limits import fastest_decode

_STORED: IdentityCache[Architecture, Stored] = IdentityCache(64)

WORTH_LOOKING: Mapping[str, Callable[[Estimate], float]] = {"balanced": worth_losing, "quality": lambda _found: 0.0}
"""Once something is eligible, `choose` takes what loses more only up to this; speed and memory look at all."""


def best_of(questions: Iterable[Question], wanted: Wanted) -> Estimate | None:
    """What `choose` takes of a ladder's estimates, in rising order of loss (equal losses: less memory first).

    What quantizes a quantized checkpoint anew and saves under a tenth is not among them (`advice.worthwhile`).
    """
    seen: list[Estimate] = []
    found: Estimate | None = None
    questions = list(questions)
    most_bytes = _worthwhile_bytes(questions)
    limit = WORTH_LOOKING.get(wanted.prefer)
    for question in questions:
        loss = loss_at(question.architecture, question.precision, question.engine or "")
        if wanted.max_loss is not None and loss > wanted.max_loss:
            continue
        if found is not None and limit is not None and loss > limit(found) and not keeps_benchmarks(question.precision):
            break
        room_bytes = room(question.target)
        if room_bytes is not None and _least_bytes(question.architecture, loss) > room_bytes:
            continue
        stored = _stored(question)
        if most_bytes is not None and not _is_native(question) and stored.weights_bytes >= most_bytes:
            continue
        # The input's tables may stay on the host.
        if room_bytes is not None and stored.weights_bytes - weights_by_layer(stored).input_bytes > room_bytes:
            continue
        if wanted.min_tokens_per_s is not None and _fastest(question, stored) < wanted.min_tokens_per_s:
            continue
        item = estimate(replace(question, stored=stored))
        seen.append(item)
        found = item if eligible([item], wanted) else found
    return choose(seen, wanted)


def _is_native(question: Question) -> bool:
    """Whether a question asks for the quantization that the checkpoint itself was published in."""
    engine = question.engine or default_engine(question.precision, question.target.device)
    return question.precision == own_precision(question.architecture, engine)


def _worthwhile_bytes(questions: Sequence[Question]) -> float | None:
    """The weights that another quantization of a quantized checkpoint must stay under; None for plain floats."""
    if not questions:
        return None
    native = next((question for question in questions if _is_native(question)), None)
    rungs = ((each.precision, _stored(each).weights_bytes) for each in reversed(questions))
    return most_requantized_bytes(
        questions[0].architecture,
        questions[0].engine or "",
        _stored(native).weights_bytes if native else None,
        rungs,
    )


def most_requantized_bytes(
    architecture: Architecture, engine: str, native_bytes: float | None, rungs: Iterable[tuple[str, float]]
) -> float | None:
    """The weights that another quantization of a quantized checkpoint must stay under: a tenth less than the checkpoint
    where a rung is its own (of `native_bytes`). Where the engine does not run it, a tenth more: above that, files made
    anew only pad its bits.

    None where a copy was quantized, whose original has the other bits, where an engine loads what is published, and
    where no rung (its precision and bytes) of little loss stays under that: a model of 2 bits.
    """
    if native_bytes is not None:
        return native_bytes / WORTHWHILE_GAIN
    own = configured_precision(architecture)
    if own is None or listing(architecture.model_id) == "copy":
        return None
    most_bytes = store_for(architecture, own, None).weights_bytes * WORTHWHILE_GAIN
    made = (rung for rung in rungs if precision_of(rung[0]).is_gguf or precision_of(rung[0]).kind == "mlx")
    tolerable = (size for name, size in made if loss_at(architecture, name, engine) <= TOLERABLE_LOSS)
    return most_bytes if any(size < most_bytes for size in tolerable) else None


def best_split(questions: Iterable[Question], wanted: Wanted) -> Estimate | None:
    """The allowed precision to split with the host, where that holds it at the wanted speed, reading's by default.

    What is on the host decides the speed: of those within a tenth of the smallest, the one that loses least.
    """
    limit = float("inf") if wanted.max_loss is None else wanted.max_loss
    allowed = [
        (loss, _stored(question).weights_bytes, question)
        for question in questions
        if (loss := loss_at(question.architecture, question.precision, question.engine or "")) <= limit
    ]
    if not allowed:
        return None
    most_bytes = WORTHWHILE_GAIN * min(size_bytes for _, size_bytes, _ in allowed)
    question = min((item for item in allowed if item[1] <= most_bytes), key=lambda item: item[:2])[2]
    item = estimate(replace(question, stored=_stored(question)))
    least = READING_TOKENS_PER_S if wanted.min_tokens_per_s is None else wanted.min_tokens_per_s
    runs = item.placement.fits and item.placement.host is not None
    return item if runs and reaches(item, replace(wanted, min_tokens_per_s=least)) else None


def _fastest(question: Question, stored: Stored) -> float:
    """Decode tokens/s that no estimate of the question exceeds."""
    engine = question.engine or default_engine(question.precision, question.target.device)
    case = speed_case(question.architecture, stored, question.target, question.workload, engine)
    return fastest_decode(case)


def _least_bytes(architecture: Architecture, loss: float) -> float:
    """Bytes that a rung of this loss takes at least, without storing it; 0 for a model published in fewer bits.

    Mixtures of types differ a little from one model to the next: a tenth less than the table's model would take.
    """
    return 0.0 if architecture.quantization is not None else 0.9 * least_bits(loss) / 8 * layer_params(architecture)


def _stored(question: Question) -> Stored:
    """The model as stored, kept: a search over devices asks for the same again and again."""

    def make() -> Stored:
        return store_for(question.architecture, question.precision, question.engine, version)

    version = question.options.version if question.options is not None else ""
    return _STORED.get(question.architecture, (question.precision, question.engine, version), make)


def room(target: Target) -> int | None:
    """Bytes that all devices of a target have together; None where one of them is not known."""
    sizes = [free_memory_bytes(target, device) for device in (*(target.device,) * target.count, *target.others)]
    known = [size_bytes for size_bytes in sizes if size_bytes is not None]
    return sum(known) if len(known) == len(sizes) else None


def host_room(target: Target) -> int:
    """Bytes that a target's host has for what the devices do not hold; 0 where there is none or it is not known."""
    return 0 if target.host is None or target.host_memory_bytes is None else target.host_memory_bytes
