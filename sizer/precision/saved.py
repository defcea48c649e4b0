"""What a checkpoint takes on disk beyond its tensors: the headers, and what bitsandbytes writes beside each matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sizer.formats import format_of
from sizer.methods import methods
from sizer.model.stored import StoredTensor
from sizer.precision.schemes import matrix_shape

# safetensors: `"NAME":{"dtype":"BF16","shape":[4096,4096],"data_offsets":[1234567890,1234567890]},`
HEADER_ENTRY_BYTES = 78
HEADER_LENGTH_BYTES = 8

# A representative double-quantization offset: its digits are part of the saved state.
NESTED_OFFSET = 0.012345678901234567


def saved_bytes(tensors: Iterable[StoredTensor], kind: str) -> int:
    """Bytes of the safetensors file or files: tensors, headers (an estimate of their text) and saved states.

    What transformers does not build when it makes a method's model is not in what it saves.
    """
    total = HEADER_LENGTH_BYTES
    for stored in tensors:
        tensor = stored.tensor
        if tensor.checkpoint_only and methods()[kind].made_at_load:
            continue
        matrices = (matrix_shape(tensor)[0] if tensor.shape else 1) * tensor.copies
        entries = matrices * format_of(stored.format).checkpoint_tensors
        total += stored.size_bytes + entries * (HEADER_ENTRY_BYTES + len(tensor.name))
        total += matrices * saved_state_bytes(stored)
    return total


def saved_state_bytes(stored: StoredTensor) -> int:
    """What `save_pretrained` adds to one bitsandbytes matrix: a byte (int8), or its state as JSON (4-bit).

    Double quantization writes its offset as text instead of 4 bytes; the text's length varies by a few digits.
    """
    if stored.format == "bnb-int8":
        return 1
    if not stored.format.startswith("bnb-"):
        return 0
    nested = stored.format.endswith("-dq")
    _, rows, columns = matrix_shape(stored.tensor)
    state = {"quant_type": stored.format[4:7], "blocksize": 64, "dtype": "bfloat16", "shape": [rows, columns]}
    if nested:
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": NESTED_OFFSET}
    return len(json.dumps(state)) - (4 if nested else 0)
