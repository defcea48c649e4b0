"""Derives a config.json from the fields that the hub tells of a model and the configs of its family.

    python tools/derive_configs.py HUB.json OUT.json [NAME ...]
    python tools/derive_configs.py HUB.json data/derived_shapes.csv SOURCE   # repositories outside the catalogue

HUB.json is a scrape of the hub: a list of objects with `name`, `architecture` (model_type), `parameters_raw` (the
total of the safetensors headers) and the fields of the config that the hub tells (sizes, heads, experts). What it does
not tell (the width of an MLP, whether embeddings are tied) is taken from a catalogued config of the same model_type or
from the class's defaults, and the width is solved for: a config counts as derived only where the published total is met
to the parameter, or where what the hub counts beside has a name. OUT.json maps each name to its config, the template
and the field that was solved for.

The table holds what differs from the relative. It leaves out names that are read already or tell a quantization (packed
weights count otherwise), classes whose window the hub does not tell (UNTOLD), what rests on a class's defaults, what a
width had to be solved for, and what differs from its relative without a context that is told. A relative that writes no
tokens is one of repositories alone that the hub or their names tell to be so, too: types of both kinds share totals.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sizer.errors import SizerError
from sizer.model.architecture import Architecture
from sizer.model.config import TEXT_PARTS, class_defaults
from sizer.model.families import build, supported
from sizer.model.read import catalogue
from sizer.model.read.derived import OWN, with_fields
from sizer.model.read.name_quantization import quantization_in

TOLD = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
WIDTH_TOLD = "moe_intermediate_size"  # of an expert; of the MLP where there are no experts
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
WIDTHS = ("intermediate_size", "ffn_hidden_size", "moe_intermediate_size", "shared_expert_intermediate_size")
# The hub tells no window, and versions of these differ in it.
UNTOLD = ("mistral",)
# What the scrape says where a config tells no context.
UNTOLD_CONTEXT = 4096
# Smaller ones are toys and encoders.
LEAST_PARAMS = 200_000_000
# A width of an MLP is a multiple of this in every published config of the catalogue.
STEP = 8
# Router biases, rotary tables and scalars of published checkpoints come to less than this share of the parameters.
BUFFERS = 3e-6
# Tasks of the hub, and words of names, of models that write no tokens.
READING_TASKS = ("feature-extraction", "sentence-similarity")
READING_WORDS = ("embed", "rerank")


def text_of(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that holds the text model: a sub-config or the whole."""
    return next((config[name] for name in TEXT_PARTS if isinstance(config.get(name), dict)), config)


def words(name: str) -> set[str]:
    """The words and versions of a name."""
    return set(re.split(r"[^a-z0-9.]+", name.lower()))


