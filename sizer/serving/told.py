"""Steps of an engine or a device that no point under load tells of: those of `sizer estimate`, rows near it included.

Both answers are to one question there, so a server's steps are scaled to what an estimate tells of as many sequences at
the load's mean depth, and its prompts to what it tells of one. Where points under load are known, they speak instead:
what rows of single requests say of an engine does not hold under load (`corrections`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sizer.serving.corrections import Corrections
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.rules import Scheduler
from sizer.serving.steps import BATCHES, Curve, StepLaw
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import Chunks
from sizer.speed.law import Constants
from sizer.speed.predict import decode_of, prefill_of


def estimate_tells(layout: Layout, known: Corrections, names: Mapping[str, str]) -> bool:
    """Whether an estimate tells the steps of a deployment of these groups: where no point of its runtime and generation
    does, but for groups of attention, ranks of experts and stages in flight, of which it tells nothing."""
    plain = layout.attention_groups == 1 and not layout.expert_parallel
    return plain and (layout.stages == 1 or not layout.in_flight) and not known.holds_for(names)


def as_estimated(law: StepLaw, case: SpeedCase, rules: Scheduler, load: Load, fitted: Constants) -> StepLaw:
    """The law with each step and each prompt as long as an estimate tells it."""
    batches = [batch for batch in BATCHES if batch <= rules.max_sequences] or [1]
    scales = [_step_s(case, batch, fitted) / law.step_s(batch, load.mean_depth) for batch in batches]
    prompt_s = prompt_alone_s(law, load.prompt_tokens, rules.step_tokens)
    told, _ = prefill_of(case, fitted)
    return replace(law, decodes_as_told=_held(batches, scales), prompts_as_told=told.ttft_s / prompt_s)


def prompt_alone_s(law: StepLaw, tokens: int, step_tokens: int, behind: float = 0.0) -> float:
    """Seconds to read a prompt alone, `behind` what is cached, in the engine's steps."""
    total_s = 0.0
    for size, count in Chunks(tokens, step_tokens).sizes:
        for _ in range(count):
            total_s += law.step_s(0, 0, size, law.attention_s(behind, size))
            behind += size
    return total_s


def _step_s(case: SpeedCase, batch: int, fitted: Constants) -> float:
    several = case.of_workload(replace(case.workload, batch_size=batch))
    return 1 / decode_of(several, fitted)[0].tokens_per_s


def _held(batches: Sequence[int], scales: Sequence[float]) -> Curve:
    """The scale by sequences, that of the most from there on."""
    return Curve((*batches, batches[-1] + 1, batches[-1] + 2), (*scales, scales[-1], scales[-1]))
