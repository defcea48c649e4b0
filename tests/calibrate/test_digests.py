"""The constants in the package are those of the rows, the priors and the law that lie beside them."""

from __future__ import annotations

from pathlib import Path

from sizer.calibrate.digests import LAW, TABLES, digests
from sizer.tables import data_path, read_json


def test_constants_were_made_of_what_lies_here() -> None:
    """No table and no file of the law moved since `python tools/calibrate.py` wrote the constants."""
    assert read_json("constants.json")["digests"] == digests()


def test_every_file_of_the_law_is_in_the_digest() -> None:
    """The digest covers each file of the speed room but records, answers and drafts, which fit nothing."""
    room = {f"speed/{path.name}" for path in Path(data_path("")).parent.glob("sizer/speed/*.py")}
    apart = {"__init__", "records", "predict", "deeper", "stages", "steps", "scaled", "speculative", "measured_here"}
    assert room - {f"speed/{name}.py" for name in apart} <= set(LAW)
    assert all(data_path(name).is_file() for name in TABLES)
