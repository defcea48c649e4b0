"""Whether an engine's command starts on a target, why not, and which flag to change.

The estimate decides; the rest are rules of the engines' own start-up, each a word in `data/engines.csv`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sizer.answer.estimate import Question, estimate
from sizer.answer.records import Estimate
from sizer.device.records import Target, is_cpu
from sizer.device.usable import usable_memory_bytes
from sizer.engine.engines import Engine, find_engine
from sizer.engine.flag_table import flag_setting
from sizer.engine.flag_text import written_all
from sizer.engine.flagged import ranks, with_flags
from sizer.engine.flagged_devices import with_ranks
from sizer.engine.ladders import runs
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.units import format_gib
from sizer.workload import Workload

LEAST_CONTEXT_TOKENS = 1024
CONTEXT_STEP = 256
MOST_CHANGES = 4
HALVES = frozenset({"bf16", "fp16"})
ONLINE_QUANTIZATION = {"fp8": "fp8", "bitsandbytes": "nf4"}
"""What --quantization makes of a 16-bit checkpoint while it loads."""
DEFAULT_FIT_CONTEXT_TOKENS = 4096
"""What llama.cpp's fitting shortens a context to before it moves layers to the host (--fit-ctx)."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A command as it will run: what it starts, on what, at which precision."""

    architecture: Architecture
    target: Target
    precision: str
    options: EngineOptions
    stored: Stored | None = None
    prompt_tokens: int = 512
    output_tokens: int = 128

    @property
    def engine(self) -> Engine:
        """The engine's record."""
        return find_engine(self.options.engine)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The dialects that its command is written in."""
        return self.options.dialects or self.engine.flags

    @property
    def used(self) -> Target:
        """The devices that the command uses of those that are there; all of them where it asks for more."""
        wanted, have = ranks(self.options), self.target.count + len(self.target.others)
        return self.target if wanted is not None and wanted > have > 1 else with_ranks(self.target, self.options)


@dataclass(frozen=True, slots=True)
class Checked:
    """An estimate with its verdict: whether it starts, in words why, and changes each of which makes it start."""

    estimate: Estimate
    starts: bool
    reason: str
    change: tuple[str, ...] = ()


def check(planned: Planned) -> Checked:
    """The verdict of a command on a target. Raises UnknownEngine where the engine does not run on it at all."""
    item = _estimate(planned)
    reason = refusal(planned, item)
    if not reason:
        return Checked(item, starts=True, reason=_room(planned, item))
    return Checked(item, starts=False, reason=reason, change=tuple(_changes(planned)))


def _estimate(planned: Planned) -> Estimate:
    """The estimate of a plan. An engine that fits what no flag fixes takes the longest context that fits."""
    workload, fitting = _workload(planned)
    question = Question(
        architecture=planned.architecture,
        target=replace(planned.used, host=None) if _all_on_devices(planned) else planned.used,
        precision=planned.precision,
        workload=workload,
        engine=planned.options.engine,
        stored=planned.stored,
        options=planned.options,
    )
    item = estimate(question)
    if fitting and item.placement.whole and item.max_context_tokens:
        longest = max(item.max_context_tokens, workload.context_tokens)
        return estimate(replace(question, workload=replace(workload, context_tokens=longest)))
    longest = min(item.placement.kv_capacity_tokens or 0, item.max_context_tokens or 0)
    if longest and "pool" not in planned.engine.refuses and longest < workload.context_tokens:
        # It starts with whatever pool there is room for: a sequence may then be no longer than that.
        least = max(longest, workload.prompt_tokens + workload.output_tokens)
        return estimate(replace(question, workload=replace(workload, context_tokens=least)))
    return item


def _workload(planned: Planned) -> tuple[Workload, bool]:
    """The work that a command reserves memory for, and whether the engine may lengthen its context to what fits."""
    context, fitting = _context(planned)
    prompt = max(1, min(planned.prompt_tokens, context - planned.output_tokens))
    output = min(planned.output_tokens, max(1, context - prompt))
    work = Workload(prompt, output, max(context, prompt + output))
    flags = replace(planned.options, context_tokens=None)
    if _all_on_devices(planned):
        flags = replace(flags, gpu_layers=None)
    return with_flags(work, flags), fitting


def _all_on_devices(planned: Planned) -> bool:
    """Whether the flags put every layer and the output on the devices, and nothing of them on the host."""
    options = planned.options
    if options.uses_host:
        return False
    if options.gpu_layers is None:
        flag = flag_setting(planned.dialects, "gpu_layers", options.version)
        return options.fit is False or (flag is not None and flag.default == "99")
    return options.gpu_layers < 0 or options.gpu_layers > planned.architecture.num_layers


def _context(planned: Planned) -> tuple[int, bool]:
    """The context in tokens that a command reserves, and whether the engine fits it to the devices.

    What a flag says, else the engine's default; where that is the model's own length, engines whose cache grows as
    they write reserve none.
    """
    options, own = planned.options, planned.architecture.max_context_tokens
    if options.prompt_tokens or options.depth_tokens:
        # A benchmark's context is as long as what it measures.
        parts = (options.prompt_tokens or (planned.prompt_tokens,), options.output_tokens or (planned.output_tokens,))
        return sum(max(part, default=0) for part in (*parts, options.depth_tokens)), False
    needed = planned.prompt_tokens + planned.output_tokens
    given = options.context_tokens
    if given is not None and given > 0:
        return given, False
    flag = flag_setting(planned.dialects, "context_tokens", options.version)
    default = flag.default_with(options.version, _memory_bytes(planned.used)) if flag is not None else ""
    if given is None and default.isdigit() and int(default) > 0:
        return min(int(default), own or int(default)), False
    if planned.engine.memory(options.version).cache_grows or own is None:
        return min(needed, own or needed), False
    if given == -1 or _fits_itself(planned):
        return min(options.fit_context_tokens or DEFAULT_FIT_CONTEXT_TOKENS, own), True
    return own, False


def _memory_bytes(target: Target) -> int:
    """What the drivers of all devices show; none of a CPU's."""
    if is_cpu(target.device):
        return 0
    devices = ((target.device,) * target.count, target.others)
    return sum(usable_memory_bytes(device) or 0 for group in devices for device in group)


