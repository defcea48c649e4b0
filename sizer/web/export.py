"""The static site: the page, the package itself for the browser's Python, and stored answers to popular questions.

Every address in it is relative, so it works from any folder of any server of files.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from sizer.errors import InvalidInputFile, UsageError
from sizer.frozen import dataclass
from sizer.plain_json import dumps
from sizer.tables import data_dir
from sizer.web.dispatch import Rules, reply
from sizer.web.files import page_files
from sizer.web.names import names

PYODIDE_VERSION = "314.0.7"
PYODIDE_URL = f"https://cdn.jsdelivr.net/npm/pyodide@{PYODIDE_VERSION}/"
PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
LIBRARIES = ("click", "tabulate", "yaml")
LEFT_OUT = ("sizer/benchmark/", "sizer/chat/", "sizer/calibrate/")
"""What no answer needs: measuring, chatting and fitting. All data stays: answers name measured rows."""
HUB = "https://huggingface.co https://*.huggingface.co https://*.hf.co"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The same package makes the same archive, byte for byte."""

POPULAR_MODELS = (
    "Qwen/Qwen3-8B",
    "Qwen/Qwen3-4B",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3-30B-A3B",
    "Qwen/Qwen2.5-7B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.3-70B-Instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "google/gemma-3-12b-it",
    "google/gemma-3-27b-it",
    "openai/gpt-oss-20b",
    "openai/gpt-oss-120b",
    "microsoft/phi-4",
)
POPULAR_DEVICES = (
    "rtx-4090",
    "rtx-3090",
    "rtx-5090",
    "rtx-3060-12gb",
    "rtx-4060",
    "rtx-4070",
    "a100-80gb-sxm",
    "h100-80gb-sxm",
    "m2-ultra",
    "m3-max",
    "m4-max",
    "consumer-cpu",
)
"""Questions that people ask first: answered when the site is made, so that they need not wait for Python."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """What was written: how many files, their bytes, and how many answers are stored."""

    files: int
    size_bytes: int
    answers: int


def popular_pairs() -> list[Pair]:
    """Every popular model with every popular device."""
    return list(product(POPULAR_MODELS, POPULAR_DEVICES))


def export(
    folder: Path,
    pyodide: Path | None = None,
    pairs: Sequence[Pair] | None = None,
    progress: Callable[[Iterable[Pair]], Iterable[Pair]] = iter,
) -> Site:
    """Write the static site into a folder, which is made, and which must be empty or an earlier site.

    `pyodide` is the unpacked npm package of Pyodide, or its .tgz; without it the page loads a pinned version from the
    web. Raises UsageError where the folder holds anything else, InvalidInputFile where the package lacks a file.
    """
    _prepare(folder)
    written = dict(page_files())
    written["names.json"] = json.dumps(names(), ensure_ascii=False, separators=(",", ":")).encode()
    written["sizer.zip"] = package_archive()
    if pyodide is not None:
        written |= {f"pyodide/{name}": data for name, data in _pyodide_files(pyodide).items()}
    written |= stored_answers(progress(popular_pairs() if pairs is None else pairs))
    source = "pyodide/" if pyodide is not None else PYODIDE_URL
    written["index.html"] = _static_page(written["index.html"].decode(), source).encode()
    written["sw.js"] = _service_worker(written["sw.js"].decode(), written, source).encode()
    written[".nojekyll"] = b""
    for name, data in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    answers = sum(name.startswith("answers/") for name in written) - 1
    return Site(len(written), sum(map(len, written.values())), answers)


def _prepare(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(folder)!r} is a file.", "--export takes a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "sizer.zip").is_file():
        raise UsageError(f"{str(folder)!r} holds other files.", "--export takes an empty folder, or an earlier site's.")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "answers", ignore_errors=True)


def package_archive() -> bytes:
    """The package with its data, and the libraries that a command needs, as the browser's Python unpacks them."""
    package = Path(__file__).parent.parent
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(_package_files(package)):
            if name.startswith(LEFT_OUT):
                continue
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return out.getvalue()


