"""Taking the records of the log back in when the store is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.store import exemplars, histogram_records, records
from headrace.store.codec.histograms import canonical
from headrace.store.head import FOREVER, NEVER
from headrace.store.interfaces import Code, SeriesBatch
from headrace.store.tombstones import Tombstones

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.late import LateArrivals
    from headrace.store.exemplars import Exemplars
    from headrace.store.interfaces import Offset, Record


class Replaying:
    """Replays the log of one workspace."""

    def __init__(self, contents: Contents, late: LateArrivals) -> None:
        self._contents = contents
        self._head = contents.head
        self._late = late

    def take(self, offset: Offset, record: Record) -> None:
        """Take one record back in.

        Raises:
            CorruptChunk: Its checksum is right and its content is not; it is skipped.
        """
        if record.kind == records.SERIES:
            self._take_series(record.payload)
        elif record.kind == records.METADATA:
            families = {row.family: row for row in records.decode_metadata(record.payload)}
            self._contents.definitions.families.update(families)
        elif record.kind == records.DELETED:
            self._take_deleted(Tombstones.decode(record.payload))
        elif record.kind in {records.SAMPLES, records.LATE}:
            self._take_samples(offset, records.decode_samples(record.payload), late=record.kind == records.LATE)
        elif record.kind == records.EXEMPLARS:
            self._take_exemplars(offset, exemplars.decode(record.payload))
        elif record.kind in {records.HISTOGRAMS, records.LATE_HISTOGRAMS}:
            histograms = canonical(histogram_records.decode(record.payload))
            self._take_histograms(offset, histograms, late=record.kind == records.LATE_HISTOGRAMS)
        else:
            raise CorruptChunk(f"record of kind {record.kind}")

    def _take_series(self, payload: bytes | bytearray | memoryview) -> None:
        refs = self._contents.index.restore(payload)
        self._contents.fit()
        self._contents.definitions.note(refs)

    def _take_samples(self, offset: Offset, batch: SeriesBatch, *, late: bool) -> None:
        self._contents.needs.note(offset.segment, int(batch.times_ms.max(initial=NEVER)), late=late)
        known = self._known(batch.refs)
        # In-order samples of before the last flush are in blocks.
        kept = known if late else known & (batch.times_ms >= self._head.valid_from)
        if not kept.all():
            batch = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
        self._contents.statistics.replayed += len(batch.refs)
        if late:
            self._late.replay(batch)
            return
        codes = self._head.append(batch, FOREVER - 1, NEVER + 1)
        missed = codes == Code.OUT_OF_ORDER_OK
        if missed.any():
            self._late.replay(SeriesBatch(batch.refs[missed], batch.times_ms[missed], batch.values[missed]))

    def _take_histograms(self, offset: Offset, histograms: NativeHistograms, *, late: bool) -> None:
        self._contents.needs.note(offset.segment, int(histograms.time_ms.max(initial=NEVER)), late=late)
        known = self._known(histograms.series)
        # As of samples: what came in order before the last flush is in blocks.
        histograms = histograms.select(known if late else known & (histograms.time_ms >= self._head.valid_from))
        self._contents.statistics.replayed += len(histograms)
        missed = np.ones(len(histograms), np.bool_)
        if not late:
            codes, _ = self._head.append_histograms(histograms, FOREVER - 1, NEVER + 1)
            missed = codes == Code.OUT_OF_ORDER_OK
        self._late.replay_histograms(histograms.select(missed))

    def _take_exemplars(self, offset: Offset, rows: Exemplars) -> None:
        known = self._known(rows.refs)
        self._contents.exemplars.head.replay(rows.select(known), offset.segment, self._contents.index.next_ref)

    def _take_deleted(self, tombstones: Tombstones) -> None:
        block_set = self._contents.block_set
        for row in tombstones.rows:
            block_set.reserve(row.below)
            self._head.drop_late(row.refs, row.start_ms, row.end_ms)
            self._contents.exemplars.head.drop(row.refs, row.start_ms, row.end_ms)
            if any(block.number < row.below for block in block_set.blocks) and row not in block_set.tombstones:
                block_set.set_tombstones(block_set.tombstones.with_row(row))

    def _known(self, refs: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of `refs` are defined; count the others."""
        index = self._contents.index
        # Also refs whose definition was lost: what is left of their samples must never become another series'.
        index.reserve_refs(int(refs.max(initial=-1)) + 1)
        known = index.alive(refs)
        self._contents.statistics.replay_unknown += int((~known).sum())
        return known
