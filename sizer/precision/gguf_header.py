"""The header of a GGUF file: metadata, tokenizer and the list of tensors. It is the same for every file type.

The list of tensors follows from the model; the tokenizer does not: `data/gguf_tokenizers.csv` has the bytes of
tokenizer and metadata of some families, found from files of known size; others are estimated by the vocabulary.
"""

from __future__ import annotations

from functools import lru_cache

from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.precision.gguf_tensors import GgufModel

ALIGNMENT, FIXED_BYTES = 32, 24
"""Where the data begin, and magic, version and two counts: docs/gguf.md of ggml."""
# A tensor: length and name, number of dimensions, 8 bytes a dimension, type and offset.
TENSOR_BYTES, DIMENSION_BYTES = 24, 8
# A token that only pads the vocabulary: length, `[PAD151646]`, type.
PAD_TOKEN_BYTES = 23
# Unknown tokenizers: the median of the families of the table that store merges.
UNKNOWN_BYTES_PER_TOKEN = 39


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Bytes of tokenizer and metadata of one family, for the vocabulary sizes that it is known by."""

    name: str
    archs: frozenset[str]
    model_id_part: str
    vocab_low: int
    vocab_high: int
    vocab_size: int
    header_bytes: int


@lru_cache(maxsize=1)
def tokenizers() -> tuple[Tokenizer, ...]:
    """The rows of the table, special ones first."""
    from sizer.tables import read_rows

    return tuple(
        Tokenizer(
            row["tokenizer"],
            frozenset(row["archs"].split()),
            row["model_id_part"],
            int(row["vocab_low"]),
            int(row["vocab_high"]),
            int(row["vocab_size"]),
            int(row["header_bytes"]),
        )
        for row in read_rows("gguf_tokenizers.csv")
    )


def header_bytes(architecture: Architecture, model: GgufModel) -> tuple[int, str | None]:
    """Bytes before the tensors' data, and a note where the tokenizer is not known."""
    vocabulary = architecture.vocab_size
    known = next((row for row in tokenizers() if _matches(row, architecture, model)), None)
    note = None
    if known is not None:
        text = known.header_bytes + (vocabulary - known.vocab_size) * PAD_TOKEN_BYTES
    else:
        text = vocabulary * UNKNOWN_BYTES_PER_TOKEN
        note = f"The tokenizer's share of the file is estimated: {UNKNOWN_BYTES_PER_TOKEN} bytes a token."
    total = FIXED_BYTES + text + tensor_list_bytes(model)
    return -(-total // ALIGNMENT) * ALIGNMENT, note


def _matches(row: Tokenizer, architecture: Architecture, model: GgufModel) -> bool:
    return (
        row.vocab_low <= architecture.vocab_size <= row.vocab_high
        and (model.arch in row.archs or "*" in row.archs)
        and row.model_id_part in architecture.model_id.lower()
    )


def tensor_list_bytes(model: GgufModel) -> int:
    """Bytes of the list of tensors: every copy with its own name."""
    total = 0
    for part in model.tensors:
        plain = len(part.name.replace("{layer}", "")) + TENSOR_BYTES + DIMENSION_BYTES * max(part.dims, 1)
        total += plain * (len(part.layers) or 1) + sum(len(str(layer)) for layer in part.layers)
    return total
