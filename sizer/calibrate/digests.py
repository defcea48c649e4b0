"""What the constants were made of, as digests: a test fails where one moved and they were not made again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import sizer
from sizer.tables import data_path

TABLES = (
    "measurements.csv", "serving.csv", "verify.csv", "speculation.csv", "draft_methods.csv", "fit_priors.csv",
    "tuning.csv", "graph_capture.csv", "cache_copies.csv", "vector_rows.csv", "cpu_instructions.csv", "cpu_cores.csv",
    "pipelined_prompts.csv", "product_types.csv", "same_chips.csv", "same_dies.csv", "bf16_kernels.csv",
    "cpu_shares.csv", "layer_operations.csv", "expert_calls.csv", "state_graphs.csv",
    "matrix_instructions.csv", "peak_powers.csv", "padded_batches.csv", "core_matrix_units.csv",
    "vector_attention.csv", "expert_loops.csv", "owners_sources.csv",
)  # fmt: skip
LAW = (
    "speed/attended.py", "speed/case.py", "speed/chunks.py", "speed/device_rates.py", "speed/hosted.py",
    "speed/kernels.py", "speed/launches.py", "speed/law.py", "speed/limits.py", "speed/nearby.py",
    "speed/prompt_terms.py", "speed/rates.py", "speed/splits.py", "speed/terms.py", "speed/traffic.py",
    "speed/widths.py", "device/kinds.py",
    "calibrate/calibration.py", "calibrate/contradicted.py", "calibrate/design.py",
    "calibrate/drafts.py", "calibrate/fit_constants.py", "calibrate/verification.py",
    "calibrate/heldout.py", "calibrate/intervals.py", "calibrate/likeness.py", "calibrate/observation.py",
    "calibrate/observations.py", "calibrate/plausible.py", "calibrate/terms.py",
)  # fmt: skip
"""The files that turn rows into constants and constants into seconds."""


def digests() -> dict[str, str]:
    """The digest of each table, and one of the law's code."""
    found = {f"data/{name}": _digest(data_path(name)) for name in TABLES}
    package = Path(sizer.__file__).parent
    found["code of the law"] = _digest(*(package / name for name in LAW))
    return found


def _digest(*paths: Path) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return whole.hexdigest()[:16]
