"""Answers as aligned text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.cli.query.plot import sparkline
from headrace.cli.query.times import time_text
from headrace.store.api.quoting import go_quote
from headrace.store.promql.language.printer import name_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GAP = "  "
_SPARK_WIDTH = 30


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Align columns.

    Args:
        header: Titles.
        rows: Cells, as many as titles.
        right: Numbers of the columns that are flush right.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        cells = []
        for i, cell in enumerate(row):
            fill = " " * (widths[i] - cell_len(cell))
            cells.append(fill + cell if i in right else cell + fill)
        lines.append(_GAP.join(cells).rstrip())
    return lines


def series_text(labels: Mapping[str, str]) -> str:
    """Write labels as a selector that matches them: the name first, then the others in order."""
    name = labels.get("__name__", "")
    plain = name_text(name, colons=True) == name
    pairs = [f"{name_text(key)}={go_quote(labels[key])}" for key in sorted(labels) if key != "__name__"]
    if name and not plain:
        pairs.insert(0, go_quote(name))
    inside = ", ".join(pairs)
    return f"{name if plain else ''}{{{inside}}}" if inside or not (name and plain) else name


def histogram_text(histogram: Mapping[str, Any]) -> str:
    """Write a native histogram in short."""
    buckets = len(histogram.get("buckets", ()))
    return f"count {histogram['count']}, sum {histogram['sum']}, {buckets} bucket{'' if buckets == 1 else 's'}"


def vector(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write an instant vector: one line a series; times only where they differ."""
    cells = [_sample(row) for row in rows]
    times = {time for _, _, time in cells}
    if len(times) > 1:
        return table(["series", "value", "time"], cells, frozenset({1}))
    when = [f"at {time}" for time in times]
    return [*when, *table(["series", "value"], [cell[:2] for cell in cells], frozenset({1}))]


def _sample(row: Mapping[str, Any]) -> tuple[str, str, str]:
    time, value = row["value"] if "value" in row else row["histogram"]
    return series_text(row["metric"]), value if "value" in row else histogram_text(value), time_text(time)


def samples(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a range vector: one line a sample."""
    cells = [
        (series_text(row["metric"]), value if isinstance(value, str) else histogram_text(value), time_text(time))
        for row in rows
        for time, value in (*row.get("values", ()), *row.get("histograms", ()))
    ]
    return table(["series", "value", "time"], cells, frozenset({1}))


def points(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the times and values of a series; of histograms their counts."""
    found = [(time, float(value)) for time, value in row.get("values", ())]
    found += [(time, float(value["count"])) for time, value in row.get("histograms", ())]
    return sorted(found)


def matrix(rows: Sequence[Mapping[str, Any]], start: float, end: float) -> list[str]:
    """Write a matrix: one line a series, with a sparkline of its values."""
    cells = []
    for row in rows:
        found = points(row)
        known = [value for _, value in found if not math.isnan(value)] or [math.nan]
        spark = sparkline(found, start, end, _SPARK_WIDTH)
        numbers = [f"{value:.6g}" for value in (min(known), max(known), found[-1][1])]
        cells.append([series_text(row["metric"]), str(len(found)), *numbers, spark])
    return table(["series", "points", "min", "max", "last", ""], cells, frozenset({1, 2, 3, 4}))


def metadata(data: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Write the metadata of metrics."""
    cells = [
        [name, entry.get("type", ""), entry.get("unit", ""), " ".join(entry.get("help", "").split())]
        for name in sorted(data)
        for entry in data[name]
    ]
    return table(["metric", "type", "unit", "help"], cells)
