"""From text to a model: path, catalogue, hub, name, each with its basis and how far it can be trusted."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from headerfiles import safetensors_bytes
from hubmodels import LLAMA_GGUF, PARAMS, TENSORS, config_file
from hubserver import Hub, point_client_at
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sizer
from sizer.errors import (
    InvalidConfig,
    InvalidHeader,
    ModelError,
    SizerError,
    UnknownModel,
)
from sizer.model.architecture import Basis
from sizer.model.read import catalogue
from sizer.model.read.name_only import named, nearest
from sizer.model.read.names import parse_name
from sizer.model.read.provenance import cache_bytes
from sizer.model.read.resolve import resolve


def test_catalogue_comes_before_the_hub(server: Hub) -> None:
    """A catalogued model is answered without a request, exact to the last parameter."""
    found = resolve("meta-llama/Meta-Llama-3-8B-Instruct")
    assert (found.basis, found.architecture.total_params, found.notes) == (Basis.CATALOGUE, 8030261248, ())
    assert server.requests == []


def test_a_path_comes_before_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder named like a catalogued model is the folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "meta-llama" / "Meta-Llama-3-8B-Instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(config_file())
    found = resolve("meta-llama/Meta-Llama-3-8B-Instruct")
    assert (found.basis, found.architecture.total_params) == (Basis.CONFIG, PARAMS)


def test_copies_say_whose_shape_they_have() -> None:
    """A quantized copy is sized by the model it copies, says so, and its precision is in the hints."""
    found = resolve("TheBloke/Llama-2-7B-GGUF:Q4_K_M", offline=True)
    assert (found.basis, found.architecture.total_params) == (Basis.CATALOGUE, 6738415616)
    assert found.hints.quantization == "q4_k_m"
    assert "copy of" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "quantization"),
    [("deepseek-ai/DeepSeek-R1", "fp8"), ("unsloth/DeepSeek-R1", "fp8"), ("bartowski/DeepSeek-R1-GGUF:Q4_K_M", None)],
)
def test_copies_leave_the_precision_of_the_original(text: str, quantization: str | None) -> None:
    """What a copy's name says it is stored in is not overruled by the config of the model that it copies."""
    own = resolve(text, offline=True).architecture.quantization
    assert (own and own["quant_method"]) == quantization


@pytest.mark.parametrize("form", ["config.json", "folder", "model.gguf", "blob", "model.safetensors", "index", "shard"])
def test_paths(tmp_path: Path, form: str) -> None:
    """Every kind of path: configs by their family, weights by their header with exact bytes."""
    (tmp_path / "config.json").write_bytes(config_file())
    if form == "config.json":
        found = resolve(str(tmp_path / "config.json"))
        assert (found.basis, found.stored, found.architecture.total_params) == (Basis.CONFIG, None, PARAMS)
        return
    if form in ("model.gguf", "blob"):
        path = tmp_path / ("model.gguf" if form == "model.gguf" else "sha256-0123")
        path.write_bytes(LLAMA_GGUF)
        found = resolve(str(path))
        assert found.stored is not None
        assert (found.basis, found.stored.precision) == (Basis.HEADER, "q4_k_m")
        assert found.stored.download_bytes == len(LLAMA_GGUF)
        return
    names = sorted(TENSORS)
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    if form in ("folder", "model.safetensors"):
        (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(TENSORS))
        (tmp_path / "extra.bin").write_bytes(b"\x80\x04pickle")
    else:
        for shard, part in zip(shards, (names[:4], names[4:]), strict=True):
            (tmp_path / shard).write_bytes(safetensors_bytes({name: TENSORS[name] for name in part}))
    if form == "index":
        weight_map = {name: shards[name not in names[:4]] for name in names}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    target = {"folder": tmp_path, "index": tmp_path / "model.safetensors.index.json", "shard": tmp_path / shards[1]}
    found = resolve(str(target.get(form, tmp_path / form)))
    assert (found.basis, found.architecture.total_params, found.architecture.notes) == (Basis.HEADER, PARAMS, ())
    assert found.architecture.layers[0].mixers[0].kv_heads == 2
    assert found.stored is not None
    assert (found.stored.precision, found.stored.weights_bytes) == ("bf16", 2 * PARAMS)


