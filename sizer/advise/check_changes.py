"""Which flags to change so that a command starts: candidates, each tried, those that cost least first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sizer.advise.planned import Planned, reserved_context
from sizer.advise.refusals import lacks_bfloat16
from sizer.engine.flag_table import flag_setting
from sizer.engine.flag_text import written_all
from sizer.engine.flagged import cache_type
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.memory.bisection import last_that_holds
from sizer.memory.projector import PROJECTOR_TOWERS

LEAST_CONTEXT_TOKENS = 1024
"""No change shortens a context further: less holds no question and its answer."""
CONTEXT_STEP = 256
"""Contexts that are tried are multiples of this, as llama.cpp pads its cache."""
MOST_CHANGES = 4
"""Commands that a person is shown: the first are the mildest."""
MOST_HUNDREDTHS = 97
"""Of the memory: what is left is for graphs that engines capture later, and for others."""
LEAST_SEQUENCES, MOST_SEQUENCES, LEAST_BATCH_TOKENS = 8, 1024, 2048
"""The fewest and the most sequences of one step that are tried, and the smallest step in tokens: vLLM's own defaults
lie between (256 or 1,024 sequences, 2,048 to 16,384 tokens by release)."""
HALVES = frozenset({"bf16", "fp16"})
ONLINE_QUANTIZATION = {"fp8": "fp8", "bitsandbytes": "nf4"}
"""What --quantization makes of a 16-bit checkpoint while it loads."""


@dataclass(frozen=True, slots=True)
class _Search:
    """A plan that does not start, and the trial of another; `dealt` is a split over devices that evens them out."""

    planned: Planned
    trial: Callable[[Planned], bool]
    needed: dict[str, Any]
    dealt: tuple[int, ...] = ()

    def starts(self, fields: dict[str, Any]) -> bool:
        """Whether the plan starts with these flags, beside those that it needs whatever the memory."""
        return self.trial(changed(self.planned, {**self.needed, **fields}))


def changes(planned: Planned, starts: Callable[[Planned], bool], dealt: tuple[int, ...] = ()) -> list[str]:
    """Changes of flags, each of which makes the command start; those that cost least first."""
    search = _Search(planned, starts, {"weights_dtype": "half"} if lacks_bfloat16(planned) else {}, dealt)
    if search.needed and search.starts({}):
        return _that_start(search, iter([search.needed]))
    return _that_start(search, _single(search)) or _that_start(search, _together(search))


def _that_start(search: _Search, candidates: Iterator[dict[str, Any]]) -> list[str]:
    """Those of the candidates that start, as words; the first few."""
    planned = search.planned
    found: list[str] = []
    changed_so: set[frozenset[str]] = set()
    for fields in candidates:
        words = _words(planned, {**search.needed, **fields})
        if words is None or frozenset(fields) in changed_so or not search.starts(fields):
            continue
        changed_so.add(frozenset(fields))  # more of what is enough already is no further change
        found.append(shlex.join(words))
        if len(found) == MOST_CHANGES:
            break
    return found


def _words(planned: Planned, fields: dict[str, Any]) -> list[str] | None:
    """The flags of a change, None where the engine has none for it."""
    try:
        return written_all(planned.dialects, fields, planned.options.version)
    except UsageError:
        return None


def changed(planned: Planned, fields: dict[str, Any]) -> Planned:
    """The plan with flags changed."""
    precision = ONLINE_QUANTIZATION.get(fields.get("quantization", ""), planned.precision)
    return replace(planned, options=replace(planned.options, **fields), precision=precision)


def _single(search: _Search) -> Iterator[dict[str, Any]]:
    """Changes of one flag: a shorter context, a denser cache, more of the memory, less beside it, layers elsewhere."""
    planned = search.planned
    if search.needed:
        yield search.needed
    if search.dealt:
        yield {"tensor_split": search.dealt}
    yield from _shorter(search, {})
    if dense := _denser(planned):
        yield dense
    if planned.options.vision is not False and _has_towers(planned):
        yield {"vision": False}
    yield from _more_memory(search)
    if planned.options.graphs is not False:
        yield {"graphs": False}
    yield from _fewer_sequences(search)
    if planned.options.batch_tokens != LEAST_BATCH_TOKENS:
        yield {"batch_tokens": LEAST_BATCH_TOKENS}
    yield from _to_host(search)
    yield from _other_ranks(planned)
    yield from _quantized(planned)


def _together(search: _Search) -> Iterator[dict[str, Any]]:
    """Changes of several flags, where none alone is enough: one more at a time, until the context stays as it is."""
    planned = search.planned
    # The mildest first: each step frees more, and takes more of what a server is for.
    steps: list[dict[str, Any]] = [
        {"batch_tokens": LEAST_BATCH_TOKENS}, {"max_sequences": 2 * LEAST_SEQUENCES}, {"memory_fraction": 0.95},
    ]  # fmt: skip
    steps += [{"graphs": False}, _denser(planned), next(_quantized(planned), {})]
    beside: dict[str, Any] = {}
    for step in (step for step in steps if step and _words(planned, step) is not None):
        beside = {**beside, **step}
        if search.starts(beside):
            yield beside
            return
        yield from _shorter(search, beside)
        yield from _to_host(search, beside)


def _more_memory(search: _Search) -> Iterator[dict[str, Any]]:
    """The least share of the memory, in hundredths, that is enough; none beyond the most that is sensible."""
    planned = search.planned
    default = planned.memory.device_fraction
    taken = planned.options.memory_fraction or default
    if taken is None or _words(planned, {"memory_fraction": taken}) is None:
        return
    spare = last(
        lambda step: search.starts({"memory_fraction": (MOST_HUNDREDTHS - step) / 100}),
        range(MOST_HUNDREDTHS - int(taken * 100)),
    )
    if spare is not None:
        yield {"memory_fraction": (MOST_HUNDREDTHS - spare) / 100}


def _fewer_sequences(search: _Search) -> Iterator[dict[str, Any]]:
    """The most sequences of one step, a power of two, that start."""
    asked = search.planned.options.max_sequences or MOST_SEQUENCES
    powers = range(LEAST_SEQUENCES.bit_length() - 1, (asked - 1).bit_length())
    most = last(lambda power: search.starts({"max_sequences": 2**power}), powers)
    if most is not None:
        yield {"max_sequences": 2**most}


def _shorter(search: _Search, beside: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The longest context that starts, beside other changes; none where not even a short one does."""
    planned = search.planned
    own = planned.architecture.max_context_tokens or 2**20
    asked = min(reserved_context(planned)[0], own)
    least = max(LEAST_CONTEXT_TOKENS, planned.prompt_tokens + planned.output_tokens)
    steps = range(-(-least // CONTEXT_STEP), asked // CONTEXT_STEP + 1)

    def starts(step: int) -> bool:
        return search.starts({**beside, "context_tokens": step * CONTEXT_STEP})

    longest = last(starts, steps)
    if longest is not None:
        yield {**beside, "context_tokens": longest * CONTEXT_STEP}


def last(holds: Callable[[int], bool], steps: range) -> int | None:
    """The last of `steps` that holds, where all before it do; None where the first does not."""
    if not steps or not holds(steps[0]):
        return None
    return last_that_holds(holds, steps[-1], least=steps[0])


def _has_towers(planned: Planned) -> bool:
    """Whether the model sees or hears, which an engine may leave out for text alone."""
    return any(tensor.tower in PROJECTOR_TOWERS for tensor in planned.architecture.tensors)


def _quantized(planned: Planned) -> Iterator[dict[str, Any]]:
    """The weights quantized while they load, for a checkpoint in 16 bits and an engine that does so."""
    if planned.precision not in HALVES or planned.options.quantization:
        return
    for word, precision in ONLINE_QUANTIZATION.items():
        kernels = planned.engine.has_kernels(precision, planned.target.device)
        if planned.engine.runs(precision) and kernels:
            yield {"quantization": word}


def _denser(planned: Planned) -> dict[str, Any]:
    """The cache at eight bits, in the engine's own word; nothing where a flag says one of its own, or it has none."""
    flag = flag_setting(planned.dialects, "k_cache_type", planned.options.version)
    asked = cache_type(planned.options.k_cache_type)
    if flag is None or (asked and planned.engine.own_cache(asked) == asked):
        return {}
    return {"k_cache_type": flag.denser, "v_cache_type": flag.denser} if flag.denser else {}


def _to_host(search: _Search, beside: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The most layers, or layers' experts, that the device holds, for an engine that splits with the host."""
    planned = search.planned
    layers, other = planned.architecture.num_layers, beside or {}
    if planned.target.host is None or not layers:
        return
    if planned.architecture.experts and "experts" in planned.engine.offload:
        fewest = last(lambda step: search.starts({**other, "cpu_moe_layers": layers - step}), range(layers))
        if fewest is not None:
            yield {**other, "cpu_moe_layers": layers - fewest}
    if "layers" in planned.engine.offload:
        most = last(lambda step: search.starts({**other, "gpu_layers": step}), range(layers + 1))
        if most is not None:
            yield {**other, "gpu_layers": most}


def _other_ranks(planned: Planned) -> Iterator[dict[str, Any]]:
    """As many ranks as there are devices, and as divide the heads."""
    have = planned.target.count + len(planned.target.others)
    size = planned.options.tensor_parallel or 1
    for count in (count for count in (16, 8, 4, 2, 1) if count <= have and count != size):
        yield {"tensor_parallel": count}
