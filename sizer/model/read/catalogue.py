"""The offline catalogue: published config.json files by the names that people give them.

`data/models.csv` lists the models, `data/model_aliases.csv` other published names of exactly the same shape (those that
few people ask for are in `data/same_shapes.csv`, read where nothing else tells a repository),
`data/ollama_tags.csv` what the Ollama library calls them, and `data/configs/` holds one config.json a model, read only
when that model is asked for. What `sizer models update` read from the hub stands above them (`refreshed`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sizer.errors import nearest as nearest_names
from sizer.frozen import dataclass
from sizer.model.read import refreshed
from sizer.model.read.name_quantization import quantization_in
from sizer.model.read.names import LONGEST_NAME
from sizer.tables import RowsByKey, read_json, read_rows, read_tuples


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One catalogued model.

    `reference_params` are the published parameters that run, `checkpoint_params` what its repository stores where that
    differs (`difference` says why), `active_params` the authors' figure for a mixture of experts; None where nobody
    published them. `built_active_params` is what its family counts for one (None for a dense model, and for those read
    from the hub), `built_cache_bytes` the cache of 32,768 tokens in 16 bits, `built_layers` its layers. `unknown` are
    the decisive fields of the config that nobody told. `alias` is the published name that matched where it is not the
    model's own, and `copy` says that the text named a quantized or re-uploaded copy, whose own config may differ in all
    but the shape.
    """

    model_id: str
    config_file: str
    architecture: str
    model_type: str
    reference_params: int | None
    checkpoint_params: int | None
    active_params: int | None
    difference: str
    params_source: str
    config_source: str
    unknown: tuple[str, ...] = ()
    built_active_params: int | None = None
    built_cache_bytes: int | None = None
    built_layers: int | None = None
    alias: str | None = None
    copy: bool = False


_Row = Mapping[str, str]
_Named = tuple[str, "str | None"]
"""A model's id, and the alias that names it where its own does not."""

# What a repository appends to the name of the model that it holds in another format. The base has the same shape.
_FORMAT_SUFFIX = (
    r"[-_. ]+(?:gguf|ggml|gptq|gptqmodel|awq|exl[23]|mlx|bnb|bitsandbytes|unsloth|quantized|quants?|imatrix|i1|"
    r"fp8|fp4|nvfp4|mxfp4|mxfp8|nf4|f8|e4m3|bf16|fp16|f16|fp32|f32|bfloat16|float16|float32|half|"
    r"int[2-8]|[2-8]-?bits?|w[248]a(?:4|8|16)(?:-?(?:int|fp)[48])?|[0-9]+(?:\.[0-9]+)?-?bpw|h[468]|gs?-?[0-9]{2,4}|"
    r"[0-9]{2,4}g|mlc|q[0-9]f(?:16|32)(?:_[01])?|(?:mix-)?(?:ud-)?i?q[1-8](?:[-_](?:k(?:ss|[lst])?|0|1|s|m|l|xs|xl|nl|xxs|xxl|r[48]))*|tq[12]_0|"
    r"dynamic|static|per-?tensor|per-?channel|per-?token|block|kv|ct|marlin|hqq|aqlm|autoround|mixed|gemm|gemv|act-?order|true|"
    r"false|qat|dwq|(?<=gptq[-_])[2-8]b|onnx|ov|openvino|safetensors|sharded|merged|[0-9]{5}-of-[0-9]{5})$"
)
_EXTENSIONS = (".gguf", ".safetensors", ".bin", ".json")
_HUB_ADDRESSES = ("https://huggingface.co/", "http://huggingface.co/", "huggingface.co/", "https://hf.co/", "hf.co/")
_OLLAMA = (
    "https://ollama.com/library/",
    "ollama.com/library/",
    "ollama run ",
    "ollama pull ",
    "ollama/library/",
    "ollama/",
)


def find(text: str) -> CatalogueEntry | None:
    """The catalogued model of a hub id or bare name; None where no published name matches.

    Letter case and separators do not matter, and the organisation may be missing. A copy in another format
    (`TheBloke/X-GPTQ`, `bartowski/X-GGUF:Q4_K_M`, `unsloth/X-bnb-4bit`) or in another organisation finds the model
    that it copies; a fine-tune with a name of its own does not, because its shape is not known.
    """
    name = _clean(text)
    if len(name) > LONGEST_NAME:
        return None
    tag = next((name.removeprefix(start) for start in _OLLAMA if name.startswith(start)), None)
    if tag is not None:
        name = tag
    if "/" not in name:
        name = name.removesuffix(":latest")  # what Ollama calls a model without a tag
    rows, by_key = _models()
    exact = by_key.get(_key(name)) if name else None
    if exact is not None:
        return _entry(rows[exact])
    base = name.rsplit("/", 1)[-1]
    if "/" in name:  # in a hub id, a colon parts the repository from the file in it
        aliased = _by_alias()[0].get(_key(name))
        if aliased is not None:
            return _named_entry(aliased)
        base = base.split(":", 1)[0]
    tags = {} if "/" in name else _by_alias()[2]
    for candidate in _without_formats(base) if base else ():
        tagged, named = tags.get(_key(candidate)), _by_alias()[1].get(_key(candidate))
        found = _meant(name, tagged, named)
        if found is not None:
            return _named_entry(found, copy=candidate != base or "/" in name)
    return None


