"""From a measured row to the records that a prediction needs; what is not known is the reason why a row is skipped."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache

from sizer.calibrate.measurements import ReadRow
from sizer.device.interconnect import between_devices
from sizer.device.records import Target
from sizer.engine.asked import engine_asked
from sizer.engine.engines import default_engine, find_engine
from sizer.engine.flagged import with_flags
from sizer.engine.flagged_devices import with_ranks
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.engine.stored import store_for
from sizer.errors import InvalidInputFile, SizerError, UnknownModel, UnknownPrecision
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Basis, Module, Role, Tensor
from sizer.model.stored import Stored
from sizer.tables import read_rows
from sizer.tuning import tuned
from sizer.units import GIB
from sizer.workload import Split, Workload

DEFAULT_OUTPUT_TOKENS = 128
"""Tokens of an answer whose row tells none: llama-bench's `-n`."""
LUMP_EXPERTS = 1000
"""A mixture known by its counts alone is cut so finely that its active share is met to a thousandth."""


@dataclass(frozen=True, slots=True)
class ResolvedRow:
    """A measurement with its records.

    `decoding` is the workload whose decode was timed, `prefilling` its prompt, read behind `prefill_depth_tokens`.
    """

    measurement: ReadRow
    architecture: Architecture
    stored: Stored
    target: Target
    engine: str
    precision: str
    decoding: Workload
    prefilling: Workload
    prefill_depth_tokens: int = 0
    options: EngineOptions = NO_OPTIONS


def resolve_measurement(row: ReadRow) -> ResolvedRow:
    """The records of a row. Raises SizerError naming what is not known."""
    from sizer.device.stated import power_limited

    if row.bad:
        raise InvalidInputFile(f"{row.bad}.")
    if not row.model or not row.device:
        raise InvalidInputFile("the model or the device is empty.")
    target = _target(row.device)
    if row.device_count > 1 and target.count == 1 and not target.others:
        target = _counted(row.device, row.device_count)
    if row.power_limit_w:
        target = power_limited(target, row.power_limit_w)
    precision = row_precision(row)
    options = row_options(row)
    target = with_ranks(_linked(target, row.source), options)
    engine = options.engine or default_engine(precision, target.device)
    if not row.backend and options.backend_told:
        row = replace(row, backend=find_engine(engine).backend(target.device, options.backend_told) or "")
    if not row.is_measured:  # what was measured there runs there
        find_engine(engine).require_device(target.device)
    architecture = row_architecture(row.model, row.total_params_b, row.active_params_b)
    stored = _stored(
        row.model,
        row.total_params_b,
        row.active_params_b,
        precision=precision,
        engine=engine,
        version=options.version,
        file_gib=row.model_file_gib,
    )
    decoding, prefilling = (with_flags(work, options) for work in workloads(row))
    depth = prefill_depth(row)
    return ResolvedRow(row, architecture, stored, target, engine, precision, decoding, prefilling, depth, options)


def row_options(row: ReadRow) -> EngineOptions:
    """The engine of a row with its version and flags: the columns `engine`, `engine_version` and `engine_flags`.

    The engine is empty where the row names none; its flags need it. Raises UnknownEngine, UsageError.
    """
    flags = str(row.row.get("engine_flags") or "").strip()
    if not row.engine:
        if flags:
            raise InvalidInputFile("engine_flags are given without an engine.", "Name the engine beside them.")
        return NO_OPTIONS
    options = engine_asked(f"{row.engine} {flags}".strip())
    return options.at_version(row.engine_version)


def prefill_depth(row: ReadRow) -> int:
    """Tokens in the cache before a row's prompt: its context where that is longer (llama-bench's depth), else none."""
    deeper = row.metric == "decode" and (row.context_tokens or 0) > (row.prompt_tokens or 0)
    return row.context_tokens or 0 if deeper else 0


