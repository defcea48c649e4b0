"""How an engine stores a precision and what it needs for it: rows of `data/engine_precisions.csv`.

A row names an engine, a kind or a precision; what it leaves empty stands for all. An engine has the rows of its runtime
(the engine whose kernels it shares) unless it has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from sizer.device.records import Device
from sizer.engine.releases import rules, version_numbers
from sizer.model.architecture import Architecture
from sizer.precision.names import Precision, precision_of
from sizer.tables import matches, read_rows

Row = dict[str, str]


@cache
def _rows() -> dict[str, tuple[Row, ...]]:
    """The rows by engine, those for every engine under the empty name."""
    found: dict[str, tuple[Row, ...]] = {}
    for row in read_rows("engine_precisions.csv"):
        found[row["engine"]] = (*found.get(row["engine"], ()), row)
    return found


def rules_of(engine: str) -> Sequence[Row]:
    """An engine's own rows."""
    return _rows().get(engine, ())


def stored_by_engine(
    precision: str, engine: str, runtime: str, version: str = "", models: frozenset[str] = frozenset()
) -> Precision:
    """The row of a precision as an engine stores it, else as the one whose kernels it shares, where one has a scheme.

    `version` is the engine's (empty: the newest), `models` the types of the model. llama.cpp's fp16 keeps norms in 32
    bits, MLX quantizes embeddings too, and so on. Raises UnknownPrecision.
    """
    row = precision_of(precision)
    rule = _scheme_rule(row, engine, version, models) or _scheme_rule(row, runtime)
    if rule is None:
        return row
    return replace(row, scheme=rule["scheme"], format=rule["format"] or row.format, ftype=rule["ftype"] or row.ftype)


def _scheme_rule(
    precision: Precision, engine: str, version: str = "", models: frozenset[str] = frozenset()
) -> Row | None:
    """The row by which an engine stores a precision its own way: that of the precision before that of its kind.

    A row with `before_version` is that of older versions, but for the model types that it excepts.
    """
    own = [rule for rule in rules_of(engine) if rule["scheme"] and rule["kind"] == precision.kind]
    found = [rule for rule in own if rule["precision"] in {precision.name, ""} and _holds(rule, version, models)]
    return min(found, key=lambda rule: (rule["before_version"] == "", rule["precision"] == ""), default=None)


def _holds(rule: Row, version: str, models: frozenset[str]) -> bool:
    if not rule["before_version"]:
        return True
    older = () < version_numbers(version) < version_numbers(rule["before_version"])
    return older and not models & set(rule["except_models"].split())


def loads_experts(architecture: Architecture, precision: str, engine: str) -> bool:
    """Whether an engine loads a model's experts at a precision; True of a model without experts."""
    return not architecture.experts or experts_way(precision, engine) != "none"


def experts_way(precision: str, engine: str) -> str:
    """What an engine does with experts of a precision: `unpacked` to 16 bits at each step, `none` it cannot load.

    Empty: multiplied as they are.
    """
    rule = _scheme_rule(precision_of(precision), engine)
    return rule["experts"] if rule else ""


def needs(precision: str, engine: str) -> list[tuple[str, float]]:
    """The matrix units and the CUDA capability that an engine takes for a precision, rule by rule; empty, 0: none."""
    rules, kind = (*rules_of(engine), *rules_of("")), precision_of(precision).kind
    wanted = [rule for rule in rules if rule["precision"] in {precision, ""} and rule["kind"] in {kind, ""}]
    return [(rule["peak"], float(rule["capability"] or 0)) for rule in wanted]


def backends_of(precision: str, engine: str) -> frozenset[str]:
    """The backends that alone run a precision's kind with an engine; empty: all of the engine's."""
    kind = precision_of(precision).kind
    return frozenset(
        backend for rule in rules_of(engine) if rule["kind"] == kind for backend in rule["backends"].split()
    )


def built_for(precision: str, engine: str, device: Device) -> bool:
    """Whether an engine's kernels for a precision are built for a chip; an engine without rows for its maker has all.

    Rows of `data/engine_chips.csv`, where the engine's documentation lists the chips; each that is for the precision's
    kind must name the device.
    """
    kind = precision_of(precision).kind
    return all(
        any(matches(pattern, device.key) for pattern in row["devices"].split())
        for row in rules("engine_chips.csv", "engine").get(engine, ())
        if row["vendor"] == device.vendor and row["kind"] in {kind, ""}
    )


def dequantized_to(precision: str, engine: str) -> str:
    """What an engine makes of files of a precision while it loads them on a device without kernels; empty: nothing."""
    kind = precision_of(precision).kind
    return next((rule["otherwise"] for rule in rules_of(engine) if rule["kind"] == kind and rule["otherwise"]), "")


def moved_out(precision: str, engine: str, version: str = "") -> tuple[str, str]:
    """Since which version (empty: as ever) an engine loads a precision's kind by a plugin, and which; none: not at all.

    `version` is the engine's, the newest where it is empty: rows of `data/engine_plugins.csv`.
    """
    kind, asked = precision_of(precision).kind, version_numbers(version)
    rows = (row for row in rules("engine_plugins.csv", "engine").get(engine, ()) if row["kind"] == kind)
    return next(
        ((row["since"], row["plugin"]) for row in rows if not asked or asked >= version_numbers(row["since"])), ("", "")
    )
