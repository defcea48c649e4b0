"""Writes data/same_shapes.csv: repositories of the hub that hold a catalogued model's shape under a name of their own.

    python tools/same_shapes.py HUB.json SOURCE

HUB.json is a scrape of the hub: a list of objects with `name`, `architecture` (model_type), `parameters_raw` (the total
of the safetensors headers), `context_length` and the fields of the config that the hub tells. A repository has a
catalogued model's shape where the code, the total to the parameter, the context and every field that both tell are the
same, and four of them are told. Of several such models (their shapes are one) the name decides that shares most words.
Names that the catalogue reads already are left out, as are shapes of models that write no tokens where neither the
hub's task nor the name tells so.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from derive_configs import LEAST_PARAMS, may_be_of, words

from sizer.model.config import TEXT_PARTS
from sizer.model.read import catalogue

TARGET = Path(__file__).resolve().parent.parent / "data" / "same_shapes.csv"
FIELDS = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "vocab_size",
          "moe_intermediate_size")  # fmt: skip
LEAST_TOLD = 4


class Shape:
    """A catalogued model's own weights, as the hub would tell them."""

    def __init__(self, entry: catalogue.CatalogueEntry) -> None:
        config = catalogue.as_shipped(entry)
        text = config
        while inner := next((text[name] for name in TEXT_PARTS if isinstance(text.get(name), dict)), None):
            text = inner
        self.model_id = entry.model_id
        self.quantized = bool(config.get("quantization_config") or config.get("compression_config"))
        self.totals = {entry.reference_params, entry.checkpoint_params} - {None}
        self.types = {config.get("model_type"), text.get("model_type")}
        self.context = text.get("max_position_embeddings")
        self.fields = {name: text[name] for name in FIELDS if text.get(name) is not None}

    def is_of(self, told: Mapping[str, Any]) -> bool:
        """Whether a record of the hub tells this shape."""
        both = [name for name in self.fields if told.get(name) is not None]
        same = all(self.fields[name] == told[name] for name in both)
        code = told["architecture"] in self.types and told["context_length"] == self.context
        return same and code and len(both) >= LEAST_TOLD and may_be_of(told, self.model_id)


def found(records: list[dict[str, Any]]) -> dict[str, str]:
    """The catalogued model of each repository's shape."""
    by_total: dict[int, list[Shape]] = defaultdict(list)
    for shape in map(Shape, catalogue.entries()):
        for total in shape.totals if not shape.quantized else ():
            by_total[total or 0].append(shape)
    out = {}
    for told in records:
        name, total = told["name"], told["parameters_raw"] or 0
        if total < LEAST_PARAMS or "/" not in name or "," in name or catalogue.find(name):
            continue
        same = [shape.model_id for shape in by_total.get(total, ()) if shape.is_of(told)]
        if same:
            said = words(name)
            out[name] = min(same, key=lambda model: (-len(said & words(model.split("/")[1])), len(model), model))
    return out


def main(arguments: list[str]) -> None:
    source, told = Path(arguments[0]), arguments[1]
    rows = sorted(found(json.loads(source.read_text(encoding="utf-8"))).items(), key=lambda row: row[0].lower())
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "model", "source"))
        table.writerows((name, model, told) for name, model in rows)
    print(f"{len(rows)} repositories")


if __name__ == "__main__":
    main(sys.argv[1:])
