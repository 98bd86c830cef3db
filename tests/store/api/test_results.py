"""Query results as JSON. The numbers were taken from a real Prometheus."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.store.api import results
from headrace.store.api.envelope import encode, encode_texts
from headrace.store.labels import LabelTable, QuerySymbols
from headrace.store.symbols import Symbols

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-07"),
        (1e-7, "1e-07"),
        (1.5e-7, "1.5e-07"),
        (123456789012345680.0, "123456789012345680"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (float("nan"), "NaN"),
        (STALE, "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
    ],
)
def test_values(value: float, text: str) -> None:
    """Shortest digits, an exponent below 1e-6 and from 1e21 on."""
    assert results.format_value(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_values_read_back(value: float) -> None:
    """Every printed value reads back as the same number."""
    assert float(results.format_value(value)) == value


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0"), (1500, "1.500"), (1_700_000_000_123, "1700000000.123"), (-1500, "-1.500"), (-1, "-0.001")],
)
def test_times(ms: int, text: str) -> None:
    """Whole seconds, or three digits."""
    assert results.format_time(ms) == text


def test_shapes() -> None:
    """Scalars, strings, vectors and matrices have Prometheus' shapes, byte for byte."""
    labels = LabelTable.of([{"__name__": "up", "a": 'x"\n\udcff\u00e4'}, {}], QuerySymbols(Symbols()))

    assert results.scalar_result(1_795_332_017_960, 2.0) == b'[1795332017.96,"2"]'
    assert results.string_result(1500, "foo") == b'[1.5,"foo"]'
    assert (
        results.vector_result(labels, 1500, np.array([1.0, np.nan]))
        == (
            '[{"metric":{"__name__":"up","a":"x\\"\\n\ufffd\u00e4"},"value":[1.500,"1"]},'
            '{"metric":{},"value":[1.500,"NaN"]}]'
        ).encode()
    )
    matrix = results.matrix_result(labels, np.array([0, 2, 2]), np.array([1000, 1500]), np.array([0.5, np.inf]))
    assert json.loads(matrix)[0]["values"] == [[1, "0.5"], [1.5, "+Inf"]]
    assert json.loads(matrix)[1] == {"metric": {}, "values": []}
    assert results.vector_result(labels.take(np.array([], np.intp)), 0, np.array([])) == b"[]"


@given(st.lists(st.text(st.characters(categories=None)) | st.text('ab\x7f"\\\n')))
def test_lists_of_texts_are_written_as_any_value_is(texts: list[str]) -> None:
    """Quotes, control characters, what is not UTF-8, and what the writer puts between texts."""
    assert encode_texts(texts) == encode(texts)
