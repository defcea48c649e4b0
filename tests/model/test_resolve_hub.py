"""What a hub answers: configs, headers, shards, revisions, gates, addresses of pages, and what is not there."""

from __future__ import annotations

import json

import pytest
from headerfiles import LLAMA, gguf_bytes, llama_tensors, safetensors_bytes
from hubmodels import CONFIG, LLAMA_GGUF, PARAMS, PLAIN, TENSORS, config_file
from hubserver import Hub, Repo

from sizer.errors import (
    GatedModel,
    InvalidHeader,
    UnknownModel,
    UnsupportedArchitecture,
)
from sizer.model.architecture import Basis
from sizer.model.read import meta_device
from sizer.model.read.resolve import resolve

# The same model with its seven projections in fp8, a scale for each block of 128 x 128.
FP8 = {
    **{name: ("F8_E4M3" if "proj" in name else "BF16", shape) for name, shape in PLAIN.items()},
    **{f"{name}_scale_inv": ("F32", (1, 1)) for name in PLAIN if "proj" in name},
}
FP8_CONFIG = CONFIG | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}


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
