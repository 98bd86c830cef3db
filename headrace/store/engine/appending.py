"""Writing: what is new is validated against the head, applied, logged and only then acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store import exemplars, histogram_records, records
from headrace.store.codec.histograms import canonical
from headrace.store.exemplars import ExemplarResult
from headrace.store.head import FOREVER, NEVER
from headrace.store.head_kernels import BELOW_FLOOR
from headrace.store.interfaces import FIRST_REJECTION, AppendResult, Code, Record, SeriesBatch
from headrace.store.log_needs import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.late import LateArrivals
    from headrace.store.exemplars import ExemplarBatch
    from headrace.store.interfaces import MetadataRow, Offset
    from headrace.store.log import WriteAheadLog


class Appending:
    """Appends to one workspace, on the event loop's thread; see `Engine` for what its methods promise.

    Args:
        contents: The workspace.
        late: Takes what comes out of order.
        log: Makes writes durable.
        clock_ms: Unix time.
    """

    def __init__(self, contents: Contents, late: LateArrivals, log: WriteAheadLog, clock_ms: Callable[[], int]) -> None:
        self._contents = contents
        self._head = contents.head
        self._late = late
        self._log = log
        self._clock_ms = clock_ms

    async def append(self, batch: SeriesBatch) -> AppendResult:
        """Store samples; return when they are durable."""
        latest = self._latest()
        codes = self._head.append(batch, latest, self._oldest(batch.times_ms, latest))
        in_order = batch
        late = None
        changes = self._contents.changes
        if codes.any():
            late = self._late.take(batch, codes)
            kept = (codes == Code.OK) | (codes == Code.REPLACED)
            in_order = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
            codes[codes == BELOW_FLOOR] = Code.OK
            changes.note(FOREVER if late is None else int(late.times_ms.min()))
        changes.note(int(in_order.times_ms.min(initial=FOREVER)))
        entries = self._pending(batch.refs)
        for kind, part in ((records.SAMPLES, in_order), (records.LATE, late)):
            if part is not None and len(part.refs):
                entries.append(Record(kind, self._contents.workspace, records.encode_samples(part)))
        self._count(codes)
        # Also where nothing is new: an acknowledged repeat has to be as durable as what it repeats.
        newest = int(in_order.times_ms.max(initial=NEVER if late is None else late.times_ms.max()))
        await self._log_samples(entries, Need(self._log.floor, newest, late is not None))
        return AppendResult(int((codes < FIRST_REJECTION).sum()), codes)

    async def append_exemplars(self, batch: ExemplarBatch) -> ExemplarResult:
        """Store exemplars; return when they are durable."""
        head = self._contents.exemplars.head
        head.limit = self._contents.options.max_exemplars
        part, codes = head.append(batch, self._latest(), self._contents.index.next_ref, self._log.floor)
        entries = []
        if part is not None:
            entries = self._pending(part.rows.refs)
            entries.append(Record(records.EXEMPLARS, self._contents.workspace, exemplars.encode(part.rows)))
        offset = await self._log.append(entries)
        if part is not None:
            head.logged(part, offset.segment)
        return ExemplarResult(int((codes <= exemplars.ExemplarCode.DUPLICATE).sum()), codes)

    async def append_histograms(self, histograms: NativeHistograms) -> AppendResult:
        """Store native histograms; return when they are durable."""
        histograms = canonical(histograms)
        latest = self._latest()
        codes, in_order = self._head.append_histograms(histograms, latest, self._oldest(histograms.time_ms, latest))
        late = self._late.take_histograms(histograms, codes)
        codes[codes == BELOW_FLOOR] = Code.OK
        self._contents.changes.note(int(min(part.time_ms.min(initial=FOREVER) for part in (in_order, late))))
        entries = self._pending(histograms.series)
        for kind, part in ((records.HISTOGRAMS, in_order), (records.LATE_HISTOGRAMS, late)):
            if len(part):
                entries.append(Record(kind, self._contents.workspace, histogram_records.encode(part)))
        self._count(codes)
        newest = max(int(in_order.time_ms.max(initial=NEVER)), int(late.time_ms.max(initial=NEVER)))
        # Also where nothing is new: an acknowledged repeat has to be as durable as what it repeats.
        await self._log_samples(entries, Need(self._log.floor, newest, len(late) > 0))
        return AppendResult(int((codes < FIRST_REJECTION).sum()), codes)

    async def update_metadata(self, rows: Iterable[MetadataRow]) -> None:
        """Store types, helps and units of families; durable on return."""
        if self._contents.definitions.update(rows):
            await self._log.append(self._pending(np.empty(0, np.int32)))

    async def _log_samples(self, entries: list[Record], need: Need) -> None:
        """Log what has been put into the head, which holds the segments that it may be in until blocks have it."""
        needs = self._contents.needs
        token = needs.begin(need)
        offset: Offset | None = None
        try:
            offset = await self._log.append(entries)
        finally:
            needs.end(token, offset)

    def _pending(self, refs: NDArray[np.int32]) -> list[Record]:
        return self._contents.definitions.pending(self._contents.index, refs)

    def _latest(self) -> int:
        """Return the latest time that is taken."""
        return self._clock_ms() + self._contents.options.max_future_ms

    def _oldest(self, times_ms: NDArray[np.int64], latest: int) -> int:
        """Return the oldest time that is taken out of order; above `latest` where none is."""
        out_of_order_ms = self._contents.options.out_of_order_ms
        if not out_of_order_ms:
            return latest + 1
        newest = self._head.newest_ms
        if newest == NEVER:
            newest = min(int(times_ms.max(initial=NEVER + out_of_order_ms)), latest)
        return newest - out_of_order_ms

    def _count(self, codes: NDArray[np.uint8]) -> None:
        statistics = self._contents.statistics
        if not codes.any():
            statistics.codes[Code.OK] += len(codes)
            statistics.appended += len(codes)
            return
        for code, amount in enumerate(np.bincount(codes).tolist()):
            statistics.codes[Code(code)] += amount
        statistics.appended += int(((codes < FIRST_REJECTION) & (codes != Code.DUPLICATE)).sum())
