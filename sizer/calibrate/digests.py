"""What the constants were made of, as digests: a test fails where one moved and they were not made again."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from sizer.tables import data_path, read_rows

TABLES = (
    "gpu_architectures.csv", "cuda_capability.csv",
    "measurements.csv", "serving.csv", "verify.csv", "speculation.csv", "draft_methods.csv", "fit_priors.csv",
    "tuning.csv", "graph_capture.csv", "cache_copies.csv", "vector_rows.csv", "cpu_instructions.csv", "cpu_cores.csv",
    "cpu_families.csv",
    "reading_units.csv", "usual_hosts.csv",
    "kernel_facts.csv", "product_types.csv", "same_chips.csv", "same_dies.csv", "cpu_shares.csv",
    "layer_operations.csv", "expert_calls.csv", "state_graphs.csv", "matrix_instructions.csv", "padded_batches.csv",
    "owners_sources.csv", "shared_caches.csv", "vector_products.csv", "profile_runs.csv", "static_reserves.csv",
    "source_links.csv", "chip_cores.csv", "alike_sequences.csv", "usual_widths.csv", "core_products.csv",
    "prompt_threads.csv", "build_dates.csv", "serving_scripts.csv", "served_weights.csv", "expert_loops.csv",
    "linear_launches.csv", "converted_weights.csv", "unpacked_prompts.csv", "vector_limits.csv",
    "state_replays.csv", "build_kernels.csv",
)  # fmt: skip
NO_LAW_IN_SPEED = frozenset(
    {"__init__", "records", "predict", "deeper", "stages", "scaled", "speculative", "measured_here"}
)
"""Modules of the speed room that hold records, answers and drafts: they fit nothing."""
LAW_BESIDE_SPEED = (
    "device/kinds.py", "device/capability.py", "device/cpu_cores.py", "engine/kernel_facts.py",
    "calibrate/calibration.py", "calibrate/contradicted.py", "calibrate/curvature.py", "calibrate/design.py",
    "calibrate/differences.py", "calibrate/drafts.py", "calibrate/fit_constants.py", "calibrate/verification.py",
    "calibrate/heldout.py", "calibrate/intervals.py", "calibrate/likeness.py", "calibrate/observation.py",
    "calibrate/observations.py", "calibrate/plausible.py", "calibrate/rows.py", "calibrate/serving.py",
    "calibrate/terms.py", "serving/points.py", "serving/scripts.py",
)  # fmt: skip
"""The files of other rooms that turn rows into constants and constants into seconds, as all others of speed do."""


def digests() -> dict[str, str]:
    """The digest of each table, and one of the law's code."""
    found = {f"data/{name}": _digest([data_path(name).read_bytes().replace(b"\r\n", b"\n")]) for name in TABLES}
    kernels = [(row["name"], row["kernel"], row["kernel_class"]) for row in read_rows("precisions.csv")]
    found["kernels of data/precisions.csv"] = _digest(["\n".join(map(",".join, kernels)).encode()])
    found["code of the law"] = _digest(code_alone(path.read_text(encoding="utf-8")) for path in law_files())
    return found


def law_files() -> list[Path]:
    """The files that turn rows into constants and constants into seconds."""
    package = Path(__file__).parent.parent
    speed = [path for path in sorted((package / "speed").glob("*.py")) if path.stem not in NO_LAW_IN_SPEED]
    return speed + [package / name for name in LAW_BESIDE_SPEED]


def code_alone(source: str) -> bytes:
    """The lines of a module that do something: what its docstrings and its lines of comment say moves no constant.

    >>> code_alone("WIDEST = 6.0\\n'''High over low at the most.'''\\n# a note\\n")
    b'WIDEST = 6.0'
    """
    said = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = (line.rstrip() for number, line in enumerate(source.splitlines(), 1) if number not in said)
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#")).encode()


def _digest(pieces: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece)
    return whole.hexdigest()[:16]
