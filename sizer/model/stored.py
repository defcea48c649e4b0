"""The records of a model stored at a precision."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache

from sizer.frozen import dataclass
from sizer.model.architecture import Tensor, Tower


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor (all its copies, or the layers that share a format) as it is stored.

    `format` is the key of `formats`; `size_bytes` counts data and scales of all copies.
    """

    tensor: Tensor
    format: str
    size_bytes: int


@dataclass(frozen=True, eq=False)
class Stored:
    """A model at a precision: every tensor's format and bytes. Compared and hashed by identity.

    `download_bytes` is the file or files on the hub, headers included; None where it cannot be told, with the reason in
    `notes`. `exact` is False where the rule is not known to the byte (the reason in `notes`). `expands_experts`: the
    engine expands a layer's experts to 16 bits at each step, before it multiplies.
    """

    precision: str
    tensors: tuple[StoredTensor, ...]
    download_bytes: int | None
    exact: bool = True
    notes: tuple[str, ...] = ()
    expands_experts: bool = False

    @cached_property
    def weights_bytes(self) -> int:
        """Resident bytes: data and scales of every tensor that runs."""
        return sum(stored.size_bytes for stored in self.tensors if not stored.tensor.checkpoint_only)


@lru_cache(maxsize=64)
def text_of(stored: Stored) -> Stored:
    """The model without its vision and audio towers and projectors, as an engine for text alone loads it."""
    text = tuple(entry for entry in stored.tensors if entry.tensor.tower in {Tower.TEXT, Tower.ENCODER, Tower.MTP})
    return stored if len(text) == len(stored.tensors) else replace(stored, tensors=text)
