"""Speculative decoding: what a drafter gains, out of what verification, drafting and the round itself cost.

A round drafts g tokens and verifies g + 1 at once. Each draft is accepted with probability a, independently, so a round
yields (1 - a^(g+1)) / (1 - a) tokens (Leviathan et al. 2023, eq. 1). It costs one verification, v times a plain step,
its drafts, c times a plain step each, and what every round costs whatever it drafts (`data/draft_rounds.csv`). v and c
come from the law of speed: a dense model that waits for memory verifies for little more than one token's time, a
mixture reads the experts of all the tokens. A drafter is a model of its own, or a method beside the model: a head of a
layer or two (`mtp`, `eagle`), one that drafts a block at once (`dflash`), or what the text already holds (`ngram`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.speed.case import SpeedCase, runtime_rule, speed_case
from sizer.speed.launches import layer_count
from sizer.speed.law import Constants, constants
from sizer.speed.predict import step_of
from sizer.speed.records import DraftMethod, Speculation, Speed
from sizer.speed.terms import step_traffic
from sizer.tables import read_rows

ANY_ENGINE = "any"
USUAL_ACCEPTANCE = 0.7
"""Acceptance where none is given: LaMDA 137B accepts 0.61, 0.71 and 0.75 of what models of 0.1, 2 and 8 B draft
(Leviathan et al. 2023, table 3, dialogue at temperature 0). Real text decides: code is higher, free prose lower."""


Drafter = tuple[Architecture, Stored] | DraftMethod
"""A draft model, or a method beside the model."""


@cache
def draft_methods() -> dict[str, DraftMethod]:
    """The methods of `data/draft_methods.csv` by name and spelling."""
    found = {}
    for row in read_rows("draft_methods.csv"):
        spellings = tuple(row["spellings"].split())
        read, deepest = (float(row["layers"]), float(row["head"])), int(row["deepest"] or 0)
        method = DraftMethod(row["method"], spellings, row["passes"], *read, deepest)
        found.update(dict.fromkeys((method.name, *spellings), method))
    return found


def method_named(text: str) -> DraftMethod | None:
    """The method that an engine's own word means: `deepseek_mtp`, `draft-mtp`, `EAGLE3`, `ngram-simple`; None for a
    draft model."""
    told = text.strip().lower()
    methods = draft_methods()
    within = (method for name, method in methods.items() if name in told)
    return methods.get(told) or next(within, None)


@cache
def _rounds() -> dict[str, float]:
    return {row["runtime"]: float(row["round_ms"]) / 1000 for row in read_rows("draft_rounds.csv")}


def round_s(runtime: str) -> float:
    """Seconds that a round costs beyond drafting and verifying: sampling, bookkeeping, graphs that do not fit. The host
    takes them, whatever the model and the card."""
    rounds = _rounds()
    return rounds.get(runtime, rounds[ANY_ENGINE])


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """Tokens that a step of `draft_tokens` drafts yields on average, the verifier's own token included."""
    if acceptance >= 1:
        return draft_tokens + 1.0
    return (1 - acceptance ** (draft_tokens + 1)) / (1 - acceptance)


def step_s(case: SpeedCase, tokens_per_sequence: int, fitted: Constants) -> float:
    """Seconds of one step that runs `tokens_per_sequence` tokens of each sequence."""
    return step_of(case, tokens_per_sequence, fitted).total_s


def verify_cost(case: SpeedCase, draft_tokens: int, fitted: Constants) -> float:
    """Plain steps that verifying `draft_tokens` drafts and the token before them costs."""
    return step_s(case, draft_tokens + 1, fitted) / step_s(case, 1, fitted)