@pytest.mark.parametrize(
    ("files", "name", "error", "words"),
    [
        ({}, "", UnknownModel, "no config.json, no safetensors"),
        ({"pytorch_model.bin": b"\x80\x04"}, "pytorch_model.bin", UnknownModel, "pickled"),
        ({"config.json": b"{"}, "config.json", InvalidConfig, "no JSON"),
        ({"config.json": b"{}"}, "config.json", InvalidConfig, "model_type"),
        ({"m.gguf": b"GGUF"}, "m.gguf", InvalidHeader, "ends inside|beyond"),
        ({"m.safetensors": b""}, "m.safetensors", InvalidHeader, "0 bytes"),
        ({"m-00001-of-00002.gguf": LLAMA_GGUF}, "m-00001-of-00002.gguf", InvalidHeader, "0 of 2 by its name"),
        ({"a-Q4_0.gguf": LLAMA_GGUF, "a-Q8_0.gguf": LLAMA_GGUF}, "", UnknownModel, "2 GGUF files.*Q4_0, Q8_0"),
    ],
)
def test_paths_that_are_no_model(
    tmp_path: Path, files: dict[str, bytes], name: str, error: type[SizerError], words: str
) -> None:
    """What lies there is no model: each reason has its own error."""
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    with pytest.raises(error, match=words):
        resolve(str(tmp_path / name))


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    """A pipe would block whoever reads it: it is refused unread."""
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(UnknownModel, match="neither a file nor a folder"):
        resolve(str(tmp_path / "config.json"))


@pytest.mark.parametrize("text", ["missing.gguf", "./no/such/config.json", "", "/tmp/x.safetensors", "~nobody/x.json"])
def test_missing_files_are_said_to_be_missing(text: str) -> None:
    """Text that can only be a path is not looked for on the hub."""
    with pytest.raises(UnknownModel, match="there is no file"):
        resolve(text)


