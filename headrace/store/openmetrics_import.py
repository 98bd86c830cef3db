"""Importing a file of samples with timestamps, OpenMetrics or Prometheus' text format, of any size.

First the file is read once, a piece at a time, and its samples are put aside by window (see `import_spill`); then each
window becomes a block. Either half goes on where it was cut off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.series import Refusal, SeriesTable
from headrace.pipeline.wire.text import SECRETS, PageReader
from headrace.store.backfill import ALL_PARTS
from headrace.store.import_spill import Columns, Spill
from headrace.store.index import Index, LabelSets, decode_series
from headrace.store.runs import Runs, Samples, merge, without_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.pipeline.wire.text import Page
    from headrace.store.backfill import Backfill
    from headrace.store.block import Block
    from headrace.store.import_spill import SpillState

DIRECTORY = "imports"
"""Where imports under way keep their samples, in the data directory."""

_PIECE_BYTES = 16 << 20
_SAMPLES_AT_ONCE = 1 << 21
_BLOCKS_AT_ONCE = 32
_EDGE_BYTES = 1 << 20
_EOF = b"# EOF\n"
_LINE = re.compile(r"line (\d+): ")


class Progress(NamedTuple):
    """How far an import is.

    Attributes:
        reading: Bytes of the file are counted; else samples in blocks.
        done: How many are done.
        total: How many there are.
        samples: Samples so far.
    """

    reading: bool
    done: int
    total: int
    samples: int


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What is imported, and how.

    Attributes:
        openmetrics: Which of the formats.
        labels: Labels that all series get, in place of their own of these names.
        window_ms: Time that a block covers.
        piece_bytes: How much of the file is read at a time.
        samples_at_once: How many samples are in memory at a time.
    """

    openmetrics: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    window_ms: int = 2 * 3600 * 1000
    piece_bytes: int = _PIECE_BYTES
    samples_at_once: int = _SAMPLES_AT_ONCE


@dataclass(slots=True)
class FileImport:
    """What became of a file.

    Attributes:
        samples: Samples read.
        written: Samples in blocks: of two of the same series and time the first one counts.
        blocks: Blocks written by this call.
        resumed: An earlier call had been cut off.
        known: All of it had been imported before, and nothing was done.
    """

    samples: int = 0
    written: int = 0
    blocks: int = 0
    resumed: bool = False
    known: bool = False


def import_file(
    path: Path, backfill: Backfill, options: ImportOptions, on_progress: Callable[[Progress], None] = lambda _p: None
) -> FileImport:
    """Import a file; go on where an earlier call for the same file with the same options was cut off.

    Raises:
        InvalidInput: A line is not well formed, has no timestamp, or names a series that cannot be one. Nothing of the
            file is in force then.
        StoreFailed: The disk refused; the next call goes on.
    """
    key = _key(path, options)
    done = backfill.done(key)
    if done == ALL_PARTS:
        return FileImport(known=True)
    directory = backfill.directory / DIRECTORY / key.partition(":")[2]
    result = FileImport(resumed=directory.exists())
    spill = Spill(directory, backfill.files, options.window_ms)
    try:
        if not spill.state.complete:
            _Reading(path, spill, backfill, options, on_progress).run()
        result.samples = spill.state.samples
        _Writing(spill, backfill, key, options, on_progress).run(done, result)
    finally:
        spill.close()
    backfill.commit(key, ALL_PARTS, [])
    backfill.files.remove_tree(directory)
    return result


def _key(path: Path, options: ImportOptions) -> str:
    """Return what an import is known by: the file's size and edges, and what makes other blocks of it."""
    size = path.stat().st_size
    said = repr((size, options.openmetrics, sorted(options.labels.items()), options.window_ms))
    with path.open("rb") as file:
        begin = file.read(_EDGE_BYTES)
        file.seek(max(size - _EDGE_BYTES, 0))
        end = file.read()
    return f"file:{xxhash.xxh3_128_hexdigest(said.encode() + begin + end)}"