def of_same_shape(repository: str) -> CatalogueEntry | None:
    """The catalogued model whose shape a repository of its own name was seen to have; None where nobody looked."""
    row = row_of_repository("same_shapes.csv", repository, ("name", "model"))
    if row is None:
        return None
    name, model_id = row
    copy = quantization_in(name).precision is not None
    return _entry(_models()[0][model_id], None if copy else name, copy)


def row_of_repository(table: str, repository: str, columns: Sequence[str]) -> tuple[str, ...] | None:
    """The cells of a table's row of a repository, whose name is the first of the columns; None without one. What stands
    behind its colon is a file."""
    wanted = _clean(repository).partition(":")[0]
    return next((row for row in read_tuples(table, columns) if row[0].lower() == wanted), None)


def _meant(name: str, tagged: _Named | None, named: _Named | None) -> _Named | None:
    """`llama3.1:8b` and `llama 3.1 8b` mean what Ollama runs, `Llama-3.1-8B` and `deepseek r1` the repository."""
    if not (tagged and named) or ":" in name:
        return tagged or named
    first, second = (_models()[0][model_id]["reference_params"] for model_id, _ in (tagged, named))
    return tagged if first == second and "-" not in name else named


def load(entry: CatalogueEntry) -> Mapping[str, Any]:
    """The model's config.json, as published (fields that say nothing about the model's size are left out)."""
    newer = refreshed.load(entry.model_id)
    return newer.config if newer else as_shipped(entry)


def shipped(model_id: str) -> CatalogueEntry | None:
    """The model of an id among those that came with sizer."""
    found = next((known for known in _shipped() if known.lower() == model_id.lower()), None)
    return _entry(_shipped()[found]) if found else None


def as_shipped(entry: CatalogueEntry) -> Mapping[str, Any]:
    """The config.json that came with sizer."""
    config: Mapping[str, Any] = read_json(f"configs/{entry.config_file}")
    return config


def entries() -> tuple[CatalogueEntry, ...]:
    """Every catalogued model, by name; aliases are not listed apart."""
    return tuple(_entry(row) for row in sorted(_models()[0].values(), key=lambda row: row["id"].lower()))


def published() -> tuple[tuple[str, CatalogueEntry], ...]:
    """Every published name that is known, with its model: models and, apart, other names of the same shape."""
    rows = _models()[0]
    aliases = ((alias, _entry(rows[model_id], alias)) for alias, model_id in _aliases())
    return (*((entry.model_id, entry) for entry in entries()), *aliases)


def search(text: str) -> tuple[CatalogueEntry, ...]:
    """The catalogued models whose name, alias or architecture holds every word of `text`; all of them for none."""
    words = text.lower().split()
    texts = {model_id: f"{model_id} {row['architecture']}" for model_id, row in _models()[0].items()}
    for alias, model_id in _aliases():
        texts[model_id] += f" {alias}"
    return tuple(entry for entry in entries() if all(word in texts[entry.model_id].lower() for word in words))


def search_names(text: str) -> tuple[tuple[str, CatalogueEntry], ...]:
    """Each published name that holds every word of `text`, by itself or with its architecture, and the model of its
    shape: the catalogue's own name where that is found, else the other names that are."""
    words = text.lower().split()

    def is_meant(name: str, entry: CatalogueEntry) -> bool:
        return all(word in f"{name} {entry.architecture}".lower() for word in words)

    shapes = {entry.model_id: entry for entry in entries()}
    own = {name: entry for name, entry in shapes.items() if is_meant(name, entry)}
    others = [(alias, shapes[name]) for alias, name in _aliases() if name not in own and is_meant(alias, shapes[name])]
    return tuple(sorted((*own.items(), *others), key=lambda item: item[0].lower()))


def nearest(text: str, count: int = 3) -> tuple[str, ...]:
    """The published names nearest to `text`, best first: what an error offers."""
    name = _clean(text)
    names = [*_models()[0], *(alias for alias, _ in _aliases())]
    by_base = {published.rsplit("/", 1)[-1].lower(): published for published in reversed(names)}
    found = [by_base[base] for base in nearest_names(name.rsplit("/", 1)[-1], by_base, count)]
    return tuple(dict.fromkeys((*found, *nearest_names(name, names, count))))[:count]


