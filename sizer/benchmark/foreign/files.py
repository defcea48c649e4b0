"""A file of another benchmark tool as rows of the measurements format: one registry of the formats that are known."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sizer.benchmark.foreign import llama_cpp, served
from sizer.benchmark.foreign.found import Found, Values
from sizer.benchmark.records import LARGEST_FILE_BYTES
from sizer.benchmark.save import COLUMNS
from sizer.errors import InvalidInputFile, SizerError, UsageError
from sizer.frozen import dataclass

MOST_ROWS = 100_000
"""Rows of one file, at most: a result file has some hundreds."""


@dataclass(frozen=True, slots=True)
class Format:
    """A tool, the fields by which its objects are known, and what reads one of them."""

    tool: str
    fields: frozenset[str]
    read: Callable[[Values], Iterator[Found]]


FORMATS = (
    Format("llama-bench", frozenset({"n_prompt", "n_gen", "avg_ts"}), llama_cpp.bench_object),
    Format("llama-bench", frozenset({"model", "test", "t/s"}), llama_cpp.bench_line),
    Format("llama-batched-bench", frozenset({"pp", "tg", "pl", "speed_tg"}), llama_cpp.batched_object),
    Format("llama-batched-bench", frozenset({"PP", "TG", "B", "S_TG t/s"}), llama_cpp.batched_line),
    Format("vllm bench serve", frozenset({"model_id", "num_prompts", "output_throughput"}), served.vllm_object),
    Format("sglang.bench_serving", frozenset({"dataset_name", "output_throughput"}), served.sglang_object),
    Format("guidellm", frozenset({"benchmarks"}), served.guidellm_object),
)
"""A new tool is a row here and a function that yields what one of its objects tells."""

KNOWN = ", ".join(dict.fromkeys(item.tool for item in FORMATS))


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of a file: each fills, or takes the place of, what the file tells."""

    model: str = ""
    device: str = ""
    precision: str = ""
    engine: str = ""


def rows_of(path: Path, told: Told) -> list[dict[str, str]]:
    """The measured rows of a file, in the columns of `data/measurements.csv`.

    Raises InvalidInputFile for a file that is none of the known formats or is damaged, UsageError where it does not
    tell the model, the device, the precision or the engine and the user does not either.
    """
    content = _content(path)
    told = _checked(told)
    digest = hashlib.sha256(content).hexdigest()[:10]
    rows: list[dict[str, str]] = []
    for tool, found in _cells(_text(content, path), path):
        if len(rows) == MOST_ROWS:
            raise InvalidInputFile(f"{str(path)!r} has more than {MOST_ROWS:,} rows.", "Split it.")
        rows.append(_row(found, told, path, tool, f"{digest}-{len(rows) + 1:04d}"))
    if not rows:
        raise InvalidInputFile(f"{str(path)!r} has no measured row.", "Did its run end well?")
    return rows


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidInputFile(f"{str(path)!r} is no file.", f"Give a result of {KNOWN}.")
    with path.open("rb") as source:
        content = source.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise InvalidInputFile(
            f"{str(path)!r} is larger than {LARGEST_FILE_BYTES // 2**20} MiB.",
            "Save it without the details of each request.",
        )
    return content


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputFile(f"{str(path)!r} is not UTF-8 text.", f"Give a result of {KNOWN}.") from None


def _cells(text: str, path: Path) -> Iterator[tuple[str, Found]]:
    """The cells of a text with the tool that wrote them; an object that no format knows is refused."""
    around = "" if text.lstrip()[:1] in ("{", "[") else text
    for number, item in enumerate(_objects(text, path), 1):
        known = next((row for row in FORMATS if isinstance(item, Mapping) and row.fields <= item.keys()), None)
        if known is None:
            raise InvalidInputFile(f"{str(path)!r}, entry {number}, is of no known format.", f"Known: {KNOWN}.")
        try:
            yield from ((known.tool, found) for found in known.read(Values(item, around)))
        except InvalidInputFile as error:
            raise InvalidInputFile(f"{str(path)!r}, entry {number}: {error.message}", error.hint) from error


