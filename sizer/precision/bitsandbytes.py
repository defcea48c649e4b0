"""What bitsandbytes does to 4-bit weights on a CPU: the first forward repacks them.

On CPUs with AVX512-BF16 the first forward without gradients re-orders the nibbles in tiles of 32 rows, turns the scales
to bf16 and drops double quantization (bitsandbytes 0.50, `_convert_weight_packed_for_cpu`): NF4 gets smaller, NF4 with
double quantization larger.
"""

from __future__ import annotations

from sizer.model.stored import Stored, StoredTensor
from sizer.precision.schemes import matrix_shape

TILE_ROWS = 32
GROUP_ELEMENTS, SCALE_BYTES, CODE_BYTES = 64, 2, 64
# The offset of a double quantization stays behind.
OFFSET_BYTES = 4
FOUR_BIT = ("bnb-nf4", "bnb-fp4", "bnb-nf4-dq")


def cpu_repacked_bytes(stored: Stored) -> int | None:
    """Resident bytes after the first forward on such a CPU, with no compute dtype set (biases become 32-bit).

    None where that forward fails: the rows of a matrix are no multiple of 32.
    """
    running = [part for part in stored.tensors if not part.tensor.checkpoint_only]
    repacked = {part.tensor.name.removesuffix(".weight") for part in running if part.format in FOUR_BIT}
    total = 0
    for part in running:
        if part.format in FOUR_BIT:
            size = _matrix_bytes(part)
            if size is None:
                return None
            total += size * part.tensor.copies
        elif part.tensor.name.endswith(".bias") and part.tensor.name.removesuffix(".bias") in repacked:
            total += max(part.size_bytes, 4 * part.tensor.total_elements)
        else:
            total += part.size_bytes
    return total


def repacking_notes(stored: Stored) -> tuple[str, ...]:
    """What a reader must know who runs 4-bit weights on a CPU; nothing for other formats."""
    if all(part.format not in FOUR_BIT for part in stored.tensors):
        return ()
    repacked_bytes = cpu_repacked_bytes(stored)
    if repacked_bytes is None:
        return (f"CPUs with AVX512-BF16 cannot run it: bitsandbytes needs rows in multiples of {TILE_ROWS}.",)
    return (f"CPUs with AVX512-BF16 repack the weights at the first forward: {repacked_bytes:,} bytes then.",)


def _matrix_bytes(part: StoredTensor) -> int | None:
    """One repacked matrix, or None where its rows fill no whole tiles."""
    _, rows, columns = matrix_shape(part.tensor)
    if rows % TILE_ROWS:
        return None
    size = -(-rows * columns // 2) + -(-rows * columns // GROUP_ELEMENTS) * SCALE_BYTES + CODE_BYTES
    return size + (OFFSET_BYTES if part.format.endswith("-dq") else 0)
