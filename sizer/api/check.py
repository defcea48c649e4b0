"""Will this engine command start? The public function, and the one behind it, whose records the renderers need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sizer.api.asked import DeviceAsked, Options, names, split_options
from sizer.api.targets import targets, with_usual_host

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sizer.advise.check import Checked
    from sizer.advise.planned import Planned
    from sizer.answer.document import CheckAnswer
    from sizer.device.records import Target
    from sizer.engine.scripts import Launch
    from sizer.model.read.resolve import Resolved


def check(command: str | Sequence[str], **options: Unpack[Options]) -> CheckAnswer:
    """Whether an engine's command starts on a device, what it takes, how fast, and which flag to change.

    >>> answer = check("vllm serve Qwen/Qwen3-8B --max-model-len 16384", device="rtx-4090", offline=True)
    >>> answer.check.starts
    True

    `command` is the command line, as one text or as words; a script and Python code that loads a model are read too.
    Of the options, those that describe devices, prompt and output count. Raises UsageError for a command that starts no
    engine, and the errors of models and devices.
    """
    from sizer.answer.public import check_answer

    devices, work, offline = split_options(options)
    words = list(names(command)) or [""]
    (first, *_) = checked(launched(words, devices, work.prompt_tokens, work.output_tokens, offline=offline))
    return check_answer(first.estimate, first.starts, first.reason, first.change)


def checked(plans: Iterable[Planned]) -> list[Checked]:
    """The verdict of a command on each device that it was planned for."""
    from sizer.advise.check import check as check_one

    return [check_one(plan) for plan in plans]


def launched(
    words: Sequence[str],
    devices: DeviceAsked,
    prompt_tokens: int = 512,
    output_tokens: int = 128,
    *,
    offline: bool = False,
    say: Callable[[str], None] | None = None,
) -> list[Planned]:
    """A command as it will run on each device asked for. Raises UsageError, and the errors of models and devices."""
    from sizer.engine.commands import naming_hint
    from sizer.engine.scripts import read_launch
    from sizer.errors import UsageError
    from sizer.model.read.resolve import FILES_ALLOWED, resolve

    launch = read_launch(words, files_allowed=FILES_ALLOWED.get())
    if not launch.options.model:
        raise UsageError("the command names no model.", naming_hint(launch.options))
    resolved = resolve(launch.options.model, offline=offline)
    return [planned(launch, resolved, target, prompt_tokens, output_tokens) for target in targets(devices, say)]


def planned(
    launch: Launch, resolved: Resolved, target: Target, prompt_tokens: int = 512, output_tokens: int = 128
) -> Planned:
    """A launch on a target as a plan: the engine that runs its precision, and a host where it may use one.

    Raises UsageError where it drafts with layers that the model does not have.
    """
    from dataclasses import replace

    from sizer.advise.launched import checkpoint_precision, engine_for, launched_precision
    from sizer.advise.planned import Planned, lengthened
    from sizer.answer.drafted import drafting_told
    from sizer.answer.drafts import draft_named
    from sizer.device.records import shares_memory
    from sizer.engine.engines import find_engine
    from sizer.engine.flagged import ranks
    from sizer.engine.precisions import dequantized_to

    precision = launched_precision(launch, resolved)
    if not find_engine(launch.options.engine).has_kernels(precision, target.device):
        precision = dequantized_to(precision, launch.options.engine) or precision
    options = replace(launch.options, engine=engine_for(launch.options.engine, precision))
    output = options.output_tokens[0] if options.output_tokens and options.output_tokens[0] > 0 else output_tokens
    prompt = max(options.prompt_tokens, default=0) or prompt_tokens
    own = checkpoint_precision(resolved, options.engine)
    model = lengthened(resolved.architecture, options)
    if options.draft_method:
        drafting_told(model, None, options)
    plan = Planned(
        model, target, precision, options, None, prompt, output, own, draft_named(options),
        max(options.batch_sequences, default=1),
    )  # fmt: skip
    plan.engine.require_device(target.device)
    if plan.engine.uses_one_device_unasked and ranks(options) is None:
        plan = replace(plan, options=replace(options, tensor_parallel=1))
    if plan.engine.offload and target.host is None and not shares_memory(target.device):
        plan = replace(plan, target=with_usual_host(target))
    stored = resolved.stored if resolved.stored is not None and resolved.stored.precision == precision else None
    return replace(plan, stored=stored)
