"""Which oracle compares a family with something that sizer did not compute: each row of the registry has one.

As a tool: `python tests/support/oracles.py MODEL_TYPE…` prints the lines of tests/data/families/default_params.csv for
classes of transformers' causal-LM mapping, as the meta device counts their default configs.
"""

from __future__ import annotations

import csv
import json
import sys
from functools import cache
from pathlib import Path

from hybridconfigs import CLASSES as HYBRIDS

from sizer.model.config import class_defaults
from sizer.model.families.encoder_decoders import T5
from sizer.model.registry import Row, family, supported
from sizer.model.shapes.bart import Whole
from sizer.tables import read_rows

DATA = Path(__file__).parent.parent / "data"

# Classes with sub-configs whose files are flat all the same.
FLAT = ("blt", "fuyu", "moshi")

# transformers 5.23 builds none of these from a config of its own class, whatever the fields.
UNBUILT = {
    "cohere_compass_text": "its rotary embedding looks for a key that the config class never sets",
    "gemma4_assistant": "its layers must all share caches, and some layer must make one",
    "musicgen": "the causal class takes the nested decoder config",
    "musicgen_melody": "the causal class takes the nested decoder config",
}

# Wrappers whose default config no class of transformers builds, or whose names are not a checkpoint's: they are
# compared by a file as people write it (`writtenconfigs`).
BY_A_WRITTEN_FILE = {
    "aya_vision": "the tower's heads do not divide its width",
    "chameleon": "the defaults have no vocabulary map",
    "deepseek_ocr2": "the defaults do not say which layers are dense",
    "dots3_note": "the defaults override layers that small models lack",
    "emu3": "the class takes the text config alone",
    "gemma3n": "the tower is timm's",
    "gemma4_unified_assistant": "by default no layer makes the caches that others read",
    "granite4_vision": "the defaults have no downsample_rate",
    "hunyuan_vl": "the defaults have no text sizes",
    "molmo2": "the defaults read layers that small towers lack",
    "qwen3_omni_moe": "the talker's defaults have no shared expert",
    "qwen4_exp": "the defaults have no indexer",
    "shieldgemma2": "the class wraps Gemma 3 once more, and so do its names",
}

# Families that a test of their own holds: to a total that is published rounded, or to a small case computed by hand.
BY_HAND = {
    "RefinedWeb": "test_families_published",
    "RefinedWebModel": "test_families_published",
    "gemma3n": "test_multimodal_towers",
    "hunyuan": "test_remote_published",
}

# No published file whose parameters are counted is at hand. Shapes follow the modeling code; for some, a shape that
# another family shares is held there.
UNCOUNTED = (
    "baichuan", "bailing_moe_v2", "grok-1", "llava_mistral", "minimax_text_01", "orion", "rwkv6", "skywork",
    "stablelm_epoch", "step3_text", "telechat", "telechat3", "xverse",
)  # fmt: skip


def drawn_by(row: Row) -> str:
    """The test that draws configs of a class of transformers: `flat`, `nested`, `hybrid`, `encoder-decoder` or none."""
    if row.code != "transformers" or row.model_type in UNBUILT:
        return ""
    if isinstance(family(row), (T5, Whole)) or row.model_type.startswith("t5gemma"):
        return "encoder-decoder"
    if HYBRIDS.get(row.model_type) == row.architecture:
        return "hybrid"
    if not class_defaults(row.model_type).sub_configs or row.model_type in FLAT:
        return "flat"
    text_alone = row.architecture.endswith("ForCausalLM") and len(rows_of(row.model_type)) > 1
    return "" if text_alone or row.model_type in BY_A_WRITTEN_FILE else "nested"


@cache
def rows_of(model_type: str) -> tuple[Row, ...]:
    """The rows of a model_type."""
    return tuple(row for row in supported() if row.model_type == model_type)


def drawn(kind: str) -> list[Row]:
    """The rows that one test draws."""
    return [row for row in supported() if drawn_by(row) == kind]


@cache
def _default_params() -> tuple[dict[str, str], ...]:
    with (DATA / "families" / "default_params.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


def mapped_classes() -> list[tuple[str, str]]:
    """Every class of transformers' causal-LM mapping."""
    return [(row["model_type"], row["architecture"]) for row in _default_params()]


def default_counts() -> dict[tuple[str, str], int]:
    """What transformers 5.23 counts for the default config of each class of its causal mapping that it builds."""
    rows = [row for row in _default_params() if row["built"] == "yes"]
    return {(row["model_type"], row["architecture"]): int(row["params"]) for row in rows}


@cache
def published_names() -> frozenset[str]:
    """Model types and classes of which a published model's count is met: in the catalogue, or in tests/data/remote."""
    with (DATA / "remote" / "published.csv").open(encoding="utf-8", newline="") as lines:
        named = {row["model"] for row in csv.DictReader(lines)}
    files = (DATA / "remote" / f"{name.replace('/', '--')}.json" for name in named)
    configs = [json.loads(path.read_bytes()) for path in files if path.is_file()]
    configs += [row["config"] for row in json.loads((DATA / "remote" / "rounded.json").read_bytes())]
    names = {name for row in read_rows("models.csv") if row["reference_params"] or row["id"] in named
             for name in (row["model_type"], row["architecture"])}  # fmt: skip
    for config in configs:
        names |= {config.get("model_type", ""), *config.get("architectures", ())}
    return frozenset(names)


def line(row: Row) -> str:
    """The line of default_params.csv for a class."""
    from metamodels import config_of, oracle

    try:
        params = sum(oracle(config_of(row.model_type), row.architecture).values())
    except Exception as error:  # transformers fails in as many ways as it has classes
        print(f"{row.architecture}: {error}", file=sys.stderr)
        return f"{row.model_type},{row.architecture},,no"
    return f"{row.model_type},{row.architecture},{params},yes"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    for name in sys.argv[1:]:
        print(*(line(row) for row in rows_of(name)), sep="\n")
