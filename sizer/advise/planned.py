"""A command as it will run: what it starts and on what, and the work that it reserves memory for."""

from __future__ import annotations

from dataclasses import replace

from sizer.answer.drafts import NamedDraft
from sizer.device.records import Target, is_cpu
from sizer.device.usable import usable_memory_bytes
from sizer.engine.engines import Engine, find_engine
from sizer.engine.flag_table import flag_setting
from sizer.engine.flagged import ranks, with_flags
from sizer.engine.flagged_devices import with_ranks
from sizer.engine.memory_rules import EngineMemory
from sizer.engine.options import EngineOptions
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.workload import Workload

DEFAULT_FIT_CONTEXT_TOKENS = 4096
"""What llama.cpp's fitting shortens a context to before it moves layers to the host (--fit-ctx)."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A command as it will run: what it starts, on what, at which precision.

    `own_precision` is what the checkpoint is quantized to as it is published; empty for plain floats. `draft` is the
    model that it drafts with, `batch_size` the most sequences that a benchmark runs at once. Raises UsageError for
    tokens or sequences out of a workload's bounds.
    """

    architecture: Architecture
    target: Target
    precision: str
    options: EngineOptions
    stored: Stored | None = None
    prompt_tokens: int = 512
    output_tokens: int = 128
    own_precision: str = ""
    draft: NamedDraft | None = None
    batch_size: int = 1

    def __post_init__(self) -> None:
        # Refuses what is no number of tokens or sequences.
        Workload(self.prompt_tokens, self.output_tokens, batch_size=self.batch_size)

    @property
    def engine(self) -> Engine:
        """The engine's record."""
        return find_engine(self.options.engine)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The dialects that its command is written in."""
        return self.options.dialects or self.engine.flags

    @property
    def memory(self) -> EngineMemory:
        """How it takes memory on the target."""
        backend = self.engine.backend(self.target.device, self.options.backend_told)
        return self.engine.memory(self.options.version).pooled(backend, self.options.cache_pooled)

    @property
    def used(self) -> Target:
        """The devices that the command uses of those that are there; all of them where it asks for more."""
        wanted, have = ranks(self.options), self.target.count + len(self.target.others)
        return self.target if wanted is not None and wanted > have > 1 else with_ranks(self.target, self.options)


def lengthened(model: Architecture, options: EngineOptions) -> Architecture:
    """The model with the context that flags let it have: by another rope, or because it is not asked."""
    own = model.max_context_tokens
    if own is None:
        return model
    longest = max(options.longest_tokens or 0, round(own * (options.context_factor or 1)), own)
    if options.longer_allowed:
        longest = max(longest, options.context_tokens or 0)
    return model if longest == own else replace(model, max_context_tokens=longest)


def reserved_work(planned: Planned) -> tuple[Workload, bool]:
    """The work that a command reserves memory for, and whether the engine may lengthen its context to what fits."""
    context, fitting = reserved_context(planned)
    prompt = max(1, min(planned.prompt_tokens, context - planned.output_tokens))
    output = min(planned.output_tokens, max(1, context - prompt))
    batch = planned.batch_size if planned.memory.allocates == "as_needed" else 1
    work = Workload(prompt, output, max(context, prompt + output), batch_size=batch)
    flags = replace(planned.options, context_tokens=None)
    if all_on_devices(planned):
        flags = replace(flags, gpu_layers=None)
    return with_flags(work, flags), fitting


def all_on_devices(planned: Planned) -> bool:
    """Whether the flags put every layer and the output on the devices, and nothing of them on the host."""
    options = planned.options
    if options.uses_host:
        return False
    if options.gpu_layers is None:
        flag = flag_setting(planned.dialects, "gpu_layers", options.version)
        return options.fit is False or (flag is not None and flag.default == "99")
    return options.gpu_layers < 0 or options.gpu_layers > planned.architecture.num_layers


def reserved_context(planned: Planned) -> tuple[int, bool]:
    """The context in tokens that a command reserves, and whether the engine fits it to the devices.

    What a flag says, else the engine's default; where that is the model's own length, engines whose cache grows as
    they write reserve none.
    """
    options, own = planned.options, planned.architecture.max_context_tokens
    measures = options.prompt_tokens or options.depth_tokens
    if measures and planned.memory.allocates == "as_needed" and not options.context_tokens:
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
    if planned.memory.cache_grows or own is None:
        return min(needed, own or needed), False
    # Asked for as -c 0, the model's own length is not shortened (llama.cpp common/arg.cpp).
    fitting = given == -1 or (given is None and _fits_itself(planned))
    return (min(options.fit_context_tokens or DEFAULT_FIT_CONTEXT_TOKENS, own), True) if fitting else (own, False)


def _memory_bytes(target: Target) -> int:
    """What the drivers of all devices show; none of a CPU's."""
    if is_cpu(target.device):
        return 0
    devices = ((target.device,) * target.count, target.others)
    return sum(usable_memory_bytes(device) or 0 for group in devices for device in group)


def _fits_itself(planned: Planned) -> bool:
    """Whether the engine fits what no flag fixes to the devices (llama.cpp's --fit, on unless it is switched off).

    One that only says for which length it deals layers out (mistral.rs' --max-seq-len) always does.
    """
    flag = flag_setting(planned.dialects, "fit", planned.options.version)
    if flag is None:
        return flag_setting(planned.dialects, "fit_context_tokens", planned.options.version) is not None
    asked = planned.options.fit
    return flag is not None and (flag.default_at(planned.options.version) == "on" if asked is None else asked)
