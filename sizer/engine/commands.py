"""A command line, as one would type it, becomes an engine with its options.

What stands before the program is stepped over (`sizer.engine.started`). Nothing is run, and no files are opened but
those of settings that a caller's reader gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sizer.engine.config_files import Reader, with_settings
from sizer.engine.engines import engines, find_engine
from sizer.engine.flag_table import find_flag, flag_setting
from sizer.engine.flags import Read, options_of, read_flags
from sizer.engine.graph_rules import graph_rule
from sizer.engine.options import EngineOptions
from sizer.engine.programs import Program, programs
from sizer.engine.started import Started, split_words, started
from sizer.errors import UsageError
from sizer.model.read.published import LibraryModel, library_choice, library_model

_SOURCE = re.compile(r"^(?:ollama|hf|huggingface|modelscope|ms|docker|oci|file)://(?=.)", re.IGNORECASE)
"""Where a launcher fetches a model from, before its name: `hf://org/name`, `ollama://tag`."""
SETTINGS_HINT = "Paste its text before the command: cat > FILE <<EOF, its lines, EOF."


def read_command(words: Sequence[str], read_file: Reader = lambda _: None) -> EngineOptions:
    """The engine and options of one command; `read_file` gives the configuration files that it names.

    Raises UsageError.
    """
    start = started(words)
    engine = _engine(start)
    dialects = start.program.dialects if engine == start.program.engine else engines()[engine].flags
    told, missing = with_settings(dialects, start.words, read_file)
    words = [*start.program.defaults, *_known_variables(dialects, start.environment), *told]
    read = _read(dialects, words, start)
    chosen = _chosen(read, start.program.library)
    if chosen is not None:
        read = _read(tuple(dict.fromkeys((*dialects, *engines()[engine].flags))), [*chosen.flags, *words], start)
        read.positionals, read.fields["model"] = [], chosen.named(_told(read, "quantization"))
    read.unknown += [(f"{flag} is left out: there is no such file here", "") for flag in missing]
    read.unknown += [(start.program.note, "")] if start.program.note else []
    options = with_model(options_of(engine, start.version, read, dialects), read, start.program.library)
    if missing and not options.model:
        raise UsageError(f"no model is named, and there is no file for {missing[0]}.", SETTINGS_HINT)
    options = _with_projector(options, start.program)
    return _with_slots(options) if start.program.serves == "slots" else options


def _read(dialects: Sequence[str], words: Sequence[str], start: Started) -> Read:
    """The flags of a program's words."""
    taken = start.program.positionals
    return read_flags(dialects, words, version=start.version, abbreviates=True, positionals=taken)


def _told(read: Read, name: str) -> str:
    return str(read.given.get(name, ""))


def _chosen(read: Read, library: str) -> LibraryModel | None:
    """The model of a launcher's library that a name, a size and a format choose; None where a path names its files."""
    name = next(iter(read.positionals), _told(read, "model-name"))
    if not library or not name or "model-path" in read.given:
        return None
    size, kind = _told(read, "size-in-billions"), _told(read, "model-format")
    return library_choice(library, name, size, kind, _told(read, "quantization"))


def _with_projector(options: EngineOptions, program: Program) -> EngineOptions:
    """The options with the projector that a program loads unasked (llama.cpp common/arg.cpp --mmproj-auto)."""
    from_hub = {"hf-repo", "hf_repo"} & {name for name, _ in options.given}
    sees = program.sees == "always" or (program.sees == "hub" and from_hub)
    unasked = sees and options.vision is None and not options.vision_file
    return replace(options, vision=True) if unasked else options


def _with_slots(options: EngineOptions) -> EngineOptions:
    """The options with the slots that a server starts by itself: several share one cache (`data/graph_rules.csv`)."""
    rule = graph_rule(options.engine, options.version)
    if (options.max_sequences or 0) > 0 or rule is None or rule.server_slots == 1:
        return options
    unified = True if options.unified_cache is None else options.unified_cache
    return replace(options, max_sequences=rule.server_slots, unified_cache=unified)


def _engine(start: Started) -> str:
    """The engine of a program: a fork's is called as the original's, its own flags or its folder tell it."""
    original = engines()[start.program.engine]
    if start.program.dialects != original.flags:
        return original.name
    forks = [engine for engine in engines().values() if engine.called_as == original.name]
    spelled = [word.partition("=")[0] for word in start.words if word.startswith("-")]
    for fork in forks:
        own = any(find_flag(fork.flags, word) and not find_flag(original.flags, word) for word in spelled)
        if own or any(name in start.path for name in (fork.name, *fork.aliases)):
            return fork.name
    return original.name


def _known_variables(dialects: Sequence[str], environment: Sequence[str]) -> list[str]:
    """The environment variables that the engine reads as options; others are nothing to it."""
    return [entry for entry in environment if find_flag(dialects, entry.partition("=")[0])]


def with_model(options: EngineOptions, read: Read, library: str = "") -> EngineOptions:
    """The options with the model that the command's plain words name, and llama.cpp's -hff file as part of -hf.

    `library` is whose names a launcher takes.
    """
    plain = [word for word in read.positionals if word]
    model = plain[0] if plain else options.model  # `vllm serve MODEL` wins over --model
    model = _SOURCE.sub("", library_model(library, model) if library else model)
    if options.hub_repository:  # llama_cpp.server's --model is a file of it
        options, model = replace(options, hub_file=options.hub_file or model), options.hub_repository
    if "*" in options.hub_file and model:  # llama-cpp-python's patterns: *Q8_0.gguf
        model = f"{model}:{options.hub_file.strip('*-_.').removesuffix('.gguf').strip('*-_.')}"
    elif options.hub_file and model:
        model = f"{model.partition(':')[0]}/{options.hub_file}"
    return replace(options, model=model)


def naming_hint(options: EngineOptions) -> str:
    """How a command of an engine names its model: by a flag, or by a word of the program that takes one."""
    flag = flag_setting(options.dialects, "model", options.version)
    takes = (
        row for row in programs() if row.dialects == options.dialects and row.positionals and row.kind == "program"
    )
    program = min(takes, key=lambda row: row.words[-1] != "run", default=None)
    if flag is not None and program is None:
        return f"Add {flag.spellings[0]} MODEL: it is needed to say what it takes."
    words = " ".join(program.words) if program is not None else "its command"
    return f"Write '{words} MODEL' in its place, or after it: it is needed to say what it takes."


NEWEST = frozenset({"latest", "main", "master", "nightly", "stable", "dev"})
"""Words for a version that mean the newest."""


def read_engine(text: str) -> EngineOptions:
    """`NAME[@VERSION] FLAGS` of --engine. Raises UnknownEngine, UsageError for what is no flag's value.

    >>> read_engine("vllm@0.21 --max-num-seqs 64").max_sequences
    64
    """
    words = text.split() if text.count('"') == text.count("'") == 0 else split_words(text)
    head = words[0] if words else ""
    name, _, version = head.partition("@")
    engine = find_engine(name)
    if version and version.lower() not in NEWEST and not any(map(str.isdigit, version)):
        raise UsageError(
            f"{version!r} is no version of {engine.name}.", f"Write it as {engine.name}@0.21, or leave it out."
        )
    if not engine.flags and len(words) > 1:
        raise UsageError(f"sizer knows no flags of {engine.name}.", f"It takes: -e {engine.name}.")
    read = read_flags(engine.flags, words[1:], version=version, abbreviates=True)
    return options_of(engine.name, version, read, engine.flags)
