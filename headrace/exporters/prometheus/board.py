"""The newest sample of every series of one workspace, as columns by id."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus import board_kernels, label_kernels
from headrace.exporters.prometheus.exemplars import Exemplars
from headrace.exporters.prometheus.labels import LabelNames, LabelTexts, Read
from headrace.exporters.prometheus.snapshot import Shape, Snapshot
from headrace.kernels.float_text import parse_float
from headrace.kernels.growth import grown
from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms
from headrace.pipeline.wire.name_escaping import ALLOW_UTF8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from headrace.exporters.prometheus.negotiation import Format
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable

_SLICE = 2000
"""Series whose labels are written at a stretch: some milliseconds."""

_MAX_LABEL_NAMES = 50_000
_SPARE_NAMES = 10_000
"""Names of metrics that are gone may be remembered, up to so many more than are of use."""

_NEVER = -np.inf


class Board:
    """Takes batches of Prometheus samples, and shows what there is.

    Args:
        table: Whose ids.
        constant: Labels to add where a series lacks them.
    """

    def __init__(self, table: SeriesTable, constant: Mapping[str, str]) -> None:
        self._table = weakref.ref(table)
        self._constant = constant
        self.live = np.zeros(1024, np.bool_)
        """By id: whether a number is shown."""
        self.seen = np.full(1024, _NEVER)
        """By id: when the newest number or histogram came, in seconds that never go back."""
        self.names = np.full(1024, -1, np.int32)
        """By id: number of the metric's name in `name_texts`; -1 before the labels were read."""
        self.name_texts: dict[str, int] = {}
        self._times = np.zeros(1024, np.int64)
        self._values = np.zeros(1024)
        self._starts = np.zeros(1024, np.int64)
        self._groups = np.zeros(1024, np.uint64)
        self._ranks = np.zeros(1024)
        self._has_native = np.zeros(1024, np.bool_)
        self._native: list[NativeHistograms] = []
        self._exemplars = Exemplars()
        self._label_names = LabelNames()
        self._texts: dict[tuple[str, bool], LabelTexts] = {}
        self.version = 0
        """Changes when series come or go."""
        table.register(self)

    @property
    def table(self) -> SeriesTable:
        """The table whose ids these are."""
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table is gone and its board is asked")
        return table

    # -- samples -------------------------------------------------------------------------------------------

    def learn(self, batch: MetricBatch) -> Iterator[None]:
        """Read the labels of the series of `batch` that are new, in steps between which others may have their turn."""
        self._fit()
        parts = [part.series for part in (batch, batch.native) if part is not None]
        ids = np.concatenate(parts)
        new = np.unique(ids[self.names[ids] < 0])
        for begin in range(0, len(new), _SLICE):
            part = new[begin : begin + _SLICE]
            self._read(part[self.table.is_live(part)])
            yield

    def take(self, batch: MetricBatch, now_s: float) -> int:
        """Keep what is newest of a batch whose series were learnt; return how many samples were older than that."""
        self._fit()
        tally = np.zeros(2, np.int64)
        board_kernels.update(
            batch.series, batch.time_ms, batch.value, batch.start_ns // NS_PER_MS, now_s, self.live, self.seen,
            self._times, self._values, self._starts, tally,
        )  # fmt: skip
        if batch.native is not None and len(batch.native):
            tally[1] += self._take_native(batch.native, now_s)
        if batch.exemplars is not None and len(batch.exemplars):
            self._exemplars.take(batch.exemplars, batch.context.received_ns // NS_PER_MS, self.table.capacity)
        if tally[1]:
            self.version += 1
        return int(tally[0])

    def _take_native(self, native: NativeHistograms, now_s: float) -> bool:
        """Keep histograms; return whether series came or went."""
        self.seen[native.series] = now_s
        self._native.append(native)
        if sum(map(len, self._native[1:])) > len(self._native[0]):
            self._natives()
        stays = native.flags & NativeFlag.STALE == 0
        changed = bool((self._has_native[native.series] != stays).any())
        self._has_native[native.series] = stays
        return changed

    def expire(self, before_s: float) -> None:
        """Take off what came before `before_s`, and tell the table that the rest is still wanted."""
        old = self.live & (self.seen < before_s)
        if old.any():
            self.live[old] = False
            self.version += 1
        native = self._natives()
        if len(native):
            fresh = self.seen[native.series] >= before_s
            if not fresh.all():
                self._native = [native.select(fresh)]
                self._has_native[native.series[~fresh]] = False
                self.version += 1
        shown = self._shown()
        self.table.touch(shown)
        if len(self.name_texts) > 2 * len(shown) + _SPARE_NAMES:
            self._number_names(shown)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop everything about `ids`."""
        ids = ids[ids < len(self.live)]
        if self.live[ids].any():
            self.version += 1
        self.live[ids] = False
        self.names[ids] = -1
        if self._has_native[ids].any():
            native = self._natives()
            self._native = [native.select(~np.isin(native.series, ids))]
            self._has_native[ids] = False
            self.version += 1
        self._exemplars.forget(ids)
        for texts in self._texts.values():
            texts.arena.forget(ids)

    def shown_names(self) -> set[str]:
        """Return the names of the metrics that are shown."""
        texts = list(self.name_texts)
        return {texts[number] for number in np.unique(self.names[self._shown()]).tolist()}

    # -- pages ---------------------------------------------------------------------------------------------

    def write_labels(self, form: Format) -> Iterator[None]:
        """Write the labels of all that is shown as `form` has them, in steps."""
        self._fit()
        texts = self._texts_of(form)
        while True:
            texts.fit(len(self.live))
            missing = texts.missing(self._shown())[:_SLICE]
            if not len(missing):
                return
            texts.learn(Read.of(self.table, self._label_names, missing))
            yield

    def snapshot(self, form: Format, *, with_shape: bool) -> Snapshot:
        """Return what is shown, for a thread to write.

        Args:
            form: Whose labels were written.
            with_shape: With what is needed to lay out a page; else only what changes from one to the next.
        """
        exemplars = self._exemplars.snapshot(is_protobuf=form.is_protobuf) if form.has_exemplars else None
        found = Snapshot(self.version, self._values.copy(), self._times.copy(), self._natives(), exemplars)
        if form.is_protobuf:
            found.starts_ms = self._starts.copy()
        if with_shape:
            found.shape = self._shape(self._texts_of(form))
        return found

    def _shape(self, texts: LabelTexts) -> Shape:
        arena = texts.arena
        return Shape(
            np.flatnonzero(self.live & (self.names >= 0)).astype(np.int32), self.names.copy(), list(self.name_texts),
            self._groups.copy(), self._ranks.copy(), arena.places.copy(), arena.sizes.copy(), texts.cuts.copy(),
            arena.bytes,
        )  # fmt: skip

    def _texts_of(self, form: Format) -> LabelTexts:
        """Return the labels in a format; schemes that come to the same share them."""
        if len(self._label_names) > _MAX_LABEL_NAMES:
            self._label_names = LabelNames()
            self._texts.clear()
        scheme = ALLOW_UTF8 if self._label_names.all_classic else form.scheme
        key = (scheme, form.is_protobuf)
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = LabelTexts(
                self._label_names, self._constant, scheme, is_protobuf=form.is_protobuf
            )
            self.version += 1
        return found

    def _natives(self) -> NativeHistograms:
        """Return the newest histogram of each series that is not stale."""
        if len(self._native) != 1:
            self._native = [_newest(NativeHistograms.joined(self._native))]
        return self._native[0]

    def _shown(self) -> NDArray[np.int32]:
        """Return the ids of all that is shown."""
        ids = np.flatnonzero((self.live | self._has_native) & (self.names >= 0)).astype(np.int32)
        return ids[self.table.is_live(ids)]

    def _number_names(self, shown: NDArray[np.int32]) -> None:
        """Forget the names of metrics that are gone."""
        self.names[:] = -1
        self.name_texts = {}
        self._read(shown)
        self.version += 1

    def _read(self, ids: NDArray[np.int32]) -> None:
        """Take note of the names of series and of what orders the lines of a histogram."""
        read = Read.of(self.table, self._label_names, ids)
        spans = read.spans
        rows, bounds = np.flatnonzero(read.which < 0), np.empty(len(ids), np.int32)
        groups = np.empty(len(ids), np.uint64)
        label_kernels.survey(*spans, read.which, groups, bounds)
        owner = np.searchsorted(spans.starts, rows, "right") - 1
        texts = _texts(spans.buf, spans.spans[rows])
        self.names[ids[owner]] = [self.name_texts.setdefault(text, len(self.name_texts)) for text in texts]
        self._groups[ids] = groups
        self._ranks[ids] = 0.0
        bounded = np.flatnonzero(bounds >= 0)
        self._ranks[ids[bounded]] = [_number(text) for text in _texts(spans.buf, spans.spans[bounds[bounded]])]

    def _fit(self) -> None:
        capacity = self.table.capacity
        if len(self.live) >= capacity:
            return
        self.live, self.seen = grown(self.live, capacity), grown(self.seen, capacity, _NEVER)
        self.names = grown(self.names, capacity, -1)
        self._times, self._values = grown(self._times, capacity), grown(self._values, capacity)
        self._starts, self._has_native = grown(self._starts, capacity), grown(self._has_native, capacity)
        self._groups, self._ranks = grown(self._groups, capacity), grown(self._ranks, capacity)


def _newest(native: NativeHistograms) -> NativeHistograms:
    """Return the newest row of each series, the later one of equals, without stale markers."""
    if not len(native):
        return native
    order = np.lexsort((np.arange(len(native)), native.time_ms, native.series))
    last = np.append(np.diff(native.series[order]) != 0, [True])
    kept = order[last]
    return native.take(np.sort(kept[native.flags[kept] & NativeFlag.STALE == 0]).astype(np.int64))


def _texts(buf: NDArray[np.uint8], spans: NDArray[np.int32]) -> Iterator[str]:
    """Yield the values of labels; equal ones are read once, since a table keeps them once."""
    places, first, inverse = np.unique(spans[:, 2], return_index=True, return_inverse=True)
    pieces = zip(places.tolist(), spans[first, 3].tolist(), strict=True)
    found = [buf[place : place + size].tobytes().decode("utf-8", "replace") for place, size in pieces]
    return map(found.__getitem__, inverse.ravel().tolist())


def _number(text: str) -> float:
    """Return a bound as a number; what is none comes last."""
    try:
        return parse_float(text)
    except ValueError:
        return float("nan")
