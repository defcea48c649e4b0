"""The time of an engine's step beside any mix of prompts and decodes: the law of speed, tabulated once a deployment.

The amounts of `sizer.speed.terms` are asked for on a grid of batches and depths of one device, divided over the ranks
of the layout, weighed by the law's constants and by what engines under load showed (`corrections`). A step is then a
few interpolations:

    memory   = weights + experts that all its tokens touch + cache of its decodes
    compute  = decodes + prompt tokens + causal attention of the chunks
    overhead = the larger of a decode step's and a prompt's fixed cost + what grows with sequences and tokens
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.serving.corrections import Corrections
from sizer.serving.curves import AS_IT_IS, WHOLE, Curve, Grid
from sizer.serving.layout import Layout, link_bytes_per_s
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import whole
from sizer.speed.launches import LAYER_S, layer_count
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, ROOFLINE_POWER, Amount, Constants
from sizer.speed.prompt_terms import prefill_amounts
from sizer.speed.rates import (
    format_flops_per_s,
    peak_flops_per_s,
    prompt_peak_flops_per_s,
    prompt_products_flops_per_s,
)
from sizer.speed.splits import HOP_S
from sizer.speed.stages import LINK_TERMS
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import decode_traffic, prefill_traffic

ATTENTION_TERM, PROMPT_WEIGHTS_TERM = "prefill_attention", "prefill_weights"
EXPERT_TERMS = frozenset({"experts", "prefill_experts"})
ACTIVATION_BYTES = 2
"""Ranks exchange 16-bit values."""
REACHED_BANDWIDTH, REACHED_PEAK = 0.95, 0.9
"""What no correction goes beyond, of the nominal bandwidth and of the peak (docs/serving.md)."""

PROMPT_PRODUCTS = frozenset({"prefill_compute", "prefill_experts"})

RATES_OF_OTHERS = frozenset({"many", "cache_copies", "prefill_cache"})
"""Terms of memory that count bytes again that another term has counted: any share of them may be what is added."""


@dataclass(frozen=True, slots=True)
class TermCurves:
    """The nominal seconds of one term of a step, on the grids: by sequences, by one sequence's depth beyond one token,
    by a prompt's tokens."""

    part: str
    by_batch: tuple[float, ...] = ()
    by_depth: tuple[float, ...] = ()
    by_prompt: tuple[float, ...] = ()
    by_prompt_depth: tuple[float, ...] = ()
    least_weight: float = 0.0
    """The weight below which the term would be faster than physics lets it be."""

    def weight(self, factor: float) -> float:
        """The weight of a fitted factor; a term that was never fitted (0) is not counted."""
        return max(factor, self.least_weight) if factor else 0.0


def term_curves(case: SpeedCase, layout: Layout, grid: Grid = WHOLE) -> dict[str, TermCurves]:
    """The nominal seconds of every term of this case's steps, divided over the ranks of the layout.

    `case` names all devices; raises SizerError where the bandwidth is not known.
    """
    one = replace(case, target=replace(case.target, count=1, others=()), placement=None)
    decode = [_decode(one, batch, 1) for batch in grid.batches]
    deeper = [_decode(one, 1, depth) for depth in grid.depths]
    prompts = [_prefill(one, tokens, layout) for tokens in grid.prompts]
    depths = [_prefill(one, tokens, layout) for tokens in grid.depths]
    share = _shares(layout, case.architecture)
    found: dict[str, TermCurves] = {}
    for name, part in sorted({(term, amount.part) for row in (*decode, *prompts) for term, amount in row.items()}):
        divided = share(name, part)
        by_depth = [row[name].nominal_s if name in row else 0.0 for row in deeper]
        found[name] = TermCurves(
            part,
            tuple(row[name].nominal_s / divided if name in row else 0.0 for row in decode),
            tuple((value - by_depth[0]) / divided for value in by_depth),
            tuple(row[name].nominal_s / divided if name in row else 0.0 for row in prompts),
            tuple(row[name].nominal_s / divided for row in depths) if name == ATTENTION_TERM else (),
            _least(decode[-1].get(name) or prompts[-1].get(name)),
        )
    return {**found, **_communication(case, layout, grid)}


