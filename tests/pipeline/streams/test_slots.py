"""Slots of streams."""

from __future__ import annotations

import numpy as np

from headrace.pipeline.identity import Series
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.streams.slots import NEW, REFUSED, Field, Slots


def make(n: int = 6, max_slots: int = 1 << 62) -> tuple[SeriesTable, np.ndarray[tuple[int], np.dtype[np.int32]], Slots]:
    table = SeriesTable()
    ids = table.intern([Series.of(__name__=f"m{i}") for i in range(n)])
    slots = Slots(table, {"a": Field(np.float64), "b": Field(np.int64, 2, fill=7)}, max_slots)
    slots.fit()
    return table, ids, slots


def test_slots_are_reused_and_clean() -> None:
    """A new stream finds nothing of the one before."""
    _, ids, slots = make()
    slots.open(ids[:3], ids[:3])
    assert slots.slot_of[ids].tolist() == [0, 1, 2, NEW, NEW, NEW]
    slots.columns["a"][1], slots.columns["b"][1] = 5.0, 9
    slots.close(np.array([1]))
    assert (len(slots), slots.slot_of[ids[1]], slots.live().tolist()) == (2, NEW, [0, 2])
    slots.open(ids[4:], ids[4:])
    assert slots.slot_of[ids].tolist() == [0, NEW, 2, NEW, 1, 3]
    assert (slots.columns["a"][1], slots.columns["b"][1].tolist()) == (0.0, [7, 7])


def test_room() -> None:
    """Streams beyond it are refused, and new again once a stream is closed."""
    _, ids, slots = make(max_slots=2)
    slots.open(ids[:4], ids[:4])
    assert slots.slot_of[ids[:4]].tolist() == [0, 1, REFUSED, REFUSED]
    slots.close(np.array([0]))
    assert slots.slot_of[ids[:4]].tolist() == [NEW, 1, NEW, NEW]


def test_freed_series_close_streams_at_both_ends() -> None:
    """Those that come from them, and those that lead to them."""
    _, ids, slots = make()
    slots.open(ids[:2], ids[2:4])
    slots.forget(ids[3:4])
    assert slots.slot_of[ids[:2]].tolist() == [0, NEW]
    slots.forget(ids[:1])
    assert len(slots) == 0


def test_growth() -> None:
    """Columns grow with their fill."""
    _, ids, slots = make(5000)
    slots.open(ids, ids)
    assert len(slots) == len(slots.live()) == 5000
    assert (slots.columns["b"][:5000] == 7).all()
    assert slots.nbytes > 5000 * 24
