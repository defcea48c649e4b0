"""Refuses a catalogue that rests on silent defaults, and writes how the fields of real configs vary.

    python tools/check_catalogue.py           # exits 1 and names each entry that must not be in
    python tools/check_catalogue.py --write   # writes data/config_varies.json besides

An entry is refused where its window, layer kinds, experts a token, type, loops or context rests on a class default that
no row of `data/family_rules.csv` vouches for.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from sizer.model.config import DECISIVE, SHAPING, class_defaults
from sizer.model.read import catalogue
from sizer.model.read.provenance import is_context, refused, written

TARGET = Path(__file__).resolve().parent.parent / "data" / "config_varies.json"
# A list with one entry a layer belongs to one size of model: how it varies says nothing about another.
PER_LAYER = ("layer_types",)


def varies() -> dict[str, dict[str, list[Any]]]:
    """By model_type and field: the values of catalogued configs where they differ, the most frequent first."""
    seen: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for entry in catalogue.entries():
        for name, value in written(catalogue.load(entry)):
            last = name.rsplit(".", 1)[-1]
            last = class_defaults(entry.model_type).aliases.get(last, last)
            if last in DECISIVE | SHAPING and last not in PER_LAYER and not is_context(last) and not isinstance(value, list):
                seen[entry.model_type][last][json.dumps(value)] += 1
    return {
        model_type: found
        for model_type, fields in sorted(seen.items())
        if (
            found := {name: [json.loads(v) for v, _ in values.most_common()] for name, values in sorted(fields.items())}
        )
    }


def main() -> int:
    """The exit status: 1 where an entry is refused."""
    if "--write" in sys.argv[1:]:
        TARGET.write_text(json.dumps(varies(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    bad = [(entry.model_id, why) for entry in catalogue.entries() for why in refused(entry)]
    for model_id, why in bad:
        print(f"{model_id}: {why}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
