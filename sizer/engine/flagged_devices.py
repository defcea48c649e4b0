"""The devices that an engine's flags ask for, out of those that are named."""

from __future__ import annotations

from dataclasses import replace

from sizer.device.catalogue import find
from sizer.device.records import Target
from sizer.engine.flagged import ranks
from sizer.engine.options import EngineOptions
from sizer.errors import UsageError


def with_ranks(target: Target, flags: EngineOptions) -> Target:
    """The target with as many devices as an engine's flags ask for: one that was named without a count is repeated.

    Raises UsageError where fewer are named than the flags ask for.
    """
    wanted = ranks(flags)
    have = target.count + len(target.others)
    if wanted is None or wanted == have:
        return target
    if wanted == 1:
        return replace(target, count=1, others=(), link="", link_bytes_per_s=None)
    if have == 1 or wanted < target.count:
        several = find(f"{wanted}x{target.device.key}")
        note = (
            (f"{target.device.name} is taken {wanted} times: the engine's flags ask for so many.",) if have == 1 else ()
        )
        return replace(
            target,
            count=wanted,
            others=(),
            link=several.link,
            link_bytes_per_s=several.link_bytes_per_s,
            notes=(*target.notes, *note),
        )
    raise UsageError(f"the engine's flags ask for {wanted} devices, {have} are named.", f"Name {wanted}x of them.")