def _fits_itself(planned: Planned) -> bool:
    """Whether the engine fits what no flag fixes to the devices (llama.cpp's --fit, on unless it is switched off)."""
    flag = flag_setting(planned.dialects, "fit", planned.options.version)
    asked = planned.options.fit
    return flag is not None and (flag.default_at(planned.options.version) == "on" if asked is None else asked)


def refusal(planned: Planned, item: Estimate) -> str:
    """Why the command does not start; empty where it does."""
    for rule in (_ranks, _heads, _length, _kernels):
        reason = rule(planned)
        if reason:
            return reason
    return _memory(planned, item)


def _ranks(planned: Planned) -> str:
    wanted, have = ranks(planned.options), planned.target.count + len(planned.target.others)
    if wanted is not None and wanted > have > 1:
        return f"its flags ask for {wanted} devices, {have} are there."
    return ""


def _heads(planned: Planned) -> str:
    """Attention heads are dealt out whole to tensor-parallel ranks."""
    size = planned.options.tensor_parallel or 1
    if "heads" not in planned.engine.refuses or size <= 1:
        return ""
    heads = {mixer.heads for layer in planned.architecture.layers for mixer in layer.mixers if mixer.kv_heads}
    odd = sorted(count for count in heads if count % size)
    return f"{odd[0]} attention heads are not divided by {size} ranks." if odd else ""


def _length(planned: Planned) -> str:
    own, asked = planned.architecture.max_context_tokens, planned.options.context_tokens
    if "length" in planned.engine.refuses and own and asked and asked > own:
        return f"a context of {asked:,} tokens is longer than the {own:,} that the model's config allows."
    return ""


def _kernels(planned: Planned) -> str:
    """Weights that the engine does not load, kernels that the device is too old for."""
    device = planned.target.device
    if not planned.engine.runs(planned.precision):
        return f"{planned.engine.name} does not load {planned.precision} weights."
    if not runs(planned.precision, planned.engine.name, device):
        return f"{planned.engine.name} has no kernels for {planned.precision} on {device.name}."
    return ""


def _memory(planned: Planned, item: Estimate) -> str:
    """Why the memory does not hold it; empty where it does, or where nobody knows the memory."""
    placement, context = item.placement, item.workload.context_tokens
    if placement.available_bytes is None:
        return ""
    if not placement.fits:
        short = format_gib(placement.shortfall_bytes)
        most = max(placement.shares, key=lambda share: share.total_bytes - (share.available_bytes or 0))
        there = format_gib(most.available_bytes or 0)
        each = "each device" if len(placement.shares) > 1 else planned.target.device.name
        return f"it takes {format_gib(most.total_bytes)} of the {there} that {each} has for it: {short} too much."
    capacity = placement.kv_capacity_tokens
    if capacity is not None and capacity < (context if "pool" in planned.engine.refuses else 1):
        return f"a sequence of {context:,} tokens needs more cache than the {capacity:,} tokens that there is room for."
    return ""


def _room(planned: Planned, item: Estimate) -> str:
    """What a command that starts has room for, in one sentence."""
    placement, context = item.placement, item.workload.context_tokens
    if placement.available_bytes is None:
        return f"the memory of {planned.target.device.name} is not known: --memory says it."
    if placement.kv_capacity_tokens is not None:
        return f"it has room for {placement.kv_capacity_tokens:,} tokens of cache; one sequence may take {context:,}."
    if placement.host is not None and placement.gpu_layers < planned.architecture.num_layers:
        layers = planned.architecture.num_layers
        kind = "the experts of " if placement.host_experts else ""
        return f"it runs with {kind}{placement.gpu_layers} of {layers} layers on the device, the rest on the host."
    free = placement.available_bytes - placement.device_bytes
    taken = format_gib(placement.device_bytes)
    return f"it takes {taken} at a context of {context:,} tokens; {format_gib(free)} stay free."


