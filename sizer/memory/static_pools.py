"""Pools that an engine divides before it knows a request: of layers with windows, of states, of the rest.

Rows of `data/static_pools.csv` (SGLang, read): the pool of layers with a window holds `window_ratio` of the tokens that
the others hold, for the model types of the table (`*`: all); elsewhere those layers keep every token. States take
`state_ratio` of what attention takes, in slots of which one request needs several.
"""

from __future__ import annotations

from functools import cache

from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple
from sizer.memory.case import Case
from sizer.memory.pages import kinds_of

EVERY = "*"


class PoolRule(NamedTuple):
    """One release's division: which model types have a pool for windows, its ratio, that of states and their slots."""

    window_models: frozenset[str]
    window_ratio: float
    state_ratio: float
    state_slots: int


@cache
def pool_rule(engine: str, version: str, date: str) -> PoolRule | None:
    """The rule in force; None for engines without a row."""
    rows = rules("static_pools.csv", "engine").get(engine)
    if rows is None:
        return None
    row = rule_in_force(rows, version, date)
    models = frozenset(row["window_models"].split())
    return PoolRule(models, float(row["window_ratio"]), float(row["state_ratio"]), int(row["state_slots"]))


class DividedPool(NamedTuple):
    """What a token and a request take of one rank's pools: bytes of a token in all layers, of a request's states.

    Layers with windows keep `window_ratio` of the tokens, `state_share` of the room goes to states. `has_whole` says
    that some layers keep every token. A sequence of `length` tokens takes `window_length` of the windows' pool.
    """

    token_bytes: float
    state_bytes: int
    state_share: float
    window_ratio: float
    has_whole: bool
    length: int
    window_length: int

    def tokens(self, room_bytes: int) -> int | None:
        """Tokens that the pool holds; None where nothing grows with the context."""
        return int(room_bytes * (1 - self.state_share) / self.token_bytes) if self.token_bytes else None

    def sequences(self, room_bytes: int) -> int:
        """Sequences of the length: by each pool's tokens, and by the slots of states."""
        held = []
        tokens = self.tokens(room_bytes)
        if tokens is not None and self.has_whole:
            held.append(tokens // self.length)
        if tokens is not None and self.window_length:
            held.append(int(tokens * (self.window_ratio if self.has_whole else 1)) // self.window_length)
        if self.state_bytes:
            held.append(int(room_bytes * self.state_share) // self.state_bytes)
        return min(held)

    def bytes_for(self, sequences: int) -> int:
        """The smallest room that holds so many sequences."""
        ratio = self.window_ratio if self.has_whole else 1
        wanted = sequences * max(self.length if self.has_whole else 0, self.window_length / ratio)
        of_tokens = wanted * self.token_bytes / (1 - self.state_share) if self.token_bytes else 0
        of_states = sequences * self.state_bytes / self.state_share if self.state_bytes else 0
        return int(max(of_tokens, of_states)) + 1


def divided_pool(case: Case) -> DividedPool | None:
    """How the pools are divided; None where the engine has none, or the layers keep alike."""
    rule = pool_rule(case.engine.engine, case.options.version, case.engine_date)
    kinds = kinds_of(case) if rule is not None else ()
    whole = sum(kind.layers * kind.token_bytes for kind in kinds if kind.window_tokens is None)
    windows = [kind for kind in kinds if kind.window_tokens is not None]
    states = sum(kind.layers * kind.state_bytes for kind in kinds)
    if rule is None or not (windows or states):
        return None
    alike = case.options.whole_window_cache or not rule.window_models & (case.architecture.model_types | {EVERY})
    ratio = 1.0 if alike else case.options.window_pool_ratio or rule.window_ratio
    of_windows = sum(kind.layers * kind.token_bytes for kind in windows)
    grows = bool(whole or windows)
    of_states = case.options.state_pool_ratio or rule.state_ratio
    length = max(1, case.workload.context_tokens)
    longest = max((kind.window_tokens or 0 for kind in windows), default=0)
    return DividedPool(
        token_bytes=whole + ratio * of_windows if whole else float(of_windows),
        state_bytes=states * rule.state_slots,
        state_share=0.0 if not states else of_states / (1 + of_states) if grows else 1.0,
        window_ratio=ratio,
        has_whole=bool(whole),
        length=length,
        window_length=min(length, length if alike else longest),
    )
