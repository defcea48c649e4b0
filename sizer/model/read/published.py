"""Which repositories and tags publish a model: facts that a recipe names and a command is read by.

Rows of `data/gguf_repositories.csv`, `data/quantized_copies.csv`, `data/ollama_tags.csv` and `data/library_names.csv`;
nothing here is guessed.
"""

from __future__ import annotations

from functools import cache

from sizer.frozen import NamedTuple
from sizer.tables import read_rows

TAG_LIBRARY = "ollama.com/library/"
MAIN_BRANCH = "_main"
FOLDERS = "folders"
"""The library of programs whose folders are named `organisation_model` (text-generation-webui's download-model.py)."""
LIBRARY_PREFIXES = {"docker": ("index.docker.io/", "docker.io/", "ai/"), "tabby": ("TabbyML/",)}
"""What stands before the names of a launcher's own library."""
_HUBS = ("https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/")


@cache
def _publishers() -> dict[str, frozenset[str]]:
    """The GGUF types that a publisher's repositories have."""
    return {row["publisher"]: frozenset(row["types"].split()) for row in read_rows("gguf_publishers.csv")}


@cache
def _gguf() -> dict[str, tuple[str, ...]]:
    return {row["model"].lower(): tuple(row["repositories"].split()) for row in read_rows("gguf_repositories.csv")}


@cache
def _gguf_of_copies() -> dict[str, tuple[str, ...]]:
    """By the model's own name: the repositories made from a copy that keeps it (`unsloth/X` of `mistralai/X`)."""
    copiers = next(row["words"].split() for row in read_rows("name_words.csv") if row["role"] == "copier")
    split = ((*name.partition("/"), found) for name, found in _gguf().items())
    return {last: found for organisation, _, last, found in split if organisation in copiers}


@cache
def _gguf_sources() -> dict[str, str]:
    return {
        name.lower(): row["model"] for row in read_rows("gguf_repositories.csv") for name in row["repositories"].split()
    }


@cache
def _tags() -> dict[str, str]:
    return {row["tag"]: row["model"] for row in read_rows("ollama_tags.csv")}


def gguf_repositories(model_id: str) -> tuple[str, ...]:
    """The published repositories that hold a model as GGUF, made from it or from a copy under its name."""
    name = model_id.lower()
    return _gguf().get(name) or _gguf_of_copies().get(name.rpartition("/")[2], ())


def gguf_repository(model_id: str, precision: str) -> str | None:
    """The published repository that holds a model in a GGUF type, the publishers' order deciding; None without one."""
    found = gguf_repositories(model_id)
    for publisher, types in _publishers().items():
        for name in found:
            if name.split("/")[0] == publisher and precision in types:
                return name
    return None


def gguf_source(repository: str) -> str | None:
    """The model that a published GGUF repository (`hf.co/` before it or not, a type after it or not) is made from."""
    return _gguf_sources().get(_plain(repository))


def _plain(repository: str) -> str:
    text = repository.lower()
    for hub in _HUBS:
        text = text.removeprefix(hub)
    return text.split(":", 1)[0]


def quantized_copy(model_id: str, precision: str, runtime: str = "") -> str | None:
    """The repository that holds a model quantized so, for engines of a runtime; None where none is known."""
    own = runtime if runtime in _runtimes_of_copies() else ""
    return _copies().get((model_id.lower(), precision, own))


@cache
def _copies() -> dict[tuple[str, str, str], str]:
    return {
        (row["model"].lower(), row["precision"], row["runtime"]): row["repository"]
        for row in read_rows("quantized_copies.csv")
    }


@cache
def _runtimes_of_copies() -> frozenset[str]:
    """The runtimes that have copies of their own; the others take those of none."""
    return frozenset(runtime for _, _, runtime in _copies())


