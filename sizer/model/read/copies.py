"""What the name of a quantized copy leaves open: which layers it is about."""

from __future__ import annotations

from sizer.model.architecture import Architecture, Role, Tower
from sizer.units import format_gib

ATTENTION = frozenset({Role.Q, Role.K, Role.V, Role.QKV, Role.O, Role.Q_A, Role.Q_B, Role.KV_A, Role.KV_B})
# Schemes that some checkpoints apply to the MLPs alone (arXiv:2407.21783, section 6.2), and their bits a value.
PARTIAL_BITS = {"fp8": 8.0, "nvfp4": 4.5}
HALF_BITS = 16


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
