"""From text to a model: path, catalogue, hub, name, each with its basis and how far it can be trusted."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from headerfiles import LLAMA, gguf_bytes, llama_tensors, safetensors_bytes
from hubserver import Hub, Repo, point_client_at, serve
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sizer
from sizer.errors import (
    GatedModel,
    InvalidConfig,
    InvalidHeader,
    ModelError,
    SizerError,
    UnknownModel,
    UnsupportedArchitecture,
)
from sizer.model.architecture import Basis
from sizer.model.read import catalogue, hub_ask, meta_device
from sizer.model.read.name_only import named, nearest
from sizer.model.read.names import parse_name
from sizer.model.read.provenance import cache_bytes
from sizer.model.read.resolve import resolve

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 1, "vocab_size": 50, "num_attention_heads": 4, "num_key_value_heads": 2,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
PLAIN = {
    "model.embed_tokens.weight": (50, 64),
    "model.layers.0.self_attn.q_proj.weight": (64, 64),
    "model.layers.0.self_attn.k_proj.weight": (32, 64),
    "model.layers.0.self_attn.v_proj.weight": (32, 64),
    "model.layers.0.self_attn.o_proj.weight": (64, 64),
    "model.layers.0.mlp.gate_proj.weight": (96, 64),
    "model.layers.0.mlp.up_proj.weight": (96, 64),
    "model.layers.0.mlp.down_proj.weight": (64, 96),
    "model.layers.0.input_layernorm.weight": (64,),
    "model.layers.0.post_attention_layernorm.weight": (64,),
    "model.norm.weight": (64,),
}
TENSORS = {name: ("BF16", shape) for name, shape in PLAIN.items()}
PARAMS = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in PLAIN.values())
# The same model with its seven projections in fp8, a scale for each block of 128 x 128.
FP8 = {name: ("F8_E4M3", shape) if "proj" in name else ("BF16", shape) for name, shape in PLAIN.items()}
FP8 |= {f"{name}_scale_inv": ("F32", (1, 1)) for name in PLAIN if "proj" in name}
FP8_CONFIG = CONFIG | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
LLAMA_GGUF = gguf_bytes(LLAMA, llama_tensors())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine that the client points at."""
    monkeypatch.setattr(hub_ask, "RETRY_WAIT_S", 0.001)
    with serve() as running:
        point_client_at(monkeypatch, running.url, tmp_path)
        yield running


def config_file(**changes: object) -> bytes:
    """A config.json with changes."""
    return json.dumps(CONFIG | changes).encode()


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


def test_hub_config(server: Hub) -> None:
    """An uncatalogued repository is read from its config; what the API counts is compared."""
    server.repos["org/new"] = Repo({"config.json": config_file()}, safetensors={"parameters": {"BF16": 9}, "total": 9})
    found = resolve("org/new")
    assert (found.basis, found.architecture.total_params, found.stored) == (Basis.HUB, PARAMS, None)
    assert "counts 9 parameters" in found.notes[0]
    server.repos["org/new"].safetensors = {"parameters": {"BF16": PARAMS}, "total": PARAMS}
    assert resolve("org/new").notes == ()


def test_hub_answers_offline_from_the_cache(server: Hub) -> None:
    """What was asked once answers without the network; what was not is unknown, with the reason."""
    server.repos["org/new"] = Repo({"config.json": config_file()})
    resolve("org/new")
    asked = len(server.requests)
    assert resolve("org/new", offline=True).architecture.total_params == PARAMS
    with pytest.raises(UnknownModel, match="not in the catalogue"):
        resolve("org/other", offline=True)
    assert len(server.requests) == asked


def test_hub_quantized_weights_are_read_by_their_header(server: Hub) -> None:
    """A repository with a quantization_config is sized by its files' headers, exact, a few kilobytes read."""
    data = safetensors_bytes(FP8)
    server.repos["org/q"] = Repo({"config.json": json.dumps(FP8_CONFIG).encode(), "model.safetensors": data})
    found = resolve("org/q")
    assert found.stored is not None
    assert (found.basis, found.architecture.total_params) == (Basis.HEADER, PARAMS)
    projections = sum(shape[0] * shape[1] for name, shape in PLAIN.items() if "proj" in name)
    assert found.stored.weights_bytes == 2 * PARAMS - projections + 7 * 4
    assert (found.stored.precision, found.stored.download_bytes) == ("fp8-block", len(data))


