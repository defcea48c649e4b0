"""How an engine schedules many users: rows of `data/serving_engines.csv`, and what its own flags change."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from sizer.device.records import Device
from sizer.device.usable import usable_memory_bytes
from sizer.engine.memory_rules import engine_memory
from sizer.engine.options import EngineOptions
from sizer.engine.releases import rule_in_force, rules
from sizer.engine.static_rules import Card, static_chunk_tokens
from sizer.errors import UnknownEngine, UsageError
from sizer.frozen import dataclass
from sizer.memory.profile_run import BY_CARD, ProfileRun, step_by_card
from sizer.tables import matches
from sizer.units import GIB, MIB

TABLE = "serving_engines.csv"
PROMPTS = ("beside", "before")
RESERVES = ("grow", "whole", "slots")
PARTS = ("", "longest")
PRODUCTS = ("", "narrow")
BUDGETS = ("", "rank")
STEP_FLAGS = ("batch", "chunk")
MOST_STEP_TOKENS, MOST_SEQUENCES = 2**20, 65536
"""More tokens and sequences of one step than any engine takes: a slip."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The rules of an engine's scheduler.

    A step takes `step_tokens` tokens at most, of `max_sequences` sequences. `step_flag` tells which of an engine's
    flags sets those tokens: its `batch` (vLLM's --max-num-batched-tokens), or the `chunk` that it parts prompts
    into (SGLang's --chunked-prefill-size). Prompts are read in chunks `beside` the decodes of the same step, or
    `before` them: a step of prompts alone, which the decodes wait for. A prompt is parted over steps, unless
    `parts` is `longest`: then a step has room for the longest, and one that what is left of it has no room for
    waits for the next. The cache of a sequence `grow`s (when it is full the last admitted is
    preempted and read again), is reserved `whole` before it starts, or is a slot's (`slots`: as grow, but a request
    waits for a slot). `products` is `narrow` where weights of 8 and 4 bits are multiplied in their own format on
    devices that have it. `prefixes` tells whether the cache keeps the beginnings of prompts. `budget` is `rank`
    where each rank of data-parallel attention has these tokens and sequences to itself (vLLM's ranks are schedulers
    of their own, TensorRT-LLM counts max_batch_size a rank), and empty where all share them (SGLang divides both by
    its ranks).
    """

    engine: str
    step_tokens: int
    max_sequences: int
    prompts: str
    reserves: str
    parts: str = ""
    products: str = ""
    budget: str = ""
    step_flag: str = "batch"
    prefixes: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        """Refuses counts that no engine has, and words that are no rule."""
        if not 1 <= self.step_tokens <= MOST_STEP_TOKENS:
            raise UsageError(f"a step of {self.step_tokens} tokens is not between 1 and {MOST_STEP_TOKENS:,}.")
        if not 1 <= self.max_sequences <= MOST_SEQUENCES:
            raise UsageError(f"{self.max_sequences} sequences at once are not between 1 and {MOST_SEQUENCES:,}.")
        for word, known in (
            (self.prompts, PROMPTS), (self.reserves, RESERVES), (self.parts, PARTS), (self.products, PRODUCTS),
            (self.budget, BUDGETS), (self.step_flag, STEP_FLAGS),
        ):  # fmt: skip
            if word not in known:
                raise UsageError(f"{word!r} is no rule of a scheduler.")

    def with_limits(self, step_tokens: int | None = None, max_sequences: int | None = None) -> Scheduler:
        """The same rules with what the user's flags set."""
        return replace(
            self, step_tokens=step_tokens or self.step_tokens, max_sequences=max_sequences or self.max_sequences
        )

    def as_told(self, options: EngineOptions, longest_tokens: int) -> Scheduler:
        """The same rules with what the engine's own flags say of a step; no prompt is longer than `longest_tokens`.

        A chunk of no tokens parts no prompt.
        """
        told = options.prefill_chunk_tokens if self.step_flag == "chunk" else options.batch_tokens
        rules = self.with_limits(max(0, told or 0), options.max_sequences)
        if told is not None and told <= 0:
            rules = replace(rules, parts="longest")
        if rules.parts != "longest":
            return rules
        room = max(options.batch_tokens or rules.step_tokens, longest_tokens)
        return replace(rules, step_tokens=min(room, MOST_STEP_TOKENS))

    def over_ranks(self, attention_groups: int) -> Scheduler:
        """The rules of all ranks of data-parallel attention together."""
        if self.budget != "rank" or attention_groups == 1:
            return self
        return replace(
            self,
            step_tokens=min(MOST_STEP_TOKENS, self.step_tokens * attention_groups),
            max_sequences=min(MOST_SEQUENCES, self.max_sequences * attention_groups),
        )


def serves(engine: str) -> bool:
    """Whether it is known how an engine serves many users."""
    return engine in rules(TABLE, "engine")


def reads_prompts_apart(engine: str) -> bool:
    """Whether the decodes of an engine wait while prompts are read; False of one whose rules nobody wrote down."""
    table = rules(TABLE, "engine")
    return serves(engine) and any(row["prompts"] == "before" for row in table[table[engine][0]["like"] or engine])


def scheduler(engine: str, device: Device, version: str = "", given: Container[str] = (), date: str = "") -> Scheduler:
    """The scheduler of an engine on a device; `given` are the engine's own flags that are on: some choose another.

    Without a version a date (ISO) tells the release. Raises UnknownEngine where nobody wrote its rules down.
    """
    table = rules(TABLE, "engine")
    if not serves(engine):
        raise UnknownEngine(f"how {engine!r} serves many users is not known.", f"Known: {', '.join(table)}.")
    rows = table[table[engine][0]["like"] or engine]
    held_gib = (device.memory_bytes or 0) / GIB
    fitting = [row for row in rows if _holds(row, held_gib, device.key)]
    chosen = [row for row in fitting if row["with_flag"] in given] or [row for row in fitting if not row["with_flag"]]
    row = rule_in_force(sorted(chosen, key=_threshold, reverse=True), version)
    step = _step(row, device, version, date)
    return Scheduler(
        engine=engine,
        step_tokens=step.tokens,
        max_sequences=step.sequences,
        prompts=row["prompts"],
        reserves=row["reserves"],
        parts=row["parts"],
        products=row["products"],
        budget=row["budget"],
        step_flag=row["step_flag"],
        prefixes=_keeps_prefixes(row["prefix_flag"], given),
        source=row["source"],
    )


def _keeps_prefixes(told: str, given: Container[str]) -> bool:
    """Whether a server finds the beginnings of prompts that it has read: `+flag` where that flag makes it, `-flag`
    unless that flag forbids it."""
    return told[1:] in given if told.startswith("+") else not told or told[1:] not in given


def _step(row: Mapping[str, str], device: Device, version: str, date: str) -> ProfileRun:
    """The tokens and sequences of a step: those of the row, unless the engine's release has them by card, as what it
    profiles or what it reserves for."""
    memory = engine_memory(row["engine"], version, date)
    if memory is not None and memory.profile == BY_CARD and not memory.like:
        return step_by_card(memory, device, version=version, date=date)
    shown = usable_memory_bytes(device)
    card = (
        Card(shown / MIB, ranks=1, chunk_tokens=None, graph_sequences=None, latent=False, vision=0) if shown else None
    )
    chunk = static_chunk_tokens(row["engine"], version, date, card) if card else None
    return ProfileRun(chunk or int(row["step_tokens"]), int(row["max_sequences"]))


def _threshold(row: Mapping[str, str]) -> float:
    return float(row["min_device_memory_gib"] or 0)


def _holds(row: Mapping[str, str], held_gib: float, key: str) -> bool:
    excepted = any(matches(pattern, key) for pattern in row["except_devices"].split())
    return held_gib >= _threshold(row) and not excepted
