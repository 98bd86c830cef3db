"""The first sight of a series: labels of the target, metric relabelling, limits, and the id.

Jobs without ``metric_relabel_configs`` are done by kernels, save series that have a label of the target; the others
go through Python, a few milliseconds at a time.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.pipeline.identity import METRIC_NAME, Series
from headrace.pipeline.series import Refusal
from headrace.pipeline.wire import text_label_kernels
from headrace.pipeline.wire.spans import LabelSpans
from headrace.receivers.prometheus.cache_kernels import DROPPED, REFUSED
from headrace.receivers.prometheus.config import is_legacy_label
from headrace.receivers.prometheus.errors import ScrapeFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.relabel import Relabeler
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.exposition import Exposition
    from headrace.receivers.prometheus.job import Job
    from headrace.receivers.prometheus.targets import Pairs

_KERNEL_ROWS = 1024
_PYTHON_ROWS = 256
"""Series between two looks at the clock, for which about 3 ms are needed."""

_SLICE_S = 0.004
_LEGACY_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)

_FAILING = frozenset({Refusal.NO_NAME, Refusal.DUPLICATE_LABEL, Refusal.INVALID_UTF8, Refusal.EMPTY_LABEL_NAME})
"""What is wrong with the page, not with the room for its series."""


class Labeller:
    """Gives the series of one target their ids.

    Args:
        job: Rules and limits.
        labels: Labels of the target.
        relabeler: The job's ``metric_relabel_configs``, None where there are none.
        table: Where series are interned.
    """

    def __init__(self, job: Job, labels: Pairs, relabeler: Relabeler | None, table: SeriesTable) -> None:
        self._job = job
        self._honor = job.config.honor_labels
        self._labels = labels
        self._own = dict(labels)
        self._external = tuple((name, value) for name, value in job.external_labels if name not in self._own)
        self._limited = bool(job.label_limit or job.label_name_length_limit or job.label_value_length_limit)
        self._relabeler = relabeler
        self._table = table
        self._more, self._more_bytes = _lay_out((*labels, *self._external))
        self._keep = np.array([self._honor] * len(labels) + [True] * len(self._external), np.bool_)

    async def verdicts(self, page: Exposition, rows: NDArray[np.int32], known: int) -> NDArray[np.int32]:
        """Return ids for samples of a page, DROPPED, or REFUSED and below.

        Args:
            page: The page.
            rows: (k,) int32 samples, one a raw key.
            known: Samples of the page that are kept and not among `rows`, for the sample limit.

        Raises:
            ScrapeFailed: A series is not valid, or a limit is passed.
        """
        slow = self._relabeler is not None or self._job.legacy_names
        if not slow:
            self.check_samples(known + len(rows))
        out = np.empty(len(rows), np.int32)
        budget = Turns()
        step = _PYTHON_ROWS if slow else _KERNEL_ROWS
        for first in range(0, len(rows), step):
            some = rows[first : first + step].astype(np.intp)
            spans = page.labels(some)
            if slow:
                ids = await self._by_python(page, some, spans, np.arange(len(some)), budget, known)
            else:
                ids = await self._by_kernel(page, some, spans, budget)
            known += int((ids != DROPPED).sum()) if slow else 0
            out[first : first + len(some)] = ids
            await budget.give_way()
        return out

    def check_samples(self, kept: int) -> None:
        """Raise ScrapeFailed where a page keeps more samples than the limit."""
        if self._job.sample_limit and kept > self._job.sample_limit:
            failed = ScrapeFailed("sample_limit", f"sample_limit exceeded: more than {self._job.sample_limit} samples")
            failed.kept = kept
            raise failed

    def series(self, name: str) -> Series:
        """Return the series of a metric about the target itself."""
        return Series.of({**dict(self._external), **dict(self._labels), METRIC_NAME: name})

    async def _by_kernel(
        self, page: Exposition, rows: NDArray[np.intp], spans: LabelSpans, budget: Turns
    ) -> NDArray[np.int32]:
        n, more = len(rows), len(self._more)
        arena = np.concatenate([spans.buf, self._more_bytes])
        added = self._more + np.array([len(spans.buf), 0, len(spans.buf), 0], np.int32)
        out = np.empty((len(spans.spans) + n * more, 4), np.int32)
        starts, clashes = np.empty(n + 1, np.int32), np.empty(n, np.bool_)
        text_label_kernels.append_labels(arena, spans.spans, spans.starts, added, self._keep, out, starts, clashes)
        merged = LabelSpans(arena, out[: starts[-1]], starts)
        self._check_spans(page, rows, merged)
        clashing = np.flatnonzero(clashes)
        if not len(clashing):
            return self._refusals(page, rows, self._table.intern_spans(merged))
        ids = np.empty(n, np.int32)
        ids[clashing] = await self._by_python(page, rows, spans, clashing, budget, 0)
        others = np.flatnonzero(~clashes)
        sizes = np.diff(starts)
        chosen = LabelSpans(
            arena,
            merged.spans[np.repeat(~clashes, sizes)],
            np.concatenate([[0], np.cumsum(sizes[others])]).astype(np.int32),
        )
        ids[others] = self._refusals(page, rows[others], self._table.intern_spans(chosen))
        return ids

    async def _by_python(
        self,
        page: Exposition,
        rows: NDArray[np.intp],
        spans: LabelSpans,
        chosen: NDArray[np.intp],
        budget: Turns,
        known: int,
    ) -> NDArray[np.int32]:
        verdicts = np.full(len(chosen), DROPPED, np.int32)
        kept: list[int] = []
        found: list[dict[str, str]] = []
        texts = _texts(spans)
        for i, one in enumerate(chosen.tolist()):
            row = int(rows[one])
            labels = self._merge(_labels_of(page, row, spans, texts, one))
            if (self._relabeler is not None and not self._relabeler.change(labels)) or not labels:
                continue
            if self._external:
                labels = {**dict(self._external), **labels}
            self._check_labels(page, row, labels)
            kept.append(i)
            found.append(labels)
            if not i % 32:
                self.check_samples(known + len(kept))
                await budget.give_way()
        self.check_samples(known + len(kept))
        ids = self._table.intern_spans(LabelSpans.of(found))
        verdicts[kept] = self._refusals(page, rows[chosen[kept]], ids)
        return verdicts

    def _merge(self, scraped: dict[str, str]) -> dict[str, str]:
        """Add the target's labels to those of a page."""
        if self._honor:
            return _without_empty({**self._own, **scraped})
        merged = {**scraped, **self._own}
        clashing = [(name, scraped[name]) for name in self._own if scraped.get(name)]
        for name, value in sorted(clashing, key=lambda pair: len(pair[0])):
            exported = f"exported_{name}"
            while merged.get(exported):
                exported = f"exported_{exported}"
            merged[exported] = value
        return _without_empty(merged)

    def _check_labels(self, page: Exposition, row: int, labels: dict[str, str]) -> None:
        """Raise ScrapeFailed for a series that is not valid or passes a limit."""
        name = labels.get(METRIC_NAME, "")
        if not name:
            raise self._invalid(page, row, "metric relabelling left no metric name")
        if self._job.legacy_names and not (
            _LEGACY_METRIC.fullmatch(name) and all(is_legacy_label(label) for label in labels)
        ):
            raise self._invalid(page, row, "a name needs quotes, and metric_name_validation_scheme is legacy")
        if not self._limited:
            return
        self._check_limits(
            page, row, len(labels), max(len(label.encode()) for label in labels),
            max(len(value.encode("utf-8", "surrogatepass")) for value in labels.values()),
        )  # fmt: skip

    def _check_spans(self, page: Exposition, rows: NDArray[np.intp], labels: LabelSpans) -> None:
        job = self._job
        if not self._limited:
            return
        used = labels.spans[:, 3] > 0
        counts = np.add.reduceat(used, labels.starts[:-1]).astype(np.int64) if len(rows) else np.zeros(0, np.int64)
        names = np.maximum.reduceat(labels.spans[:, 1] * used, labels.starts[:-1])
        values = np.maximum.reduceat(labels.spans[:, 3], labels.starts[:-1])
        wrong = np.zeros(len(rows), np.bool_)
        for limit, sizes in (
            (job.label_limit, counts), (job.label_name_length_limit, names), (job.label_value_length_limit, values)
        ):  # fmt: skip
            if limit:
                wrong |= sizes > limit
        for i in np.flatnonzero(wrong)[:1].tolist():
            self._check_limits(page, int(rows[i]), int(counts[i]), int(names[i]), int(values[i]))

    def _check_limits(self, page: Exposition, row: int, count: int, longest_name: int, longest_value: int) -> None:
        job = self._job
        for what, got, limit in (
            ("label_limit", count, job.label_limit),
            ("label_name_length_limit", longest_name, job.label_name_length_limit),
            ("label_value_length_limit", longest_value, job.label_value_length_limit),
        ):
            if limit and got > limit:
                why = page.fault_at(row, f"{what} exceeded ({got}, limit {limit})")
                raise ScrapeFailed("label_limit", str(why))

    def _refusals(self, page: Exposition, rows: NDArray[np.intp], ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Turn the table's refusals into verdicts.

        Raises:
            ScrapeFailed: One of them is the page's fault.
        """
        if not len(ids) or ids.min() >= 0:
            return ids
        for i in np.flatnonzero(ids < -1).tolist():
            refusal = Refusal.of(int(ids[i]))
            if refusal in _FAILING:
                raise self._invalid(page, int(rows[i]), refusal.text)
        return np.where(ids < -1, ids + 2 + REFUSED, ids)

    def _invalid(self, page: Exposition, row: int, why: str) -> ScrapeFailed:
        return ScrapeFailed("invalid_series", str(page.fault_at(row, why)))


class Turns:
    """Gives other tasks a turn every few milliseconds."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + _SLICE_S

    async def give_way(self) -> None:
        """Let others run where the time is up."""
        if time.perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + _SLICE_S


def _lay_out(labels: Sequence[tuple[str, str]]) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    data = bytearray()
    spans = []
    for pair in labels:
        span: list[int] = []
        for text in pair:
            encoded = text.encode()
            span += (len(data), len(encoded))
            data += encoded
        spans.append(span)
    return np.array(spans, np.int32).reshape(-1, 4), np.frombuffer(bytes(data) + bytes(PAD), np.uint8)


def _texts(spans: LabelSpans) -> list[str]:
    """Return the texts of all spans, names and values in turn."""
    data = spans.buf.tobytes()
    places = spans.spans.reshape(-1, 2).tolist()
    if not data.isascii():
        return [data[at : at + size].decode() for at, size in places]
    text = data.decode("ascii")
    return [text[at : at + size] for at, size in places]


def _labels_of(page: Exposition, row: int, spans: LabelSpans, texts: list[str], one: int) -> dict[str, str]:
    first, last = spans.starts[one : one + 2].tolist()
    labels = dict(zip(texts[2 * first : 2 * last : 2], texts[2 * first + 1 : 2 * last : 2], strict=True))
    if len(labels) < last - first:
        why = page.fault_at(row, Refusal.DUPLICATE_LABEL.text)
        raise ScrapeFailed("invalid_series", str(why))
    return labels


def _without_empty(labels: dict[str, str]) -> dict[str, str]:
    if "" not in labels.values():
        return labels
    return {name: value for name, value in labels.items() if value}