def templates(model_type: str, repository: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Catalogued configs of the model_type, those whose names share most words with the repository's first, then the
    same organisation's, then those of short names; then the class's own defaults."""
    organisation, _, said = repository.partition("/")

    def farther(entry: catalogue.CatalogueEntry) -> tuple[int, bool, int]:
        owner, _, name = entry.model_id.partition("/")
        return -len(words(said) & words(name)), owner != organisation, len(name)

    same = [entry for entry in catalogue.entries() if entry.model_type == model_type]
    for entry in sorted(same, key=farther):
        yield entry.model_id, json.loads(json.dumps(catalogue.load(entry)))
    row = next((row for row in supported() if row.model_type == model_type), None)
    if row is None:
        return
    defaults = class_defaults(model_type)
    subs = {
        name: {"model_type": spec["model_type"]} for name, spec in defaults.sub_configs.items() if name in TEXT_PARTS
    }
    flat: dict[str, Any] = {"model_type": model_type, "architectures": [row.architecture], **subs}
    yield "the defaults of its class", {**flat, **{k: v for k, v in defaults.fields.items() if v is not None}}


def filled(record: Mapping[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """The template with what the hub tells of this model."""
    config: dict[str, Any] = json.loads(json.dumps(template))
    text = text_of(config)
    for part in (config, text):
        for name in OWN:
            part.pop(name, None)
    for name in TOLD:
        if record.get(name):
            text[name] = record[name]
    if record.get(WIDTH_TOLD):
        text[WIDTH_TOLD if record.get("num_experts") else "intermediate_size"] = record[WIDTH_TOLD]
    for names, told in ((EXPERTS, record.get("num_experts")), (ACTIVE, record.get("active_experts"))):
        if told:
            text[next((name for name in names if name in text), names[0])] = told
    return config


def built(config: Mapping[str, Any]) -> Architecture | None:
    """What the config builds; None where no family can."""
    try:
        return build(config, "derived")
    except (SizerError, KeyError, TypeError, ValueError, ZeroDivisionError, IndexError):
        return None


def total(config: Mapping[str, Any]) -> int | None:
    """The parameters that the config builds; None where no family can."""
    model = built(config)
    return None if model is None else model.total_params


def beside(config: Mapping[str, Any], target: int) -> str | None:
    """What the hub's total holds beside the parameters that run; None where the difference has no name."""
    model = built(config)
    if model is None:
        return None
    missing = target - model.total_params
    if target == model.checkpoint_params:
        return "layers that the checkpoint stores and nothing runs"
    if model.tied_embeddings and missing == model.vocab_size * model.hidden_size:
        return "checkpoint stores lm_head separately although embeddings are tied (+vocab*hidden)"
    return "buffers that the hub counts" if 0 < missing <= BUFFERS * target else None


def variants(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The config as it is, and with embeddings tied the other way."""
    yield config
    other: dict[str, Any] = json.loads(json.dumps(config))
    text = text_of(other)
    tied = text.get("tie_word_embeddings", other.get("tie_word_embeddings"))
    for part in (other, text):
        part["tie_word_embeddings"] = not tied
    yield other


def solved(config: dict[str, Any], target: int) -> tuple[dict[str, Any], str, str] | None:
    """The config whose total is the target: as it is, or with one width changed; and what the hub counts beside."""
    if total(config) == target:
        return config, "", ""
    named = beside(config, target)
    if named:
        return config, "", named
    text = text_of(config)
    for width in WIDTHS:
        if width not in text and width != "intermediate_size":
            continue
        counts = []
        for trial in (STEP * 8, STEP * 16):
            text_of(one := json.loads(json.dumps(config)))[width] = trial
            counts.append(total(one))
        if None in counts or counts[0] == counts[1]:
            continue
        slope = (counts[1] - counts[0]) / (STEP * 8)  # type: ignore[operator]
        exact = STEP * 8 + (target - counts[0]) / slope  # type: ignore[operator]
        if exact > 0 and exact == int(exact) and int(exact) % STEP == 0:
            text_of(one)[width] = int(exact)
            if total(one) == target:
                return one, width, ""
    return None


@cache
def writes_tokens(model_id: str) -> bool:
    """Whether a catalogued model writes tokens; a class's defaults do."""
    entry = catalogue.shipped(model_id)
    return entry is None or build(dict(catalogue.as_shipped(entry)), model_id).decodes


def may_be_of(told: Mapping[str, Any], model_id: str) -> bool:
    """Whether a repository may be a relative of a catalogued model: of one that writes no tokens, only where the hub's
    task or the name tells so."""
    reads = told.get("pipeline_tag") in READING_TASKS or any(word in told["name"].lower() for word in READING_WORDS)
    return reads or writes_tokens(model_id)


def _trials(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each relative's config with what the hub tells of a record, embeddings tied and not."""
    for name, template in templates(record["architecture"], record["name"]):
        if not may_be_of(record, name):
            continue
        for config in variants(filled(record, template)):
            yield name, config


def derived(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config of one record, its template and the field solved for; None where nothing meets the total."""
    target, trials = int(record["parameters_raw"]), list(_trials(record))
    exact = [(name, config) for name, config in trials if total(config) == target]
    for name, config in exact or trials:  # what is met as it stands, before what takes a width or a name for the rest
        found = solved(config, target)
        if found:
            return {"config": found[0], "template": name, "solved": found[1], "beside": found[2]}
    return None


def differing(told: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a derived config's text part that its relative has not; None where the table must not have it."""
    entry = catalogue.shipped(found["template"])
    text = text_of(found["config"])
    if entry is None or told["architecture"] in UNTOLD or found["solved"]:
        return None
    relative = text_of(dict(catalogue.as_shipped(entry)))
    fields = {name: value for name, value in text.items() if name not in OWN and relative.get(name) != value}
    if told["context_length"] == UNTOLD_CONTEXT:
        return None if fields else {}
    return fields | ({"max_position_embeddings": told["context_length"]} if "max_position_embeddings" in text else {})


def write_table(records: list[dict[str, Any]], target: Path, source: str) -> None:
    """Write the rows of `data/derived_shapes.csv`; those of which none is right are left out."""
    rows = []
    for told in records:
        name = told["name"]
        read = catalogue.find(name) or catalogue.of_same_shape(name) or quantization_in(name).precision
        if read or "/" not in name or "," in name or (told["parameters_raw"] or 0) < LEAST_PARAMS:
            continue
        found = derived(told)
        fields = differing(told, found) if found else None
        if found and fields is not None and total(with_fields(dict(found["config"]), fields)) == total(found["config"]):
            rows.append((name, found["template"], json.dumps(fields), total(found["config"]), source))
    with target.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "relative", "text_fields", "total_params", "source"))
        table.writerows(sorted(rows, key=lambda row: row[0].lower()))


def main() -> None:
    """Write what could be derived; name the rest on stderr."""
    if sys.argv[2].endswith(".csv"):
        write_table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]), sys.argv[3])
        return
    wanted = set(sys.argv[3:])
    out = {}
    for record in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if wanted and record["name"] not in wanted:
            continue
        found = derived(record)
        if found:
            out[record["name"]] = found
        else:
            print(f"not met: {record['name']} ({record['architecture']}, {record['parameters_raw']})", file=sys.stderr)
    Path(sys.argv[2]).write_text(json.dumps(out, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
