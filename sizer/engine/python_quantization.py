"""What Python code asks transformers to quantize a model to while it loads: the calls of its `quantization_config`.

By their classes in transformers 5.23 utils/quantization_config.py (read); bitsandbytes' own are flags of the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sizer.errors import UsageError

Told = Mapping[str, Any]


def _first(told: Told, name: str, usual: Any) -> Any:
    """A class's first argument, by its name or by its place; `usual` is the class's own where it is not given."""
    return told.get(name, told.get("", usual))


def _gptq(told: Told) -> str:
    group = told.get("group_size", 128)
    return "" if group is None else f"gptq-int{_first(told, 'bits', 4)}-g{group}"


def _quanto(told: Told) -> str:
    return f"quanto-{_first(told, 'weights', 'int8')}"


def _torchao(told: Told) -> str:
    """By the type's name: `int4_weight_only`, `Int8DynamicActivationInt8WeightConfig`, `float8_weight_only`."""
    name = str(_first(told, "quant_type", "")).lower()
    widths = re.findall(r"(int4|int8|float8|fp8)_?weight", name) or re.findall(r"int4|int8|float8|fp8", name)
    return f"torchao-{widths[-1].replace('float8', 'fp8')}" if widths else ""


MADE: Mapping[str, Callable[[Told], str]] = {
    "GPTQConfig": _gptq,
    "AwqConfig": lambda _: "awq-int4",
    "HqqConfig": lambda told: f"hqq-{_first(told, 'nbits', 4)}bit",
    "QuantoConfig": _quanto,
    "TorchAoConfig": _torchao,
    "FineGrainedFP8Config": lambda _: "fp8-block",
    "FbgemmFp8Config": lambda _: "fp8-channel",
    "Mxfp4Config": lambda told: "bf16" if told.get("dequantize") else "mxfp4",
}
"""By its class the precision that a configuration makes of its arguments (the first without a name under "")."""
TOLD_BY = ("bits", "nbits", "weights", "quant_type", "")
"""Arguments that a precision's name tells."""


def made_by(call: str, told: Told) -> str:
    """The precision's name. Raises UsageError for a class that no row knows, and arguments that only running tells."""
    found = ""
    if call in MADE:
        hidden = next((name for name in TOLD_BY if name in told and told[name] is None), None)
        if hidden is not None:
            what = f"what {call}(...) quantizes to is told by running the code alone."
            raise UsageError(what, f"Write {hidden or 'its first argument'} there.")
        found = MADE[call](told)
    if not found:
        raise UsageError(f"{call}(...) names no precision that sizer knows.", f"Known: {', '.join(MADE)}.")
    return found