def replay_cost(case: SpeedCase, draft_tokens: int, tokens: float, fitted: Constants) -> float:
    """Plain steps in which the accepted tokens of a round that yields `tokens` run once more, in the rounds that reject
    some: of a model whose layers keep a state, where an engine has no other way back (`data/state_replays.csv`)."""
    if not replays_states(case):
        return 0.0
    accepted = min(1.0, max(0.0, (tokens - 1) / draft_tokens))
    return (1 - accepted**draft_tokens) * verify_cost(case, max(0, round(tokens) - 1), fitted)


def replays_states(case: SpeedCase) -> bool:
    """Whether what a draft did to the model's states is undone by running its accepted tokens again."""
    rule = runtime_rule(case, "state_replays.csv")
    return (
        rule is not None
        and rule["replays"] == "yes"
        and any(one.is_recurrent for one in case.architecture.mixer_counts)
    )


def draft_cost(case: SpeedCase, drafter: Drafter, draft_tokens: int, fitted: Constants) -> float:
    """Plain steps that each drafted token costs."""
    if not isinstance(drafter, DraftMethod):
        alone = replace(case.target, count=1, others=())
        drafting = speed_case(
            *drafter, alone, case.workload, case.engine.name, backend=case.backend, graphs=case.graphs
        )
        return step_s(drafting, 1, fitted) / step_s(case, 1, fitted)
    traffic = step_traffic(case)
    head = traffic.stage("lm_head").weight_bytes / max(1, traffic.bytes_read)
    once = drafter.layers / max(1.0, layer_count(case.architecture)) * (1 - head) + drafter.head * head
    passes = {"token": min(draft_tokens, drafter.deepest or draft_tokens), "round": 1, "none": 0}[drafter.passes]
    return once * passes / draft_tokens


def speculation_of(
    case: SpeedCase, drafter: Drafter, draft_tokens: int, tokens: float, fitted: Constants
) -> Speculation:
    """The gain where a round yields `tokens` tokens."""
    verified = verify_cost(case, draft_tokens, fitted) + replay_cost(case, draft_tokens, tokens, fitted)
    drafted = draft_cost(case, drafter, draft_tokens, fitted)
    plain_s = step_s(case, 1, fitted)
    each = round_s(case.engine.runtime) / plain_s
    speedup = tokens / (verified + draft_tokens * drafted + each)
    return Speculation(tokens, verified, drafted, each, speedup, speedup / plain_s, draft_tokens)


def speculate(
    case: SpeedCase, drafter: Drafter, *, draft_tokens: int, acceptance: float, fitted: Constants | None = None
) -> Speculation:
    """The gain of drafting `draft_tokens` tokens a step for a case, each accepted with probability `acceptance`.

    Model and drafter lie on the same target; a draft model's layers are on one device. Raises UsageError for a
    probability outside 0 to 1 or a draft of no tokens.
    """
    if not 0 <= acceptance <= 1:
        raise UsageError(f"--acceptance {acceptance:g} is no probability.", "Give a number from 0 to 1, as 0.7.")
    if draft_tokens < 1:
        raise UsageError(f"--draft-tokens {draft_tokens} drafts nothing.", "Give 1 or more.")
    tokens = expected_tokens(acceptance, draft_tokens)
    return speculation_of(case, drafter, draft_tokens, tokens, fitted or constants())


def at_rate(gain: Speculation, speed: Speed | None) -> Speculation:
    """The gain over a plain speed as it is told, which measured rows nearby or here may have corrected: the host's
    share of a round is as much more of a faster step."""
    if speed is None:
        return gain
    plain_s, told = gain.speedup / gain.tokens_per_s, speed.decode.tokens_per_s
    found = gain._replace(round_cost=gain.round_cost * plain_s * told)
    speedup = gain.tokens_per_step / found.round_steps
    return found._replace(speedup=speedup, tokens_per_s=told * speedup)


def speedup_at(gain: Speculation, acceptance: float) -> float:
    """The same drafter's gain at another acceptance: the round costs what it costs, and yields other tokens."""
    return expected_tokens(acceptance, gain.draft_tokens) / gain.round_steps
