"""One question, one answer: what a step of some sequences takes, to `sizer estimate` and to `sizer capacity`.

Where no point under load tells of an engine or a device, steps are those of an estimate, rows near it included: a
server's steps are scaled to what an estimate tells of as many sequences at the load's mean depth, and its prompts to
what it tells of one. Where points do, they speak of as many sequences as they were measured with and of more
(`corrections`), and an estimate of a single request of one alone; those between lie between the two. An estimate is
scaled to that (`as_served`). The order of sequences holds: a step of several takes no less than one of one, and no more
than as many of one. Where single requests are told slower than several, one takes no longer than the fewest under load,
unless rows of single requests are of the very device and points under load are not: then several take no less than one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING

from sizer.device.kinds import device_family
from sizer.serving.corrections import NO_CORRECTIONS, Corrections, corrections, load_groups
from sizer.serving.curves import BATCHES, Curve, Grid
from sizer.serving.layout import Layout
from sizer.serving.options import is_measured
from sizer.serving.rules import Scheduler, scheduler, serves
from sizer.serving.steps import StepLaw, step_law
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import Chunks
from sizer.speed.hosted import host_share
from sizer.speed.law import Constants, constants
from sizer.speed.predict import decode_of, prefill_of
from sizer.speed.records import Speed
from sizer.speed.scaled import scaled
from sizer.speed.splits import parallelism
from sizer.workload import Split

if TYPE_CHECKING:
    from sizer.serving.deployment import Deployment
    from sizer.serving.load import Load

FEWEST = 4
"""Points under load have at least so many users."""
TOLD_SHARE = 0.01
"""An estimate says what points under load change where that is more."""


def _plain(layout: Layout) -> bool:
    """Whether an estimate tells of a layout: not of groups of attention, ranks of experts, stages in flight."""
    return layout.attention_groups == 1 and not layout.expert_parallel and (layout.stages == 1 or not layout.in_flight)


def estimate_tells(layout: Layout, known: Corrections, names: Mapping[str, str]) -> bool:
    """Whether an estimate alone tells the steps of a deployment of these groups: where no point of its runtime does."""
    return _plain(layout) and not known.holds_for(names)


def heard(layout: Layout, known: Corrections, names: Mapping[str, str]) -> Corrections:
    """What points under load say of the terms of a deployment: nothing where an estimate tells its steps."""
    return NO_CORRECTIONS if estimate_tells(layout, known, names) else known


def as_told(law: StepLaw, served: Deployment, load: Load, known: Corrections, names: Mapping[str, str]) -> StepLaw:
    """A deployment's law (corrected where points under load tell of it) with what an estimate tells of its steps."""
    if estimate_tells(served.layout, known, names):
        return as_estimated(law, served.case, served.rules, load, constants())
    if not _plain(served.layout):
        return law
    return one_as_estimated(law, served.case, load.mean_depth, served.rules.max_sequences, constants())


def as_estimated(law: StepLaw, case: SpeedCase, rules: Scheduler, load: Load, fitted: Constants) -> StepLaw:
    """The law with each step and each prompt as long as an estimate tells it."""
    batches = _batches(rules.max_sequences)
    scales = [_step_s(case, batch, fitted) / law.step_s(batch, load.mean_depth) for batch in batches]
    prompt_s = prompt_alone_s(law, load.prompt_tokens, rules.step_tokens)
    told, _ = prefill_of(case, fitted)
    return replace(law, decodes_as_told=_held(batches, scales), prompts_as_told=told.ttft_s / prompt_s)


def one_as_estimated(law: StepLaw, case: SpeedCase, depth: float, most: int, fitted: Constants) -> StepLaw:
    """A law that points under load tell, with few sequences at this depth between it and an estimate's one."""
    first = min(FEWEST, most)
    alone_s, several_s = _step_s(case, 1, fitted), law.step_s(first, depth)
    if case.device.key in corrections().systems or not fitted.counts.get(case.groups["engine device"]):
        alone_s = min(alone_s, several_s)
    batches = _batches(most)
    scales = [_scale(law, batch, depth, alone_s, first) for batch in batches]
    return replace(law, decodes_as_told=_held(batches, scales))