def _package_files(package: Path) -> Iterator[tuple[str, Path]]:
    for path in package.rglob("*.py"):
        yield f"sizer/{path.relative_to(package).as_posix()}", path
    data = data_dir()
    for path in data.rglob("*"):
        if path.is_file():
            yield f"sizer/data/{path.relative_to(data).as_posix()}", path
    for library in LIBRARIES:
        spec = find_spec(library)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        for path in root.rglob("*.py") if root.is_dir() else [root]:
            yield f"{library}/{path.relative_to(root)}" if root.is_dir() else path.name, path


def _pyodide_files(source: Path) -> dict[str, bytes]:
    """The files of Pyodide that the page loads, from its folder or its .tgz."""
    try:
        if source.is_file():
            with tarfile.open(source) as archive:
                members = {Path(name).name: archive.extractfile(name) for name in archive.getnames()}
                found = {name: member.read() for name, member in members.items() if member and name in PYODIDE_FILES}
        else:
            found = {name: (source / name).read_bytes() for name in PYODIDE_FILES if (source / name).is_file()}
    except (OSError, tarfile.TarError) as error:
        raise InvalidInputFile(
            f"{str(source)!r} cannot be read: {error}.", "Give the folder of the npm package."
        ) from None
    missing = [name for name in PYODIDE_FILES if name not in found]
    if missing:
        raise InvalidInputFile(
            f"{str(source)!r} has no {missing[0]}.", f"npm pack pyodide@{PYODIDE_VERSION} and unpack it."
        )
    return found


def stored_answers(pairs: Iterable[Pair]) -> dict[str, bytes]:
    """The answers that the page asks for first, gzipped, and an index from question to file."""
    index: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for model, device in pairs:
        for name, query in _first_questions(model, device):
            body = reply(name, query, Rules(offline=True)).body
            data = gzip.compress(_compact(body), 9, mtime=0)
            path = f"answers/{hashlib.sha256(data).hexdigest()[:16]}.json.gz"
            index["&".join([name, *(f"{key}={value}" for key, value in query)])] = path
            files[path] = data
    return {**files, "answers/index.json": dumps(index).encode()}


def _compact(body: str) -> bytes:
    return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()


def _first_questions(model: str, device: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """What the page asks for one model and device: the recommendation, then the curves of what it recommends."""
    pair = [("model", model), ("device", device)]
    yield "recommend", pair
    found: dict[str, Any] = json.loads(reply("recommend", pair, Rules(offline=True)).body)
    if "error" in found:
        yield "estimate", pair
        return
    chosen, context = found["estimate"], found["workload"]["context_tokens"]
    exactly = {"precision": chosen["precision"], "context": str(context), "engine": chosen["engine"]}
    yield "curves", [*pair, *exactly.items()]


def _static_page(html: str, source: str) -> str:
    """The page told that it has no server, with the policy that a server would send."""
    origin = "" if source.startswith("pyodide") else f" {source}"
    policy = (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{origin}; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' {HUB}{origin}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    html = html.replace("<html ", f'<html data-mode="static" data-pyodide="{source}" ', 1)
    return html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}', 1)


def _service_worker(script: str, written: dict[str, bytes], source: str) -> str:
    """The service worker told which files to keep, under a name that changes with any of them."""
    kept = sorted(name for name in written if not name.startswith("answers/") and name != "sw.js")
    kept.append("answers/index.json")
    digest = hashlib.sha256()
    for name in sorted(written):
        digest.update(name.encode() + written[name])
    beyond = [] if source.startswith("pyodide") else [f"{source}{name}" for name in PYODIDE_FILES]
    told = {"version": digest.hexdigest()[:16], "files": ["./", *kept], "beyond": beyond}
    return script.replace("/* SITE */ null", json.dumps(told))
