"""Compare what a query yields with what a test script expects.

Source:
    Prometheus, PromQL test language: numbers are equal up to a relative 1e-6; histograms without their empty buckets.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from headrace.store.promql.values import Ranges, Scalar, Text, Vector
from headrace.testing.promql_script_histograms import Histogram, histogram_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.store.promql.evaluate import Result
    from headrace.testing.promql_script_reading import Case, Key, Wanted
    from headrace.testing.promql_script_values import Item

Points = dict[int, float | Histogram]
"""Values of a series by time in milliseconds."""

_PLACE = re.compile(r" \(\d+:\d+\)$")
_SHOWN = 600


def close(got: Item, wanted: Item) -> bool:
    """Compare as the scripts ask: both absent, both NaN, equal to a relative 1e-6; histograms part by part."""
    if isinstance(got, Histogram) and isinstance(wanted, Histogram):
        return _close_histograms(got, wanted)
    if not isinstance(got, float) or not isinstance(wanted, float):
        return got is wanted
    if got == wanted or (math.isnan(got) and math.isnan(wanted)):
        return True
    total = min(abs(got) + abs(wanted), 1.7976931348623157e308)
    if got == 0 or wanted == 0 or total < 2.2250738585072014e-308:
        return abs(got - wanted) < 1e-6 * 2.2250738585072014e-308
    return abs(got - wanted) / total < 1e-6


def _close_histograms(got: Histogram, wanted: Histogram) -> bool:
    if (got.schema, got.bounds, got.zero_threshold) != (wanted.schema, wanted.bounds, wanted.zero_threshold):
        return False
    if wanted.hint is not None and wanted.hint != got.hint:
        return False
    numbers = ((got.count, wanted.count), (got.sum, wanted.sum), (got.zero_count, wanted.zero_count))
    return (
        all(close(one, other) for one, other in numbers)
        and _close_buckets(got.positive, wanted.positive)
        and _close_buckets(got.negative, wanted.negative)
    )


def _close_buckets(got: Mapping[int, float], wanted: Mapping[int, float]) -> bool:
    return got.keys() == wanted.keys() and all(close(count, wanted[index]) for index, count in got.items())


def points(result: Result) -> dict[Key, Points]:
    """Return what a query yields by label set and time, in its order.

    A scalar has no labels.
    """
    value = result.value
    if isinstance(value, Ranges):
        return _of_ranges(value)
    times_ms = result.grid.times_ms().tolist()
    if isinstance(value, Scalar):
        return {(): dict(zip(times_ms, value.values.tolist(), strict=True))}
    if isinstance(value, Text):
        raise TypeError("bug: a string has no points")
    return _of_vector(value, times_ms)


def _of_vector(vector: Vector, times_ms: Sequence[int]) -> dict[Key, Points]:
    out: dict[Key, Points] = {}
    for row in range(len(vector)):
        found: Points = {}
        for step, time_ms in enumerate(times_ms):
            if vector.present[row, step]:
                found[time_ms] = float(vector.values[row, step])
            elif vector.natives is not None and vector.natives.rows[row, step] >= 0:
                found[time_ms] = histogram_at(vector.natives.histograms, int(vector.natives.rows[row, step]))
        if found:
            out[tuple(vector.labels.labels(row).items())] = found
    return out


def _of_ranges(ranges: Ranges) -> dict[Key, Points]:
    out: dict[Key, Points] = {}
    last = ranges.ends.start_ms
    for row in range(len(ranges.labels)):
        begin, end = int(ranges.offsets[row]), int(ranges.offsets[row + 1])
        found: Points = dict(zip(ranges.times_ms[begin:end].tolist(), ranges.values[begin:end].tolist(), strict=True))
        if ranges.natives is not None:
            begin, end = int(ranges.natives.offsets[row]), int(ranges.natives.offsets[row + 1])
            columns, times = ranges.natives.histograms, ranges.natives.times_ms
            found |= {int(times[i]): histogram_at(columns, i) for i in range(begin, end)}
        found = {time_ms: found[time_ms] for time_ms in sorted(found) if last - ranges.range_ms < time_ms <= last}
        if found:
            out[tuple(ranges.labels.labels(row).items())] = found
    return out


def differs(case: Case, result: Result) -> str:
    """Return what is wrong about a result; nothing where it is as expected."""
    value = result.value
    if isinstance(value, Text) or case.text is not None:
        return "" if isinstance(value, Text) and value.value == (case.text or "") else f"got {_told_value(value)}"
    if isinstance(value, Scalar) or case.scalar is not None:
        wanted = case.scalar
        if isinstance(value, Scalar) and wanted is not None and close(float(value.values[0]), wanted):
            return ""
        return f"got {_told_value(value)}, not {wanted}"
    return differ_points(case, points(result), expected(case))


def expected(case: Case) -> dict[Key, Points]:
    """Return the expected points by label set and time."""
    start, step = case.start_ms, case.step_ms or 1
    if case.times_ms is not None:
        start, _, step = case.times_ms
    return {
        key: {start + i * step: item for i, item in enumerate(row) if item is not None}
        for key, row in case.rows.items()
    }


def differ_points(case: Case, found: Mapping[Key, Points], wanted: Mapping[Key, Points]) -> str:
    """Return in what points by label set and time differ from the expected ones."""
    if set(found) != set(wanted):
        return f"got {told(found)}; expected {told(wanted)}"
    for key, row in wanted.items():
        if found[key].keys() != row.keys() or not all(close(found[key][time_ms], row[time_ms]) for time_ms in row):
            return f"got {told({key: found[key]})}; expected {told({key: row})}"
    if case.ordered and list(found) != list(wanted):
        return f"got the order {told(found)}; expected {told(wanted)}"
    return ""


def told(rows: Mapping[Key, Points]) -> str:
    """Write points so that a person can read them."""
    parts = [f"{dict(key)} {' '.join(f'{v}@{t / 1000:g}' for t, v in row.items())}" for key, row in rows.items()]
    return "; ".join(parts)[:_SHOWN] or "nothing"


def _told_value(value: object) -> str:
    if isinstance(value, Text):
        return repr(value.value)
    return str(value.values.tolist()) if isinstance(value, Scalar | Vector) else "a range vector"


def differ_annotations(kind: str, found: Sequence[str], wanted: Sequence[Wanted] | None, *, places: bool) -> str:
    """Return what is wrong about annotations of a kind.

    Args:
        kind: What they are called.
        found: What there is.
        wanted: What must be there, and nothing else; None for anything.
        places: Whether positions in the query count.
    """
    if wanted is None:
        return ""
    for text in found:
        if not any(_fits(one, text, places=places) for one in wanted):
            return f"unexpected {kind}: {text}"
    for one in wanted:
        if not any(_fits(one, text, places=places) for text in found):
            return f"no {kind} like {one.text or one.pattern or 'anything'}; there are {list(found)}"
    return ""


def _fits(wanted: Wanted, text: str, *, places: bool) -> bool:
    if places or wanted.text is None:
        return wanted.fits(text)
    return _PLACE.sub("", wanted.text) == _PLACE.sub("", text)
