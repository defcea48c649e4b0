"""The time of an engine's step beside any mix of prompts and decodes.

The tabulated terms (`term_curves`) are weighed by the law's constants and by what engines under load showed
(`corrections`). A step is then a few interpolations:

    memory   = weights + experts that all its tokens touch + cache of its decodes
    compute  = decodes + prompt tokens + causal attention of the chunks
    overhead = the larger of a decode step's and a prompt's fixed cost + what grows with sequences and tokens
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache

from sizer.frozen import dataclass
from sizer.serving.corrections import Corrections
from sizer.serving.curves import AS_IT_IS, WHOLE, Curve, Grid
from sizer.serving.layout import Layout
from sizer.serving.rounds import Rounds
from sizer.serving.term_curves import ATTENTION_TERM, EXPERT_TERMS, TermCurves, on_one_device, term_curves
from sizer.speed.case import SpeedCase
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, ROOFLINE_POWER, Constants
from sizer.speed.rates import (
    format_flops_per_s,
    peak_flops_per_s,
    prompt_peak_flops_per_s,
    prompt_products_flops_per_s,
)
from sizer.speed.stages import LINK_TERMS

REACHED_BANDWIDTH, REACHED_PEAK = 0.95, 0.9
"""What no correction goes beyond, of the nominal bandwidth and of the peak (docs/serving.md)."""

PROMPT_PRODUCTS = frozenset({"prefill_compute", "prefill_experts"})

RATES_OF_OTHERS = frozenset({"many", "cache_copies", "prefill_cache"})
"""Terms of memory that count bytes again that another term has counted: any share of them may be what is added."""


@dataclass(frozen=True, slots=True, eq=False)
class StepLaw:
    """The seconds of any step of one deployment: weighed terms, added by part.

    `flat_memory` and the others by batch hold what does not depend on depth; the deep ones are one sequence's share
    beyond one token of depth; `attention` is what a prompt of so many tokens costs from its first token on. What is
    `as_told` are scales of all that decodes take, by their number, and of all that prompts take (`told`).
    """

    flat_memory: Curve
    deep_memory: Curve
    experts: Curve
    prompt_memory: Curve
    compute: Curve
    deep_compute: Curve
    prompt_compute: Curve
    attention: Curve
    launch: Curve
    prompt_launch: Curve
    overhead: Curve
    prompt_overhead: Curve
    links: Curve
    prompt_links: Curve
    batch_share: float = 1.0
    decodes_as_told: Curve = AS_IT_IS
    prompts_as_told: float = 1.0
    rounds: Rounds | None = None
    """What each sequence drafts and verifies in a step; None where it makes one token."""

    @property
    def tokens_a_step(self) -> float:
        """Tokens that a sequence gains in a step, on average."""
        return self.rounds.tokens if self.rounds else 1.0

    def token_s(self, decodes: float, depth: float) -> float:
        """Seconds that each of some sequences takes for a token, no prompt beside them."""
        return self.step_s(decodes, depth) / self.tokens_a_step

    def at_once(self, decodes: float) -> float:
        """The sequences that one stage works on: its share of them, and never a part of one."""
        return max(min(decodes, 1.0), decodes * self.batch_share)

    def bound(self, decodes: float, depth: float, prompt_tokens: float) -> str:
        """What takes most of such a step: bandwidth, compute, link or overhead."""
        batch, prompt = self.at_once(decodes), prompt_tokens * self.batch_share
        memory = (
            self.flat_memory(batch) + batch * self.deep_memory(depth) + self.experts(batch + prompt) if decodes else 0
        )
        compute = self.compute(batch) + batch * self.deep_compute(depth) if decodes else 0.0
        links = self.links(batch) if decodes else 0.0
        overhead = self.overhead(batch) if decodes else 0.0
        if prompt_tokens:
            memory = max(memory, self.prompt_memory(prompt))
            compute += self.prompt_compute(prompt) + self.attention(prompt)
            links += self.prompt_links(prompt)
            overhead += self.prompt_overhead(prompt)
        sizes = {"bandwidth": memory, "compute": compute, "link": links, "overhead": overhead - links}
        return max(sizes, key=lambda name: sizes[name])

    def step_s(self, decodes: float, depth: float, prompt_tokens: float = 0.0, attention_s: float = 0.0) -> float:
        """Seconds of a step of `decodes` sequences at a mean `depth` of cached tokens beside `prompt_tokens` read.

        Weights are read once for both, and no prompt is read sooner beside decodes than alone.
        """
        if self.rounds and decodes:
            plain_s = self._step_s(decodes, depth)
            drafted_s = self.rounds.drafting_steps * plain_s + self.rounds.fixed_s
            return drafted_s + self._step_s(decodes, depth, prompt_tokens, attention_s, 1 + self.rounds.drafts)
        return self._step_s(decodes, depth, prompt_tokens, attention_s)

    def _step_s(
        self, decodes: float, depth: float, prompt_tokens: float = 0.0, attention_s: float = 0.0, each: int = 1
    ) -> float:
        """Seconds of a step in which each sequence runs `each` tokens over the one cache that it reads."""
        batch, prompt = self.at_once(decodes), prompt_tokens * self.batch_share
        memory = compute = launch = overhead = shared = 0.0
        if decodes:
            told, flat_memory, flat_compute, launch, overhead = self._of_batch(batch * each)
            memory = told * (flat_memory + batch * self.deep_memory(depth) + self.experts(batch * each + prompt))
            compute = told * (flat_compute + batch * each * self.deep_compute(depth))
            shared = told * self.overhead.ys[0]
        if prompt_tokens:
            told = self.prompts_as_told
            memory = max(memory, told * self.prompt_memory(prompt))
            compute += told * (self.prompt_compute(prompt) + attention_s * self.batch_share)
            launch = max(launch, told * self.prompt_launch(prompt))
            overhead += told * self.prompt_overhead(prompt) - min(shared, told * self.prompt_overhead.ys[0])
        return (
            float((memory**ROOFLINE_POWER + compute**ROOFLINE_POWER + launch**ROOFLINE_POWER) ** (1 / ROOFLINE_POWER))
            + overhead
        )

    @lru_cache(maxsize=4096)  # noqa: B019 - laws are few, and a simulation asks for the same batches at every step
    def _of_batch(self, batch: float) -> tuple[float, float, float, float, float]:
        """What no depth moves: the scale, memory and compute before it, launches and overhead after it."""
        told = self.decodes_as_told(batch)
        return (
            told,
            self.flat_memory(batch),
            self.compute(batch),
            told * self.launch(batch),
            told * self.overhead(batch),
        )

    def attention_s(self, read: float, tokens: float) -> float:
        """Seconds of causal attention of `tokens` tokens behind `read` tokens already in the cache."""
        return self.attention(read + tokens) - self.attention(read)


def step_law(  # noqa: PLR0917
    case: SpeedCase,
    layout: Layout,
    fitted: Constants,
    known: Corrections,
    names: Mapping[str, str],
    products: str = "",
    grid: Grid = WHOLE,
) -> StepLaw:
    """The step times of a case over a layout: each term weighed by the law's factor and its correction under load.

    `products` is the engine's, as `Scheduler` has it.
    """
    curves = term_curves(case, layout, grid)
    law = law_weights(case, curves, fitted, products)
    weights = known.weights(law, weight_floors(case, curves), names)
    return weighed(curves, weights, 1 / layout.stages if layout.in_flight else 1.0, grid)


def law_weights(
    case: SpeedCase, curves: Mapping[str, TermCurves], fitted: Constants, products: str
) -> dict[str, float]:
    """The law's own weight of each term, a prompt's products told against the 16-bit peak: what single requests gain
    from narrower products does not hold under load (held-out error of points), but of engines whose products are
    `narrow`: there the peak of the format that is multiplied is as much higher as its specification says, and they as
    much faster."""
    law_groups, own = tuple(case.groups.values()), case.owners
    one = on_one_device(case)
    gain = format_flops_per_s(one) / peak_flops_per_s(one) if products else 1.0
    gain *= prompt_peak_flops_per_s(one) / prompt_products_flops_per_s(one)
    weights = {name: term.weight(fitted.factor(name, law_groups, own)) for name, term in curves.items()}
    return {name: weight / gain if name in PROMPT_PRODUCTS else weight for name, weight in weights.items()}


def weight_floors(case: SpeedCase, curves: Mapping[str, TermCurves]) -> dict[str, float]:
    """The least weight of a term: 95 % of the nominal bandwidth, 90 % of the peak of the format that is multiplied.

    A decode step's compute has its nominal peak's; a prompt's is told against `prompt_peak_flops_per_s`, of the format
    that is multiplied.
    """
    one = on_one_device(case)
    peak = format_flops_per_s(one) * REACHED_PEAK
    prompt, decode = prompt_products_flops_per_s(one) / peak, peak_flops_per_s(one) / peak
    floors = {MEMORY: 1 / REACHED_BANDWIDTH}
    least = {
        name: floors.get(term.part, 0.0) if term.part != COMPUTE else prompt if name.startswith("prefill") else decode
        for name, term in curves.items()
    }
    return {**least, **dict.fromkeys(RATES_OF_OTHERS & set(least), 0.0)}


def weighed(
    curves: Mapping[str, TermCurves], weights: Mapping[str, float], batch_share: float = 1.0, grid: Grid = WHOLE
) -> StepLaw:
    """The law of these curves on their grid, each term times its weight."""
    batches, depths, prompts = grid.batches, grid.depths, grid.prompts

    def total(column: str, xs: Sequence[int], part: str, among: Container[str] = curves) -> Curve:
        ys = [0.0] * len(xs)
        for name, term in curves.items():
            if term.part == part and name in among:
                for index, value in enumerate(getattr(term, column)):
                    ys[index] += value * weights[name]
        return Curve(xs, ys)

    attention = curves.get(ATTENTION_TERM)
    by_depth = attention.by_prompt_depth if attention else tuple(0.0 for _ in depths)
    factor = weights.get(ATTENTION_TERM, 0.0)
    prompt_compute = total("by_prompt", prompts, COMPUTE)
    if attention:  # it follows the depth, not the chunk
        ys = [y - factor * own for y, own in zip(prompt_compute.ys, attention.by_prompt, strict=True)]
        prompt_compute = Curve(prompts, ys)
    return StepLaw(
        flat_memory=total("by_batch", batches, MEMORY, curves.keys() - EXPERT_TERMS),
        deep_memory=total("by_depth", depths, MEMORY),
        experts=total("by_batch", batches, MEMORY, EXPERT_TERMS),
        prompt_memory=total("by_prompt", prompts, MEMORY),
        compute=total("by_batch", batches, COMPUTE),
        deep_compute=total("by_depth", depths, COMPUTE),
        prompt_compute=prompt_compute,
        attention=Curve(depths, [factor * value for value in by_depth]),
        launch=total("by_batch", batches, LAUNCH),
        prompt_launch=total("by_prompt", prompts, LAUNCH),
        overhead=total("by_batch", batches, OVERHEAD),
        prompt_overhead=total("by_prompt", prompts, OVERHEAD),
        links=total("by_batch", batches, OVERHEAD, LINK_TERMS),
        prompt_links=total("by_prompt", prompts, OVERHEAD, LINK_TERMS),
        batch_share=batch_share,
    )