def ollama_tag(model_id: str) -> str | None:
    """The tag of the Ollama library that holds a model at its default type; the shortest that names the size."""
    found = [tag for tag, repository in _tags().items() if repository.lower() == model_id.lower()]
    return min(found, key=lambda tag: (":" not in tag, len(tag)), default=None)


def tag_repository(text: str) -> str | None:
    """The hub repository of a tag of the Ollama library, its instruct model where the tag is one; None without one."""
    tag = text.strip().lower().removeprefix("https://").removeprefix(TAG_LIBRARY).removeprefix("registry.ollama.ai/")
    if "/" in tag:
        return None
    name, _, size = tag.partition(":")
    plain = size.split("-")[0]
    return _tags().get(tag) or _tags().get(f"{name}:{plain}") if size != "latest" else _tags().get(name)


def library_model(library: str, name: str) -> str:
    """The model that a launcher's own library means by a name; the name without the library's prefix where no row says.

    >>> library_model("docker", "ai/smolvlm:latest")
    'HuggingFaceTB/SmolVLM-500M-Instruct:F16'
    >>> library_model("folders", "unsloth_Qwen3-8B-GGUF")
    'unsloth/Qwen3-8B-GGUF'
    """
    plain = name
    for prefix in LIBRARY_PREFIXES.get(library, ()):
        plain = plain.removeprefix(prefix)
    organisation, underscore, rest = plain.partition("_")
    if library == FOLDERS and underscore and organisation.lower() in _organisations():
        return f"{organisation}/{rest.removesuffix(MAIN_BRANCH)}"
    return _library(library).get(plain.lower().removesuffix(":latest"), plain)


class LibraryModel(NamedTuple):
    """A row of `data/library_models.csv`: what a launcher's library means by a name, a size and a format.

    `quantizations` are those that the model has in this format (`{quantization}` in its name is replaced by one of
    them), `flags` those of the engine that the library starts it with.
    """

    size: str
    format: str
    quantizations: tuple[str, ...]
    model: str
    flags: tuple[str, ...]

    def named(self, quantization: str) -> str:
        """The model's name with the quantization that was asked for, else its first."""
        own = next((name for name in self.quantizations if name.lower() == quantization.lower()), "")
        return self.model.replace("{quantization}", own or next(iter(self.quantizations), ""))


def library_choice(library: str, name: str, size: str, kind: str, quantization: str) -> LibraryModel | None:
    """The first row of a launcher's library that has all that was said of a model; None where it has none.

    >>> library_choice("xinference", "qwen2.5-instruct", "7", "awq", "").model
    'Qwen/Qwen2.5-7B-Instruct-AWQ'
    """
    rows = _library_models(library).get(name.lower(), ())
    rows = rows or next((own for key, own in _library_models(library).items() if key.startswith(name.lower())), ())
    for row in rows:
        said = ((size.replace("_", "."), row.size), (kind, row.format))
        if any(asked and asked.lower() != own.lower() for asked, own in said):
            continue
        if not quantization or quantization.lower() in map(str.lower, row.quantizations):
            return row
    return None


@cache
def _library_models(library: str) -> dict[str, tuple[LibraryModel, ...]]:
    found: dict[str, tuple[LibraryModel, ...]] = {}
    for row in read_rows("library_models.csv"):
        if row["library"] == library:
            words = (tuple(row["quantizations"].split()), row["model"], tuple(row["flags"].split()))
            name = row["name"].lower()
            found[name] = (*found.get(name, ()), LibraryModel(row["size"], row["format"], *words))
    return found


@cache
def _organisations() -> frozenset[str]:
    """Who publishes models, or copies of them."""
    from sizer.model.read.catalogue import published

    copiers = next(row["words"].split() for row in read_rows("name_words.csv") if row["role"] == "copier")
    return frozenset({*copiers, *(name.partition("/")[0].lower() for name, _ in published() if "/" in name)})


@cache
def _library(library: str) -> dict[str, str]:
    return {row["name"]: row["model"] for row in read_rows("library_names.csv") if row["library"] == library}
