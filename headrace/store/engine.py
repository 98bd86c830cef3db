"""The engine of one workspace: head, blocks and index behind one interface.

Writes come from one thread, the event loop's; queries from any. A write is validated against the head, applied,
logged and only then acknowledged.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk, StoreFailed
from headrace.store import records
from headrace.store.block import Block, BlockWriter
from headrace.store.head import FOREVER, NEVER, Head
from headrace.store.index import Index
from headrace.store.interfaces import FIRST_REJECTION, AppendResult, Code, MetadataRow, Record, SeriesBatch
from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
from headrace.store.runs import Runs, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.files import Files
    from headrace.store.interfaces import Labels, Offset
    from headrace.store.labels import Symbols
    from headrace.store.log import WriteAheadLog
    from headrace.store.matchers import Matcher

BLOCK_MS = 2 * 3600 * 1000
"""Time that a block covers."""

_LINGER_MS = BLOCK_MS // 2
"""How long the head keeps a window open after its end, for samples that come late."""

_FLUSH_AT_ONCE = 4096
_MANIFEST_VERSION = 1
_MAX_FAMILIES = 100_000


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of one workspace.

    Attributes:
        retention_ms: Blocks whose newest sample is older are removed.
        out_of_order_ms: How far behind the newest sample of the workspace a late one may be; 0 takes none.
        max_future_ms: How far ahead of the clock a sample may be.
        block_ms: Time that a block covers.
    """

    retention_ms: int = 15 * 86_400_000
    out_of_order_ms: int = 600_000
    max_future_ms: int = 600_000
    block_ms: int = BLOCK_MS


@dataclass
class EngineStatistics:
    """What an engine has done since it was opened.

    Attributes:
        appended: Samples stored.
        codes: Samples by what became of them.
        replayed: Samples read back from the log.
        replay_unknown: Samples in the log whose series' definition was lost.
        blocks_set_aside: Blocks that did not open.
        flushes: Times that the head was written into blocks.
    """

    appended: int = 0
    codes: dict[Code, int] = field(default_factory=lambda: dict.fromkeys(Code, 0))
    replayed: int = 0
    replay_unknown: int = 0
    blocks_set_aside: int = 0
    flushes: int = 0


