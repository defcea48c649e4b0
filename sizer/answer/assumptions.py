"""What a reader must know to trust an estimate: what was assumed, what is not known, what an engine does otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sizer.answer.drafts import vocabulary_notes
from sizer.answer.question import Question
from sizer.device.kinds import instructions
from sizer.device.records import Device, shares_memory
from sizer.device.usable import limit_note
from sizer.engine.engines import Engine, find_engine
from sizer.engine.flagged import notes_of
from sizer.engine.model_classes import model_code
from sizer.memory.case import Case
from sizer.memory.records import Footprint
from sizer.memory.shard import undivided_heads
from sizer.model.architecture import Tower
from sizer.precision.bitsandbytes import repacking_notes
from sizer.speed.records import Speed
from sizer.units import format_gib
from sizer.workload import Split

if TYPE_CHECKING:
    from sizer.memory.own_estimate import OwnEstimate

X86 = frozenset({"intel", "amd"})
"""Makers of CPUs that may have AVX512."""
TOGETHER = (
    "All prompts are read at once, then the sequences decode side by side; on a server prompts are read beside them: "
    "'sizer capacity --users N' tells its times."
)


def assumptions(question: Question, case: Case, needed: Footprint, speed: Speed | None) -> tuple[str, ...]:
    """What a reader must know to trust the figures, most general first."""
    model = question.architecture
    notes = [
        *notes_of(case.options),
        *model.notes,
        *case.target.notes,
        *case.stored.notes,
        *_code_notes(question, case),
    ]
    longest = model.max_context_tokens
    if longest is not None and (_longest_sequence(case) if model.decodes else case.workload.prompt_tokens) > longest:
        notes.append(f"The context asked for is longer than the {longest:,} tokens that the model was made for.")
    if case.workload.gpu_layers is not None and not case.can_offload:
        notes.append(f"{case.engine.engine} does not split layers with the host: --gpu-layers is not used.")
    notes += [*_engine_notes(case), *_memory_notes(case, needed), *_speed_notes(case, speed)]
    if question.drafting is not None:
        notes += [question.drafting.note, *vocabulary_notes(model, question.drafting.drafter)]
    return tuple(dict.fromkeys(notes))


def _code_notes(question: Question, case: Case) -> Iterator[str]:
    """Whether the engine, at its version and with its flags, has code for the model."""
    told = replace(case.options, version=question.engine_version or case.options.version)
    code = model_code(case.architecture, case.engine.engine, told)
    if code.lacking:
        yield f"{code.lacking[:-1]}: told as if it had."
    if code.unknown:
        yield code.unknown


def _may_have_avx512(device: Device) -> bool:
    """Whether a CPU has AVX-512, or nobody knows: `data/cpu_instructions.csv`."""
    known = instructions(device.key)
    return not known or "avx512" in known or "amx" in known


def _memory_notes(case: Case, needed: Footprint) -> Iterator[str]:
    """What lies in memory that a reader does not expect there, and what of it is not known."""
    if case.graph is not None and (projector_bytes := needed.weights.part("projector")):
        leave = "; --no-mmproj leaves it out" if case.options.vision else ""
        image = format_gib(needed.activations.part("projector"))
        yield f"Its projector is loaded: {format_gib(projector_bytes)}, and {image} for an image{leave}."
    if case.on_cpu and case.target.device.vendor in X86 and _may_have_avx512(case.target.device):
        yield from repacking_notes(case.stored)
    if not needed.kv_known:
        yield "Cache and context are not known: the name alone tells no layers."
    loaded = [entry.tensor for entry in case.stored.tensors if not entry.tensor.checkpoint_only]
    if any(tensor.tower in {Tower.VISION, Tower.AUDIO} for tensor in loaded):
        yield "Vision and audio towers are loaded; they do not run while text is decoded."
    if case.target.device.memory_bytes is None and case.target.host_memory_bytes is None:
        yield f"The memory beside {case.target.device.name} is not known: --ram says it."


def _speed_notes(case: Case, speed: Speed | None) -> Iterator[str]:
    """Why there is no speed, or what it rests on."""
    device = case.target.device
    if speed is not None:
        yield from speed.notes
        yield from _several_notes(case)
    elif device.bandwidth_bytes_per_s is None:
        yield f"The bandwidth of {device.name} is not known: --bandwidth says it, 'sizer probe' measures it."
    else:
        yield _unfitting_note(case)
        yield from (note for note in (limit_note(device),) if note)


def _longest_sequence(case: Case) -> int:
    """The context of one sequence: slots with caches of their own share what is asked for."""
    asked = case.workload.context_tokens
    return asked if case.graph is None else min(asked, case.plan.tokens)


def _several_notes(case: Case) -> Iterator[str]:
    """What several sequences at once do here, and where another command tells what a server does."""
    if case.workload.batch_size > 1 and case.architecture.decodes:
        yield TOGETHER


def _own_estimate(case: Case) -> OwnEstimate | None:
    """What an engine that runs on another's code expects of itself; no other engine has one, or pays for the rules."""
    if not case.engine.like:
        return None
    from sizer.memory.own_estimate import own_estimate

    return own_estimate(case)


def _engine_notes(case: Case) -> Iterator[str]:
    """What the engine does not do on the device, or with such files."""
    engine, device = find_engine(case.engine.engine), case.target.device
    if engine.leaves_gpu(device):
        yield f"{engine.name} leaves the GPU of {device.name} alone: its CPU computes."
    named = case.options.draft_model
    if named:
        counted = "its weights and cache count" if case.draft else "its size is not known here, and not counted"
        yield f"{named} drafts beside it: {counted}."
    odd = undivided_heads(case.architecture, case.ranks) if "heads" in engine.refuses else None
    if odd is not None:
        yield f"{engine.name} refuses this: {odd} attention heads are not divided by {case.ranks} ranks."
    own = _own_estimate(case)
    if own is not None:
        yield (
            f"{engine.name} itself expects {format_gib(own.total_bytes)} and sends {own.gpu_layers} of "
            f"{case.architecture.num_layers + 1} layers to the device by it: its own formula, not what is taken."
        )
    if case.parallelism is Split.DATA and case.architecture.experts is not None and _shares_experts(engine):
        yield (
            f"Told are whole copies, a server on each device: {engine.name}'s own data ranks share a mixture's experts "
            "and take less memory of each."
        )
    kind = case.workload.kv_precision
    if case.architecture.decodes and not engine.own_cache(kind):
        yield f"{engine.name} has no {kind} cache: told as if it had. It has {', '.join(engine.caches)}."
    if not engine.runs(case.stored.precision):
        yield f"{engine.name} is not known to load {case.stored.precision}: told as if it did."
    elif not engine.has_kernels(case.stored.precision, device):
        yield f"{engine.name} has no kernels for {case.stored.precision} on {device.name}: told as if it had."


def _shares_experts(engine: Engine) -> bool:
    """Whether the flag for an engine's data ranks shares a mixture's experts out over them."""
    from sizer.engine.flag_table import flags_of

    return any("experts_over_data" in flag.sets for name in (engine.name, engine.runtime) for flag in flags_of(name))


def _unfitting_note(case: Case) -> str:
    """Why there is no speed of what does not fit, and whether a host could help."""
    if shares_memory(case.target.device):
        return "No speed where the model does not fit: the system's memory is all that there is."
    if not find_engine(case.engine.engine).offload:
        return f"No speed where the model does not fit: {case.engine.engine} is taken to keep all of it on the devices."
    if case.target.host is not None:
        return "No speed where the model does not fit on the device and the host together."
    return "No speed where the model does not fit: --ram or --host let layers go to the host."
