"""Models that other programs keep on this machine: in Ollama's, LM Studio's, llama.cpp's and the hub's own folders.

Only names, manifests and file sizes are read here; what a model is, its header tells. The folders are those that the
programs document, with the variables of the environment that move them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from sizer.frozen import dataclass

MOST_FOUND = 2000
LARGEST_MANIFEST_BYTES = 1_000_000
OLLAMA_MODEL = "application/vnd.ollama.image.model"
OLLAMA_DEFAULT = ("registry.ollama.ai", "library")
OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where the Linux installer's service keeps its models."""


@dataclass(frozen=True, slots=True)
class Home:
    """The user's folder, the environment and the operating system (`linux`, `darwin`, `win32`)."""

    folder: Path = field(default_factory=Path.home)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    platform: str = sys.platform

    def named(self, variable: str, default: Path) -> Path:
        """The folder that a variable of the environment names, else the default."""
        told = self.environment.get(variable)
        return Path(told).expanduser() if told else default

    def cache(self) -> Path:
        """The user's cache folder, as llama.cpp looks for it."""
        if self.platform == "darwin":
            return self.folder / "Library" / "Caches"
        if self.platform == "win32":
            return self.named("LOCALAPPDATA", self.folder / "AppData" / "Local")
        return self.named("XDG_CACHE_HOME", self.folder / ".cache")


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that a program keeps: which program, its name there, its file or folder, and its bytes on the disk.

    `engine` is what the program runs it with, None where the folder does not say.
    """

    program: str
    name: str
    path: Path
    size_bytes: int
    engine: str | None


def kept_models(home: Home | None = None) -> list[Kept]:
    """Every model found, by program and name; a folder that cannot be read holds none."""
    found: list[Kept] = []
    for models_in in STORES.values():
        try:
            for item in models_in(home or Home()):
                found.append(item)
                if len(found) >= MOST_FOUND:
                    break
        except OSError:
            continue
    return sorted(found, key=lambda item: (item.program, item.name.lower()))


def _ollama(home: Home) -> Iterator[Kept]:
    """Manifests by registry, organisation, name and tag; the layer of type `model` is the GGUF file."""
    root = home.named("OLLAMA_MODELS", home.folder / ".ollama" / "models")
    for folder in dict.fromkeys((root, OLLAMA_SERVICE) if home.platform == "linux" else (root,)):
        for manifest in sorted((folder / "manifests").glob("*/*/*/*")):
            digest = _model_digest(manifest)
            blob = folder / "blobs" / digest.replace(":", "-")
            if digest and blob.is_file():
                registry, organisation, name, tag = manifest.relative_to(folder / "manifests").parts
                prefix = "" if (registry, organisation) == OLLAMA_DEFAULT else f"{organisation}/"
                prefix = prefix if registry == OLLAMA_DEFAULT[0] else f"{registry}/{prefix}"
                yield Kept("Ollama", f"{prefix}{name}:{tag}", blob, blob.stat().st_size, "ollama")


def _model_digest(manifest: Path) -> str:
    """The digest of a manifest's model layer; empty where it has none that could be one."""
    try:
        if not manifest.is_file() or manifest.stat().st_size > LARGEST_MANIFEST_BYTES:
            return ""
        layers = json.loads(manifest.read_bytes())["layers"]
        digest = next(str(layer["digest"]) for layer in layers if layer["mediaType"] == OLLAMA_MODEL)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return ""
    kind, _, digits = digest.partition(":")
    return digest if kind == "sha256" and digits.isalnum() else ""


def _lm_studio(home: Home) -> Iterator[Kept]:
    """publisher/repository folders of GGUF files, or of MLX weights."""
    pointer = home.folder / ".lmstudio-home-pointer"
    told = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
    roots = (Path(told) if told else home.folder / ".lmstudio", home.folder / ".cache" / "lm-studio")
    for root in dict.fromkeys(roots):
        for folder in sorted((root / "models").glob("*/*")):
            name = f"{folder.parent.name}/{folder.name}"
            yield from _ggufs(folder, "LM Studio", name, "lmstudio")
            if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
                yield Kept("LM Studio", name, folder, _size(folder.glob("*.safetensors")), "mlx-lm")


def _llama_cpp(home: Home) -> Iterator[Kept]:
    """GGUF files that `-hf` fetched before llama.cpp used the hub's cache."""
    root = home.named("LLAMA_CACHE", home.cache() / "llama.cpp")
    yield from _ggufs(root, "llama.cpp", "", "llama.cpp")


def _hub(home: Home) -> Iterator[Kept]:
    """Repositories of the hub's cache that hold weights: the revision of `main`, else the newest."""
    base = home.named("HF_HOME", home.named("XDG_CACHE_HOME", home.folder / ".cache") / "huggingface")
    root = home.named("HF_HUB_CACHE", base / "hub")
    for repository in sorted(root.glob("models--*")):
        snapshot = _snapshot(repository)
        name = repository.name.removeprefix("models--").replace("--", "/", 1)
        if snapshot is None:
            continue
        yield from _ggufs(snapshot, "hub cache", name, "llama.cpp")
        if (snapshot / "config.json").is_file() and any(snapshot.glob("*.safetensors")):
            yield Kept("hub cache", name, snapshot, _size(snapshot.glob("*.safetensors")), None)


def _snapshot(repository: Path) -> Path | None:
    main = repository / "refs" / "main"
    if main.is_file():
        named = repository / "snapshots" / main.read_text(encoding="utf-8").strip()
        if named.is_dir():
            return named
    snapshots = [path for path in (repository / "snapshots").glob("*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)


def _ggufs(folder: Path, program: str, name: str, engine: str) -> Iterator[Kept]:
    """The GGUF models of a folder, the files of a split one together; projectors are no models."""
    from sizer.model.read.headers_files import gguf_sets

    names = [path.relative_to(folder).as_posix() for path in folder.glob("**/*.gguf") if path.is_file()]
    for first, files in gguf_sets(names).items():
        size_bytes = _size(folder / file for file in files if (folder / file).is_file())
        yield Kept(program, f"{name}/{first}" if name else first, folder / first, size_bytes, engine)


def _size(paths: Iterator[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


STORES: Mapping[str, Callable[[Home], Iterator[Kept]]] = {
    "Ollama": _ollama,
    "LM Studio": _lm_studio,
    "llama.cpp": _llama_cpp,
    "hub cache": _hub,
}