class Engine:
    """One workspace's store.

    Args:
        workspace: Its id.
        directory: Where its blocks lie; exists.
        log: Makes writes durable; shared by all engines of a data directory.
        files: Does the writing.
        options: Settings.
        clock_ms: Unix time.
    """

    def __init__(
        self,
        workspace: str,
        directory: Path,
        log: WriteAheadLog,
        files: Files,
        options: EngineOptions,
        clock_ms: Callable[[], int],
    ) -> None:
        self.workspace = workspace
        self.options = options
        self.statistics = EngineStatistics()
        self._directory = directory
        self._log = log
        self._files = files
        self._clock_ms = clock_ms
        self._logger = logging.getLogger("headrace.store")
        self.head = Head()
        self._index = Index()
        self._families: dict[str, MetadataRow] = {}
        self._new_series: list[tuple[int, Labels]] = []
        self._new_families: list[MetadataRow] = []
        self._segment_newest: dict[int, int] = {}
        self._maintenance = threading.Lock()
        self.blocks: tuple[Block, ...] = ()
        self._open_blocks()

    # -- writing -------------------------------------------------------------------------------------------

    def refs(self, series: Sequence[Labels]) -> NDArray[np.int32]:
        """Return the refs of label sets, giving new ones to those that have none.

        Args:
            series: Valid label sets, sorted by name.

        Returns:
            (n,) int32, stable for the life of the data.
        """
        out = np.empty(len(series), np.int32)
        for i, labels in enumerate(series):
            ref = self._index.find(labels)
            if ref < 0:
                ref = self._index.add(labels)
                self._new_series.append((ref, labels))
            out[i] = ref
        self.head.fit(self._index.next_ref)
        return out

    async def append(self, batch: SeriesBatch) -> AppendResult:
        """Store samples; return when they are durable.

        Args:
            batch: Refs that `refs` gave; any order of rows, repeats allowed.

        Raises:
            StoreFailed: The disk failed; nothing of the batch is acknowledged.
        """
        now = self._clock_ms()
        latest = now + self.options.max_future_ms
        window = self.options.out_of_order_ms
        oldest = self.head.newest_ms - window if window and self.head.newest_ms != NEVER else latest + 1
        codes = self.head.append(batch, latest, oldest)
        kept = self._count(codes)
        if kept is not None:
            batch = SeriesBatch(batch.refs[kept], batch.times_ms[kept], batch.values[kept])
        entries = self._pending()
        if len(batch.refs):
            entries.append(Record(records.SAMPLES, self.workspace, records.encode_samples(batch)))
        # Also where nothing is new: an acknowledged repeat has to be as durable as what it repeats.
        offset = await self._log.append(entries)
        self._note(offset, batch.times_ms)
        return AppendResult(int((codes < FIRST_REJECTION).sum()), codes)

    async def update_metadata(self, rows: Iterable[MetadataRow]) -> None:
        """Store types, helps and units of families; durable on return."""
        for row in rows:
            if self._families.get(row.family) != row and (
                row.family in self._families or len(self._families) < _MAX_FAMILIES
            ):
                self._families[row.family] = row
                self._new_families.append(row)
        if self._new_families:
            await self._log.append(self._pending())

    def _pending(self) -> list[Record]:
        """Take what has to be in the log before the next samples."""
        entries = []
        if self._new_series:
            entries.append(Record(records.SERIES, self.workspace, records.encode_series(self._new_series)))
            self._new_series = []
        if self._new_families:
            entries.append(Record(records.METADATA, self.workspace, records.encode_metadata(self._new_families)))
            self._new_families = []
        return entries

    def _count(self, codes: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        """Count codes; return which rows have to be logged, None for all."""
        if not codes.any():
            self.statistics.codes[Code.OK] += len(codes)
            self.statistics.appended += len(codes)
            return None
        for code, amount in enumerate(np.bincount(codes).tolist()):
            self.statistics.codes[Code(code)] += amount
        kept: NDArray[np.bool_] = (codes < FIRST_REJECTION) & (codes != Code.DUPLICATE)
        self.statistics.appended += int(kept.sum())
        return kept

    def _note(self, offset: Offset, times_ms: NDArray[np.int64]) -> None:
        """Remember the newest time that a segment holds, which decides when it may go."""
        newest = int(times_ms.max(initial=NEVER))
        self._segment_newest[offset.segment] = max(newest, self._segment_newest.get(offset.segment, NEVER))

    # -- reading -------------------------------------------------------------------------------------------

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
        refs = self._index.select(matchers)
        symbols = QuerySymbols(self._index.symbols) if symbols is None else symbols
        sources = self._sources(refs, start_ms, end_ms)
        samples = merge(sources, len(refs))
        counts = np.diff(samples.offsets)
        kept = counts > 0
        if not kept.all():
            refs = refs[kept]
            offsets = np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64)
            samples = samples._replace(offsets=offsets)
        return ColumnarSeries(self._index.table(refs, symbols), *samples)

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""
        refs = self._present(self._index.select(matchers), start_ms, end_ms)
        return self._index.table(refs, QuerySymbols(self._index.symbols) if symbols is None else symbols)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the label names of the series that have samples in the time range, sorted."""
        return self._index.names(self._scope(matchers, start_ms, end_ms))

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the values of label `name` of the series that have samples in the time range, sorted."""
        return self._index.values(name, self._scope(matchers, start_ms, end_ms))

    def metadata(self) -> list[MetadataRow]:
        """Return what is known about families, in the order in which they were first seen."""
        return list(self._families.values())

    def __len__(self) -> int:
        """Count the series."""
        return len(self._index)

    def _scope(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> NDArray[np.int32] | None:
        """Return the refs that answers about labels are taken from; None for all."""
        everything = start_ms <= self.oldest_ms() and end_ms >= self.newest_ms()
        if everything and not matchers:
            return None
        refs = self._index.select(matchers)
        return refs if everything else self._present(refs, start_ms, end_ms)

    def oldest_ms(self) -> int:
        """Return the oldest time of all samples."""
        return min([self.head.oldest_ms, *(block.meta.min_ms for block in self.blocks)], default=FOREVER)

    def newest_ms(self) -> int:
        """Return the newest time of all samples."""
        return max([self.head.newest_ms, *(block.meta.max_ms for block in self.blocks)], default=NEVER)

    def _present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.int32]:
        found = np.zeros(len(refs), np.bool_)
        for run in self.head.read(refs, start_ms, end_ms):
            found |= run.counts > 0
        for block in self.blocks:
            if block.overlaps(start_ms, end_ms):
                left = ~found
                found[left] = self._read(block, refs[left], start_ms, end_ms).counts > 0
        return refs[found]

    def _sources(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> list[Runs]:
        # The head before the blocks: what a flush moves meanwhile is then seen twice instead of not at all.
        newest = self.head.read(refs, start_ms, end_ms)
        blocks = [block for block in self.blocks if block.overlaps(start_ms, end_ms)]
        return [self._read(block, refs, start_ms, end_ms) for block in blocks] + newest

    def _read(self, block: Block, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        try:
            return block.read(refs, start_ms, end_ms)
        except CorruptChunk:
            self._set_aside(block.path)
            self.blocks = tuple(b for b in self.blocks if b is not block)
            raise

    # -- replay --------------------------------------------------------------------------------------------

    def replay(self, offset: Offset, record: Record) -> None:
        """Take one record of the log back in.

        Raises:
            CorruptChunk: Its checksum is right and its content is not; it is skipped.
        """
        if record.kind == records.SERIES:
            known = [(ref, labels) for ref, labels in records.decode_series(record.payload) if ref not in self._index]
            for ref, labels in known:
                if ref >= self._index.next_ref and self._index.find(labels) < 0:
                    self._index.restore(ref, labels)
            self.head.fit(self._index.next_ref)
        elif record.kind == records.METADATA:
            self._families.update({row.family: row for row in records.decode_metadata(record.payload)})
        elif record.kind == records.SAMPLES:
            self._replay_samples(offset, records.decode_samples(record.payload))
        else:
            raise CorruptChunk(f"record of kind {record.kind}")

    def _replay_samples(self, offset: Offset, batch: SeriesBatch) -> None:
        known = (
            np.fromiter((ref in self._index for ref in range(self._index.next_ref)), np.bool_)
            if self._known is None or len(self._known) < self._index.next_ref
            else self._known
        )
        self._known = known
        valid = (batch.refs >= 0) & (batch.refs < len(known))
        valid[valid] = known[batch.refs[valid]]
        if not valid.all():
            self.statistics.replay_unknown += int((~valid).sum())
            batch = SeriesBatch(batch.refs[valid], batch.times_ms[valid], batch.values[valid])
        # What is older than the blocks' end was in order once and is in a block now, or came late and is taken late.
        self.head.append(batch, FOREVER - 1, NEVER + 1)
        self.statistics.replayed += len(batch.refs)
        self._note(offset, batch.times_ms)

    _known: NDArray[np.bool_] | None = None

    # -- maintenance, on a thread of its own ---------------------------------------------------------------

    def flush_due(self) -> bool:
        """Return whether the head holds a window that is over."""
        return self._boundary() > self._flushed_to()

    def flush(self, *, everything: bool = False) -> int:
        """Write finished windows of the head into blocks; return the samples written.

        Args:
            everything: Also what is not finished, as at shutdown.
        """
        with self._maintenance:
            if self._closed:
                return 0
            boundary = self.head.newest_ms + 1 if everything else self._boundary()
            if self.head.newest_ms == NEVER or (boundary <= self._flushed_to() and not everything):
                return 0
            return self._flush(boundary)

    def _flushed_to(self) -> int:
        return max(self.head.valid_from, min(self.head.oldest_ms, FOREVER - 1))

    def _boundary(self) -> int:
        newest = self.head.newest_ms
        return NEVER if newest == NEVER else (newest - _LINGER_MS) // self.options.block_ms * self.options.block_ms

    def _flush(self, boundary: int) -> int:
        late_upto = self.head.late_samples
        written = 0
        windows = self._windows(boundary)
        for i, (start, end) in enumerate(windows):
            late_start = NEVER if i == 0 else start
            late_end = FOREVER if i == len(windows) - 1 else end
            written += self._write_block((start, end), (late_start, late_end))
        self.head.forget_before(boundary, late_upto)
        self._write_manifest()
        self.statistics.flushes += 1
        return written

    def _windows(self, boundary: int) -> list[tuple[int, int]]:
        """Return the time ranges, both ends inclusive, of the blocks that a flush makes."""
        step = self.options.block_ms
        start = max(min(self.head.oldest_ms, boundary - 1), self.head.valid_from)
        starts = [start]
        while (following := (starts[-1] // step + 1) * step) < boundary:
            starts.append(following)
        return [(a, b - 1) for a, b in zip(starts, [*starts[1:], boundary], strict=True)]

    def _write_block(self, in_order: tuple[int, int], late: tuple[int, int]) -> int:
        writer = BlockWriter(self.workspace)
        refs = self._index.select(())
        for i in range(0, len(refs), _FLUSH_AT_ONCE):
            some = refs[i : i + _FLUSH_AT_ONCE]
            late_runs = self.head.read_late(some, *late)
            sources = [self.head.read_in_order(some, *in_order), *([] if late_runs is None else [late_runs])]
            writer.add(some, [self._index.labels(ref) for ref in some.tolist()], merge(sources, len(some)))
        if not len(writer):
            return 0
        number = max((_number(block.path) for block in self.blocks), default=0) + 1
        path = self._directory / f"{number:08d}.block"
        self._files.write_whole(path, writer.finish())
        self.blocks = (*self.blocks, Block(path))
        return len(writer)

    def log_needed_from(self, below: int) -> int:
        """Return the first segment below `below` that still holds samples which are in no block, or `below`."""
        self._segment_newest = {
            number: newest
            for number, newest in self._segment_newest.items()
            if number >= below or newest >= self.head.valid_from
        }
        return min((number for number in self._segment_newest if number < below), default=below)

    def definitions(self) -> list[Record]:
        """Return the records that have to stay in the log when segments go."""
        refs = self._index.select(())
        needed = refs[self.head.has_samples(refs)].tolist()
        series = [(ref, self._index.labels(ref)) for ref in needed]
        kept = [Record(records.SERIES, self.workspace, records.encode_series(series))] if series else []
        if self._families:
            kept.append(Record(records.METADATA, self.workspace, records.encode_metadata(self._families.values())))
        return kept

    def close(self) -> None:
        """Let the blocks go, once maintenance that is under way is over; later maintenance does nothing."""
        with self._maintenance:
            self._closed = True
            self.blocks = ()

    _closed = False

    def retain(self) -> int:
        """Remove the blocks that are older than the retention, and the series that are only in them."""
        with self._maintenance:
            limit = self._clock_ms() - self.options.retention_ms
            old = [block for block in self.blocks if block.meta.max_ms < limit]
            if not old:
                return 0
            self.blocks = tuple(block for block in self.blocks if block not in old)
            for block in old:
                self._files.remove(block.path)
            return len(old)

    def orphans(self) -> NDArray[np.int32]:
        """Return the refs of series without any sample, which the writer's thread may `forget`."""
        refs = self._index.select(())
        used = self.head.has_samples(refs)
        for block in self.blocks:
            used |= np.isin(refs, block.refs)
        return refs[~used]

    def forget(self, refs: NDArray[np.int32]) -> None:
        """Take series out of the index; on the writer's thread, after whoever keeps their refs was told."""
        self._index.remove(refs.tolist())

    def _write_manifest(self) -> None:
        manifest = {
            "version": _MANIFEST_VERSION,
            "next_ref": self._index.next_ref,
            "valid_from": self.head.valid_from,
            "metadata": [list(row) for row in self._families.values()],
        }
        self._files.write_whole(self._directory / "manifest.json", json.dumps(manifest).encode())

    def _open_blocks(self) -> None:
        series: dict[int, Labels] = {}
        blocks = []
        for path in sorted(self._directory.glob("*.block")):
            try:
                block = Block(path)
                series.update(block.series())
            except CorruptChunk:
                self._set_aside(path)
                continue
            blocks.append(block)
        for ref in sorted(series):
            self._index.restore(ref, series[ref])
        self._read_manifest()
        self.head.fit(self._index.next_ref)
        for block in blocks:
            self.head.seen(block.refs, block.last_ms())
        self.blocks = tuple(blocks)

    def _read_manifest(self) -> None:
        path = self._directory / "manifest.json"
        if not path.exists():
            return
        try:
            manifest = json.loads(path.read_bytes())
            if manifest["version"] != _MANIFEST_VERSION:
                raise StoreFailed(f"{path}: version {manifest['version']} is not known here")
            self._index.next_ref = max(self._index.next_ref, int(manifest["next_ref"]))
            self.head.valid_from = int(manifest["valid_from"])
            self._families = {row[0]: MetadataRow(*row) for row in manifest["metadata"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreFailed(f"{path}: {error}") from None

    def _set_aside(self, path: Path) -> None:
        """Move a block out of the way; the queryable data around it stays queryable."""
        self.statistics.blocks_set_aside += 1
        self._logger.error("block %s of workspace %s is corrupt and was set aside", path.name, self.workspace)
        self._files.replace(path, path.with_suffix(".corrupt"))


def _number(path: Path) -> int:
    return int(path.stem)
