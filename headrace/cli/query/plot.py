"""Sparklines and plots of characters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from headrace.cli.query.times import short_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    Points = Sequence[tuple[float, float]]

_BARS = "▁▂▃▄▅▆▇█"
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character: rows from the top, of two dots each."""

_ROWS, _COLUMNS = len(_DOTS), 2
_SMALLEST_WIDTH = 20
COLORS = ("cyan", "yellow", "magenta", "green", "red", "blue")
"""Of the series of a plot, in turn."""


def sparkline(points: Points, start: float, end: float, width: int) -> str:
    """Draw values as bars, a gap where there are none; several that share a place give their mean.

    Args:
        points: Times in seconds and values.
        start: Time of the left edge.
        end: Time of the right edge.
        width: Characters.
    """
    cells: list[list[float]] = [[] for _ in range(width)]
    for time, value in points:
        if math.isfinite(value):
            cells[_place(time, start, end, width)].append(value)
    means = [sum(value / len(cell) for value in cell) if cell else math.nan for cell in cells]
    known = [mean for mean in means if not math.isnan(mean)]
    if not known:
        return " " * width
    low, high = min(known), max(known)
    return "".join(" " if math.isnan(mean) else _BARS[_place(mean, low, high, len(_BARS))] for mean in means)


def _place(value: float, low: float, high: float, count: int) -> int:
    """Return the cell of `value` among `count` that cover `low` to `high`."""
    if high <= low:
        return 0
    # Halves, because the difference of the largest numbers is none.
    return min(count - 1, max(0, int((value / 2 - low / 2) / (high / 2 - low / 2) * count)))


def plot(series: Sequence[Points], start: float, end: float, width: int, height: int) -> list[list[tuple[str, int]]]:
    """Draw lines in braille over axes.

    Args:
        series: Times in seconds and values of each.
        start: Time of the left edge.
        end: Time of the right edge.
        width: Characters in all.
        height: Lines of the plot itself; the axis comes below.

    Returns:
        Lines of pieces: text, and the number of the series that it belongs to, or -1 for the axes.
    """
    values = [value for points in series for _, value in points if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    shares = [i / max(1, height - 1) for i in range(height)]
    labels = [_label(high * (1 - share) + low * share) for share in shares]
    margin = max(map(len, labels))
    canvas = _Canvas(max(_SMALLEST_WIDTH, width - margin - 2), height, (start, end), (low, high))
    for number, points in enumerate(series):
        canvas.draw(points, number)
    lines = [[(f"{label:>{margin}} ┤", -1), *canvas.line(i)] for i, label in enumerate(labels)]
    left, right = short_time(start, end - start), short_time(end, end - start)
    axis = f"{' ' * margin} └{'─' * canvas.width}"
    times = f"{' ' * (margin + 2)}{left}{right:>{canvas.width - len(left)}}"
    return [*lines, [(axis, -1)], [(times, -1)]]


def _label(value: float) -> str:
    return f"{value:.4g}"


class _Canvas:
    def __init__(self, width: int, height: int, times: tuple[float, float], values: tuple[float, float]) -> None:
        self.width = width
        self._height = height
        self._times = times
        self._values = values
        self._bits = [[0] * width for _ in range(height)]
        self._owners = [[-1] * width for _ in range(height)]

    def draw(self, points: Points, number: int) -> None:
        """Draw one series as a line; values that are no numbers interrupt it."""
        before: tuple[int, int] | None = None
        for time, value in points:
            if not math.isfinite(value):
                before = None
                continue
            x = _place(time, *self._times, self.width * _COLUMNS)
            y = self._height * _ROWS - 1 - _place(value, *self._values, self._height * _ROWS)
            for at in _between(before or (x, y), (x, y)):
                self._dot(*at, number)
            before = (x, y)

    def _dot(self, x: int, y: int, number: int) -> None:
        row, column = y // _ROWS, x // _COLUMNS
        self._bits[row][column] |= _DOTS[y % _ROWS][x % _COLUMNS]
        self._owners[row][column] = number

    def line(self, row: int) -> list[tuple[str, int]]:
        """Return a line as pieces of one series each."""
        pieces: list[tuple[str, int]] = []
        for bits, owner in zip(self._bits[row], self._owners[row], strict=True):
            char = chr(_BRAILLE + bits) if bits else " "
            if pieces and pieces[-1][1] == owner:
                pieces[-1] = (pieces[-1][0] + char, owner)
            else:
                pieces.append((char, owner))
        return pieces


def _between(first: tuple[int, int], last: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the dots of a straight line, both ends included."""
    (x0, y0), (x1, y1) = first, last
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    return [(x0 + round((x1 - x0) * i / steps), y0 + round((y1 - y0) * i / steps)) for i in range(steps + 1)]