def _decode(case: SpeedCase, batch: int, depth: int) -> dict[str, Amount]:
    workload = replace(case.workload, batch_size=batch, prompt_tokens=depth, output_tokens=1, context_tokens=depth + 1)
    asked = case.of_workload(workload)
    return _by_name(decode_amounts(asked, decode_traffic(asked.architecture, asked.stored, workload)))


def _prefill(case: SpeedCase, tokens: int, layout: Layout) -> dict[str, Amount]:
    """The amounts of a prompt on one device; its weights, of which experts lie on all ranks, divided already."""
    workload = replace(case.workload, batch_size=1, prompt_tokens=tokens, output_tokens=1, context_tokens=tokens + 1)
    asked = case.of_workload(workload)
    traffic = prefill_traffic(
        asked.architecture,
        asked.stored,
        workload,
        latent_absorbed=asked.engine.latent_prefill == "absorbed",
        shared_apart=asked.kernels.last_token_layers,
    )
    found = _by_name(prefill_amounts(asked, traffic, whole(tokens)))
    experts = traffic.stage("experts").weight_bytes / max(1, traffic.weight_bytes)
    weights = found[PROMPT_WEIGHTS_TERM]
    divided_s = weights.nominal_s * (experts / layout.expert_ranks + (1 - experts) / layout.tensor_ranks)
    return {**found, PROMPT_WEIGHTS_TERM: weights._replace(nominal_s=divided_s)}


def _least(amount: Amount | None) -> float:
    return amount.least_s / amount.nominal_s if amount is not None and amount.nominal_s else 0.0


def _by_name(amounts: Sequence[Amount]) -> dict[str, Amount]:
    """Amounts by term; those of one term added."""
    found: dict[str, Amount] = {}
    for amount in amounts:
        before = found.get(amount.term) or amount._replace(nominal_s=0.0, least_s=0.0)
        nominal_s, least_s = before.nominal_s + amount.nominal_s, before.least_s + amount.least_s
        found[amount.term] = amount._replace(nominal_s=nominal_s, least_s=least_s)
    return found


def _shares(layout: Layout, architecture: Architecture) -> Callable[[str, str], float]:
    """By how much the ranks divide a term: experts over all, the cache by its shards, matrices over tensor ranks."""
    cache = layout.tensor_ranks * layout.attention_groups / layout.cache_copies(architecture)

    def share(name: str, part: str) -> float:
        if part in {LAUNCH, OVERHEAD} or name == PROMPT_WEIGHTS_TERM:
            return 1.0
        if name in EXPERT_TERMS or part == COMPUTE:
            return layout.expert_ranks
        return cache if "cache" in name else layout.tensor_ranks

    return share