def _clean(text: str) -> str:
    name = text.strip().lower()
    for address in _HUB_ADDRESSES:
        name = name.removeprefix(address)
    return name.strip("/")


def _key(name: str) -> str:
    """The name without its separators: `llama3.1:8b`, `Llama-3.1-8B` and `llama_3.1_8b` are one name."""
    return name.replace("-", "").replace("_", "").replace(" ", "").replace(":", "").lower()


def _without_formats(name: str) -> list[str]:
    """The name, and the name with one format suffix less, two less …"""
    suffix = re.compile(_FORMAT_SUFFIX, re.ASCII)
    for extension in _EXTENSIONS:
        name = name.removesuffix(extension)
    names = [name]
    while shorter := suffix.sub("", names[-1]):
        if shorter == names[-1]:
            break
        names.append(shorter)
    return names


def _count(text: str) -> int | None:
    return int(float(text)) if text else None


def _named_entry(named: _Named, *, copy: bool = False) -> CatalogueEntry:
    model_id, alias = named
    return _entry(_models()[0][model_id], alias, copy)


def _entry(row: Mapping[str, str], alias: str | None = None, copy: bool = False) -> CatalogueEntry:
    return CatalogueEntry(
        model_id=row["id"],
        config_file=row["config_file"],
        architecture=row["architecture"],
        model_type=row["model_type"],
        reference_params=_count(row["reference_params"]),
        checkpoint_params=_count(row["checkpoint_params"]),
        active_params=_count(row["active_params"]),
        difference=row["difference"],
        params_source=row["params_source"],
        config_source=row["config_source"],
        unknown=tuple(row["unknown"].split()),
        built_active_params=_count(row["built_active_params"]),
        built_cache_bytes=_count(row["built_cache_bytes"]),
        built_layers=_count(row["built_layers"]),
        alias=alias,
        copy=copy,
    )


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, _Row]:
    """The rows of `data/models.csv` by id."""
    return RowsByKey("models.csv")


def _models() -> tuple[Mapping[str, _Row], dict[str, str]]:
    """All models by id, and their ids by key: those of `data/models.csv` and those read from the hub."""
    return _with_refreshed(refreshed.names())


@lru_cache(maxsize=1)
def _with_refreshed(names: frozenset[str]) -> tuple[Mapping[str, _Row], dict[str, str]]:
    shipped, more = _shipped(), {}
    columns = next(iter(shipped.values())).keys()
    for name in sorted(names):
        newer = refreshed.load(name)
        if newer is None:
            continue
        told = dict(shipped[name]) if name in shipped else dict.fromkeys(columns, "")
        config = newer.config
        told |= {"id": name, "config_source": newer.source, "model_type": str(config.get("model_type", ""))}
        told["unknown"] = " ".join(field for field in told["unknown"].split() if field not in config)
        if name not in shipped:
            told["architecture"] = " ".join(str(of) for of in config.get("architectures") or ())
            told["reference_params"] = str(newer.total_params or "")
            told["params_source"] = newer.source
        more[name] = told
    rows = {**shipped, **more} if more else shipped
    return rows, {_key(model_id): model_id for model_id in rows}


@lru_cache(maxsize=1)
def _aliases() -> tuple[tuple[str, str], ...]:
    return tuple((row["alias"], row["model"]) for row in read_rows("model_aliases.csv"))


def _by_alias() -> tuple[dict[str, _Named], dict[str, _Named], dict[str, _Named]]:
    return _aliases_with(refreshed.names())


@lru_cache(maxsize=1)
def _aliases_with(names: frozenset[str]) -> tuple[dict[str, _Named], dict[str, _Named], dict[str, _Named]]:
    """Aliases by key; all names by the key of their last part (a model's own name before an alias of another); tags.

    The tags of the Ollama library (`qwen3`, `gemma3:4b`) name a model alone: in an organisation they tell no size.
    """
    rows = _with_refreshed(names)[0]
    whole: dict[str, _Named] = {}
    by_name: dict[str, _Named] = {}
    published: dict[str, _Named] = {model_id: (model_id, None) for model_id in rows}
    for model_id in rows:
        by_name.setdefault(_key(model_id.rsplit("/", 1)[-1]), (model_id, None))
    for alias, model_id in _aliases():
        published[alias] = whole[_key(alias)] = model_id, alias
        by_name.setdefault(_key(alias.rsplit("/", 1)[-1]), (model_id, alias))
    tags = {_key(row["tag"]): published[row["model"]] for row in read_rows("ollama_tags.csv")}
    return whole, by_name, tags