def test_hub_shards_are_read_by_their_index(server: Hub) -> None:
    """A sharded quantized repository is read from the headers of all its shards; a missing one is named."""
    names = sorted(FP8)
    files = {f"model-0000{n}-of-00003.safetensors": names[n - 1 :: 3] for n in (1, 2, 3)}
    weight_map = {name: shard for shard, held in files.items() for name in held}
    repo = Repo({"config.json": json.dumps(FP8_CONFIG).encode()})
    repo.files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    for shard, held in files.items():
        repo.files[shard] = safetensors_bytes({name: FP8[name] for name in held})
    server.repos["org/q"] = repo
    found = resolve("org/q")
    assert found.stored is not None
    assert (found.architecture.total_params, found.notes) == (PARAMS, ())
    assert found.stored.download_bytes == sum(len(data) for name, data in repo.files.items() if "-of-" in name)
    del repo.files["model-00002-of-00003.safetensors"]
    with pytest.raises(InvalidHeader, match=r"needs 'model-00002-of-00003\.safetensors', which is missing"):
        resolve("org/q")


def test_hub_weights_of_an_unknown_architecture(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no family knows the config, or there is none, the headers tell the inventory."""
    monkeypatch.setattr(meta_device, "on_meta_device", lambda config, model_id: None)
    for config in ({"config.json": json.dumps({"model_type": "brand-new-thing"}).encode()}, {}):
        server.repos["org/odd"] = Repo({**config, "model.safetensors": safetensors_bytes(TENSORS)})
        found = resolve("org/odd")
        assert (found.basis, found.architecture.total_params) == (Basis.HEADER, PARAMS)
        assert found.architecture.notes
    server.repos["org/bin"] = Repo({"pytorch_model.bin": b"\x80"})
    with pytest.raises(UnknownModel, match="pickled"):
        resolve("org/bin")
    server.repos["org/cfg"] = Repo({"config.json": b'{"model_type": "brand-new-thing"}'})
    with pytest.raises(UnsupportedArchitecture, match="brand-new-thing"):
        resolve("org/cfg")


def test_hub_gguf(server: Hub) -> None:
    """`org/repo:Q4_K_M` reads that file's header alone; without a choice the choices are listed."""
    padded = {**llama_tensors(), "token_embd.weight": ("q6_k", (40_000, 256))}
    server.repos["org/tiny-GGUF"] = Repo({
        "tiny-Q4_K_M.gguf": gguf_bytes(LLAMA, padded),
        "tiny-UD-Q4_K_M.gguf": LLAMA_GGUF,
        "tiny-Q8_0.gguf": LLAMA_GGUF,
        "mmproj-F16.gguf": b"GGUF",
    })  # fmt: skip
    found = resolve("org/tiny-GGUF:Q4_K_M")
    assert found.stored is not None
    assert found.architecture.vocab_size == 40_000
    assert found.stored.download_bytes == len(gguf_bytes(LLAMA, padded))
    assert server.sent_bytes < 1_000_000
    assert resolve("org/tiny-GGUF:q8_0").stored is not None
    assert resolve("org/tiny-GGUF/tiny-UD-Q4_K_M.gguf").architecture.vocab_size == 100
    for text, words in (("org/tiny-GGUF", "3 GGUF files"), ("org/tiny-GGUF:Q5_K_M", "no GGUF file for 'Q5_K_M'")):
        with pytest.raises(UnknownModel, match=words) as caught:
            resolve(text)
        assert "Q8_0" in caught.value.hint


def test_copies_are_read_from_the_hub_when_asked(server: Hub) -> None:
    """`@main` reads a copy's own files, where the catalogue would answer with the model that it copies."""
    server.repos["TheBloke/Llama-2-7B-GGUF"] = Repo({"llama-2-7b.Q4_K_M.gguf": LLAMA_GGUF})
    for text in ("TheBloke/Llama-2-7B-GGUF:Q4_K_M@main", "TheBloke/Llama-2-7B-GGUF@main:Q4_K_M"):
        assert resolve(text).basis is Basis.HEADER
    assert resolve("TheBloke/Llama-2-7B-GGUF:Q4_K_M").basis is Basis.CATALOGUE


def test_hub_split_gguf(server: Hub) -> None:
    """A model split over files in a folder of the repository is read from all of them."""
    tensors = llama_tensors()
    names = list(tensors)
    for number, part in enumerate((names[:6], names[6:])):
        split = (LLAMA if number == 0 else {}) | {"split.count": 2, "split.no": number}
        data = gguf_bytes(split, {name: tensors[name] for name in part})
        repo = server.repos.setdefault("org/big-GGUF", Repo())
        repo.files[f"Q8_0/big-Q8_0-0000{number + 1}-of-00002.gguf"] = data
    found = resolve("org/big-GGUF:Q8_0")
    assert found.architecture.total_params == resolve_local_params()


def resolve_local_params() -> int:
    """Parameters of the test Llama."""
    return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for _, shape in llama_tensors().values())