def _communication(case: SpeedCase, layout: Layout, grid: Grid) -> dict[str, TermCurves]:
    """All-reduces of tensor ranks (or exchanges with experts' ranks) twice a layer, and hops between stages."""
    layers, ranks = layer_count(case.architecture), layout.expert_ranks
    found: dict[str, TermCurves] = {}
    if ranks > 1:
        link = link_bytes_per_s(layout, case.target)
        token_s = 4 * layers * case.architecture.hidden_size * ACTIVATION_BYTES * (ranks - 1) / ranks / link
        shared = layout.attention_groups
        flat, zeros = tuple(layers * LAYER_S for _ in grid.batches), tuple(0.0 for _ in grid.depths)
        moved = tuple(count * token_s / shared for count in grid.batches)
        none = tuple(0.0 for _ in grid.prompts)
        found["ranks"] = TermCurves(OVERHEAD, flat, zeros, none)
        found["moved"] = TermCurves(OVERHEAD, moved, zeros, none)
        found["prefill_ranks"] = TermCurves(OVERHEAD, (), (), tuple(layers * LAYER_S for _ in grid.prompts))
        found["prefill_moved"] = TermCurves(OVERHEAD, (), (), tuple(count * token_s / shared for count in grid.prompts))
    if layout.stages > 1:
        hops = tuple((layout.stages - 1) * HOP_S for _ in grid.batches)
        found["hops"] = TermCurves(
            OVERHEAD, hops, tuple(0.0 for _ in grid.depths), tuple(hops[0] for _ in grid.prompts)
        )
    return found


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
            memory = memory or self.prompt_memory(prompt)
            compute += self.prompt_compute(prompt) + self.attention(prompt)
            links += self.prompt_links(prompt)
            overhead += self.prompt_overhead(prompt)
        sizes = {"bandwidth": memory, "compute": compute, "link": links, "overhead": overhead - links}
        return max(sizes, key=lambda name: sizes[name])

    def step_s(self, decodes: float, depth: float, prompt_tokens: float = 0.0, attention_s: float = 0.0) -> float:
        """Seconds of a step of `decodes` sequences at a mean `depth` of cached tokens beside `prompt_tokens` read."""
        batch, prompt = self.at_once(decodes), prompt_tokens * self.batch_share
        memory = compute = launch = overhead = 0.0
        if decodes:
            told, flat_memory, flat_compute, launch, overhead = self._of_batch(batch)
            memory = told * (flat_memory + batch * self.deep_memory(depth) + self.experts(batch + prompt))
            compute = told * (flat_compute + batch * self.deep_compute(depth))
        if prompt_tokens:
            told = self.prompts_as_told
            memory = memory or told * self.prompt_memory(prompt)
            compute += told * (self.prompt_compute(prompt) + attention_s * self.batch_share)
            launch = max(launch, told * self.prompt_launch(prompt))
            fixed = min(self.overhead.ys[0], self.prompt_overhead.ys[0]) if decodes else 0.0
            overhead += told * (self.prompt_overhead(prompt) - fixed)
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
    one = replace(case, target=replace(case.target, count=1, others=()), placement=None)
    gain = format_flops_per_s(one) / peak_flops_per_s(one) if products else 1.0
    gain *= prompt_peak_flops_per_s(one) / prompt_products_flops_per_s(one)
    weights = {name: term.weight(fitted.factor(name, law_groups, own)) for name, term in curves.items()}
    return {name: weight / gain if name in PROMPT_PRODUCTS else weight for name, weight in weights.items()}


def weight_floors(case: SpeedCase, curves: Mapping[str, TermCurves]) -> dict[str, float]:
    """The least weight of a term: 95 % of the nominal bandwidth, 90 % of the peak of the format that is multiplied.

    A decode step's compute has its nominal peak's; a prompt's is told against `prompt_peak_flops_per_s`, of the format
    that is multiplied.
    """
    one = replace(case, target=replace(case.target, count=1, others=()), placement=None)
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

    def total(
        column: str, xs: Sequence[int], part: str, only: bool | None = None, named: Container[str] | None = None
    ) -> Curve:
        ys = [0.0] * len(xs)
        for name, term in curves.items():
            if term.part != part or (only is not None and (name in EXPERT_TERMS) is not only):
                continue
            if named is not None and name not in named:
                continue
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
        flat_memory=total("by_batch", batches, MEMORY, only=False),
        deep_memory=total("by_depth", depths, MEMORY),
        experts=total("by_batch", batches, MEMORY, only=True),
        prompt_memory=total("by_prompt", prompts, MEMORY),
        compute=total("by_batch", batches, COMPUTE),
        deep_compute=total("by_depth", depths, COMPUTE),
        prompt_compute=prompt_compute,
        attention=Curve(depths, [factor * value for value in by_depth]),
        launch=total("by_batch", batches, LAUNCH),
        prompt_launch=total("by_prompt", prompts, LAUNCH),
        overhead=total("by_batch", batches, OVERHEAD),
        prompt_overhead=total("by_prompt", prompts, OVERHEAD),
        links=total("by_batch", batches, OVERHEAD, named=LINK_TERMS),
        prompt_links=total("by_prompt", prompts, OVERHEAD, named=LINK_TERMS),
        batch_share=batch_share,
    )
