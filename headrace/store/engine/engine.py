"""The engine of one workspace: head, blocks and index behind one interface.

Writes come from one thread, the event loop's; queries from any; maintenance from a thread of its own. The contracts are
here; the operations are in the modules beside, all on the same `Contents`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.engine.appending import Appending
from headrace.store.engine.contents import Contents
from headrace.store.engine.deleting import Deleting
from headrace.store.engine.exchange import Exchange
from headrace.store.engine.expiry import Expiry
from headrace.store.engine.flushing import Flushing
from headrace.store.engine.late import LateArrivals
from headrace.store.engine.merging import Merging
from headrace.store.engine.queries import Queries
from headrace.store.engine.replaying import Replaying
from headrace.store.engine.setting_aside import check_newest
from headrace.store.engine.sources import Sources
from headrace.store.engine.turns import Turns
from headrace.store.index import LabelSets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.block import Block
    from headrace.store.engine.options import EngineOptions
    from headrace.store.exemplars import ExemplarBatch, ExemplarHead, ExemplarResult, Exemplars
    from headrace.store.files import Files
    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.index import Index
    from headrace.store.interfaces import AppendResult, Labels, MetadataRow, Offset, Record, SeriesBatch
    from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
    from headrace.store.log import WriteAheadLog
    from headrace.store.matchers import Matcher
    from headrace.store.scan import EngineScan
    from headrace.store.symbols import Symbols
    from headrace.store.tombstones import Tombstone


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

    Attributes:
        changes: Tells when samples came or went.

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
        self._contents = contents = Contents(workspace, directory, files, options)
        self.statistics = contents.statistics
        self.head = contents.head
        self.changes = contents.changes
        self.block_set = contents.block_set
        self._turns = turns = Turns()
        sources = Sources(contents)
        late = LateArrivals(contents, sources)
        self._sources = sources
        self._appending = Appending(contents, late, log, clock_ms)
        self._replaying = Replaying(contents, late)
        self._queries = Queries(contents, sources)
        self._flushing = Flushing(contents, turns)
        self._merging = Merging(contents, turns)
        self._deleting = Deleting(contents, sources, log, turns, self._merging)
        self._expiry = Expiry(contents, turns, clock_ms, steady_s)
        self._exchange = Exchange(contents, turns)

    @property
    def options(self) -> EngineOptions:
        """The settings; new ones are in force from the next operation on."""
        return self._contents.options

    @options.setter
    def options(self, options: EngineOptions) -> None:
        self._contents.options = options

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
        refs = self._contents.index.intern(sets)
        self._contents.fit()
        return refs

    async def append(self, batch: SeriesBatch) -> AppendResult:
        """Store samples; return when they are durable.

        Args:
            batch: Refs that `refs` gave; any order of rows, repeats allowed.

        Raises:
            StoreFailed: The disk failed; nothing of the batch is acknowledged.
        """
        return await self._appending.append(batch)

    async def append_exemplars(self, batch: ExemplarBatch) -> ExemplarResult:
        """Store exemplars; return when they are durable.

        Args:
            batch: Refs that `refs` gave; those of a series in ascending order of time.

        Raises:
            StoreFailed: The disk failed; nothing of the batch is acknowledged.
        """
        return await self._appending.append_exemplars(batch)

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
        return await self._appending.append_histograms(histograms)

    async def update_metadata(self, rows: Iterable[MetadataRow]) -> None:
        """Store types, helps and units of families; durable on return."""
        await self._appending.update_metadata(rows)

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks, oldest written first."""
        return self.block_set.blocks

    def symbols(self) -> Symbols:
        """Return the dictionary of label values."""
        return self._contents.index.symbols

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> ColumnarSeries:
        """Return the samples of all series that fulfil `matchers`, times from start to end inclusive.

        Raises:
            CorruptChunk: A block does not decode; it is set aside, so that the next try answers without it.
        """
        return self._queries.select(matchers, start_ms, end_ms, symbols)

    def scan(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> EngineScan:
        """Return the series that fulfil `matchers`, to read their samples piece by piece."""
        return self._queries.scan(matchers, start_ms, end_ms, symbols)

    @property
    def has_histograms(self) -> bool:
        """Whether there is any native histogram."""
        return self._sources.have_histograms

    def select_histograms(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> HistogramSeries:
        """Return the native histograms of all series that fulfil `matchers`, as `select` does samples.

        Raises:
            CorruptChunk: A block does not decode; it is set aside, so that the next try answers without it.
        """
        return self._queries.select_histograms(matchers, start_ms, end_ms, symbols)

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""
        return self._queries.series(matchers, start_ms, end_ms, symbols)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the label names of the series that have samples in the time range, sorted."""
        return self._queries.label_names(matchers, start_ms, end_ms)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the values of label `name` of the series that have samples in the time range, sorted."""
        return self._queries.label_values(name, matchers, start_ms, end_ms)

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> tuple[LabelTable, Exemplars]:
        """Return the exemplars of all series that fulfil `matchers`, times from start to end inclusive.

        Returns:
            The label sets of the series that have some, by ascending ref, and the exemplars, by ref and time.
        """
        return self._queries.exemplars(matchers, start_ms, end_ms, symbols)

    def exemplar_statistics(self) -> ExemplarHead:
        """Return the exemplars in memory, with counts of what became of all since the workspace was opened."""
        return self._contents.exemplars.head

    def metadata(self) -> list[MetadataRow]:
        """Return what is known about families, in the order in which they were first seen."""
        return list(self._contents.definitions.families.values())

    def __len__(self) -> int:
        """Count the series."""
        return len(self._contents.index)

    @property
    def index(self) -> Index:
        """The index; a packed one may take its place, so take it once for what belongs together."""
        return self._contents.index

    def oldest_ms(self) -> int:
        """Return the oldest time of all samples."""
        return self._contents.oldest_ms()

    def newest_ms(self) -> int:
        """Return the newest time of all samples."""
        return self._contents.newest_ms()

    # -- the log -------------------------------------------------------------------------------------------

    def replay(self, offset: Offset, record: Record) -> None:
        """Take one record of the log back in.

        Raises:
            CorruptChunk: Its checksum is right and its content is not; it is skipped.
        """
        self._replaying.take(offset, record)

    def forget_logged(self) -> None:
        """Take only the series in the head as defined in the log; called before the log is rotated and trimmed."""
        self._contents.definitions.forget_logged(self._contents.index)

    def log_needed_from(self, below: int) -> int:
        """Return the first segment below `below` that still holds samples which are in no block, or `below`."""
        return self._contents.log_needed_from(below)

    def definitions(self) -> list[Record]:
        """Return the records that have to stay in the log when segments go."""
        return self._contents.definitions.records(self._contents.index)

    # -- maintenance, on a thread of its own ---------------------------------------------------------------

    def flush_due(self) -> bool:
        """Return whether the head holds a window that is over, or many late samples."""
        return self._flushing.due()

    def flush(self, *, everything: bool = False) -> int:
        """Write finished windows of the head into blocks; return the samples written.

        Args:
            everything: Also what is not finished, as at shutdown.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        return self._flushing.flush(everything=everything)

    def compact(self) -> bool:
        """Merge the blocks whose turn it is; return whether there were any. Flushes go on meanwhile.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        return self._merging.compact()

    def check_newest(self, most_bytes: int) -> int:
        """Check the checksums of the newest blocks, so that no query has to; return the bytes of these blocks.

        Args:
            most_bytes: What all together may have.
        """
        return check_newest(self.block_set, most_bytes)

    def snapshot(self, target: Path) -> None:
        """Put what is in blocks into a snapshot; see `headrace.store.snapshot`.

        Raises:
            OSError: The disk refused.
        """
        self._exchange.snapshot(target)

    def adopt(self, blocks: Sequence[Block], imports: Mapping[str, int]) -> None:
        """Take blocks in that were written beside the head, of refs that `refs_of` gave.

        Args:
            blocks: With numbers that `BlockSet.allocate` gave.
            imports: What the manifest says of imports from now on.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        self._exchange.adopt(blocks, imports)

    def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Tombstone:
        """Delete all samples in blocks that fulfil `matchers`, times from start to end inclusive; return the tombstone.

        The head has been flushed before. What came since is not meant: the tombstone ends where the head begins.
        `log_deletion` is still to come: until then late samples in the log may bring back what is deleted.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        return self._deleting.delete(matchers, start_ms, end_ms)

    async def log_deletion(self, row: Tombstone) -> None:
        """Make a deletion durable, and void the late samples that it is about.

        Raises:
            StoreFailed: The disk failed.
        """
        await self._deleting.log(row)

    def purge(self) -> int:
        """Rewrite all blocks that hold deleted samples; return how many.

        Raises:
            OSError: The disk refused; what was not rewritten stays hidden.
        """
        return self._deleting.purge()

    def retain(self) -> int:
        """Remove the blocks that are older than the retention, or too many bytes; return how many.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        return self._expiry.retain()

    def believe(self) -> None:
        """Begin to follow the clock, from the newest sample that is stored; called once the log was read."""
        self._expiry.believe()

    def orphans(self) -> NDArray[np.int32]:
        """Return the refs of series without any sample, which the writer's thread may `forget`."""
        return self._expiry.orphans()

    def forget(self, refs: NDArray[np.int32]) -> None:
        """Take series out of the index; on the writer's thread, after whoever keeps their refs was told."""
        self._expiry.forget(refs)

    def close(self) -> None:
        """Let the blocks go, once maintenance that is under way is over; later maintenance does nothing."""
        with self._turns.merging, self._turns.changing:
            self._turns.closed = True
            self.block_set.close()
