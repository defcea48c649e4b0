"""Whether a model has layers of its own that predict further tokens (multi-token prediction)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sizer.model.architecture import Architecture, Basis, Tensor, Tower
from sizer.model.config import TEXT_PARTS
from sizer.tables import read_rows


@cache
def _names(kind: str) -> frozenset[str]:
    """The names of a kind in `data/predicting_layers.csv`: fields that count such layers, or model types that may have
    them though their config tells no count."""
    return frozenset(row["name"] for row in read_rows("predicting_layers.csv") if row["kind"] == kind)


def predicts_further(model: Architecture) -> bool | None:
    """Whether a model has layers that predict further tokens: as its files or its config tell; None where neither does.

    Of a model known by its name alone, and of types whose configs do not count such layers, nothing is told.
    """
    if any(tensor.checkpoint_only and _predicting(tensor, model.num_layers) for tensor in model.tensors):
        return True
    told = list(_counts(model.config))
    if told:
        return any(told)
    unread = model.basis in {Basis.NAME, Basis.HUB}
    return None if unread or model.model_types & _names("maybe") else False


def _predicting(tensor: Tensor, layers: int) -> bool:
    """Whether a tensor that only checkpoints carry is of such a layer: of its tower, of a name of its own, or of a
    layer beyond the model's."""
    return tensor.tower is Tower.MTP or "mtp" in tensor.name or any(index >= layers for index in tensor.layers)


def _counts(config: Mapping[str, Any]) -> Iterator[int]:
    """The numbers of such layers that a config tells, in its own fields and in those of its text part."""
    for part in (config, *(config.get(name) for name in TEXT_PARTS)):
        if isinstance(part, Mapping):
            found = (part.get(name) for name in _names("field"))
            yield from (count for count in found if isinstance(count, int) and not isinstance(count, bool))
