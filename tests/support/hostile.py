"""Configs that lie: every field of every family's config, replaced by values that no model has.

As a tool: `python tests/support/hostile.py [MODEL_TYPE…]` tries every value in every field of every config at hand (a
million builds, some twenty minutes) and prints what is neither refused in one line nor built.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hybridconfigs import CLASSES, DRAWS
from writtenconfigs import WRITTEN

from sizer.errors import SizerError
from sizer.model.config import class_defaults
from sizer.model.families import build, supported
from sizer.tables import data_path

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**26, 2**26 + 1, 10**9, 10**400, -(10**400), 0.5, -0.5, 1e-308,
    5e-324, 1e308, float("nan"), float("inf"), float("-inf"), "", "x", "auto", "7", "\N{SUPERSCRIPT TWO}", "\ud800",
    [], [1], [0], [-1], [None], ["x"], [True], [[1]], [[["global"], "local"], 12], [[["a", "b"], 3]], [1, 2],
    [float("inf")], [float("nan")], [10**400], [1e-308], [10**9] * 3, [0] * 5000, [{}], [{"x": []}],
    {}, {"x": 1}, {"0": {"hidden_size": 64}}, {"0": None},
)  # fmt: skip

# Fields that say nothing of a model's size.
SILENT = (
    "rope", "token", "activation", "hidden_act", "initializer", "dropout", "eps", "transformers_version", "id2label",
    "label2id", "_name", "use_cache", "output_", "return_", "auto_map", "temperature", "top_p",
)  # fmt: skip

SMALL = {
    "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 512,
    "intermediate_size": 512, "moe_intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2,
    "n_routed_experts": 8,
}  # fmt: skip
SLOW_S = 30.0
MESSAGE = 400


def defaults(model_type: str, depth: int = 0) -> dict[str, Any]:
    """Everything that a class and its sub-configs take by default, written out."""
    known = class_defaults(model_type)
    subs = known.sub_configs.items() if depth < 3 else ()
    whole = {name: defaults(spec.get("model_type", ""), depth + 1) | (spec.get("init") or {}) for name, spec in subs}
    return {**known.fields, **whole}


@cache
def bases() -> tuple[tuple[str, dict[str, Any]], ...]:
    """(model_type, config) of every config that builds: published, written, drawn, and each class's defaults."""
    found: list[dict[str, Any]] = []
    remote = Path(__file__).parent.parent / "data" / "remote"
    stored = [json.loads(path.read_bytes()) for path in sorted(data_path("configs").glob("*.json"))]
    found += {fields.get("model_type", ""): fields for fields in stored}.values()
    found += [json.loads(path.read_bytes()) for path in sorted(remote.glob("*--*.json"))]
    found += [row["config"] for row in json.loads((remote / "rounded.json").read_bytes())]
    found += [{**fields, "model_type": name, "architectures": [architecture]} for name, architecture, fields in WRITTEN]
    found += [{**DRAWS[name](Random(name)), "model_type": name, "architectures": [CLASSES[name]]} for name in DRAWS]
    for row in supported():
        named = {"model_type": row.model_type, "architectures": [row.architecture]}
        found += [defaults(row.model_type) | named, defaults(row.model_type) | SMALL | named]
    return tuple((fields["model_type"], fields) for fields in found if "model_type" in fields and not refused(fields))


def refused(fields: Mapping[str, Any]) -> bool:
    """Whether a config is refused."""
    try:
        build(fields, "x")
    except SizerError:
        return True
    return False


def paths(fields: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field, those of sub-configs and of the first of a list of objects (layers) too."""
    for name, value in fields.items():
        if not any(word in name for word in SILENT):
            yield (*before, name)
            inner = value[0] if isinstance(value, list) and value else value
            if isinstance(inner, dict) and len(before) < 3:
                yield from paths(inner, (*before, name))


def put(fields: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with one field replaced."""
    name, rest = path[0], path[1:]
    if not rest:
        return {**fields, name: value}
    within = fields[name]
    listed = isinstance(within, list)
    inner = put(within[0] if listed else within, rest, value)
    return {**fields, name: [inner, *within[1:]] if listed else inner}


def fault(fields: Mapping[str, Any]) -> str:
    """What is wrong with the answer (no refusal of one line, no finite model, or late); empty if nothing is."""
    start = time.process_time()
    try:
        built = build(fields, "x")
    except SizerError as error:
        line = str(error)
        wrong = "" if "\n" not in line and len(line) <= MESSAGE else f"a refusal of {len(line)} characters"
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    else:
        sizes = [size for tensor in built.tensors for size in tensor.shape]
        wrong = "" if all(type(size) is int and size >= 0 for size in sizes) else "a shape that is no whole number"
        if not wrong and not 0 <= built.active_params <= built.total_params <= built.checkpoint_params:
            wrong = "active, total and checkpoint parameters contradict each other"
    took = time.process_time() - start
    return wrong or (f"{took:.1f} s" if took > SLOW_S else "")


def main(model_types: list[str]) -> None:
    """Try everything."""
    for model_type, fields in bases():
        if model_types and model_type not in model_types:
            continue
        for path in paths(fields):
            for value in HOSTILE:
                wrong = fault(put(fields, path, value))
                if wrong:
                    print(model_type, ".".join(path), f"{value!r:.60}", wrong, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
