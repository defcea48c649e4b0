"""What the name of a quantized copy leaves open: which layers it is about, and how bitsandbytes made it."""

from __future__ import annotations

import re
from dataclasses import replace

from sizer.model.architecture import Architecture, Role, Tower
from sizer.model.read.names import NameHints
from sizer.units import format_gib

ATTENTION = frozenset({Role.Q, Role.K, Role.V, Role.QKV, Role.O, Role.Q_A, Role.Q_B, Role.KV_A, Role.KV_B})
# Schemes that some checkpoints apply to the MLPs alone (arXiv:2407.21783, section 6.2), and their bits a value.
PARTIAL_BITS = {"fp8": 8.0, "nvfp4": 4.5}
HALF_BITS = 16
_BITSANDBYTES = re.compile(r"bnb[-_](?P<bits>4|8)[-_]?bit$", re.IGNORECASE)
BITSANDBYTES: dict[str, tuple[str, dict[str, object]]] = {
    "4": ("nf4-dq", {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
    "8": ("int8", {"load_in_8bit": True}),
}
"""By the bits of a copy's name: the precision and the config of unsloth's copies, who publishes most of them."""
DOUBLE_NOTE = "its name does not tell whether the scales are quantized too: taken as unsloth's copies are, nf4-dq"
MIXED_NOTE = "unsloth's dynamic copies keep some layers in 16 bits, which no name tells: they are larger"


def as_made_before(
    name: str, architecture: Architecture, hints: NameHints
) -> tuple[Architecture, NameHints, tuple[str, ...]]:
    """A copy that bitsandbytes made beforehand with the config that its files have, and what its name leaves open.

    Copies of other names are as they were.
    """
    found = _BITSANDBYTES.search(name)
    if found is None:
        return architecture, hints, ()
    precision, settings = BITSANDBYTES[found["bits"]]
    architecture = replace(architecture, quantization={"quant_method": "bitsandbytes", **settings})
    notes = (DOUBLE_NOTE,) if precision == "nf4-dq" and "unsloth" not in name.lower() else ()
    mixed = (MIXED_NOTE,) if "unsloth-bnb" in name.lower() else ()
    return architecture, replace(hints, quantization=precision), (*notes, *mixed)


def partial_note(architecture: Architecture, quantization: str | None) -> tuple[str, ...]:
    """How much more a copy takes if its name's FP8 or FP4 is that of the MLPs alone; nothing for other schemes, which
    are always applied to every linear layer."""
    bits = PARTIAL_BITS.get(quantization or "")
    if bits is None:
        return ()
    attention = sum(
        tensor.total_elements
        for tensor in architecture.tensors
        if tensor.role in ATTENTION
        and tensor.tower is Tower.TEXT
        and len(tensor.shape) > 1
        and not tensor.checkpoint_only
    )
    more_bytes = round(attention * (HALF_BITS - bits) / 8)
    return (
        f"the name does not tell which layers are {quantization}: all linear ones but the head are taken to be; "
        f"if the MLPs alone are, the weights take {format_gib(more_bytes)} more",
    )