def test_unreachable_hub_leaves_the_name(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the hub, a name with a size answers by it, and says so; one without is unknown."""
    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path)
    found = resolve("org/Unheard-of-13B-AWQ")
    assert (found.basis, found.architecture.total_params) == (Basis.NAME, 13_000_000_000)
    assert found.hints.quantization == "awq-int4"
    assert "cannot be reached" in found.notes[0]
    with pytest.raises(UnknownModel, match="cannot be reached"):
        resolve("org/unheard-of")


def test_a_repository_that_has_a_known_shape_is_that_shape_without_the_hub(server: Hub) -> None:
    """A fine-tune whose name tells nothing of its 8.77B; the hub is asked first, and a copy's format is its own."""
    found = resolve("sukhrobnurali/qwen3vl-resume-parser", offline=True)
    assert (found.basis, found.architecture.total_params) == (Basis.CATALOGUE, 8767123696)
    assert found.notes == ("of the same shape as Qwen/Qwen3-VL-8B-Instruct, whose config the catalogue holds",)
    assert server.requests == []
    copy = resolve("QUASAR-QAT/Qwen3.8-27B-QUASAR-NVFP4", offline=True)
    assert (copy.hints.quantization, copy.architecture.total_params) == ("nvfp4", 27356728560)
    assert copy.notes[0].startswith("a copy of Qwen/Qwen3.5-27B")
    with contextlib.suppress(SizerError):
        resolve("sukhrobnurali/qwen3vl-resume-parser")
    assert server.requests


@pytest.mark.parametrize(
    ("text", "total", "active"),
    [
        ("8B", 8e9, 8e9),
        ("410M", 41e7, 41e7),
        ("8x7B", 56e9, round(56e9 * 0.2758)),
        ("141B-A35B", 141e9, 35e9),
        ("30.5B-A3.3B", 30.5e9, 3.3e9),
    ],
)
def test_bare_sizes(server: Hub, text: str, total: float, active: float) -> None:
    """A bare size is answered at once: its total and active parameters exactly, the layers of its like, the doubt."""
    found = resolve(text)
    assert found.basis is Basis.NAME
    assert found.architecture.layers
    assert any("layers, cache and vocabulary are those of" in note for note in found.architecture.notes)
    assert (found.architecture.total_params, found.architecture.active_params) == (total, active)
    assert "name alone" in found.notes[0]
    assert server.requests == []


@pytest.mark.parametrize("billions", [0.5, 1, 1.5, 3, 7, 14, 20, 30, 40, 70, 123, 180, 405])
def test_a_dense_size_is_shaped_like_a_dense_model(billions: float) -> None:
    """20B, 123B and 405B are no mixtures of experts whose active parameters nobody published: every parameter is
    read, cache and layers are known, and are not far from what models of that size mostly have."""
    found = resolve(f"{billions}B").architecture
    assert found.active_params == found.total_params == billions * 1e9
    assert found.layers
    alike = [
        (entry.built_cache_bytes, entry.built_layers)
        for entry in catalogue.entries()
        if entry.reference_params
        and abs(entry.reference_params / billions / 1e9 - 1) < 0.12
        and entry.built_active_params is None
        and entry.built_cache_bytes
        and entry.built_layers
    ]
    if len(alike) < 3:
        return
    assert 1 / 3 < cache_bytes(found) / statistics.median(cache for cache, _ in alike) < 3
    assert 1 / 2 < found.num_layers / statistics.median(layers for _, layers in alike) < 2


def test_a_tag_that_is_no_quantization_is_said() -> None:
    """What stands behind a repository's colon and means nothing is not dropped in silence; what means something has no
    such note."""
    assert "'q99' behind the colon" in " ".join(resolve("Qwen/Qwen3-8B:q99", offline=True).notes)
    for text in ("Qwen/Qwen3-8B", "unsloth/Qwen3-8B-GGUF:Q4_K_M", "unsloth/Qwen3-8B-GGUF:latest", "qwen3:8b"):
        assert "behind the colon" not in " ".join(resolve(text, offline=True).notes)


def test_a_size_of_three_digits_is_that_of_one_model() -> None:
    """`671B-A37B` is shaped like the published model of 671B and not like another within 12 % of it."""
    assert resolve("671B-A37B").architecture.num_layers == resolve("deepseek-ai/DeepSeek-V3").architecture.num_layers


def test_what_is_taken_from_a_model_is_not_called_unknown() -> None:
    """Where a bare size has layers and cache of a named model, no note says that they are not known."""
    [item] = sizer.estimate("8B", device="rtx-4090", precision="q4_k_m", offline=True).estimates
    assert any("layers, cache and vocabulary are those of" in note for note in item.assumptions)
    assert not any("Layers and cache are not known" in note for note in item.assumptions)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_lumps_hold_what_the_name_says(first: int, second: int) -> None:
    """Whatever total and active a name tells, the lump has exactly those."""
    hints = parse_name("8B")
    active, total = sorted((first, second))
    object.__setattr__(hints, "total_params", total)
    object.__setattr__(hints, "active_params", active)
    model = named("x", hints)
    assert (model.total_params, model.active_params) == (total, active)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
@example("\0")
@example("a" * 5000)
@example("~\0x")
@example("../../../etc")
@example("org/na me")
@example("::")
@example("@")
def test_any_text_is_a_model_or_an_error_of_sizers(text: str) -> None:
    """No text makes a traceback."""
    with contextlib.suppress(ModelError):
        resolve(text, offline=True)


def test_the_catalogue_path_is_light() -> None:
    """A catalogued model imports neither the hub's client, nor header parsers, nor anything heavy."""
    script = (
        "import sys; from sizer.model.read.resolve import resolve; resolve('meta-llama/Meta-Llama-3-8B-Instruct');"
        "heavy = ('huggingface_hub', 'sizer.model.h', 'torch', 'numpy', 'http', 'ssl', 'asyncio', 'difflib');"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text", ["C:\\models\\Qwen3-8B-Q4_K_M.gguf", ".\\Qwen3-8B-Q4_K_M.gguf", "./Qwen3-8B-Q4_K_M.gguf"]
)
def test_a_path_that_is_not_here_is_read_by_its_name(text: str) -> None:
    """Of Windows as of Unix: the file's name tells the model and its format, and it is said that no file was read."""
    found = resolve(text, offline=True)
    assert found.architecture.total_params == 8190735360
    assert found.hints.quantization == "q4_k_m"
    assert any("no file was read" in note for note in found.notes)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("0.5B", "Qwen2ForCausalLM"), ("1.5B", "Qwen2ForCausalLM"), ("4B", "Qwen3ForCausalLM"),
        ("12B", "MistralForCausalLM"), ("8B", "LlamaForCausalLM"),
    ],
)  # fmt: skip
def test_a_bare_size_has_the_shape_that_people_know_by_it(size: str, shape: str) -> None:
    """Among those that carry the size in their names the shape of most copies, not a rare one."""
    total = parse_name(size).total_params
    assert total is not None
    near = catalogue.find(nearest(total, None)[0])
    assert near is not None
    assert near.architecture == shape


@pytest.mark.parametrize(
    ("name", "precision", "note"),
    [
        ("unsloth/Qwen3-8B-GGUF:Q4_K_X", "q4_k_m", "'Q4_K_X' behind the colon is read as q4_k_m"),
        ("someone/Story-8B-GGUF:Q9_Z", "", "'Q9_Z' behind the colon names no quantization that is known"),
        ("someone/Story-8B-GGUF:Q4KM", "q4_k_m", ""),
        ("unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL", "ud-q4_k_xl", ""),
    ],
)
def test_what_stands_behind_the_colon_is_read_or_said_not_to_be(name: str, precision: str, note: str) -> None:
    """A tag that is no quantization, or not quite one, is named in the notes, also where the name alone is known."""
    found = resolve(name, offline=True)
    assert (found.hints.quantization or "") == precision
    told = [text for text in found.architecture.notes if "behind the colon" in text]
    assert (note in told[0]) if note else not told