def _changes(planned: Planned) -> list[str]:
    """Changes of flags, each of which makes the command start; those that cost least first."""
    return _that_start(planned, _single(planned)) or _that_start(planned, _together(planned))


def _that_start(planned: Planned, candidates: Iterator[dict[str, Any]]) -> list[str]:
    """Those of the candidates that start, as words; the first few."""
    found: list[str] = []
    for fields in candidates:
        words = _words(planned, fields)
        if words is not None and _starts(planned, fields):
            found.append(" ".join(words))
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


def _starts(planned: Planned, fields: dict[str, Any]) -> bool:
    try:
        other = changed(planned, fields)
        return not refusal(other, _estimate(other))
    except UsageError:
        return False


def _single(planned: Planned) -> Iterator[dict[str, Any]]:
    """Changes of one flag: a shorter context, a denser cache, more of the memory, less beside it, layers elsewhere."""
    yield from _shorter(planned, {})
    if dense := _denser(planned):
        yield dense
    default = planned.engine.memory(planned.options.version).device_fraction
    taken = planned.options.memory_fraction or default
    if taken is not None:
        yield from ({"memory_fraction": more} for more in (0.95, 0.97) if more > taken)
    for fields in ({"graphs": False}, {"max_sequences": 64}, {"max_sequences": 8}, {"batch_tokens": 2048}):
        if all(getattr(planned.options, name) != value for name, value in fields.items()):
            yield fields
    yield from _to_host(planned)
    yield from _other_ranks(planned)
    yield from _quantized(planned)


def _together(planned: Planned) -> Iterator[dict[str, Any]]:
    """Changes of several flags, where none alone is enough: one more at a time, until the context stays as it is."""
    steps: list[dict[str, Any]] = [{"batch_tokens": 2048}, {"max_sequences": 16}, {"memory_fraction": 0.95}]
    steps += [{"graphs": False}, _denser(planned), next(_quantized(planned), {})]
    beside: dict[str, Any] = {}
    for step in (step for step in steps if step and _words(planned, step) is not None):
        beside = {**beside, **step}
        if _starts(planned, beside):
            yield beside
            return
        yield from _shorter(planned, beside)
        yield from _to_host(planned, beside)


def _shorter(planned: Planned, beside: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The longest context that starts, beside other changes; none where not even a short one does."""
    own = planned.architecture.max_context_tokens or 2**20
    asked = min(_context(planned)[0], own)
    least = max(LEAST_CONTEXT_TOKENS, planned.prompt_tokens + planned.output_tokens)
    steps = range(-(-least // CONTEXT_STEP), asked // CONTEXT_STEP + 1)

    def starts(step: int) -> bool:
        return _starts(planned, {**beside, "context_tokens": step * CONTEXT_STEP})

    longest = _last(starts, steps)
    if longest is not None:
        yield {**beside, "context_tokens": longest * CONTEXT_STEP}


def _last(holds: Callable[[int], bool], steps: range) -> int | None:
    """The last of `steps` that holds, where all before it do; None where the first does not."""
    if not steps or not holds(steps[0]):
        return None
    low, high = steps[0], steps[-1]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _quantized(planned: Planned) -> Iterator[dict[str, Any]]:
    """The weights quantized while they load, for a checkpoint in 16 bits and an engine that does so."""
    if planned.precision not in HALVES or planned.options.quantization:
        return
    for word, precision in ONLINE_QUANTIZATION.items():
        kernels = runs(precision, planned.engine.name, planned.target.device)
        if planned.engine.runs(precision) and kernels:
            yield {"quantization": word}


def _denser(planned: Planned) -> dict[str, Any]:
    """The cache at eight bits, in the engine's own word; nothing where it is already, or where the engine has none."""
    flag = flag_setting(planned.dialects, "k_cache_type", planned.options.version)
    if flag is None or planned.options.k_cache_type:
        return {}
    return {"k_cache_type": flag.denser, "v_cache_type": flag.denser} if flag.denser else {}


def _to_host(planned: Planned, beside: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The most layers, or layers' experts, that the device holds, for an engine that splits with the host."""
    layers, other = planned.architecture.num_layers, beside or {}
    if planned.target.host is None or not layers:
        return
    if planned.architecture.experts and "experts" in planned.engine.offload:
        fewest = _last(lambda step: _starts(planned, {**other, "cpu_moe_layers": layers - step}), range(layers))
        if fewest is not None:
            yield {**other, "cpu_moe_layers": layers - fewest}
    if "layers" in planned.engine.offload:
        most = _last(lambda step: _starts(planned, {**other, "gpu_layers": step}), range(layers + 1))
        if most is not None:
            yield {**other, "gpu_layers": most}


def _other_ranks(planned: Planned) -> Iterator[dict[str, Any]]:
    """As many ranks as there are devices, and as divide the heads."""
    have = planned.target.count + len(planned.target.others)
    size = planned.options.tensor_parallel or 1
    for count in (count for count in (16, 8, 4, 2, 1) if count <= have and count != size):
        yield {"tensor_parallel": count}
