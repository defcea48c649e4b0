"""From the text that a user types to a model: path, then catalogue, then hub, then the name alone.

A catalogued model imports neither the hub's client nor the header parsers.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sizer.errors import HubUnreachable, UnknownModel
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Basis
from sizer.model.read.catalogue import CatalogueEntry, find, load, of_same_shape
from sizer.model.read.name_quantization import quantization_in
from sizer.model.read.names import Confidence, NameHints, parse_name
from sizer.model.read.published import gguf_source
from sizer.model.stored import Stored
from sizer.printable import shown
from sizer.regex import pattern

if TYPE_CHECKING:
    from pathlib import Path

    from sizer.model.read.typed_names import Read

_BARE_NUMBER = pattern(r"(\d{1,6}(?:\.\d{1,3})?)(?:\s+[bmt])?", re.IGNORECASE)
_SIZES = pattern(r"\d+(?:[.x]\d+)*\s*[bmt]?(?![a-z])|a\d+(?:\.\d+)?b", re.IGNORECASE)
_WORDS = pattern(r"[a-z]{2}", re.IGNORECASE)
_ADDRESS = pattern(
    r"(?:https?://)?(?:huggingface\.co|hf\.co)/(?P<id>[^/]+/[^/]+)(?:/(?:tree|blob|resolve)/(?P<at>[^/]+))?(?P<file>/.+)?/?"
)
_FILE_SUFFIXES = (".gguf", ".safetensors", ".json")
FILES_ALLOWED: ContextVar[bool] = ContextVar("FILES_ALLOWED", default=True)
"""Whether a text may name a file of this machine: not where others ask (the page's API), unless they are told so."""
_DRIVES = (f"{letter}:{slash}" for letter in "abcdefghijklmnopqrstuvwxyz" for slash in "/\\")
_PATH_STARTS = ("/", "./", "../", "~", "\\", ".\\", "..\\", *_DRIVES)

KEPT_IN_GGUF = frozenset({"mxfp4"})
"""Quantizations that a GGUF file of any type keeps: its converter copies those blocks as they are."""


@dataclass(frozen=True)
class Resolved:
    """A model and how it was found.

    `stored` holds the exact bytes where a header told them, else None. `hints` is what the name says (its quantization
    is the precision that the text asks for). `notes` say how the model was found and how far that can be trusted; the
    architecture's notes begin with them.
    """

    text: str
    architecture: Architecture
    stored: Stored | None
    hints: NameHints
    notes: tuple[str, ...] = ()

    @property
    def basis(self) -> Basis:
        """Where the figures come from."""
        return self.architecture.basis


_IN_OLLAMAS_CLOUD = pattern(r"(?P<model>[\w.-]+)(?:(?P<size>:[\w.]+)-|:)cloud", re.IGNORECASE)
"""A tag of the Ollama library that no file is behind (docs.ollama.com/cloud): `gpt-oss:120b-cloud`, `glm-4.6:cloud`."""


def resolve(text: str, *, offline: bool = False, revision: str | None = None) -> Resolved:
    """The model that `text` names: a path, a catalogued name, a hub id (`org/name`, `org/name@revision`,
    `org/repo-GGUF:Q4_K_M`) or a bare size (`8B`, `8x7B`, `141B-A35B`).

    `offline` keeps it from the network; the hub's cache still answers. A revision (`@main`) asks the hub before the
    catalogue, which knows the newest of each model, and copies in other formats by the model that they copy.

    Raises: UnknownModel, GatedModel, HubUnreachable, InvalidConfig, InvalidHeader, UnsupportedArchitecture.
    """
    if not isinstance(text, str):
        raise UnknownModel(f"a model is {shown(text)}.", "Name it by a text: a hub id, a path, or a size as 8B.")
    text = text.strip()
    if (elsewhere := _IN_OLLAMAS_CLOUD.fullmatch(text)) is not None:
        served = resolve(elsewhere["model"] + (elsewhere["size"] or ""), offline=offline, revision=revision)
        note = f"{text!r} runs on Ollama's servers and takes nothing here: this is what it would take"
        return _resolved(text, served.architecture, served.stored, served.hints, (note, *served.notes))
    hints = parse_name(text)
    path = existing(text)
    if path is not None:
        from sizer.model.read.resolve_files import from_path

        architecture, stored, notes = from_path(path, text)
        return _resolved(text, architecture, stored, hints, notes)
    name, at = _without_address(text)
    name = name.replace("\\", "/")  # a path of Windows: its file's name is read as that of any path
    revision = revision or at
    entry = None if revision and not offline else _entry(name)
    if entry is not None:
        return _catalogued(text, name, entry, hints, revision)
    read = None if revision else _as_typed(name)
    if read is not None and read.entry is not None:
        hints = replace(hints, quantization=read.quantization)
        model_id = read.entry.alias or read.entry.model_id
        notes = read.notes + _unknown_notes(read.entry.unknown)
        return _resolved(text, _described(load(read.entry), model_id), None, hints, notes)
    if not name or _is_path(text, name):
        raise UnknownModel(f"there is no file {text!r}.", "Check the path.")
    return _beyond_the_catalogue(text, name, revision, hints, offline)


def _entry(name: str) -> CatalogueEntry | None:
    """The catalogue's row of a name, or of the model that a copy in GGUF is known to be made from."""
    entry = find(name)
    if entry is not None or "gguf" not in name.lower() or (source := gguf_source(name)) is None:
        return entry
    original = find(source)
    return None if original is None else replace(original, copy=True)


def _catalogued(text: str, name: str, entry: CatalogueEntry, hints: NameHints, revision: str | None) -> Resolved:
    """The model of a row, stored as the name of its copy says."""
    hints, bits = _with_bits(hints, name)
    notes = bits + _catalogue_notes(entry.alias, entry.copy, entry.model_id, revision) + _unknown_notes(entry.unknown)
    notes += _unread_tag(name, hints) + (quantization_in(name).notes if entry.copy and not bits else ())
    if text.lower().startswith(_PATH_STARTS):
        notes += ("no file was read: its name tells the model and its format",)
    architecture = _described(load(entry), name if entry.copy else entry.alias or entry.model_id)
    stored_in = architecture.quantization or {}
    kept_in_gguf = "gguf" in name.lower() and stored_in.get("quant_method") in KEPT_IN_GGUF
    if entry.copy and hints.quantization and stored_in and not kept_in_gguf:
        # The name tells what the copy is stored in, which the original's config cannot.
        architecture = replace(architecture, quantization=None)
    if entry.copy and not architecture.quantization:
        from sizer.model.read.copies import as_made_before, partial_note

        architecture, hints, more = as_made_before(name, architecture, hints)
        notes += more + partial_note(architecture, hints.quantization)
    return _resolved(text, architecture, None, hints, notes)


def _unread_tag(name: str, hints: NameHints) -> tuple[str, ...]:
    """A note where what stands behind a repository's colon is no quantization (`org/name:q99`), or not quite one."""
    tag = tag_of(name)
    if not tag:
        return ()
    if not hints.quantization:
        return (f"{shown(tag)} behind the colon names no quantization that is known: it is not used",)
    if _plain(hints.quantization) in _plain(tag):
        return ()
    return (f"{shown(tag)} behind the colon is read as {hints.quantization}",)


def tag_of(name: str) -> str:
    """What stands behind a repository's colon (`org/name:Q4_K_M`), empty where nothing does or it is `latest`."""
    repository, _, tag = name.partition(":")
    return tag if "/" in repository and tag.lower() != "latest" else ""


def _plain(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(filter(str.isalnum, text.lower()))


def _unknown_notes(fields: tuple[str, ...]) -> tuple[str, ...]:
    """What nobody told of a catalogued model."""
    return tuple(f"nobody published its {field}: what the catalogue has is the usual of its kind" for field in fields)


def _with_bits(hints: NameHints, name: str) -> tuple[NameHints, tuple[str, ...]]:
    """The hints with the quantization that a bare `q4` or `4bit` stands for, and the note that says so."""
    if hints.quantization or not any(sign in name.lower() for sign in ("q", "bit", "int")):
        return hints, ()
    from sizer.model.read.typed_names import usual_bits

    usual, notes = usual_bits(name)
    return (replace(hints, quantization=usual), notes) if usual else (hints, ())


def _as_typed(name: str) -> Read | None:
    """What a name that nobody published means: a bare one, or a copy under a name of its uploader's making."""
    from sizer.model.read.typed_names import is_copier, read

    organisation, slash, last = name.partition("/")
    if slash and not is_copier(organisation):
        return None
    return read(last if slash else name)


def _resolved(
    text: str, architecture: Architecture, stored: Stored | None, hints: NameHints, notes: tuple[str, ...]
) -> Resolved:
    if notes:
        architecture = replace(architecture, notes=notes + architecture.notes)
    return Resolved(text, architecture, stored, hints, notes)


def _is_path(text: str, name: str) -> bool:
    """Whether a text names a file that is not there, as no repository's name looks."""
    return text.lower().startswith(_PATH_STARTS) or (name.lower().endswith(_FILE_SUFFIXES) and name.count("/") < 2)


def _without_address(text: str) -> tuple[str, str | None]:
    """The hub id (with the file in it) and the revision of an id, or of a page's address on the hub."""
    match = _ADDRESS.fullmatch(text.split("?", maxsplit=1)[0]) if ".co/" in text else None
    if match:
        return match["id"] + (match["file"] or "").rstrip("/"), match["at"] if match["at"] != "main" else None
    name, _, at = text.partition("@")
    at, colon, wanted = at.partition(":")
    return name + colon + wanted, at or None


def _beyond_the_catalogue(text: str, name: str, revision: str | None, hints: NameHints, offline: bool) -> Resolved:
    """The hub, for what may be a repository; the name, where it tells a size and the hub does not answer."""
    number = _BARE_NUMBER.fullmatch(name)
    if number:
        raise UnknownModel(
            f"{text!r} is a bare number.", f"A size is written {number[1]}B or {number[1]}M, as one word."
        )
    from sizer.model.read.closed import refuse_closed

    sized = hints.total_params is not None
    if "/" not in name:
        refuse_closed(name, sized=sized)
    from sizer.model.read.name_only import named

    if "/" not in name and sized:
        return _resolved(text, named(text, hints), None, hints, _name_notes(hints) + _near_note(name))
    from sizer.model.read.beside import AdapterAlone
    from sizer.model.read.resolve_hub import from_hub

    try:
        architecture, stored, notes = from_hub(name, revision, offline=offline)
    except HubUnreachable as error:
        if (found := _of_known_shape(text, name, hints, revision)) is not None:
            return found
        refuse_closed(name, sized=sized)
        if not sized:
            raise UnknownModel(
                f"{text!r} is not in the catalogue, and its name tells no size. {error.message}", _offer(name, error)
            ) from None
        notes = (f"{error.message} The name alone was used", *_name_notes(hints), *_near_note(name))
        notes += _unread_tag(name, hints)
        return _resolved(text, named(text, hints), None, hints, notes)
    except AdapterAlone:
        raise
    except UnknownModel as error:
        refuse_closed(name, sized=sized)
        raise type(error)(error.message, f"{error.hint} {_which(name)}".strip()) from None
    return _resolved(text, architecture, stored, hints, notes)


def _of_known_shape(text: str, name: str, hints: NameHints, revision: str | None) -> Resolved | None:
    """A repository under a name of its own whose shape is known: a catalogued model's, or one that was derived."""
    entry = of_same_shape(name)
    if entry is not None:
        return _catalogued(text, name, entry, hints, revision)
    from sizer.model.read.derived import derived

    known = derived(name)
    if known is None:
        return None
    rest = "the rest, its context too," if known.context_of_relative else "the rest"
    notes = (f"its config is derived: what the hub tells of it and of its total, {rest} as {known.relative} has it",)
    return _resolved(text, _described(known.config, known.name), None, hints, notes)


def _near(name: str) -> tuple[str, ...]:
    """The published names nearest to a typed one, by its words, as they stand or spelt right. A size alone is near to
    none."""
    from sizer.model.read.misspelt import meant
    from sizer.model.read.typed_names import read

    if not _WORDS.search(_SIZES.sub("", name)):
        return ()
    return meant(name) or read(name.rsplit("/", 1)[-1]).nearest


def _near_note(name: str) -> tuple[str, ...]:
    from sizer.model.read.built_on import built_on

    near = () if built_on(name) else _near(name)
    return (f"the nearest in the catalogue: {', '.join(near)}",) if near else ()


def _which(name: str) -> str:
    """What to type for the nearest names."""
    commands = [f"`sizer estimate {near}`" for near in _near(name)]
    if len(commands) == 1:
        return f"Did you mean {commands[0]}?"
    return f"Which one? {', '.join(commands)}." if commands else ""


def _offer(name: str, error: HubUnreachable) -> str:
    return f"{_which(name)} {error.hint} `sizer models` lists the catalogue.".strip()


def existing(text: str) -> Path | None:
    """The file or folder that the text names, if it is there."""
    if not FILES_ALLOWED.get() or not text or len(text) > 4096 or "\0" in text:
        return None
    try:
        path = os.path.expanduser(text)
    except ValueError:  # no user can be called so
        return None
    if not os.path.exists(path):
        return None
    from pathlib import Path

    return Path(path)


def _described(config: Mapping[str, Any], model_id: str) -> Architecture:
    """A catalogued config by its family, else on the meta device where transformers is installed."""
    from sizer.model.read.meta_device import describe

    return describe(config, model_id, Basis.CATALOGUE)


def _catalogue_notes(alias: str | None, copy: bool, model_id: str, revision: str | None) -> tuple[str, ...]:
    notes = []
    if copy:
        notes.append(f"a copy of {alias or model_id}: its shape is the catalogue's; with @main its own files are read")
    elif alias:
        notes.append(f"of the same shape as {model_id}, whose config the catalogue holds")
    if revision:
        notes.append(f"revision {revision!r} was not looked at: the catalogue holds the newest")
    return tuple(notes)


def _name_notes(hints: NameHints) -> tuple[str, ...]:
    """How far a name alone can be trusted."""
    trust = {
        Confidence.HIGH: "sizes in such names are mostly within 15 % of the true count",
        Confidence.MEDIUM: "the size has a second reading",
        Confidence.LOW: "the size is rough",
    }.get(hints.confidence, "")
    return (f"known by its name alone: {trust}", *hints.notes)