def _scale(law: StepLaw, batch: int, depth: float, alone_s: float, first: int) -> float:
    """What a step of so many sequences takes over what the law tells, one taking `alone_s`: from `first` on the law
    tells it."""
    measured = max(batch, first)
    told_s = min(max(law.step_s(measured, depth), alone_s), measured * alone_s)
    if batch < first:
        told_s = alone_s * (told_s / alone_s) ** (log(batch) / log(first))
    return told_s / law.step_s(batch, depth)


def as_served(speed: Speed, case: SpeedCase) -> Speed:
    """An estimate's speed as points under load tell its decode where they tell of its engine and its devices."""
    if parallelism(case) is Split.DATA:
        case = replace(case, target=replace(case.target, count=1))
    fitted, layout = constants(), _layout(case)
    if layout is None or case.target.local_ratios or not case.architecture.decodes or host_share(case):
        return speed
    names = load_groups(case, layout)
    if not corrections().holds_for(names) or not serves(case.engine.name):
        return speed
    depth, batch = case.workload.decode_context_tokens, case.workload.batch_size
    alone = replace(case.of_sequences(1), placement=None)
    rules = scheduler(case.engine.name, case.device, case.engine_version)
    most = max(FEWEST, batch)
    served = _served_law(alone, layout, rules.products, Grid.up_to(most, depth))
    law = one_as_estimated(served, alone, depth, most, fitted)
    factor = 1 / (law.step_s(batch, depth) * speed.decode.tokens_per_s)
    return scaled(speed, case.workload, factor, 1.0, *_notes(case, factor))


def _notes(case: SpeedCase, factor: float) -> tuple[str, ...]:
    if abs(factor - 1) < TOLD_SHARE:
        return ()
    batch = case.workload.batch_size
    who = "One sequence decodes" if batch == 1 else f"{batch:,} sequences decode"
    how = f"{abs(factor - 1):.0%} {'faster' if factor > 1 else 'slower'}"
    return (f"{who} {how} than single requests tell: so {case.engine.name} does under load on such devices.",)


def _layout(case: SpeedCase) -> Layout | None:
    """The layout of a case's devices under load; None where no point under load has such a one."""
    if case.target.others or not case.engine.name or device_family(case.device) not in corrections().families:
        return None
    if len(case.devices) > 1 and parallelism(case) is not Split.TENSOR:
        return None
    layout = Layout(len(case.devices))
    return layout if is_measured(layout) else None


@lru_cache(maxsize=64)
def _served_law(case: SpeedCase, layout: Layout, products: str, grid: Grid) -> StepLaw:
    return step_law(case, layout, constants(), corrections(), load_groups(case, layout), products, grid)


def prompt_alone_s(law: StepLaw, tokens: int, step_tokens: int, behind: float = 0.0) -> float:
    """Seconds to read a prompt alone, `behind` what is cached, in the engine's steps."""
    total_s = 0.0
    for size, count in Chunks(tokens, step_tokens).sizes:
        for _ in range(count):
            total_s += law.step_s(0, 0, size, law.attention_s(behind, size))
            behind += size
    return total_s


def _batches(most: int) -> list[int]:
    return [batch for batch in BATCHES if batch <= most] or [1]


def _step_s(case: SpeedCase, batch: int, fitted: Constants) -> float:
    return 1 / decode_of(case.of_sequences(batch), fitted)[0].tokens_per_s


def _held(batches: Sequence[int], scales: Sequence[float]) -> Curve:
    """The scale by sequences, that of the most from there on."""
    return Curve((*batches, batches[-1] + 1, batches[-1] + 2), (*scales, scales[-1], scales[-1]))
