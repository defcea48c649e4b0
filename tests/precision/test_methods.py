"""A quantization method is one registration: this walks all of them and names what one has forgotten."""

from __future__ import annotations

import pytest

from sizer.answer.loss import loss_at
from sizer.engine.engines import engines
from sizer.formats import format_of
from sizer.methods import Method, methods
from sizer.model.read.name_quantization import READERS as NAME_READERS
from sizer.model.read.name_quantization import may_tell, quantization_in
from sizer.precision.configured_methods import READERS as CONFIG_READERS
from sizer.precision.configured_methods import readers
from sizer.precision.names import Precision, all_precisions, precision_of
from sizer.precision.reference import reference_architecture
from sizer.precision.schemes import SCHEMES
from sizer.tables import read_rows

MADE_BY_RULE = {"gguf-dynamic": "ud-q4_k_xl", "gguf-repacked": "iq4_xs_r8"}
"""Kinds whose precisions have no rows: one of each, by the rule that names it."""


def precisions_of(method: Method) -> list[Precision]:
    """The precisions of a method."""
    rule = MADE_BY_RULE.get(method.name)
    rows = [precision_of(name) for name in all_precisions()]
    return [precision_of(rule)] if rule else [row for row in rows if row.kind == method.name]


@pytest.mark.parametrize("method", methods().values(), ids=list(methods()))
def test_every_method_is_whole(method: Method) -> None:
    """Engines, precisions, scheme, bytes, loss, what tells it in configs and names: or the reason why not."""
    assert method.source, f"{method.name}: no source in data/methods.csv"
    assert method.engines, f"{method.name}: no engine runs it"
    assert set(method.engines) <= set(engines())
    rows = precisions_of(method)
    assert rows, f"{method.name}: no precision of this kind in data/precisions.csv"
    for row in rows:
        assert row.scheme in SCHEMES or row.is_gguf, f"{row.name}: its scheme is in no room"
        if not row.is_gguf:
            assert format_of(row.format).matrix_bytes(4096, 4096) > 0
            assert format_of(row.format).checkpoint_tensors >= 1
        assert 0 <= loss_at(reference_architecture(), row.name, method.engines[0]) < 10
    told = bool(method.config) and bool(method.words)
    assert told or method.unread, f"{method.name}: told by config and name, or the reason in the column unread"


@pytest.mark.parametrize("method", methods().values(), ids=list(methods()))
def test_every_word_of_a_method_is_read(method: Method) -> None:
    """A pattern that stands as a word in a name tells the precision of its row; its stems let it through the sieve."""
    for pattern, told in method.words:
        for word in (piece for piece in pattern.split("|") if piece.replace("-", "").isalnum()):
            name = f"someone/Model-7B-{word}-4bit-4.0bpw" if told in NAME_READERS else f"someone/Model-7B-{word}"
            assert may_tell(name)
            precision = quantization_in(name).precision
            assert precision is not None, word
            if told in NAME_READERS:
                assert precision_of(precision).kind == method.name
            else:
                assert precision == told
                assert precision_of(told).kind == method.name
    assert {told for _, told in method.words if told.startswith("read:")} <= set(NAME_READERS)


def test_no_reader_is_without_a_method() -> None:
    """A function that reads configs or names belongs to a row of the table, and each name of a config to one."""
    how = [way for method in methods().values() for _, way in method.config]
    assert {way for way in how if ":" not in way} == set(CONFIG_READERS)
    assert {told for method in methods().values() for _, told in method.words if ":" in told} == set(NAME_READERS)
    assert len(readers()) == len(how)


def test_every_precision_has_a_method() -> None:
    """A row of data/precisions.csv is of a kind that data/methods.csv has."""
    assert {row["kind"] for row in read_rows("precisions.csv")} - {"ambiguous"} <= set(methods())