def workloads(row: ReadRow) -> tuple[Workload, Workload]:
    """The workload of a row's decode, whose cache holds `context_tokens` when it starts, and that of its prompt.

    `threads` are those of both, but of sources that read prompts with all cores (`data/prompt_threads.csv`).
    """
    output = row.output_tokens or DEFAULT_OUTPUT_TOKENS
    prompt = row.prompt_tokens or row.context_tokens or 0
    start = prompt if row.metric == "request" or row.context_tokens is None else row.context_tokens
    named = row.parallelism not in {"", "offload", "unstated"}
    split = Split.parse(row.parallelism) if named else None
    copies = row.device_count if split is Split.DATA else 1  # each serves its share of the sequences
    batch = max(1, -(-row.batch // copies))
    decoding = Workload(
        start,
        output,
        start + output,
        batch,
        parallelism=split,
        threads=row.threads,
        routed_alike=routed_alike(row.source),
    )
    prompt = max(1, prompt)
    threads = None if row.source in _all_cores() else row.threads
    reading = replace(decoding, prompt_tokens=prompt, context_tokens=prompt + output, threads=threads, routed_alike=1.0)
    return decoding, reading


@cache
def _all_cores() -> frozenset[str]:
    return frozenset(row["source"] for row in read_rows("prompt_threads.csv"))


def routed_alike(source: str) -> float:
    """What each further sequence of a source's rows counts as where experts are chosen: less where a benchmark feeds
    random tokens (`data/alike_sequences.csv`)."""
    return _alike_sequences().get(source, 1.0)


@cache
def _alike_sequences() -> dict[str, float]:
    return {row["source"]: float(row["share"]) for row in read_rows("alike_sequences.csv")}


def _linked(target: Target, source: str) -> Target:
    """The target with the link of a source's machine, where that is known and several devices may use it."""
    name = _source_links().get(source)
    link = between_devices(target.device, name) if name and target.count > 1 else None
    return replace(target, link=link.name, link_bytes_per_s=link.bytes_per_s) if link else target


@cache
def _source_links() -> dict[str, str]:
    return {row["source"]: row["link"] for row in read_rows("source_links.csv")}


@lru_cache(maxsize=1024)
def _target(text: str) -> Target:
    from sizer.device.catalogue import find

    return find(text)


@lru_cache(maxsize=1024)
def _counted(text: str, count: int) -> Target:
    from sizer.device.catalogue import find

    one = _target(text)
    return replace(find(f"{count}x{one.device.key}"), host=one.host, host_count=one.host_count)


@lru_cache(maxsize=1024)
def row_architecture(model: str, total_b: float | None, active_b: float | None) -> Architecture:
    """The model of a row: catalogued, else a directory or file that is here, else told by the row's parameter counts,
    else by the sizes in its name."""
    from sizer.model.families import build
    from sizer.model.read import catalogue
    from sizer.model.read.resolve import existing, resolve

    entry = catalogue.find(model)
    if entry is not None:
        try:
            return build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
        except SizerError:
            if not total_b:
                raise
    if total_b and existing(model) is None:
        return lump_architecture(model, total_b * 1e9, (active_b or total_b) * 1e9)
    return resolve(model, offline=True).architecture


def lump_architecture(model: str, total_params: float, active_params: float) -> Architecture:
    """A model known by its counts alone: one lump that every token uses, and one stack of experts for a mixture."""
    if not 0 < active_params <= total_params:
        raise UnknownModel(f"{model!r} has {total_params:g} parameters, of which {active_params:g} active.")
    tensors = [Tensor("weights", (round(total_params),), Role.OTHER, Module.LINEAR)]
    if active_params < total_params:
        shared = tuned("shared_share_of_active") * active_params
        stack = (total_params - shared) / LUMP_EXPERTS
        active = max(1, round((active_params - shared) / stack))
        experts = Tensor(
            "experts", (LUMP_EXPERTS, round(stack)), Role.EXPERT_UP, Module.EXPERT_STACK, active_experts=active
        )
        tensors = [Tensor("weights", (round(shared),), Role.OTHER, Module.LINEAR), experts]
    moe = len(tensors) > 1
    return Architecture(
        model, "", "unknown", Basis.NAME, tuple(tensors), (), 0, 0, None, False, "bfloat16",
        experts=LUMP_EXPERTS if moe else None, active_experts=tensors[-1].active_experts,
        notes=("Known by its parameter counts alone: layers and cache are not.",),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _stored(
    model: str,
    total_b: float | None,
    active_b: float | None,
    *,
    precision: str,
    engine: str,
    version: str,
    file_gib: float | None,
) -> Stored:
    architecture = row_architecture(model, total_b, active_b)
    return scaled_to_file(store_for(architecture, precision, engine, version), file_gib)


def scaled_to_file(stored: Stored, file_gib: float | None) -> Stored:
    """The stored model with its bytes scaled to a stated file size, where the two are within a factor of three."""
    if not file_gib:
        return stored
    ratio = file_gib * GIB / max(1, stored.weights_bytes)
    # Beyond a factor of three it is another model's file; within a hundredth it is the same.
    if not 0.3 < ratio < 3 or abs(ratio - 1) < 0.01:
        return stored
    tensors = tuple(replace(part, size_bytes=round(part.size_bytes * ratio)) for part in stored.tensors)
    return replace(stored, tensors=tensors, download_bytes=round(file_gib * GIB), exact=False)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str | None:
    from sizer.precision.names import canonical

    try:
        return canonical(text)
    except UnknownPrecision:
        return None


_WIDTH = re.compile(r"(?:^|[^0-9])(?:[qw]|mlx[ -]q?)?([2-8])(?:[-_ ]?bits?)?(?:$|[^0-9.])", re.IGNORECASE)
_BARE_WIDTH = re.compile(r"[qw]?[2-8](?:[-_ ]?bits?)?", re.IGNORECASE)
"""A width and nothing else, which several formats have: the engine says whose."""


@cache
def _usual_widths() -> dict[tuple[str, str], str]:
    """What a width means to users of a runtime who name no format, by runtime and bits; by no bits, what they run who
    name no width either."""
    return {
        (runtime, row["bits"]): row["precision"]
        for row in read_rows("usual_widths.csv")
        for runtime in row["runtimes"].split()
    }


def row_precision(row: ReadRow) -> str:
    """The row's precision; where the column is empty, what its source printed, else its engine's usual one.

    A width alone (`4-bit`) is the usual format of the engine's runtime at that width, where it has one.
    """
    from sizer.precision.names import canonical

    bare = _BARE_WIDTH.fullmatch(row.precision.strip()) and row.engine and not _canonical(row.precision)
    if row.precision and not bare:
        return canonical(row.precision)
    printed = row.precision or row.precision_as_printed
    runtime = find_engine(engine_asked(row.engine).engine).runtime if row.engine else ""
    if printed and (known := _canonical(printed)):
        return known
    width = _WIDTH.search(printed)
    usual = _usual_widths().get((runtime, width[1] if width else "")) if width or not printed else None
    if usual:
        return usual
    if row.precision:
        return canonical(row.precision)
    as_printed = f", and {printed!r} as printed names none" if printed else ""
    raise UnknownPrecision(f"the precision is empty{as_printed}.")
