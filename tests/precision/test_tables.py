"""The precision tables: unique keys, sources, and references between them."""

from __future__ import annotations

from collections import Counter

import pytest

from sizer.engine.engines import find_engine
from sizer.formats import format_of
from sizer.precision.gguf_mixtures import default_types
from sizer.precision.gguf_tensors import ROLE_NAMES
from sizer.precision.names import precision_of
from sizer.precision.schemes import SCHEMES
from sizer.tables import read_rows

KEYS = {
    "formats.csv": ("key",),
    "precisions.csv": ("name",),
    "methods.csv": ("kind",),
    "engine_models.csv": ("list",),
    "engine_model_releases.csv": ("engine", "version"),
    "engine_precision_releases.csv": ("engine", "kind"),
    "older_commands.csv": ("engine", "pattern"),
    "engine_plugins.csv": ("engine", "kind"),
    "flag_words.csv": ("dialect", "flag"),
    "python_quantization.csv": ("call",),
    "engine_precisions.csv": ("engine", "kind", "precision", "before_version"),
    "gguf_archs.csv": ("model_type",),
    "gguf_ftypes.csv": ("ftype",),
    "gguf_names.csv": ("suffix",),
    "gguf_tokenizers.csv": ("tokenizer",),
    "quality.csv": ("precision", "imatrix"),
}
GGUF_OPTIONS = {
    "output", "output-old", "pad-vocab", "fused-gate-up", "fused-qkv-old", "split-qkv", "mla-whole", "mla-split", "mtp",
    "kv-by-layer",
}  # fmt: skip


@pytest.mark.parametrize(("table", "key"), KEYS.items())
def test_keys_are_unique_and_every_row_has_a_source(table: str, key: tuple[str, ...]) -> None:
    """No row twice, none without a source (a refused spelling needs none)."""
    found = list(read_rows(table))
    counts = Counter(tuple(row[name] for name in key) for row in found)
    assert found
    assert [row for row, count in counts.items() if count > 1] == []
    assert [row for row in found if not row["source"] and row.get("kind") != "ambiguous"] == []


def test_no_spelling_has_two_names() -> None:
    """Every alias, however it is written, belongs to one row."""
    for row in read_rows("precisions.csv"):
        for alias in row["aliases"].split():
            if row["kind"] != "ambiguous":
                assert precision_of(alias).name == row["name"], alias


def test_precisions_refer_to_what_exists() -> None:
    """Formats, schemes, file types and kinds of each row are in their tables."""
    kinds = {row["kind"] for row in read_rows("methods.csv")}
    for row in read_rows("precisions.csv"):
        if row["kind"] == "ambiguous":
            continue
        assert row["kind"] in kinds, row
        assert row["scheme"] in SCHEMES or row["scheme"] == "gguf", row
        assert row["ftype"] == "" or row["ftype"] in default_types(), row
        if row["name"] not in ("exl2", "exl3"):
            assert format_of(row["format"]).block_bytes > 0


def test_engines_own_schemes_refer_to_what_exists() -> None:
    """An override names an engine that runs the kind, and a scheme, format and file type that exist."""
    for row in (row for row in read_rows("engine_precisions.csv") if row["scheme"]):
        assert row["scheme"] in SCHEMES or row["scheme"] == "gguf", row
        assert row["format"] == "" or format_of(row["format"]).block_bytes > 0
        if row["precision"] and not row["before_version"]:
            own = find_engine(row["engine"]).stored_precision(row["precision"])
            assert own.scheme == row["scheme"], row
            assert own.name == row["precision"], row


def test_every_listed_engine_is_an_engine() -> None:
    """Engines that run a kind, and those of a row of its own, are engines of the engine table."""
    known = {row["name"] for row in read_rows("engines.csv")}
    named = {engine for row in read_rows("methods.csv") for engine in row["engines"].split()}
    named |= {engine for row in read_rows("precisions.csv") for engine in row["engines"].split()}
    named |= {row["engine"] for row in read_rows("engine_precisions.csv") if row["engine"]}
    assert named - known == set()


def test_gguf_tables_refer_to_what_exists() -> None:
    """Options of the converter are known ones, names are names, vocabularies are ranges."""
    for row in read_rows("gguf_archs.csv"):
        assert set(row["options"].split()) <= GGUF_OPTIONS, row
        assert row["arch"]
    for row in read_rows("gguf_names.csv"):
        assert row["name"] not in ("", *ROLE_NAMES.values()) or row["name"] in ("attn_qkv", "ssm_in", "ssm_out"), row
    for row in read_rows("gguf_tokenizers.csv"):
        assert int(row["vocab_low"]) <= int(row["vocab_size"]) <= int(row["vocab_high"]), row
        assert 20 < int(row["header_bytes"]) / int(row["vocab_size"]) < 70, row
