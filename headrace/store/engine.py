"""The engine of one workspace: head, blocks and index behind one interface.

Writes come from one thread, the event loop's; queries from any; maintenance from a thread of its own. A write is
validated against the head, applied, logged and only then acknowledged.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.errors import CorruptChunk
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store import exemplar_blocks, exemplars, histogram_records, records
from headrace.store.block_set import BlockSet
from headrace.store.changes import ChangeLog
from headrace.store.codec.histograms import STALE_BITS, canonical, is_stale
from headrace.store.compaction import REST, Progress, merge_blocks, plan
from headrace.store.engine_exemplars import EngineExemplars
from headrace.store.exemplars import MAX_IN_MEMORY, ExemplarResult
from headrace.store.flush import Flush
from headrace.store.head import FOREVER, NEVER, Head
from headrace.store.head_kernels import BELOW_FLOOR
from headrace.store.histogram_rows import HistogramSeries, taken
from headrace.store.histogram_rows import compare as compare_histograms
from headrace.store.histogram_rows import merge as merge_histograms
from headrace.store.index import Index, LabelSets
from headrace.store.interfaces import FIRST_REJECTION, AppendResult, Code, Record, SeriesBatch
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.log_needs import LogNeeds, Need
from headrace.store.retention_clock import RetentionClock
from headrace.store.runs import merge, without_empty
from headrace.store.samples_at import Stored, compare
from headrace.store.scan import EngineScan, plain
from headrace.store.snapshot import write_workspace
from headrace.store.stopwatch import measured
from headrace.store.tombstones import Tombstone, Tombstones, read_block, read_block_histograms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.block import Block
    from headrace.store.exemplars import ExemplarBatch, ExemplarHead, Exemplars
    from headrace.store.files import Files
    from headrace.store.interfaces import Labels, MetadataRow, Offset
    from headrace.store.log import WriteAheadLog
    from headrace.store.manifest import Manifest
    from headrace.store.matchers import Matcher
    from headrace.store.runs import Runs
    from headrace.store.symbols import Symbols

BLOCK_MS = 2 * 3600 * 1000
"""Time that a block of the head covers."""

_MAX_LATE = 1 << 18
"""Out-of-order samples in memory at which they are written into blocks at once."""

_MAX_FAMILIES = 100_000

_NO_HISTOGRAMS = NativeHistograms.empty()

_DEFINED_AT_ONCE = 1 << 16
"""Series of one record of definitions, so that no record gets larger than a log takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of one workspace.

    Attributes:
        retention_ms: Blocks whose newest sample is older are removed.
        retention_bytes: The oldest blocks go while all together are larger; 0 for no limit.
        out_of_order_ms: How far behind the newest sample of the workspace a late one may be; 0 takes none.
        max_future_ms: How far ahead of the clock a sample may be.
        block_ms: Time that a block of the head covers.
        linger_ms: How long the head keeps a window open after its end, for samples that come late; half of `block_ms`
            where it is negative.
        max_exemplars: Exemplars in memory, until a block takes them; the oldest go first. 0 takes none.
    """

    retention_ms: int = 15 * 86_400_000
    retention_bytes: int = 0
    out_of_order_ms: int = 600_000
    max_future_ms: int = 600_000
    block_ms: int = BLOCK_MS
    linger_ms: int = -1
    max_exemplars: int = MAX_IN_MEMORY


@dataclass
class EngineStatistics:
    """What an engine has done since it was opened.

    Attributes:
        appended: Samples stored.
        codes: Samples by what became of them.
        replayed: Samples read back from the log.
        replay_unknown: Samples in the log whose series' definition was lost.
        flushes: Times that the head was written into blocks.
        compactions: Merges of blocks.
        compacted_samples: Samples written by merges.
        compaction: The merge under way, None without one.
        flush_seconds: Time of flushes.
        flushed_samples: Samples that flushes have written.
        compaction_seconds: Time of merges and purges, rests included.
        expired_blocks: Blocks that retention has removed.
        retention_seconds: Time of looking for them and removing them.
        deletions: Tombstones put in force.
        delete_seconds: Time of that.
        purged_blocks: Blocks rewritten to remove deleted samples.
        purge_seconds: Time of that.
    """

    appended: int = 0
    codes: dict[Code, int] = field(default_factory=lambda: dict.fromkeys(Code, 0))
    replayed: int = 0
    replay_unknown: int = 0
    flushes: int = 0
    compactions: int = 0
    compacted_samples: int = 0
    compaction: Progress | None = None
    flush_seconds: float = 0.0
    flushed_samples: int = 0
    compaction_seconds: float = 0.0
    expired_blocks: int = 0
    retention_seconds: float = 0.0
    deletions: int = 0
    delete_seconds: float = 0.0
    purged_blocks: int = 0
    purge_seconds: float = 0.0


class Engine:
    """One workspace's store.

    Args:
        workspace: Its id.
        directory: Where its blocks lie; exists.
        log: Makes writes durable; shared by all engines of a data directory.
        files: Does the writing.
        options: Settings.
        clock_ms: Unix time.
        steady_s: Seconds of a clock that never steps; `clock_ms` is taken for one without it.

    Raises:
        StoreFailed: The data are of a version that is not known here.
    """

    def __init__(
        self,
        workspace: str,
        directory: Path,
        log: WriteAheadLog,
        files: Files,
        options: EngineOptions,
        clock_ms: Callable[[], int],
        steady_s: Callable[[], float] | None = None,
    ) -> None:
        self.workspace = workspace
        self.options = options
        self.statistics = EngineStatistics()
        self._log = log
        self._files = files
        self._clock_ms = clock_ms
        self._logger = logging.getLogger("headrace.store")
        self.head = Head()
        self.changes = ChangeLog()
        """Tells when samples came or went."""
        self._index = Index()
        self._logged = np.zeros(256, np.bool_)
        self._new_families: list[MetadataRow] = []
        self._needs = LogNeeds()
        self._defining = threading.Lock()
        self._steady_s = steady_s or (lambda: clock_ms() / 1000)
        self._retention_clock: RetentionClock | None = None
        self._maintenance = threading.RLock()
        self._compacting = threading.Lock()
        self._closed = False
        self.block_set = BlockSet(directory, files, self.changes)
        self._exemplars = EngineExemplars(self.block_set, options.max_exemplars)
        self._families = {row.family: row for row in self.block_set.manifest.families}
        self._restore_blocks()

    # -- writing -------------------------------------------------------------------------------------------

    def refs(self, series: Sequence[Labels]) -> NDArray[np.int32]:
        """Return the refs of label sets, giving new ones to those that have none.

        Args:
            series: Valid label sets, sorted by name.

        Returns:
            (n,) int32, stable for the life of the data.
        """
        return self.refs_of(LabelSets.of(series))

    def refs_of(self, sets: LabelSets) -> NDArray[np.int32]:
        """Do what `refs` does for label sets that are bytes; no Python for each of them."""
        refs = self._index.intern(sets)
        self._fit()
        return refs

    async def append(self, batch: SeriesBatch) -> AppendResult:
        """Store samples; return when they are durable.

        Args:
            batch: Refs that `refs` gave; any order of rows, repeats allowed.

        Raises:
            StoreFailed: The disk failed; nothing of the batch is acknowledged.
        """
        now = self._clock_ms()
        latest = now + self.options.max_future_ms
        codes = self.head.append(batch, latest, self._oldest(batch.times_ms, latest))
        in_order = batch
        late = None
        if codes.any():
            late = self._take_late(batch, codes)
            kept = (codes == Code.OK) | (codes == Code.REPLACED)
            in_order = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
            codes[codes == BELOW_FLOOR] = Code.OK
            self.changes.note(FOREVER if late is None else int(late.times_ms.min()))
        self.changes.note(int(in_order.times_ms.min(initial=FOREVER)))
        entries = self._pending(batch.refs)
        if len(in_order.refs):
            entries.append(Record(records.SAMPLES, self.workspace, records.encode_samples(in_order)))
        if late is not None:
            entries.append(Record(records.LATE, self.workspace, records.encode_samples(late)))
        self._count(codes)
        # Also where nothing is new: an acknowledged repeat has to be as durable as what it repeats.
        newest = int(in_order.times_ms.max(initial=NEVER if late is None else late.times_ms.max()))
        await self._log_samples(entries, Need(self._log.floor, newest, late is not None))
        return AppendResult(int((codes < FIRST_REJECTION).sum()), codes)

    async def append_exemplars(self, batch: ExemplarBatch) -> ExemplarResult:
        """Store exemplars; return when they are durable.

        Args:
            batch: Refs that `refs` gave; those of a series in ascending order of time.

        Raises:
            StoreFailed: The disk failed; nothing of the batch is acknowledged.
        """
        head = self._exemplars.head
        head.limit = self.options.max_exemplars
        latest = self._clock_ms() + self.options.max_future_ms
        part, codes = head.append(batch, latest, self._index.next_ref, self._log.floor)
        entries = []
        if part is not None:
            entries = self._pending(part.rows.refs)
            entries.append(Record(records.EXEMPLARS, self.workspace, exemplars.encode(part.rows)))
        offset = await self._log.append(entries)
        if part is not None:
            head.logged(part, offset.segment)
        return ExemplarResult(int((codes <= exemplars.ExemplarCode.DUPLICATE).sum()), codes)

    async def append_histograms(self, histograms: NativeHistograms) -> AppendResult:
        """Store native histograms; return when they are durable.

        A series' newest time is that of its samples and histograms together, and at one time it has only one of the
        two. Histograms are equal where they differ in nothing but reset hint and start time.

        Args:
            histograms: `series` are refs that `refs` gave; any order of rows, repeats allowed.

        Raises:
            InvalidInput: The columns of a row contradict each other; nothing of them is stored.
            StoreFailed: The disk failed; nothing of them is acknowledged.
        """
        histograms = canonical(histograms)
        latest = self._clock_ms() + self.options.max_future_ms
        oldest = self._oldest(histograms.time_ms, latest)
        codes, in_order = self.head.append_histograms(histograms, latest, oldest)
        late = self._take_late_histograms(histograms, codes)
        codes[codes == BELOW_FLOOR] = Code.OK
        self.changes.note(int(min(part.time_ms.min(initial=FOREVER) for part in (in_order, late))))
        entries = self._pending(histograms.series)
        for kind, part in ((records.HISTOGRAMS, in_order), (records.LATE_HISTOGRAMS, late)):
            if len(part):
                entries.append(Record(kind, self.workspace, histogram_records.encode(part)))
        self._count(codes)
        newest = max(int(in_order.time_ms.max(initial=NEVER)), int(late.time_ms.max(initial=NEVER)))
        # Also where nothing is new: an acknowledged repeat has to be as durable as what it repeats.
        await self._log_samples(entries, Need(self._log.floor, newest, len(late) > 0))
        return AppendResult(int((codes < FIRST_REJECTION).sum()), codes)

    async def _log_samples(self, entries: list[Record], need: Need) -> None:
        """Log what has been put into the head, which holds the segments that it may be in until blocks have it."""
        token = self._needs.begin(need)
        offset: Offset | None = None
        try:
            offset = await self._log.append(entries)
        finally:
            self._needs.end(token, offset)

    async def update_metadata(self, rows: Iterable[MetadataRow]) -> None:
        """Store types, helps and units of families; durable on return."""
        for row in rows:
            if self._families.get(row.family) != row and (
                row.family in self._families or len(self._families) < _MAX_FAMILIES
            ):
                self._families[row.family] = row
                self._new_families.append(row)
        if self._new_families:
            await self._log.append(self._pending(np.empty(0, np.int32)))

    def _fit(self) -> None:
        """Make room for all refs."""
        self.head.fit(self._index.next_ref)
        if self._index.next_ref > len(self._logged):
            with self._defining:
                self._logged = grown(self._logged, self._index.next_ref, fill=False)

    def _oldest(self, times_ms: NDArray[np.int64], latest: int) -> int:
        """Return the oldest time that is taken out of order; above `latest` where none is."""
        if not self.options.out_of_order_ms:
            return latest + 1
        newest = self.head.newest_ms
        if newest == NEVER:
            newest = min(int(times_ms.max(initial=NEVER + self.options.out_of_order_ms)), latest)
        return newest - self.options.out_of_order_ms

    def _take_late(self, batch: SeriesBatch, codes: NDArray[np.uint8]) -> SeriesBatch | None:
        """Keep what came out of order, as far as nothing of its time is there; settle the codes of these rows."""
        doubtful = (codes == Code.OUT_OF_ORDER_OK) | (codes == Code.OUT_OF_ORDER) | (codes == BELOW_FLOOR)
        if doubtful.any():
            rows = np.flatnonzero(doubtful)
            late = SeriesBatch(batch.refs[rows], batch.times_ms[rows], batch.values[rows])
            stored = compare(late, self._stored)
            self._compare_kinds(late, stored)
            codes[rows[stored == Stored.EQUAL]] = Code.DUPLICATE
            codes[rows[stored == Stored.OTHER]] = Code.CONFLICT
        kept = (codes == Code.OUT_OF_ORDER_OK) | (codes == BELOW_FLOOR)
        if not kept.any():
            return None
        taken = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
        self.head.add_late(taken)
        return taken

    def _compare_kinds(self, late: SeriesBatch, stored: NDArray[np.uint8]) -> None:
        """Settle samples at times of histograms of their series: conflicts, unless they are stale markers."""
        sources = self._stored_histograms(np.unique(late.refs), int(late.times_ms.min()), int(late.times_ms.max()))
        if sources:
            found = merge_histograms(sources)
            hit = taken(late.refs, late.times_ms, found.series, found.time_ms)
            stale = late.values.view(np.uint64) == STALE_BITS
            stored[hit] = np.where(stale, Stored.EQUAL, Stored.OTHER)[hit]

    def _take_late_histograms(self, histograms: NativeHistograms, codes: NDArray[np.uint8]) -> NativeHistograms:
        """Keep what came out of order, as far as nothing of its time is there; settle the codes of these rows."""
        doubtful = (codes == Code.OUT_OF_ORDER_OK) | (codes == Code.OUT_OF_ORDER) | (codes == BELOW_FLOOR)
        rows = np.flatnonzero(doubtful)
        if len(rows):
            late = histograms.take(rows)
            refs, start, end = np.unique(late.series), int(late.time_ms.min()), int(late.time_ms.max())
            stored = compare_histograms(late, self._stored_histograms(refs, start, end))
            samples = merge(self._stored(refs, start, end), len(refs))
            owners = np.repeat(refs, np.diff(samples.offsets))
            hit = taken(late.series, late.time_ms, owners, samples.times_ms)
            stored[hit] = np.where(is_stale(late), Stored.EQUAL, Stored.OTHER)[hit]
            codes[rows[stored == Stored.EQUAL]] = Code.DUPLICATE
            codes[rows[stored == Stored.OTHER]] = Code.CONFLICT
        late = histograms.select((codes == Code.OUT_OF_ORDER_OK) | (codes == BELOW_FLOOR))
        self.head.histograms.add_late(late)
        return late

    def _stored_histograms(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        try:
            return self._histogram_sources(refs, start_ms, end_ms)
        except CorruptChunk as error:
            # As of samples: what is late is taken unseen.
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            return []

    def _stored(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        try:
            return self._sources(refs, start_ms, end_ms)
        except CorruptChunk as error:
            # Late samples are then taken unseen; a query settles which of two stands.
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            return []

    def _pending(self, refs: NDArray[np.int32]) -> list[Record]:
        """Return what has to be in the log before samples of `refs`.

        The log defines every series that it has samples of, whatever blocks say: these may go.
        """
        entries = []
        with self._defining:
            known = self._logged[refs]
            new = np.unique(refs[~known]) if not known.all() else refs[:0]
            self._logged[new] = True
        if len(new):
            entries.append(Record(records.SERIES, self.workspace, self._index.encode(new)))
        if self._new_families:
            entries.append(Record(records.METADATA, self.workspace, records.encode_metadata(self._new_families)))
            self._new_families = []
        return entries

    def _count(self, codes: NDArray[np.uint8]) -> None:
        counted = self.statistics.codes
        if not codes.any():
            counted[Code.OK] += len(codes)
            self.statistics.appended += len(codes)
            return
        for code, amount in enumerate(np.bincount(codes).tolist()):
            counted[Code(code)] += amount
        self.statistics.appended += int(((codes < FIRST_REJECTION) & (codes != Code.DUPLICATE)).sum())

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks, oldest written first."""
        return self.block_set.blocks

    def symbols(self) -> Symbols:
        """Return the dictionary of label values."""
        return self._index.symbols

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> ColumnarSeries:
        """Return the samples of all series that fulfil `matchers`, times from start to end inclusive.

        Raises:
            CorruptChunk: A block does not decode; it is set aside, so that the next try answers without it.
        """
        scan = self.scan(matchers, start_ms, end_ms, symbols)
        refs, samples = without_empty(scan.refs, plain(scan.read(0, len(scan), share=False)))
        return ColumnarSeries(scan.labels_of(refs), *samples, refs=refs)

    def scan(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> EngineScan:
        """Return the series that fulfil `matchers`, to read their samples piece by piece."""
        index = self._index
        symbols = QuerySymbols(index.symbols) if symbols is None else symbols
        times = (start_ms, end_ms)
        return EngineScan(self.head, self.block_set, self._reading, index, index.select(matchers), times, symbols)

    @property
    def has_histograms(self) -> bool:
        """Whether there is any native histogram."""
        return not self.head.histograms.is_empty or any(block.histograms is not None for block in self.blocks)

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> HistogramSeries:
        """Return the native histograms of all series that fulfil `matchers`, as `select` does samples.

        Raises:
            CorruptChunk: A block does not decode; it is set aside, so that the next try answers without it.
        """
        index = self._index
        symbols = QuerySymbols(index.symbols) if symbols is None else symbols
        if not self.has_histograms:
            nothing = LabelTable((), np.empty((0, 0), np.int32), symbols)
            return HistogramSeries(nothing, np.zeros(1, np.int64), _NO_HISTOGRAMS)
        found = merge_histograms(self._histogram_sources(index.select(matchers), start_ms, end_ms))
        refs, counts = np.unique(found.series, return_counts=True)
        offsets = np.zeros(len(refs) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return HistogramSeries(index.table(refs, symbols), offsets, found)

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""
        index = self._index
        refs = self._present(index.select(matchers), start_ms, end_ms)
        return index.table(refs, QuerySymbols(index.symbols) if symbols is None else symbols)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the label names of the series that have samples in the time range, sorted."""
        index = self._index
        return index.names(self._scope(index, matchers, start_ms, end_ms))

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the values of label `name` of the series that have samples in the time range, sorted."""
        index = self._index
        if matchers or self._holds_all(start_ms, end_ms):
            return index.values(name, self._scope(index, matchers, start_ms, end_ms))
        return index.values_with(name, lambda refs: self._are_present(refs, start_ms, end_ms))

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> tuple[LabelTable, Exemplars]:
        """Return the exemplars of all series that fulfil `matchers`, times from start to end inclusive.

        Returns:
            The label sets of the series that have some, by ascending ref, and the exemplars, by ref and time.
        """
        index = self._index
        rows = self._exemplars.select(index.select(matchers), start_ms, end_ms)
        refs = np.unique(rows.refs)
        return index.table(refs, QuerySymbols(index.symbols) if symbols is None else symbols), rows

    def exemplar_statistics(self) -> ExemplarHead:
        """Return the exemplars in memory, with counts of what became of all since the workspace was opened."""
        return self._exemplars.head

    def metadata(self) -> list[MetadataRow]:
        """Return what is known about families, in the order in which they were first seen."""
        return list(self._families.values())

    def __len__(self) -> int:
        """Count the series."""
        return len(self._index)

    @property
    def index(self) -> Index:
        """The index; a packed one may take its place, so take it once for what belongs together."""
        return self._index

    def oldest_ms(self) -> int:
        """Return the oldest time of all samples."""
        return min([self.head.oldest_ms, *(block.meta.min_ms for block in self.blocks)], default=FOREVER)

    def newest_ms(self) -> int:
        """Return the newest time of all samples."""
        return max([self.head.newest_ms, *(block.meta.max_ms for block in self.blocks)], default=NEVER)

    def _scope(self, index: Index, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> NDArray[np.int32] | None:
        """Return the refs that answers about labels are taken from; None for all."""
        everything = self._holds_all(start_ms, end_ms)
        if everything and not matchers:
            return None
        refs = index.select(matchers)
        return refs if everything else self._present(refs, start_ms, end_ms)

    def _holds_all(self, start_ms: int, end_ms: int) -> bool:
        """Return whether every series has samples in a time range, because it holds all of them."""
        deleted = len(self.block_set.tombstones) > 0
        return start_ms <= self.oldest_ms() and end_ms >= self.newest_ms() and not deleted

    def _present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.int32]:
        """Return those of `refs`, ascending, that have samples or histograms in a time range."""
        return refs[self._are_present(refs, start_ms, end_ms)]

    def _are_present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        tombstones = self.block_set.tombstones
        if tombstones.touch(refs, start_ms, end_ms):
            sampled = without_empty(refs, merge(self._sources(refs, start_ms, end_ms), len(refs)))[0]
            parts = [part.series for part in self._histogram_sources(refs, start_ms, end_ms)]
            return np.isin(refs, np.concatenate([sampled, *parts]))
        found = self.head.histograms.present(refs, start_ms, end_ms)
        for run in self.head.read(refs, start_ms, end_ms):
            found |= run.counts > 0
        for block in self.blocks:
            if block.overlaps(start_ms, end_ms):
                left = ~found
                with self._reading(block):
                    found[left] = block.present(refs[left], start_ms, end_ms)
                    found[left] |= block.histograms_present(refs[left], start_ms, end_ms)
        return found

    def _sources(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        # The head before the blocks: what a flush moves meanwhile is then seen twice instead of not at all.
        newest = self.head.read(refs, start_ms, end_ms)
        # Tombstones before blocks: a purge replaces the blocks first, and drops the tombstones afterwards.
        tombstones = self.block_set.tombstones
        found = []
        for block in self.blocks:
            if block.overlaps(start_ms, end_ms):
                with self._reading(block):
                    found.append(read_block(block, tombstones, refs, start_ms, end_ms))
        return found + newest

    def _histogram_sources(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[NativeHistograms]:
        # In the order of `_sources`, for its reasons.
        newest = self.head.histograms.read(refs, start_ms, end_ms)
        tombstones = self.block_set.tombstones
        found = []
        for block in self.blocks:
            if block.histograms is not None and block.overlaps(start_ms, end_ms):
                with self._reading(block):
                    found.append(read_block_histograms(block, tombstones, refs, start_ms, end_ms))
        return [part for part in (*found, *newest) if len(part)]

    def _reading(self, block: Block) -> _SettingAside:
        return _SettingAside(self.block_set, block)

    # -- replay --------------------------------------------------------------------------------------------

    def replay(self, offset: Offset, record: Record) -> None:
        """Take one record of the log back in.

        Raises:
            CorruptChunk: Its checksum is right and its content is not; it is skipped.
        """
        if record.kind == records.SERIES:
            refs = self._index.restore(record.payload)
            self._fit()
            self._logged[refs] = True
        elif record.kind == records.METADATA:
            self._families.update({row.family: row for row in records.decode_metadata(record.payload)})
        elif record.kind == records.DELETED:
            self._replay_deleted(Tombstones.decode(record.payload))
        elif record.kind in {records.SAMPLES, records.LATE}:
            self._replay_samples(offset, records.decode_samples(record.payload), late=record.kind == records.LATE)
        elif record.kind == records.EXEMPLARS:
            rows = exemplars.decode(record.payload)
            self._index.reserve_refs(int(rows.refs.max(initial=-1)) + 1)
            known = self._index.alive(rows.refs)
            self.statistics.replay_unknown += int((~known).sum())
            self._exemplars.head.replay(rows.select(known), offset.segment, self._index.next_ref)
        elif record.kind in {records.HISTOGRAMS, records.LATE_HISTOGRAMS}:
            histograms = canonical(histogram_records.decode(record.payload))
            self._replay_histograms(offset, histograms, late=record.kind == records.LATE_HISTOGRAMS)
        else:
            raise CorruptChunk(f"record of kind {record.kind}")

    def _replay_samples(self, offset: Offset, batch: SeriesBatch, *, late: bool) -> None:
        self._needs.note(offset.segment, int(batch.times_ms.max(initial=NEVER)), late=late)
        # Also refs whose definition was lost: what is left of their samples must never become another series'.
        self._index.reserve_refs(int(batch.refs.max(initial=-1)) + 1)
        known = self._index.alive(batch.refs)
        self.statistics.replay_unknown += int((~known).sum())
        # In-order samples of before the last flush are in blocks.
        kept = known if late else known & (batch.times_ms >= self.head.valid_from)
        if not kept.all():
            batch = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
        self.statistics.replayed += len(batch.refs)
        if late:
            self._replay_late(batch)
            return
        codes = self.head.append(batch, FOREVER - 1, NEVER + 1)
        missed = codes == Code.OUT_OF_ORDER_OK
        if missed.any():
            self._replay_late(SeriesBatch(batch.refs[missed], batch.times_ms[missed], batch.values[missed]))

    def _replay_histograms(self, offset: Offset, histograms: NativeHistograms, *, late: bool) -> None:
        self._needs.note(offset.segment, int(histograms.time_ms.max(initial=NEVER)), late=late)
        self._index.reserve_refs(int(histograms.series.max(initial=-1)) + 1)
        known = self._index.alive(histograms.series)
        self.statistics.replay_unknown += int((~known).sum())
        # As of samples: what came in order before the last flush is in blocks.
        histograms = histograms.select(known if late else known & (histograms.time_ms >= self.head.valid_from))
        self.statistics.replayed += len(histograms)
        missed = np.ones(len(histograms), np.bool_)
        if not late:
            codes, _ = self.head.append_histograms(histograms, FOREVER - 1, NEVER + 1)
            missed = codes == Code.OUT_OF_ORDER_OK
        histograms = histograms.select(missed)
        if not len(histograms):
            return
        times = histograms.time_ms
        sources = self._stored_histograms(np.unique(histograms.series), int(times.min()), int(times.max()))
        new = compare_histograms(histograms, sources) == Stored.NOTHING
        self.head.seen(histograms.series, times)
        self.head.histograms.add_late(histograms.select(new))

    def _replay_late(self, batch: SeriesBatch) -> None:
        new = compare(batch, self._stored) == Stored.NOTHING
        self.head.seen(batch.refs, batch.times_ms)
        self.head.add_late(SeriesBatch(batch.refs[new], batch.times_ms[new], batch.values[new]))

    def _replay_deleted(self, tombstones: Tombstones) -> None:
        for row in tombstones.rows:
            self.block_set.reserve(row.below)
            self.head.drop_late(row.refs, row.start_ms, row.end_ms)
            self._exemplars.head.drop(row.refs, row.start_ms, row.end_ms)
            if any(block.number < row.below for block in self.blocks) and row not in self.block_set.tombstones:
                self.block_set.set_tombstones(self.block_set.tombstones.with_row(row))

    # -- maintenance, on a thread of its own ---------------------------------------------------------------

    def flush_due(self) -> bool:
        """Return whether the head holds a window that is over, or many late samples."""
        return self._boundary() > self._flushed_to() or self._many_late()

    def flush(self, *, everything: bool = False) -> int:
        """Write finished windows of the head into blocks; return the samples written.

        Args:
            everything: Also what is not finished, as at shutdown.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._maintenance:
            if self._closed or self.head.newest_ms == NEVER:
                return 0
            boundary = self.head.newest_ms + 1 if everything else self._boundary()
            due = boundary > self._flushed_to()
            if not due and not everything and not self._many_late():
                return 0
            boundary = max(boundary, self.head.valid_from) if due or everything else self.head.valid_from
            return self._flush(boundary)

    def _many_late(self) -> bool:
        """Return whether there are many late samples that a flush would write: those of windows that are flushed."""
        head = self.head
        return head.late_samples > _MAX_LATE and head.late_before(head.valid_from) > _MAX_LATE

    def _flushed_to(self) -> int:
        return max(self.head.valid_from, min(self.head.oldest_ms, FOREVER - 1))

    def _boundary(self) -> int:
        newest = self.head.newest_ms
        if newest == NEVER:
            return NEVER
        linger = self.options.linger_ms if self.options.linger_ms >= 0 else self.options.block_ms // 2
        return (newest - linger) // self.options.block_ms * self.options.block_ms

    @measured("flush_seconds", result="flushed_samples")
    def _flush(self, boundary: int) -> int:
        late = self._needs.take_late()
        in_memory = self._exemplars.head
        worked = False
        try:
            flush = Flush(
                self.head, lambda: self._index, self.block_set, self.workspace, self.options.block_ms, in_memory
            )
            blocks = flush.write(boundary)
            valid_from = None if boundary == NEVER else boundary
            self.block_set.commit(self._manifest(valid_from), add=blocks)
            worked = True
            in_memory.forget(flush.exemplar_parts, flush.exemplars_below)
            if boundary > self.head.valid_from:
                self.head.forget_before(boundary)
        finally:
            self.head.end_flush(worked=worked)
            if not worked:
                self._needs.keep_late(late)
        self.statistics.flushes += 1
        return sum(block.meta.samples for block in blocks)

    def _manifest(self, valid_from: int | None) -> Manifest:
        return replace(
            self.block_set.manifest,
            next_ref=self._index.next_ref,
            valid_from=valid_from,
            families=tuple(self._families.values()),
        )

    def forget_logged(self) -> None:
        """Take only the series in the head as defined in the log; called before the log is rotated and trimmed."""
        with self._defining:
            refs = self._index.refs()
            live = np.union1d(refs[self.head.has_samples(refs)], self._exemplars.head.refs())
            before = grown(self._logged, self._index.next_ref, fill=False)
            logged = np.zeros_like(before)
            # As it is: the writer may be about to define what it has just put into the head.
            logged[live] = before[live]
            # The writer defines again what it finds missing here: after the rotation, or `definitions` name it.
            self._logged = logged

    def log_needed_from(self, below: int) -> int:
        """Return the first segment below `below` that still holds samples which are in no block, or `below`."""
        needed = self._needs.first(below, self.head.valid_from)
        exemplars_from = self._exemplars.head.needed_segment()
        return needed if exemplars_from is None else min(needed, exemplars_from)

    def definitions(self) -> list[Record]:
        """Return the records that have to stay in the log when segments go."""
        refs = np.flatnonzero(self._logged).astype(np.int32)
        needed = refs[self._index.alive(refs)]
        kept = [
            Record(records.SERIES, self.workspace, self._index.encode(needed[i : i + _DEFINED_AT_ONCE]))
            for i in range(0, len(needed), _DEFINED_AT_ONCE)
        ]
        if self._families:
            kept.append(
                Record(records.METADATA, self.workspace, records.encode_metadata(list(self._families.values())))
            )
        return kept

    def compact(self) -> bool:
        """Merge the blocks whose turn it is; return whether there were any. Flushes go on meanwhile.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._compacting:
            valid_from = self.head.valid_from
            group = plan(self.blocks, self.options.block_ms, self.options.retention_ms, valid_from)
            if self._closed or not group:
                return False
            self._merge(group)
            return True

    def snapshot(self, target: Path) -> None:
        """Put what is in blocks into a snapshot; see `headrace.store.snapshot`.

        Raises:
            OSError: The disk refused.
        """
        # Nothing replaces or removes a block meanwhile.
        with self._maintenance:
            blocks = self.block_set
            write_workspace(
                target, self._manifest(blocks.manifest.valid_from), self.blocks, blocks.tombstones, self._files
            )

    def adopt(self, blocks: Sequence[Block], imports: Mapping[str, int]) -> None:
        """Take blocks in that were written beside the head, of refs that `refs_of` gave.

        Args:
            blocks: With numbers that `BlockSet.allocate` gave.
            imports: What the manifest says of imports from now on.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._maintenance:
            manifest = replace(self._manifest(self.block_set.manifest.valid_from), imports=dict(imports))
            self.block_set.commit(manifest, add=blocks)
            for block in blocks:
                self._see(block)
                self.changes.note(block.meta.min_ms)

    @measured("compaction_seconds")
    def _merge(self, group: Sequence[Block], *, rest: float = REST) -> None:
        with self._maintenance:
            # Together: a tombstone that comes now is about this block too, or was seen here.
            path = self.block_set.path(self.block_set.allocate())
            tombstones = self.block_set.tombstones
        try:
            merged = merge_blocks(
                sorted(group, key=lambda block: block.number), path, self._files, tombstones, self._progress, rest=rest
            )
        except CorruptChunk as error:
            self._logger.error("%s", error)  # noqa: TRY400 -- the message says all
            self._check_blocks(group)
            return
        finally:
            self.statistics.compaction = None
        with self._maintenance:
            # Retention may have removed some of them meanwhile, and then what was merged is too much.
            if self._closed or not set(group) <= set(self.blocks):
                self._files.remove(path)
                return
            add = [] if merged is None else [merged]
            self.block_set.commit(self._manifest(self.block_set.manifest.valid_from), add=add, remove=group)
        self.statistics.compactions += 1
        self.statistics.compacted_samples += 0 if merged is None else merged.meta.samples

    def _progress(self, progress: Progress) -> None:
        self.statistics.compaction = progress

    def _check_blocks(self, group: Sequence[Block]) -> None:
        """Read some blocks through and set the corrupt ones aside."""
        for block in group:
            try:
                # What is wrong with exemplars alone costs only them.
                block.verify(exemplars=False)
                block.read(block.refs, NEVER, FOREVER)
                block.read_histograms(block.all_refs, NEVER, FOREVER)
            except CorruptChunk:
                self.block_set.set_aside(block)

    def check_newest(self, most_bytes: int) -> int:
        """Check the checksums of the newest blocks, so that no query has to; return the bytes of these blocks.

        Args:
            most_bytes: What all together may have.
        """
        left = most_bytes
        for block in sorted(self.blocks, key=lambda block: block.meta.max_ms, reverse=True):
            if block.size_bytes > left:
                break
            left -= block.size_bytes
            with contextlib.suppress(CorruptChunk), self._reading(block):
                block.check()
        return most_bytes - left

    @measured("delete_seconds", calls="deletions")
    def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Tombstone:
        """Delete all samples in blocks that fulfil `matchers`, times from start to end inclusive; return the tombstone.

        The head has been flushed before. What came since is not meant: the tombstone ends where the head begins.
        `log_deletion` is still to come: until then late samples in the log may bring back what is deleted.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._maintenance:
            end_ms = min(end_ms, max(self.head.valid_from, NEVER + 1) - 1)
            selected = self._index.select(matchers)
            refs = self._present(selected, start_ms, end_ms)
            refs = np.union1d(refs, self._exemplars.present(selected, start_ms, end_ms)).astype(np.int32)
            row = Tombstone(start_ms, end_ms, self.block_set.next_block, refs)
            if len(refs):
                self.block_set.set_tombstones(self.block_set.tombstones.with_row(row))
                self.changes.note(start_ms)
            return row

    async def log_deletion(self, row: Tombstone) -> None:
        """Make a deletion durable, and void the late samples that it is about.

        Raises:
            StoreFailed: The disk failed.
        """
        # Before anything else is appended, so that the log tells it in the same order.
        self.head.drop_late(row.refs, row.start_ms, row.end_ms)
        self._exemplars.head.drop(row.refs, row.start_ms, row.end_ms)
        self.changes.note(row.start_ms)
        await self._log.append([Record(records.DELETED, self.workspace, Tombstones((row,)).encode())])

    @measured("purge_seconds", result="purged_blocks")
    def purge(self) -> int:
        """Rewrite all blocks that hold deleted samples; return how many.

        Raises:
            OSError: The disk refused; what was not rewritten stays hidden.
        """
        with self._compacting:
            tombstones = self.block_set.tombstones
            rewritten = 0
            for block in self.blocks if not self._closed else ():
                own = tombstones.of_block(block.number)
                some = own.touch(block.all_refs, block.meta.min_ms, block.meta.max_ms)
                if some or exemplar_blocks.touched(block, own):
                    self._merge([block], rest=0)
                    rewritten += 1
            with self._maintenance:
                self._drop_tombstones()
            return rewritten

    def _drop_tombstones(self) -> None:
        """Drop tombstones that are about no block any more."""
        tombstones = self.block_set.tombstones
        left = tuple(
            row for row in tombstones.rows
            if any(block.number < row.below and self._is_about(row, block) for block in self.blocks)
        )  # fmt: skip
        if len(left) < len(tombstones):
            self.block_set.set_tombstones(Tombstones(left))

    @staticmethod
    def _is_about(row: Tombstone, block: Block) -> bool:
        times = (row.start_ms, row.end_ms)
        return block.overlaps(*times) or exemplar_blocks.overlaps(block, *times)

    def close(self) -> None:
        """Let the blocks go, once maintenance that is under way is over; later maintenance does nothing."""
        with self._compacting, self._maintenance:
            self._closed = True
            self.block_set.close()

    @measured("retention_seconds", result="expired_blocks")
    def retain(self) -> int:
        """Remove the blocks that are older than the retention, or too many bytes; return how many.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._maintenance:
            if self._retention_clock is None:
                self.believe()
            assert self._retention_clock is not None
            limit = self._retention_clock.now_ms() - self.options.retention_ms
            self._exemplars.head.drop_before(limit)
            old = [block for block in self.blocks if block.meta.max_ms < limit]
            if self.options.retention_bytes:
                left = sorted((b for b in self.blocks if b not in old), key=lambda b: b.meta.max_ms)
                excess = sum(block.size_bytes for block in left) - self.options.retention_bytes
                while left and excess > 0:
                    excess -= left[0].size_bytes
                    old.append(left.pop(0))
            if old and not self._closed:
                self.block_set.commit(self._manifest(self.block_set.manifest.valid_from), remove=old)
                self._drop_tombstones()
                self.changes.note(min(block.meta.min_ms for block in old))
            return len(old)

    def believe(self) -> None:
        """Begin to follow the clock, from the newest sample that is stored; called once the log was read."""
        newest = self.newest_ms()
        start = None if newest == NEVER else newest
        self._retention_clock = RetentionClock(self._clock_ms, self._steady_s, start, self.workspace)

    def orphans(self) -> NDArray[np.int32]:
        """Return the refs of series without any sample, which the writer's thread may `forget`."""
        refs = self._index.refs()
        used = self.head.has_samples(refs)
        for block in self.blocks:
            used |= np.isin(refs, block.all_refs)
        used |= np.isin(refs, self._exemplars.used())
        return refs[~used]

    def forget(self, refs: NDArray[np.int32]) -> None:
        """Take series out of the index; on the writer's thread, after whoever keeps their refs was told."""
        self._index.remove(refs)
        self._exemplars.head.forget_series(refs)
        if self._index.wasteful:
            self._index = self._index.packed()

    def _restore_blocks(self) -> None:
        for block in self.blocks:
            if self._index.alive(block.all_refs).all():
                continue
            try:
                self._index.restore(block.series_records())
            except CorruptChunk as error:
                self._logger.error("%s: %s", block.path, error)  # noqa: TRY400 -- the message says all
                self.block_set.set_aside(block)
        try:
            self._exemplars.restore(self._index)
        except CorruptChunk as error:
            self._logger.error("%s; some exemplars are left out", error)  # noqa: TRY400 -- the message says all
        manifest = self.block_set.manifest
        self._index.reserve_refs(manifest.next_ref)
        self.head.valid_from = NEVER if manifest.valid_from is None else manifest.valid_from
        self.head.histograms.valid_from = self.head.valid_from
        self._fit()
        for block in self.blocks:
            self._see(block)

    def _see(self, block: Block) -> None:
        """Tell the head how new the series of a block are."""
        self.head.seen(block.refs, block.last_ms())
        if block.histograms is not None:
            self.head.seen(block.histograms.refs, block.histograms.newest_ms())


class _SettingAside:
    """Sets a block aside where reading it fails."""

    def __init__(self, blocks: BlockSet, block: Block) -> None:
        self._blocks = blocks
        self._block = block

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, CorruptChunk):
            self._blocks.set_aside(self._block)
