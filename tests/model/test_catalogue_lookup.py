"""The offline catalogue: every published spelling finds its config, and nothing else does."""

import csv
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import ModelError
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.provenance import cache_bytes
from sizer.tables import RowsByKey, data_path, read_rows

SPELLINGS = [
    ("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
    ("META-LLAMA/meta-llama-3-8b-instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
    ("Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
    ("https://huggingface.co/Qwen/Qwen3-8B/", "Qwen/Qwen3-8B"),
    ("qwen3:8b", "Qwen/Qwen3-8B"),
    ("gpt_oss_20b", "openai/gpt-oss-20b"),
    ("zhipuai/GLM-5", "zai-org/GLM-5"),
    ("qwen3:30b", "Qwen/Qwen3-30B-A3B"),
    ("deepseek-r1:671b", "deepseek-ai/DeepSeek-R1"),
    ("deepseek-r1:14b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"),
    ("ollama.com/library/gemma3:12b", "google/gemma-3-12b-it"),
    ("llama4:scout", "meta-llama/Llama-4-Scout-17B-16E-Instruct"),
    ("gemma3", "google/gemma-3-4b-it"),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x7B-v0.1"),
]

COPIES = [
    ("TheBloke/Mistral-7B-Instruct-v0.2-AWQ", "mistralai/Mistral-7B-Instruct-v0.2"),
    ("TheBloke/Mistral-7B-Instruct-v0.2-GPTQ:gptq-4bit-32g-actorder_True", "mistralai/Mistral-7B-Instruct-v0.2"),
    ("mistral-7b-instruct-v0.2.Q5_K_S.gguf", "mistralai/Mistral-7B-Instruct-v0.2"),
    ("bartowski/Qwen2.5-32B-Instruct-GGUF:Q4_K_M", "Qwen/Qwen2.5-32B-Instruct"),
    ("unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL", "Qwen/Qwen3-30B-A3B"),
    ("unsloth/Qwen3-4B-unsloth-bnb-4bit", "Qwen/Qwen3-4B"),
    ("mlx-community/Qwen3-4B-4bit", "Qwen/Qwen3-4B"),
    ("nvidia/Qwen3-32B-NVFP4", "Qwen/Qwen3-32B"),
    ("RedHatAI/phi-4-quantized.w4a16", "microsoft/phi-4"),
    ("LoneStriker/Yi-6B-Chat-6.0bpw-h6-exl2", "01-ai/Yi-6B-Chat"),
    ("google/gemma-3-27b-it-qat-q4_0-gguf", "google/gemma-3-27b-it"),
]

UNKNOWN = [
    "", " ", "/", "///", "nobody/my-llama-3-8b-finetune", "nobody/Meta-Llama-3-8B-Instruct-abliterated", "8B", "8x7B",
    "Qwen3-9000B", "nobody/qwen3", "nobody/mistral-GGUF", "nobody/gemma3:Q4_K_M",
    "gguf", "-GGUF", "meta-llama", "meta-llama/", "x" * 500,
]  # fmt: skip


@pytest.mark.parametrize(("text", "model_id"), SPELLINGS)
def test_spellings(text: str, model_id: str) -> None:
    """Letter case, separators, a missing organisation and the hub's address do not matter."""
    entry = catalogue.find(text)
    assert entry is not None
    assert entry.model_id == model_id


@pytest.mark.parametrize(("text", "model_id"), COPIES)
def test_copies_in_other_formats(text: str, model_id: str) -> None:
    """A copy in another format finds the model that it copies, and is marked as a copy."""
    entry = catalogue.find(text)
    assert entry is not None
    assert (entry.model_id, entry.copy) == (model_id, True)


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_names(text: str) -> None:
    """A fine-tune of unknown shape, a bare size and rubbish find nothing."""
    assert catalogue.find(text) is None


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_can_be_looked_up(text: str) -> None:
    """No text raises, and what is found has a config."""
    entry = catalogue.find(text)
    assert entry is None or catalogue.load(entry)


def test_every_model_and_alias_finds_its_own_config() -> None:
    """Each published name of the tables leads to the model that its row names."""
    for entry in catalogue.entries():
        found = catalogue.find(entry.model_id)
        assert found is not None
        assert found.model_id == entry.model_id
    for row in read_rows("model_aliases.csv"):
        found = catalogue.find(row["alias"])
        assert found is not None
        assert found.model_id == row["model"]


def test_every_row_has_a_config_and_sources() -> None:
    """Each config is there, names its model, has no twin, and both its text and its count have a source."""
    files = {path.name for path in data_path("configs").iterdir()}
    rows = list(read_rows("models.csv"))
    assert {row["config_file"] for row in rows} == files
    assert len({row["id"].lower() for row in rows}) == len(rows)
    for row in rows:
        config = json.loads(data_path(f"configs/{row['config_file']}").read_bytes())
        assert config.get("model_type") or config.get("architectures"), row["id"]
        assert row["config_source"], row["id"]
        assert bool(row["params_source"]) == bool(row["reference_params"] or row["checkpoint_params"]), row["id"]
        assert not row["checkpoint_params"] or row["difference"], row["id"]


def test_what_is_built_from_a_config_stands_beside_it() -> None:
    """Active parameters and cache of data/models.csv are what the families make of the configs
    (`tools/check_catalogue.py --write`); a mixture of experts is never without its active parameters."""
    for entry in catalogue.entries():
        try:
            model = build(catalogue.load(entry), entry.model_id)
        except ModelError:
            assert (entry.built_active_params, entry.built_cache_bytes, entry.built_layers) == (None, None, None)
            continue
        sparse = model.active_params < model.total_params
        assert entry.built_active_params == (model.active_params if sparse else None), entry.model_id
        assert entry.built_cache_bytes == cache_bytes(model), entry.model_id
        assert entry.built_layers == (model.num_layers or None), entry.model_id


def test_aliases_are_unique_and_lead_to_a_model() -> None:
    """An alias is given once, is no model's own id, and has a source."""
    ids = {row["id"].lower() for row in read_rows("models.csv")}
    aliases = [row["alias"].lower() for row in read_rows("model_aliases.csv")]
    assert len(set(aliases)) == len(aliases)
    assert not ids & set(aliases)
    assert all(row["model"].lower() in ids and row["source"] for row in read_rows("model_aliases.csv"))


def test_a_repository_of_a_known_shape_is_found_by_its_whole_name_alone() -> None:
    """Each is listed once, no other lookup reads it, and its model is catalogued with a shape of its own weights."""
    rows = list(read_rows("same_shapes.csv"))
    ids = {entry.model_id for entry in catalogue.entries()}
    assert len({row["name"].lower() for row in rows}) == len(rows)
    assert all(row["model"] in ids and row["source"] for row in rows)
    assert [row["name"] for row in rows if catalogue.find(row["name"])] == []
    for row in rows[::200]:
        found = catalogue.of_same_shape(row["name"].upper())
        assert found is not None
        assert found.model_id == row["model"]
    assert catalogue.of_same_shape(rows[0]["name"].split("/")[1]) is None


def test_names_that_differ_in_separators_alone_have_one_shape() -> None:
    """Where two published names fold to one, both models have the same parameters, so neither lookup misleads."""
    totals: dict[str, set[str]] = {}
    for row in read_rows("models.csv"):
        folded = re.sub(r"[-_ ]", "", row["id"].rsplit("/", 1)[-1].lower())
        totals.setdefault(folded, set()).add(row["reference_params"])
    assert all(len(found) == 1 for found in totals.values())


def test_measured_models_are_catalogued() -> None:
    """Every model that was measured is in the catalogue, but for those named here."""
    missing = {"Tele-AI/TeleChat2-3B"}
    with data_path("measurements.csv").open(encoding="utf-8", newline="") as lines:
        names = {row["model"] for row in csv.DictReader(lines)}
    with data_path("serving.csv").open(encoding="utf-8", newline="") as lines:
        names |= {row["model_path"] for row in csv.DictReader(lines)}
    assert {name for name in names if catalogue.find(name) is None} == missing


def test_search_and_nearest() -> None:
    """Search takes every word, in any case; nearest offers the published spelling of a misspelt name."""
    assert "openai/gpt-oss-20b" in {entry.model_id for entry in catalogue.search("GPT oss")}
    assert not catalogue.search("no such model anywhere")
    assert len(catalogue.search("")) == len(catalogue.entries())
    assert catalogue.nearest("mixtral-8x7b-v01-instruct")[0].startswith("mistralai/Mixtral-8x7B")


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("meta-llama/Meta-Llama-3-8B", 8192),
        ("meta-llama/Llama-3.1-8B-Instruct", 131072),
        ("meta-llama/Meta-Llama-3-70B-Instruct", 8192),
        ("meta-llama/Llama-3.3-70B-Instruct", 131072),
        ("Qwen/Qwen2.5-7B-Instruct-1M", 1010000),
    ],
)
def test_an_alias_has_its_own_context(text: str, context: int) -> None:
    """Models of one shape and different contexts are not aliases of each other."""
    entry = catalogue.find(text)
    assert entry is not None
    assert catalogue.load(entry)["max_position_embeddings"] == context


def test_rows_by_key_are_the_tables() -> None:
    """A row taken apart alone is that of the whole table, in its order; a key that no row has is none."""
    rows = RowsByKey("models.csv")
    assert list(rows.items()) == [(row["id"], row) for row in read_rows("models.csv")]
    assert len(rows) == len(list(rows))
    assert "Qwen/Qwen3-9000B" not in rows