def test_hostile_remote_header(server: Hub) -> None:
    """A remote file that lies is refused as a local one is, after a bounded read."""
    server.repos["org/evil-GGUF"] = Repo({"m-Q4_0.gguf": b"GGUF" + bytes([3, 0, 0, 0]) + b"\xff" * 2_000_000})
    with pytest.raises(InvalidHeader, match="declares"):
        resolve("org/evil-GGUF:Q4_0")
    claimed = Repo({"m-Q4_0.gguf": LLAMA_GGUF[:-64]}, claimed_bytes={"m-Q4_0.gguf": len(LLAMA_GGUF)})
    server.repos["org/short-GGUF"] = claimed
    assert resolve("org/short-GGUF:Q4_0").stored is not None  # the header is whole: the data is never asked for


def test_gated_models(server: Hub) -> None:
    """A gated config leaves the API's parameter count; without that, GatedModel says what to do."""
    summary = {"parameters": {"BF16": 123_456}, "total": 123_456}
    server.repos["org/gated"] = Repo({"config.json": config_file()}, gated="manual", safetensors=summary)
    found = resolve("org/gated")
    assert (found.basis, found.architecture.total_params, found.architecture.layers) == (Basis.HUB, 123_456, ())
    assert "gated" in found.notes[0]
    server.repos["org/gated"].safetensors = None
    with pytest.raises(GatedModel, match="gated") as caught:
        resolve("org/gated")
    assert "HF_TOKEN" in caught.value.hint


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/org/new",
        "hf.co/org/new/",
        "https://huggingface.co/org/new/tree/main",
        "https://huggingface.co/org/new/blob/v2/config.json?raw=true",
    ],
)
def test_addresses_of_pages(server: Hub, address: str) -> None:
    """The address of a model's page names the model, and its revision."""
    server.repos["org/new"] = Repo({"config.json": config_file()}, revisions=("main", "v2"))
    assert resolve(address).architecture.total_params == PARAMS
    assert ("v2" in address) == any("v2" in path for _, path, _ in server.requests)


def test_revisions(server: Hub) -> None:
    """`@v2` is asked for, before the catalogue; a revision that is not there is said to be missing."""
    server.repos["org/new"] = Repo({"config.json": config_file()}, revisions=("main", "v2"))
    resolve("org/new@v2")
    assert all("v2" in path for _, path, _ in server.requests)
    with pytest.raises(UnknownModel, match="no revision 'v3'"):
        resolve("org/new@v3")
    name = "meta-llama/Meta-Llama-3-8B-Instruct"
    server.repos[name] = Repo({"config.json": config_file()}, revisions=("main", "old"))
    assert resolve(name, revision="old").architecture.total_params == PARAMS
    assert "not looked at" in resolve(f"{name}@old", offline=True).notes[0]


def test_an_endpoint_without_an_api(server: Hub) -> None:
    """A mirror that serves files and no API still gives the config."""
    server.repos["org/new"] = Repo({"config.json": config_file()})
    server.faults = [404]
    assert resolve("org/new").architecture.total_params == PARAMS


def test_a_repository_that_is_not_there_offers_the_nearest(server: Hub) -> None:
    """A misspelt id is unknown to the hub; the nearest catalogued names are offered, and the size is not guessed."""
    with pytest.raises(UnknownModel, match="knows no model") as caught:
        resolve("meta-llama/Meta-Lama-3-8B-Instrct")
    assert "Meta-Llama-3-8B-Instruct" in caught.value.hint


def test_unreachable_hub_leaves_the_name(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the hub, a name with a size answers by it, and says so; one without is unknown."""
    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path)
    found = resolve("org/Unheard-of-13B-AWQ")
    assert (found.basis, found.architecture.total_params) == (Basis.NAME, 13_000_000_000)
    assert found.hints.quantization == "awq-int4"
    assert "cannot be reached" in found.notes[0]
    with pytest.raises(UnknownModel, match="cannot be reached"):
        resolve("org/unheard-of")


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
