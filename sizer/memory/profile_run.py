"""The step that engines with a pool run once, to see what it takes, before they reserve their cache."""

from __future__ import annotations

from functools import cache

from sizer.device.records import Device
from sizer.engine.memory_rules import EngineMemory
from sizer.engine.releases import rule_in_force
from sizer.frozen import NamedTuple
from sizer.memory.case import Case
from sizer.model.architecture import Tower
from sizer.tables import matches, read_rows
from sizer.units import GIB

LONGEST_WHOLE_PROMPT = 32_768
"""Longer models read their prompts in chunks, before the engine of 0.8: vllm/engine/arg_utils.py of 0.7.3."""
BY_CARD = "by card"
"""What a memory row says of an engine whose step goes by card: `data/profile_runs.csv`."""
USUAL_TOKENS, USUAL_SEQUENCES = 2048, 256
"""Tokens and sequences of a step where the engine tells none: vLLM's max_num_batched_tokens of 2,048 and
max_num_seqs of 256 (vllm/config, SchedulerConfig)."""


class ProfileRun(NamedTuple):
    """The step that vLLM and SGLang measure before they reserve their cache: tokens scheduled and sequences."""

    tokens: int
    sequences: int


class _CardRule(NamedTuple):
    """What a release profiles by default on cards of a name or of so much memory; `tokens` None: as its memory row
    says."""

    in_process: bool | None
    devices: tuple[str, ...]
    least_memory_bytes: int
    except_devices: tuple[str, ...]
    tokens: int | None
    sequences: int

    def holds(self, device: Device, in_process: bool) -> bool:
        """Whether the rule is for a card, and for how the engine is started."""
        if self.in_process not in {None, in_process}:
            return False
        if self.devices and not any(matches(pattern, device.key) for pattern in self.devices):
            return False
        excepted = any(matches(pattern, device.key) for pattern in self.except_devices)
        return (device.memory_bytes or 0) >= self.least_memory_bytes and not excepted


@cache
def _card_rules(version: str, date: str) -> tuple[_CardRule, ...]:
    """The rows of `data/profile_runs.csv` that a release or a date has: the first that holds decides."""
    rows = list(read_rows("profile_runs.csv"))
    era = rule_in_force(rows, version, date)["before_version"]
    return tuple(
        _CardRule(
            row["in_process"] == "yes" if row["in_process"] else None,
            tuple(row["devices"].split()),
            int(row["least_memory_gib"] or 0) * GIB,
            tuple(row["except_devices"].split()),
            int(row["tokens"]) if row["tokens"] else None,
            int(row["sequences"]),
        )
        for row in rows
        if row["before_version"] == era
    )


def step_by_card(
    engine: EngineMemory, device: Device, *, in_process: bool = False, version: str = "", date: str = ""
) -> ProfileRun:
    """The step that a release schedules at the most on a card unless flags say another, which is what it profiles.

    `in_process`: Python's `LLM` runs it, not a server. Without a version the date (ISO) tells the release, without
    either it is the newest.
    """
    rule = next(rule for rule in _card_rules(version, date) if rule.holds(device, in_process))
    return ProfileRun(rule.tokens or engine.prefill_chunk_tokens or USUAL_TOKENS, rule.sequences)


def profile_run(case: Case) -> ProfileRun:
    """What the engine profiles: as the flags say, else its defaults (by card: `data/profile_runs.csv`).

    No more sequences than tokens.
    """
    run = _default_run(case)
    tokens = case.options.batch_tokens or run.tokens
    return ProfileRun(tokens, min(tokens, case.options.max_sequences or run.sequences))


def _default_run(case: Case) -> ProfileRun:
    """The first core of vLLM, which read prompts whole, profiled multimodal models with as few sequences as their
    largest image leaves room for."""
    tokens = case.engine.prefill_chunk_tokens or USUAL_TOKENS
    if case.engine.profile == BY_CARD:
        version = "" if case.engine.like else case.options.version
        device, in_process = case.target.device, bool(case.options.in_process)
        return step_by_card(case.engine, device, in_process=in_process, version=version, date=case.engine_date)
    if case.engine.profile == "whole length":
        length = case.options.context_tokens or case.workload.context_tokens
        sees = any(tensor.tower is Tower.VISION for tensor in case.architecture.tensors)
        whole = tokens if length > LONGEST_WHOLE_PROMPT else max(tokens, length)
        return ProfileRun(whole, 1 if sees else USUAL_SEQUENCES)
    if case.engine.profile == "fixed":
        from sizer.memory.prefill_default import default_prefill_tokens

        tokens = default_prefill_tokens(case) or tokens
    return ProfileRun(tokens, USUAL_SEQUENCES)