class _Reading:
    """The first half: from the file to the spill."""

    def __init__(
        self, path: Path, spill: Spill, backfill: Backfill, options: ImportOptions,
        on_progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        self._path = path
        self._spill = spill
        self._backfill = backfill
        self._options = options
        self._on_progress = on_progress
        self._table = SeriesTable()
        secrets = [self._table.domain_key(b"import" + bytes([kind])) for kind in range(SECRETS)]
        self._reader = PageReader(np.array(secrets, np.uint64))
        self._index = Index()
        for record in spill.series():
            self._index.restore(record)
        self._known = self._index.next_ref
        self._refs = np.full(1024, -1, np.int32)

    def run(self) -> None:
        """Read the file to its end."""
        size = self._path.stat().st_size
        waiting: list[Columns] = []
        with self._path.open("rb") as file:
            file.seek(self._spill.state.at)
            for piece, state in _pieces(file, self._spill.state, size, self._options):
                columns = self._columns(piece, state.lines)
                waiting.append(columns)
                # State that `_pieces` yields is that before the piece.
                after = _after(state, piece, size)
                rows = sum(len(one.refs) for one in waiting)
                if rows >= self._options.samples_at_once or after.complete:
                    self._put(waiting, replace(after, samples=self._spill.state.samples + rows))
                    waiting = []
                self._on_progress(Progress(reading=True, done=after.at, total=size, samples=0))

    def _put(self, waiting: list[Columns], state: SpillState) -> None:
        self._backfill.check_disk()
        new = np.arange(self._known, self._index.next_ref, dtype=np.int32)
        record = self._index.encode(new) if len(new) else b""
        self._known = self._index.next_ref
        columns = Columns(*(np.concatenate(parts) for parts in zip(*waiting, strict=True)))
        self._spill.add(columns, record, state)

    def _columns(self, piece: _Piece, lines: int) -> Columns:
        try:
            page = self._reader.read(piece.text, openmetrics=self._options.openmetrics)
            if not page.timed.all():
                row = int((~page.timed).argmax())
                raise page.fault(int(page.keys[row, 0]), "the sample has no timestamp")
            return Columns(self._refs_of(page), page.times, page.values)
        except InvalidInput as error:
            raise InvalidInput(_renumbered(str(error), lines - piece.added_lines, self._path)) from None

    def _refs_of(self, page: Page) -> NDArray[np.int32]:
        ids = self._table.lookup(page.hashes)
        if (ids < 0).any():
            keys, rows = np.unique(page.hashes[ids < 0], axis=0, return_index=True)
            rows = np.flatnonzero(ids < 0)[rows]
            learnt = self._table.learn(np.ascontiguousarray(keys), page.labels(rows))
            if (learnt < 0).any():
                first = int(rows[learnt < 0].min())
                refusal = Refusal.of(int(learnt[rows == first][0]))
                raise page.fault(int(page.keys[first, 0]), refusal.text)
            self._learn(learnt)
            ids = self._table.lookup(page.hashes)
        refs: NDArray[np.int32] = self._refs[ids]
        return refs

    def _learn(self, ids: NDArray[np.int32]) -> None:
        if self._table.capacity > len(self._refs):
            grown = np.full(self._table.capacity, -1, np.int32)
            grown[: len(self._refs)] = self._refs
            self._refs = grown
        new = np.unique(ids[self._refs[ids] < 0])
        if not len(new):
            return
        if self._options.labels:
            sets = LabelSets.of([self._labelled(number) for number in new.tolist()])
        else:
            spans = self._table.label_spans(new)
            sets = LabelSets(spans.buf, spans.spans.reshape(-1, 2), spans.starts)
        self._refs[new] = self._index.intern(sets)

    def _labelled(self, number: int) -> tuple[tuple[str, str], ...]:
        labels = {**dict(self._table.series(number).labels), **self._options.labels}
        return tuple(sorted((name, value) for name, value in labels.items() if value))


class _Piece(NamedTuple):
    """Whole lines of the file, as a page of their own; `taken` bytes of the file are in it."""

    text: bytes
    taken: int
    lines: int
    added_lines: int
    type_line: str


def _pieces(
    file: IO[bytes], state: SpillState, size: int, options: ImportOptions
) -> Iterator[tuple[_Piece, SpillState]]:
    """Yield pieces, each with the state before it."""
    rest = b""
    at, lines, type_line = state.at, state.lines, state.type_line
    while at < size or (not size and not at):
        data = file.read(options.piece_bytes)
        whole = rest + data
        last = at + len(whole) >= size or not data
        cut = len(whole) if last else whole.rfind(b"\n") + 1
        if not cut:
            rest = whole
            continue
        text, rest = whole[:cut], whole[cut:]
        # A page of its own has to begin with the type in force and to end as pages do.
        begin = f"{type_line}\n".encode() if type_line else b""
        end = _EOF if options.openmetrics and not last else b""
        found = _last_type(text)
        piece = _Piece(
            begin + text + end, cut, text.count(b"\n"), 1 if begin else 0, type_line if found is None else found
        )
        yield piece, replace(state, at=at, lines=lines, type_line=type_line)
        at, lines, type_line = at + cut, lines + piece.lines, piece.type_line
        if last:
            return


def _after(state: SpillState, piece: _Piece, size: int) -> SpillState:
    at = state.at + piece.taken
    return replace(
        state, at=at, lines=state.lines + piece.lines, type_line=piece.type_line, complete=at >= size
    )  # fmt: skip


def _last_type(text: bytes) -> str | None:
    """Return the last line of `text` that gives a type, None for none."""
    at = text.rfind(b"\n# TYPE ")
    if at < 0:
        at = 0 if text.startswith(b"# TYPE ") else -1
        if at < 0:
            return None
    else:
        at += 1
    return text[at:].partition(b"\n")[0].decode("utf-8", "replace")


def _renumbered(message: str, lines: int, path: Path) -> str:
    found = _LINE.match(message)
    if not found:
        return f"{path}: {message}"
    return f"{path}: line {int(found.group(1)) + lines}: {message[found.end() :]}"


class _Writing:
    """The second half: from the spill to blocks."""

    def __init__(
        self, spill: Spill, backfill: Backfill, key: str, options: ImportOptions,
        on_progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        self._spill = spill
        self._backfill = backfill
        self._key = key
        self._most = options.samples_at_once
        self._on_progress = on_progress
        self._blocks: list[Block] = []

    def run(self, done: int, result: FileImport) -> None:
        """Write the windows from number `done` on."""
        windows = self._spill.windows()
        refs = self._engine_refs()
        total = sum(rows for _, rows in windows)
        ready = sum(rows for _, rows in windows[:done])
        for number, (window, rows) in enumerate(windows[done:], done + 1):
            block = self._write(window, rows, refs)
            ready += rows
            if block is not None:
                self._blocks.append(block)
                result.written += block.meta.samples
                result.blocks += 1
            if len(self._blocks) >= _BLOCKS_AT_ONCE or number == len(windows):
                self._backfill.commit(self._key, number, self._blocks)
                self._blocks = []
            self._on_progress(Progress(reading=False, done=ready, total=total, samples=result.written))

    def _engine_refs(self) -> NDArray[np.int32]:
        """Return the ref of the engine for each number of a series."""
        parts: list[NDArray[np.int32]] = []
        for record in self._spill.series():
            numbers, sets = decode_series(record)
            refs = np.empty(len(numbers), np.int32)
            refs[numbers - numbers[0]] = self._backfill.engine.refs_of(sets)
            parts.append(refs)
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def _write(self, window: int, rows: int, refs: NDArray[np.int32]) -> Block | None:
        writer = self._backfill.writer()
        try:
            for columns in self._ranges(window, rows, refs):
                own, samples = _in_order(columns)
                writer.add(own, samples)
            return writer.finish()
        finally:
            writer.abandon()

    def _ranges(self, window: int, rows: int, refs: NDArray[np.int32]) -> Iterator[Columns]:
        """Yield the samples of a window by ranges of refs, ascending, a bounded number at a time."""
        if rows <= self._most:
            yield _joined([Columns(refs[c.refs], c.times_ms, c.values) for c in self._spill.read(window)])
            return
        sizes = np.zeros(int(refs.max(initial=0)) + 1, np.int64)
        for part in self._spill.read(window):
            sizes += np.bincount(refs[part.refs], minlength=len(sizes))
        total = np.cumsum(sizes)
        first = 0
        while first < len(sizes):
            before = int(total[first - 1]) if first else 0
            last = max(int(np.searchsorted(total, before + self._most, "right")), first + 1)
            found = []
            for part in self._spill.read(window):
                own = refs[part.refs]
                keep = (own >= first) & (own < last)
                found.append(Columns(own[keep], part.times_ms[keep], part.values[keep]))
            yield _joined(found)
            first = last


def _joined(parts: list[Columns]) -> Columns:
    return Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _in_order(columns: Columns) -> tuple[NDArray[np.int32], Samples]:
    """Sort samples by series and time; of two of the same the first stands, but a value beats a stale marker."""
    order = np.lexsort((columns.times_ms, columns.refs))
    own, counts = np.unique(columns.refs, return_counts=True)
    places = np.cumsum(counts) - counts
    times, values = columns.times_ms[order], columns.values[order]
    repeated = (np.diff(times) == 0) & (np.diff(columns.refs[order]) == 0)
    if not repeated.any():
        offsets = np.append(places, len(order))
        return own, Samples(offsets, times, values)
    runs = Runs(places, counts, times, values)
    empty = Runs(np.zeros(len(own), np.int64), np.zeros(len(own), np.int64), times[:0], values[:0])
    # Two sources make `merge` look for repeats.
    return without_empty(own, merge([runs, empty], len(own)))
