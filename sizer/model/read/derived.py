"""Repositories whose config follows from what the hub tells of them and from the config of a catalogued relative.

The hub tells sizes, heads and experts of a model, and the total of its tensors; the rest is as in a relative of the
same code, and the total is met to the parameter (`tools/derive_configs.py`).
"""

from __future__ import annotations

import json
from typing import Any

from sizer.frozen import NamedTuple
from sizer.model.config import TEXT_PARTS
from sizer.model.read.catalogue import as_shipped, row_of_repository, shipped

OWN = (
    "quantization_config",
    "compression_config",
    "_name_or_path",
    "layer_types",
    "mlp_layer_types",
    "max_window_layers",
    "rope_scaling",
)
"""Fields that belong to a model's own size or copy, and say nothing of its relatives."""


class Derived(NamedTuple):
    """A repository's config, the catalogued relative that it was derived from, and whether its context is that one's:
    the hub does not tell it of all."""

    name: str
    relative: str
    config: dict[str, Any]
    context_of_relative: bool


def derived(repository: str) -> Derived | None:
    """The derived config of a repository; None where none was derived."""
    row = row_of_repository("derived_shapes.csv", repository, ("name", "relative", "text_fields"))
    entry = shipped(row[1]) if row is not None else None
    if row is None or entry is None:
        return None
    name, relative, fields = row
    told = json.loads(fields)
    return Derived(name, relative, with_fields(dict(as_shipped(entry)), told), "max_position_embeddings" not in told)


def with_fields(config: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """A relative's config with a model's own fields in its text part."""
    plain: dict[str, Any] = {name: value for name, value in config.items() if name not in OWN}
    part = next((name for name in TEXT_PARTS if isinstance(plain.get(name), dict)), None)
    if part is None:
        return plain | fields
    text = {name: value for name, value in plain[part].items() if name not in OWN} | fields
    tied = {name: value for name, value in fields.items() if name == "tie_word_embeddings"}
    return plain | tied | {part: text}