def _objects(text: str, path: Path) -> Iterator[Any]:
    """The objects of JSON, JSON Lines, llama-bench's CSV, or the tables of a Markdown text."""
    start = text.lstrip()[:1]
    if start in ("{", "["):
        yield from _json(text, path)
    elif "avg_ts" in text.partition("\n")[0]:
        yield from csv.DictReader(text.splitlines())
    else:
        yield from _tables(text)


def _json(text: str, path: Path) -> Iterator[Any]:
    try:
        try:
            whole = json.loads(text)
        except ValueError:
            whole = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise InvalidInputFile(f"{str(path)!r} is neither JSON nor JSON Lines.", f"Known: {KNOWN}.") from None
    yield from whole if isinstance(whole, list) else [whole]


def _tables(text: str) -> Iterator[dict[str, str]]:
    """The lines of Markdown tables by their headers. What stands around them is no data."""
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.strip().startswith("|") else []
        if not cells:
            header = []
        elif not header:
            header = cells
        elif not all(set(cell) <= {"-", ":"} for cell in cells):
            yield dict(zip(header, cells, strict=False))


def _checked(told: Told) -> Told:
    """The user's own names, canonical. Raises SizerError for one that is not known, before a row is made."""
    from sizer.engine.asked import engine_asked
    from sizer.precision.names import canonical

    if told.device:
        from sizer.device.catalogue import find

        find(told.device)
    if told.engine:
        engine_asked(told.engine)
    return replace(told, precision=canonical(told.precision)) if told.precision else told


def _row(found: Found, told: Told, path: Path, tool: str, number: str) -> dict[str, str]:
    """A found result as a row of `data/measurements.csv`; what the asker told goes before what the file says."""
    model = told.model or found.model
    device, count = _device(found, told)
    figures: dict[str, object] = {
        "id": f"import-{number}",
        "source_url": f"{tool}: {path.name}",
        "source_date": found.date,
        "engine": told.engine or found.engine,
        "engine_version": found.engine_version,
        "backend": found.backend,
        "model": model,
        "precision": told.precision or found.precision or (stored_precision(model) if found.as_stored else ""),
        "precision_as_printed": found.precision_as_printed,
        "device": device,
        "device_count": count,
        "parallelism": found.parallelism,
        "threads": found.threads,
        "batch": found.batch,
        "prompt_tokens": found.prompt_tokens,
        "context_tokens": found.context_tokens,
        "output_tokens": found.output_tokens,
        "metric": found.metric,
        "prefill_tokens_per_s": _rounded(found.prefill_tokens_per_s),
        "decode_tokens_per_s": _rounded(found.decode_tokens_per_s),
        "memory_gib": None,
        "total_params_b": found.total_params_b,
        "active_params_b": found.active_params_b,
        "model_file_gib": _rounded(found.model_file_gib),
        "flags": "|".join(sorted(found.flags)),
        "engine_flags": found.engine_flags,
        "power_limit_w": None,
    }
    for name in ("model", "device", "engine", "precision"):
        if not figures[name]:
            raise UsageError(f"{str(path)!r} does not tell the {name}.", f"Add --{name}.")
    return {name: "" if figures[name] is None else str(figures[name]) for name in COLUMNS}


def _device(found: Found, told: Told) -> tuple[str, int]:
    """The device's name and how many: a count in --device (`2xrtx-4090`) goes before the file's."""
    if not told.device:
        return found.device, found.device_count
    from sizer.device.catalogue import find

    target = find(told.device)
    return (told.device, found.device_count) if target.count == 1 else (target.device.name, target.count)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def stored_precision(model: str) -> str:
    """What a catalogued checkpoint is stored in, or what its name says; empty where neither tells."""
    from sizer.benchmark.plan import DTYPE_PRECISIONS
    from sizer.calibrate.rows import row_architecture
    from sizer.model.read.name_quantization import quantization_in
    from sizer.precision.configured import configured_precision

    named = quantization_in(model).precision
    if named:
        return named
    try:
        architecture = row_architecture(model, None, None)
    except SizerError:
        return ""
    if not architecture.config:
        return ""
    return configured_precision(architecture) or DTYPE_PRECISIONS.get(architecture.dtype, "")
