"""The terms of the law of speed, tabulated once a deployment: nominal seconds by sequences, depth and prompt tokens.

The amounts of `sizer.speed.terms` and `prompt_terms` are asked for on a grid of batches and depths of one device, and
divided over the ranks of the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.serving.curves import WHOLE, Grid
from sizer.serving.layout import Layout, link_bytes_per_s
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import whole
from sizer.speed.launches import LAYER_S, layer_count
from sizer.speed.law import COMPUTE, LAUNCH, OVERHEAD, Amount
from sizer.speed.prompt_terms import prefill_amounts
from sizer.speed.splits import HOP_S
from sizer.speed.terms import decode_amounts, step_traffic
from sizer.speed.traffic import prefill_traffic

ATTENTION_TERM, PROMPT_WEIGHTS_TERM = "prefill_attention", "prefill_weights"
EXPERT_TERMS = frozenset({"experts", "prefill_experts"})
ACTIVATION_BYTES = 2
"""Ranks exchange 16-bit values."""


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
    one = on_one_device(case)
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


def on_one_device(case: SpeedCase) -> SpeedCase:
    """The case on the first of its devices alone, with the whole model there."""
    return replace(case, target=replace(case.target, count=1, others=()), placement=None)


def _decode(case: SpeedCase, batch: int, depth: int) -> dict[str, Amount]:
    workload = replace(case.workload, batch_size=batch, prompt_tokens=depth, output_tokens=1, context_tokens=depth + 1)
    asked = case.of_workload(workload)
    return _by_name(decode_amounts(asked, step_traffic(asked)))


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
