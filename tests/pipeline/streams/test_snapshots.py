"""Saved states and identities in them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.streams.identities import packed, unpacked, value_from_json, value_to_json
from headrace.pipeline.streams.snapshots import MAGIC, Part, decode, encode

SERIES = [
    Series.of(__name__="up", job="a"),
    Series.of(__name__="up", job="ü", empty="", up="job"),
    Series(
        (("__name__", "n"), ("port", "80")),
        Form.OTLP,
        Kind(MetricType.COUNTER, Temporality.DELTA),
        "By",
        Resource((("bytes", b"\x00\xff"), ("list", [1, 2.5, None, True, {"k": "v"}])), "https://schema"),
        Scope("s", "1", (("a", "b"),), "u"),
        (("port", "int"),),
    ),
    Series((("__name__", "n"),), Form.OTLP, Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE, is_exponential=True)),
]


def round_trip(series: list[Series]) -> list[Series]:
    table, other = SeriesTable(), SeriesTable()
    other.intern([Series.of(__name__="filler", job="a")])
    columns, heads = packed(table, table.intern(series))
    part = Part({"heads": heads}, columns)
    found = decode("t", 1, encode("t", 1, {"w": part}))["w"]
    return [other.series(one) for one in unpacked(other, found.arrays, found.value["heads"]).tolist()]


def test_identities_are_the_same_in_another_table() -> None:
    """All that makes a series, types of attributes and values of resources included; also of none."""
    assert round_trip(SERIES) == SERIES
    assert round_trip([]) == []


@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3)), max_size=8))
def test_any_labels(labels: list[dict[str, str]]) -> None:
    """Any text."""
    series = [Series.of({**one, "__name__": "m"}) for one in labels if all(name.isprintable() for name in one)]
    series = list(dict.fromkeys(one for one in series if "\x00" not in str(one)))
    assert round_trip(series) == series


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_values_of_attributes(value: Any) -> None:
    """JSON in between changes nothing, infinities included."""
    import json

    found = value_from_json(json.loads(json.dumps(value_to_json(value), allow_nan=False)))
    assert found == value
    assert repr(found) == repr(value)


def test_nan_as_an_attribute() -> None:
    """It comes back as NaN."""
    assert math.isnan(value_from_json(value_to_json(math.nan)))  # type: ignore[arg-type]  # a float, as written


def test_arrays_come_back_as_they_were() -> None:
    """Of every dtype that state has, of any shape."""
    arrays: dict[str, Any] = {
        dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in ("i8", "i4", "f8", "u8", "u1", "i1", "?")
    }
    arrays["none"] = np.empty((0, 5))
    found = decode("t", 3, encode("t", 3, {"a/b": Part({"x": [1]}, arrays), "c": Part()}))
    assert list(found) == ["a/b", "c"]
    assert found["a/b"].value == {"x": [1]}
    for name, array in arrays.items():
        assert (found["a/b"].arrays[name] == array).all()
        assert found["a/b"].arrays[name].dtype == array.dtype
        assert found["a/b"].arrays[name].shape == array.shape


def test_other_types_and_versions_are_refused() -> None:
    """The message says which is which."""
    state = encode("one", 1, {})
    with pytest.raises(ValueError, match="it is of one version 1, and two reads its own version 1"):
        decode("two", 1, state)
    with pytest.raises(ValueError, match="one reads its own version 2"):
        decode("one", 2, state)


@given(st.binary(max_size=64))
def test_garbage_is_refused(data: bytes) -> None:
    """Whatever it is, also behind the right beginning."""
    for state in (data, MAGIC + data):
        with pytest.raises(ValueError, match=r"no state|damaged"):
            decode("t", 1, state)


@given(st.data())
def test_a_cut_or_changed_state_is_refused(data: st.DataObject) -> None:
    """Anywhere."""
    state = encode("t", 1, {"w": Part({"v": 1}, {"a": np.arange(5.0)})})
    place = data.draw(st.integers(0, len(state) - 1))
    changed = bytearray(state)
    changed[place] ^= data.draw(st.integers(1, 255))
    for one in (bytes(changed), state[:place]):
        with pytest.raises(ValueError, match=r"no state|damaged"):
            decode("t", 1, one)


@pytest.mark.parametrize(
    ("column", "change"),
    [("symbols", 99), ("symbols", -1), ("head", 99), ("sizes", -1), ("starts", 99)],
)
def test_identities_that_do_not_hold_together_are_refused(column: str, change: int) -> None:
    """No index leads out of its table."""
    table = SeriesTable()
    columns, heads = packed(table, table.intern(SERIES))
    columns[column] = columns[column].copy()
    columns[column][-1] = change
    with pytest.raises(ValueError, match="hold together"):
        unpacked(SeriesTable(), columns, heads)
