"""`sizer installed` finds what other programs keep, by their own folders, and reads each by its header alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clirun import Run
from headerfiles import LLAMA, gguf_bytes, llama_tensors

from sizer.model.read.stores import OLLAMA_MODEL, Home, kept_models

GGUF = gguf_bytes(LLAMA, llama_tensors())
DIGEST = "sha256:" + "ab" * 32
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 2048, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip


def written(path: Path, data: bytes) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def ollama(root: Path, name: str = "library/tiny/1b", digest: str = DIGEST) -> None:
    """A model as Ollama keeps it."""
    layers = [{"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:00"}]
    layers.append({"mediaType": OLLAMA_MODEL, "digest": digest})
    written(root / "manifests" / "registry.ollama.ai" / name, json.dumps({"layers": layers}).encode())
    written(root / "blobs" / digest.replace(":", "-"), GGUF)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder in which each program keeps a model."""
    ollama(tmp_path / ".ollama" / "models")
    ollama(tmp_path / ".ollama" / "models", "someone/other/latest")
    written(tmp_path / ".lmstudio" / "models" / "org" / "Tiny-GGUF" / "tiny-Q4_K_M.gguf", GGUF)
    written(tmp_path / ".lmstudio" / "models" / "org" / "Tiny-GGUF" / "mmproj-tiny.gguf", GGUF)
    written(tmp_path / ".cache" / "llama.cpp" / "org_tiny.gguf", GGUF)
    hub = tmp_path / ".cache" / "huggingface" / "hub" / "models--org--tiny-model"
    for commit in ("old", "new"):
        written(hub / "snapshots" / commit / "tiny.gguf", GGUF)
    written(hub / "refs" / "main", b"new")
    written(hub.parent / "models--org--config-only" / "snapshots" / "a" / "config.json", json.dumps(CONFIG).encode())
    return tmp_path


def test_each_program_is_found_by_its_own_names(home: Path) -> None:
    """Tags, folders, files and the hub's newest revision; projectors and configs without weights are no models."""
    found = kept_models(Home(home, {}, "linux"))
    assert [(item.program, item.name, item.engine) for item in found] == [
        ("LM Studio", "org/Tiny-GGUF/tiny-Q4_K_M.gguf", "lmstudio"),
        ("Ollama", "someone/other:latest", "ollama"),
        ("Ollama", "tiny:1b", "ollama"),
        ("hub cache", "org/tiny-model/tiny.gguf", "llama.cpp"),
        ("llama.cpp", "org_tiny.gguf", "llama.cpp"),
    ]
    assert {item.size_bytes for item in found} == {len(GGUF)}
    assert "new" in next(item.path for item in found if item.program == "hub cache").parts


def test_variables_move_the_folders(tmp_path: Path) -> None:
    """OLLAMA_MODELS, LLAMA_CACHE and HF_HUB_CACHE are followed; a Mac's and Windows' caches lie elsewhere."""
    ollama(tmp_path / "a")
    written(tmp_path / "b" / "x.gguf", GGUF)
    written(tmp_path / "c" / "models--o--n" / "snapshots" / "1" / "y.gguf", GGUF)
    moved = {"OLLAMA_MODELS": "a", "LLAMA_CACHE": "b", "HF_HUB_CACHE": "c"}
    found = kept_models(Home(tmp_path / "home", {key: str(tmp_path / name) for key, name in moved.items()}, "linux"))
    assert {item.program for item in found} == {"Ollama", "llama.cpp", "hub cache"}
    assert Home(tmp_path, {}, "darwin").cache() == tmp_path / "Library" / "Caches"
    assert Home(tmp_path, {"LOCALAPPDATA": "L"}, "win32").cache() == Path("L")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"{}", b'{"layers": 5}', b'{"layers": [{"mediaType": "x"}]}',
     json.dumps({"layers": [{"mediaType": OLLAMA_MODEL, "digest": "sha256:../../../etc/passwd"}]}).encode(),
     json.dumps({"layers": [{"mediaType": OLLAMA_MODEL, "digest": "md5:ab"}]}).encode()],
)  # fmt: skip
def test_a_wrong_manifest_is_no_model(tmp_path: Path, manifest: bytes) -> None:
    """What is no manifest, or names a file outside the blobs, is passed over."""
    path = tmp_path / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "1b"
    written(path, manifest)
    assert kept_models(Home(tmp_path, {}, "linux")) == []


def test_the_command_tells_what_each_takes(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model's bytes and speed are those of `sizer estimate` on its file; a broken file is said to be."""
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    written(home / ".lmstudio" / "models" / "org" / "broken" / "broken.gguf", b"GGUF\x03\0\0\0")
    result = run("installed", "-d", "rtx-4090", "--json")
    assert result.code == 0
    rows = {row["model"]: row for row in json.loads(result.out)}
    kept = rows["tiny:1b"]
    told = run("estimate", kept["path"], "-d", "rtx-4090", "-e", "ollama", "--json").out
    estimate = json.loads(told)["estimates"][0]
    assert kept["total_bytes"] == estimate["memory"]["total_bytes"]
    assert kept["decode_tokens_per_s"] == estimate["decode"]["tokens_per_s"]
    assert kept["precision"] == estimate["precision"]
    assert "header" in rows["org/broken/broken.gguf"]["problem"]
    assert "tiny:1b" in run("installed", "tiny", "-d", "rtx-4090").out
    assert run("installed", "no-such-name", "-d", "rtx-4090").code == 3
