"""Load the samples of test scripts into a store, as Prometheus' own would return them.

Classic histograms become histograms with custom buckets beside them where a script asks for it. The store tells of
each histogram whether the series began anew there.

Source:
    Prometheus, PromQL test language (``load_with_nhcb``); "Native Histograms" specification, section "Counter reset
    considerations".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.testing.promql_script_histograms import Histogram, Timed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.testing.promql_script_reading import Load
    from headrace.testing.promql_script_values import Item
    from headrace.testing.store_fakes import MemoryQueryable

_SUFFIXES = ("_bucket", "_count", "_sum")

Key = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Loader:
    """Puts what scripts load into a store; later samples of the same time stand."""

    store: MemoryQueryable
    _histograms: dict[Key, dict[int, tuple[int, Histogram | None]]] = field(default_factory=dict)

    def load(self, command: Load) -> None:
        """Carry out a ``load``."""
        classic = _Classic()
        last = {tuple(sorted(series.labels.items())): series for series in command.series}
        for series in last.values():
            relative = series.starts or [None] * len(series.items)
            self._add(series.labels, command.step_ms, series.items, relative)
            if command.nhcb:
                classic.add(series.labels, command.step_ms, series.items)
        for labels, rows in classic.converted():
            self._add_histograms(labels, rows)

    def _add(
        self, labels: Mapping[str, str], step_ms: int, items: Iterable[Item], relative: Iterable[int | None]
    ) -> None:
        numbers: list[tuple[int, float, int]] = []
        histograms: list[Timed] = []
        for i, (item, offset) in enumerate(zip(items, relative, strict=True)):
            time_ms = i * step_ms
            start_ms = 0 if offset is None else time_ms + offset
            if isinstance(item, Histogram):
                histograms.append(Timed(time_ms, start_ms, item))
            elif item is not None:
                numbers.append((time_ms, item, start_ms))
        if numbers:
            times, found, starts = zip(*numbers, strict=True)
            self.store.add(labels, times, found, starts)
        self._add_histograms(labels, histograms, [time_ms for time_ms, _, _ in numbers])

    def _add_histograms(self, labels: Mapping[str, str], rows: Iterable[Timed], numbers: Iterable[int] = ()) -> None:
        """Add histograms to a series, of which the hints are found anew; `numbers` are times of other samples."""
        line = self._histograms.setdefault(tuple(sorted(labels.items())), {})
        line.update(dict.fromkeys(numbers, (0, None)))
        line.update({row.time_ms: (row.start_ms, row.histogram) for row in rows})
        before: Histogram | None = None
        stored: list[Timed] = []
        for time_ms, (start_ms, histogram) in sorted(line.items()):
            before = None if histogram is None else replace(histogram, hint=_stored_hint(before, histogram))
            if before is not None:
                stored.append(Timed(time_ms, start_ms, before))
        if stored:
            self.store.add_histograms(labels, stored)


def _stored_hint(before: Histogram | None, histogram: Histogram) -> ResetHint:
    """Return what a store says about a histogram that comes after another one, if that is what was before it."""
    if histogram.hint in {ResetHint.GAUGE, ResetHint.RESET}:
        return histogram.hint
    if before is None or before.hint is ResetHint.GAUGE:
        return ResetHint.UNKNOWN
    if histogram.count < before.count:
        return ResetHint.RESET
    if _layout(before) != _layout(histogram):
        return ResetHint.UNKNOWN
    return ResetHint.RESET if _is_lower(histogram, before) else ResetHint.NOT_RESET


def _layout(histogram: Histogram) -> tuple[int, float, tuple[float, ...]]:
    return histogram.schema, histogram.zero_threshold, histogram.bounds


def _is_lower(histogram: Histogram, before: Histogram) -> bool:
    if histogram.zero_count < before.zero_count:
        return True
    pairs = ((histogram.positive, before.positive), (histogram.negative, before.negative))
    return any(now.get(index, 0.0) < count for now, then in pairs for index, count in then.items())


class _Classic:
    """Collects the series of classic histograms by what they belong to and time."""

    def __init__(self) -> None:
        self._buckets: dict[Key, dict[int, dict[float, float]]] = {}
        self._counts: dict[Key, dict[int, float]] = {}
        self._sums: dict[Key, dict[int, float]] = {}

    def add(self, labels: Mapping[str, str], step_ms: int, items: Iterable[Item]) -> None:
        name = labels.get("__name__", "")
        suffix = next((s for s in _SUFFIXES if name.endswith(s)), None)
        bound = _bound(labels) if suffix == "_bucket" else 0.0
        if suffix is None or bound is None:
            return
        rest = {label: value for label, value in labels.items() if label != "le"}
        key = tuple(sorted({**rest, "__name__": name.removesuffix(suffix)}.items()))
        for i, item in enumerate(items):
            if not isinstance(item, float):
                continue
            if suffix == "_bucket":
                self._buckets.setdefault(key, {}).setdefault(i * step_ms, {}).setdefault(bound, item)
            else:
                (self._counts if suffix == "_count" else self._sums).setdefault(key, {})[i * step_ms] = item

    def converted(self) -> Iterable[tuple[dict[str, str], list[Timed]]]:
        """Yield the series of histograms with custom buckets."""
        for key in sorted({*self._buckets, *self._counts, *self._sums}):
            parts = self._buckets.get(key, {}), self._counts.get(key, {}), self._sums.get(key, {})
            times = sorted({time_ms for part in parts for time_ms in part})
            yield (
                dict(key),
                [Timed(t, 0, _custom(parts[0].get(t, {}), parts[1].get(t), parts[2].get(t, 0.0))) for t in times],
            )


def _bound(labels: Mapping[str, str]) -> float | None:
    try:
        bound = float(labels["le"])
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def _custom(cumulative: Mapping[float, float], count: float | None, total: float) -> Histogram:
    bounds = sorted(cumulative)
    if count is None:
        count = cumulative[bounds[-1]] if bounds else 0.0
    counts = [cumulative[bound] for bound in bounds]
    if bounds and not math.isinf(bounds[-1]):
        counts.append(count)
    single = [now - then for now, then in zip(counts, [0.0, *counts[:-1]], strict=True)]
    return Histogram(
        schema=CUSTOM_BUCKETS,
        count=count,
        sum=total,
        positive={i: n for i, n in enumerate(single) if n != 0},
        bounds=tuple(bound for bound in bounds if not math.isinf(bound)),
    )
