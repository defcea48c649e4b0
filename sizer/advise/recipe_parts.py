"""What a recipe is made of: lines and commands, and the flags that an estimate's asker gave to its engine."""

from __future__ import annotations

import shlex
from dataclasses import field
from typing import Any

from sizer.answer.records import Estimate
from sizer.engine.engines import find_engine
from sizer.engine.flag_text import written_all
from sizer.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to type: lines that come first (comments, conversions, files), then the commands that run the model."""

    setup: tuple[str, ...] = ()
    runs: tuple[tuple[str, ...], ...] = field(default=())

    def text(self, added: tuple[str, ...] = ()) -> str:
        """The whole, with flags added to each command that runs the model."""
        return "".join(f"{line}\n" for line in (*self.setup, *(shlex.join((*run, *added)) for run in self.runs)))


WRITTEN_ELSEWHERE = frozenset(
    {"model", "hub_file", "context_tokens", "prompt_tokens", "output_tokens", "depth_tokens", "weights_dtype",
     "quantization", "gpu_layers", "cpu_moe_layers", "cache_bits"}
)  # fmt: skip
"""What a recipe decides itself: the model, the precision, the context and what lies on the host."""


def asked_flags(estimate: Estimate, fields: dict[str, Any]) -> list[str]:
    """The words of fields, with the flags that the asker gave to the engine: those stay as they are."""
    engine, options = find_engine(estimate.engine), estimate.options
    asked = options.settings if options.engine == engine.name else {}
    kept = {name: value for name, value in asked.items() if name not in WRITTEN_ELSEWHERE}
    merged = {**{name: value for name, value in fields.items() if value}, **kept}
    return written_all(engine.flags, merged, options.version)
