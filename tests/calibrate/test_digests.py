"""The constants in the package are those of the rows, the priors and the law that lie beside them."""

from __future__ import annotations

from pathlib import Path

from sizer.calibrate.digests import LAW, TABLES, code_alone, digests
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


def test_words_move_no_constant() -> None:
    """A comment or a docstring leaves the digest of a module alone; a figure, a name and a default do not."""
    plain = "RATE = 2.0\n\n\ndef rate(scale: float = 1.0) -> float:\n    return RATE * scale\n"
    told = plain.replace("2.0\n", '2.0\n"""Of a card:\nmeasured."""\n# why\n').replace(
        "float:\n", 'float:\n    """It."""\n'
    )
    told = f'"""Rates."""\n\n{told}'
    assert code_alone(plain) == code_alone(told)
    for one, other in (("2.0", "2.5"), ("scale: float = 1.0", "scale: float = 1.1"), ("RATE *", "RATE +")):
        assert code_alone(plain.replace(one, other)) != code_alone(plain)
