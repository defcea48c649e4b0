"""Refuses a catalogue that rests on silent defaults, and writes what follows from its configs.

    python tools/check_catalogue.py           # exits 1 and names each entry that must not be in
    python tools/check_catalogue.py --write   # writes besides data/config_varies.json (how the fields of real configs
                                              # vary) and two columns of data/models.csv: active parameters and cache

An entry is refused where its window, layer kinds, experts a token, type, loops or context rests on a class default that
no row of `data/family_rules.csv` vouches for.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from sizer.errors import ModelError
from sizer.model.architecture import Basis
from sizer.model.config import DECISIVE, SHAPING, class_defaults
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.provenance import cache_bytes, is_context, refused, written

MODELS = Path(__file__).resolve().parent.parent / "data" / "models.csv"
TARGET = Path(__file__).resolve().parent.parent / "data" / "config_varies.json"
BUILT = ("built_active_params", "built_cache_bytes", "built_layers")
# A list with one entry a layer belongs to one size of model: how it varies says nothing about another.
PER_LAYER = ("layer_types",)


def varies() -> dict[str, dict[str, list[Any]]]:
    """By model_type and field: the values of catalogued configs where they differ, the most frequent first."""
    seen: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for entry in catalogue.entries():
        for name, value in written(catalogue.load(entry)):
            last = name.rsplit(".", 1)[-1]
            last = class_defaults(entry.model_type).aliases.get(last, last)
            if (
                last in DECISIVE | SHAPING
                and last not in PER_LAYER
                and not is_context(last)
                and not isinstance(value, list)
            ):
                seen[entry.model_type][last][json.dumps(value)] += 1
    return {
        model_type: found
        for model_type, fields in sorted(seen.items())
        if (
            found := {name: [json.loads(v) for v, _ in values.most_common()] for name, values in sorted(fields.items())}
        )
    }


def built_columns(entry: catalogue.CatalogueEntry) -> dict[str, str]:
    """What the family makes of an entry's config: active parameters of a mixture of experts, 32,768 tokens' cache,
    layers."""
    try:
        model = build(catalogue.as_shipped(entry), entry.model_id, Basis.CATALOGUE)
    except ModelError:
        return dict.fromkeys(BUILT, "")
    sparse = model.active_params < model.total_params
    return {
        "built_active_params": str(model.active_params) if sparse else "",
        "built_cache_bytes": str(cache_bytes(model)),
        "built_layers": str(model.num_layers or ""),
    }


def write_built_columns() -> None:
    """The columns of data/models.csv that families tell, anew."""
    with MODELS.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = [*(reader.fieldnames or ())]
        rows = list(reader)
    for row in rows:
        entry = catalogue.shipped(row["id"])
        assert entry is not None
        row.update(built_columns(entry))
    columns += [name for name in BUILT if name not in columns]
    with MODELS.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """The exit status: 1 where an entry is refused."""
    if "--write" in sys.argv[1:]:
        write_built_columns()
        TARGET.write_text(json.dumps(varies(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    bad = [(entry.model_id, why) for entry in catalogue.entries() for why in refused(entry)]
    for model_id, why in bad:
        print(f"{model_id}: {why}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
