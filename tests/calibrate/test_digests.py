"""The constants in the package are those of the rows, the priors and the law that lie beside them."""

from __future__ import annotations

import re

from sizer.calibrate.digests import NO_LAW_IN_SPEED, TABLES, code_alone, digests, law_files
from sizer.tables import data_path, read_json


def test_constants_were_made_of_what_lies_here() -> None:
    """No table and no file of the law moved since `python tools/calibrate.py` wrote the constants."""
    assert read_json("constants.json")["digests"] == digests()


def test_what_is_named_is_there() -> None:
    """Every table and every module of the digest exists, and every module that is left out of it."""
    assert all(data_path(name).is_file() for name in TABLES)
    assert all(path.is_file() for path in law_files())
    assert {path.stem for path in law_files()[0].parent.glob("*.py")} >= NO_LAW_IN_SPEED


def test_every_table_of_the_law_is_in_the_digest() -> None:
    """A table that the law reads moves the constants; what they are written to does not."""
    named = {name for path in law_files() for name in re.findall(r'"(\w+\.(?:csv|tsv|json))"', path.read_text("utf-8"))}
    assert named - {"constants.json", "nearby.tsv"} <= set(TABLES)


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
