"""Query results as JSON, compiled and piece by piece, so that a large answer never lies in memory whole.

`headrace.store.api.results` writes the same in plain Python.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.store.api import matrix_kernels as kernels
from headrace.store.api.envelope import encode_text
from headrace.store.api.results import format_time
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.store.labels import LabelTable

Piece = bytes | memoryview

_PIECE_BYTES = 256 * 1024
_FIRST_PIECE_BYTES = 16 * 1024
"""A small answer is one piece of this size; a large one begins with it, so that its client has something to read."""

_BRACKET = ord("[")
_MATRIX = (b',"values":[', b"]}", b'{"metric":{')
_VECTOR = (b',"value":', b"}", b'{"metric":{')
_LABELS = (b"", b"", b"{")
"""What opens a series' points, what closes them, and what opens its labels."""


class _Members:
    """Labels of the series of an answer, as the kernels take them.

    Args:
        table: k label sets, in order of the answer.
        frame: _MATRIX or _VECTOR.
    """

    def __init__(self, table: LabelTable, frame: tuple[bytes, bytes, bytes]) -> None:
        texts = list(frame)
        if len(table) == 1:
            self._of_one(table, texts)
            return
        self.numbers = np.empty((len(table), len(table.names)), np.int32)
        room = sum(map(len, frame))
        for column, name in enumerate(table.names):
            symbols, which = np.unique(table.values[:, column], return_inverse=True)
            key = encode_text(name) + b":"
            known = symbols[symbols != ABSENT].tolist()
            numbers = np.full(len(symbols), -1, np.int32)
            numbers[len(symbols) - len(known) :] = np.arange(len(texts), len(texts) + len(known))
            own = [key + encode_text(table.symbols.text(symbol)) for symbol in known]
            texts += own
            room += 1 + max(map(len, own), default=0)
            self.numbers[:, column] = numbers[which.ravel()]
        self.text, self.bounds = _joined(texts)
        self.head_bytes = room + kernels.SLACK

    def _of_one(self, table: LabelTable, texts: list[bytes]) -> None:
        """Do the same for a single series, of which each label has one value."""
        own = [encode_text(name) + b":" + encode_text(value) for name, value in table.labels(0).items()]
        self.numbers = np.arange(len(texts), len(texts) + len(own), dtype=np.int32).reshape(1, -1)
        self.text, self.bounds = _joined(texts + own)
        self.head_bytes = int(self.bounds[-1]) + len(own) + kernels.SLACK


def label_pieces(table: LabelTable) -> Iterator[Piece]:
    """Yield label sets as a list of objects, in their order."""
    nothing = np.empty((len(table), 0))
    return _grid(_Members(table, _LABELS), np.arange(len(table)), [], nothing, nothing.astype(np.bool_))


def vector_pieces(
    table: LabelTable, rows: NDArray[np.int64], time_ms: int, values: NDArray[np.float64]
) -> Iterator[Piece]:
    """Yield the result of kind ``vector``.

    Args:
        table: (k,) label sets, in order of the answer.
        rows: (k,) int64, rows of `values`.
        time_ms: The one time.
        values: (n, 1) float64.
    """
    present = np.ones(values.shape, np.bool_)
    return _grid(_Members(table, _VECTOR), rows, [time_ms], values, present)


def matrix_pieces(
    table: LabelTable,
    rows: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
) -> Iterator[Piece]:
    """Yield the result of kind ``matrix`` of points on a grid.

    Args:
        table: (k,) label sets, in order of the answer.
        rows: (k,) int64, rows of `values`.
        times_ms: (steps,) int64.
        values: (n, steps) float64.
        present: (n, steps) bool.
    """
    return _grid(_Members(table, _MATRIX), rows, times_ms.tolist(), values, present)


def range_pieces(
    table: LabelTable,
    spans: tuple[NDArray[np.int64], NDArray[np.int64]],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
) -> Iterator[Piece]:
    """Yield the result of kind ``matrix`` of points with times of their own.

    Args:
        table: (k,) label sets, in order of the answer.
        spans: First sample of each and number of its samples, (k,) int64 both.
        times_ms: (m,) int64.
        values: (m,) float64.
    """
    members = _Members(table, _MATRIX)

    def write(state: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
        return kernels.write_ranges(
            values, times_ms, *spans, members.numbers, members.text, members.bounds, members.head_bytes, state, out
        )

    return _pieces(write, members.head_bytes)


def _grid(
    members: _Members,
    rows: NDArray[np.int64],
    times_ms: Sequence[int],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
) -> Iterator[Piece]:
    time_text, time_bounds = _joined(_time_texts(times_ms))
    values, present = np.ascontiguousarray(values), np.ascontiguousarray(present)

    def write(state: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
        return kernels.write_grid(
            values, present, rows, members.numbers, members.text, members.bounds, members.head_bytes,
            time_text, time_bounds, state, out,
        )  # fmt: skip

    return _pieces(write, members.head_bytes)


def _time_texts(times_ms: Sequence[int]) -> list[bytes]:
    """Return how the points of each step begin."""
    if any(time % 1000 for time in times_ms):
        return [f"[{format_time(time)},".encode("ascii") for time in times_ms]
    return [b"[%d," % (time // 1000) for time in times_ms]


def _pieces(write: Callable[[NDArray[np.int64], NDArray[np.uint8]], int], head_bytes: int) -> Iterator[Piece]:
    """Yield what `write` writes into buffers, in brackets."""
    state = np.zeros(3, np.int64)
    least = head_bytes + kernels.POINT_BYTES + kernels.SLACK + 1
    size, begun = max(_FIRST_PIECE_BYTES, least), 0
    while True:
        out = np.empty(size, np.uint8)
        out[0] = _BRACKET
        written = write(state, out[1:])
        if not written:
            break
        yield out.data[begun : written + 1]
        size, begun = max(_PIECE_BYTES, least), 1
    yield b"]" if begun else b"[]"


def _joined(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Put texts one after the other; return also the (texts + 1,) places where they begin."""
    bounds = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    return padded(b"".join(texts)), bounds
