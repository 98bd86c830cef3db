"""Reading many series piece by piece: the index is asked once, samples are decoded for some series at a time.

A scan says which series a selection has before any sample is read, so that who adds them up need never hold all of
them. Each read sees what is stored when it happens: the head before the blocks, as all of the store's reads do.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headrace.store import runs_kernels, scan_kernels
from headrace.store.runs import Runs, Samples, SeriesSamples, merge
from headrace.store.symbols import ABSENT
from headrace.store.tombstones import read_block

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from headrace.store.block import Block
    from headrace.store.block_set import BlockSet
    from headrace.store.head import Head
    from headrace.store.index import Index
    from headrace.store.labels import LabelTable, QuerySymbols


class Scan(Protocol):
    """The series of a selection, whose samples are read when they are asked for; any thread."""

    @property
    def labels(self) -> LabelTable:
        """The label sets of all n series that match, those without samples in the time range included."""

    def __len__(self) -> int:
        """Return n."""

    def labels_at(self, rows: NDArray[np.int64]) -> LabelTable:
        """Return the label sets of some series by their numbers, ascending."""

    def column(self, name: str) -> NDArray[np.int32]:
        """Return the (n,) value symbols of one label, ABSENT for none, without making the table of all."""

    def counts(self) -> NDArray[np.int64]:
        """Return (n,) about how many samples each series has; more may come while it is read."""

    def at_least(self) -> int:
        """Return how many series have samples for sure."""

    def read(self, first: int, last: int) -> SeriesSamples:
        """Return the samples of series ``first:last``."""


class EngineScan:
    """A scan of one engine.

    Args:
        head: Its head.
        block_set: Its blocks.
        reading: Guards the reading of a block; see `Sources.reading`.
        index: The index that `refs` are of.
        refs: (n,) int32, ascending.
        times: First and last time, both inclusive.
        symbols: Of the query.
    """

    def __init__(
        self,
        head: Head,
        block_set: BlockSet,
        reading: _Guard,
        index: Index,
        refs: NDArray[np.int32],
        times: tuple[int, int],
        symbols: QuerySymbols,
    ) -> None:
        self.refs = refs
        self._head = head
        self._block_set = block_set
        self._reading = reading
        self._index = index
        self._times = times
        self._symbols = symbols
        self._rows: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.refs)

    @cached_property
    def labels(self) -> LabelTable:
        """The label sets of all series that match."""
        return self.labels_of(self.refs)

    def labels_of(self, refs: NDArray[np.int32]) -> LabelTable:
        """Return the label sets of some of `refs`."""
        return self._index.table(refs, self._symbols)

    def labels_at(self, rows: NDArray[np.int64]) -> LabelTable:
        """Return the label sets of some series by their numbers."""
        return self.labels_of(self.refs[rows])

    def column(self, name: str) -> NDArray[np.int32]:
        """Return the (n,) value symbols of one label."""
        found = self._index.column(name, self.refs, self._symbols)
        return np.full(len(self), ABSENT, np.int32) if found is None else found

    def counts(self) -> NDArray[np.int64]:
        """Return (n,) about how many samples each series has.

        Raises:
            CorruptChunk: A block does not decode; it is set aside, so that the next try answers without it.
        """
        total = self._head.count(self.refs, *self._times)
        for block in self._blocks():
            total += self._rows_of(block)[1]
        return total

    def at_least(self) -> int:
        """Return how many series have samples for sure; 0 where some may be deleted."""
        deleted = self._block_set.tombstones.touch(self.refs, *self._times)
        return 0 if deleted else int(np.count_nonzero(self.counts()))

    def read(self, first: int, last: int, *, share: bool = True) -> SeriesSamples:
        """Return the samples of series ``first:last``; without `share`, each has times of its own.

        Raises:
            CorruptChunk: As `counts`.
        """
        refs = self.refs[first:last]
        # The head before the blocks, and tombstones before blocks, for the reasons that `engine.sources` gives.
        newest = [run for run in self._head.read(refs, *self._times) if run.counts.any()]
        tombstones = self._block_set.tombstones
        if tombstones.touch(refs, *self._times):
            return self._merged(refs, newest, share=share)
        found = []
        for block in self._blocks():
            rows, counts = (part[first:last] for part in self._rows_of(block))
            if counts.any():
                found.append((block, rows, counts))
        return self._put(found, newest, len(refs), share=share)

    def _put(
        self,
        found: list[tuple[Block, NDArray[np.int64], NDArray[np.int64]]],
        newest: list[Runs],
        n: int,
        *,
        share: bool,
    ) -> SeriesSamples:
        """Put what blocks and head have into one piece."""
        total = sum((counts for _, _, counts in found), sum((run.counts for run in newest), np.zeros(n, np.int64)))
        room = SeriesSamples.room(total)
        only = len(found) + len(newest) == 1
        if only and newest:
            run = newest[0]
            return _shared(SeriesSamples(run.places, run.counts, run.places, run.times_ms, run.values), share=share)
        for block, rows, _ in found:
            with self._reading(block):
                block.read_into(rows, *self._times, room, share=only and share)
        if only:
            return room
        for run in newest:
            runs_kernels.copy_runs(*run, room.places, room.counts, room.times_ms, room.values)
        runs_kernels.order_runs(room.places, room.counts, room.times_ms, room.values)
        return _shared(room, share=share)

    def _merged(self, refs: NDArray[np.int32], newest: list[Runs], *, share: bool) -> SeriesSamples:
        """Do what `_put` does where something may be deleted."""
        tombstones = self._block_set.tombstones
        found = []
        for block in self._blocks():
            with self._reading(block):
                found.append(read_block(block, tombstones, refs, *self._times))
        samples = merge(found + newest, len(refs))
        places = samples.offsets[:-1]
        room = SeriesSamples(places, np.diff(samples.offsets), places, samples.times_ms, samples.values)
        return _shared(room, share=share)

    def _blocks(self) -> list[Block]:
        return [block for block in self._block_set.blocks if block.overlaps(*self._times)]

    def _rows_of(self, block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of all series in a block, and how many samples they have there."""
        known = self._rows.get(block.number)
        if known is None:
            rows = block.rows_of(self.refs)
            with self._reading(block):
                known = self._rows[block.number] = rows, block.count(rows, *self._times)
        return known


class _Guard(Protocol):
    def __call__(self, block: Block) -> AbstractContextManager[None]:
        """Return what sets `block` aside where it does not decode."""


def _shared(room: SeriesSamples, *, share: bool) -> SeriesSamples:
    if not share:
        return room
    time_places = np.empty(len(room.places), np.int64)
    scan_kernels.share_times(room.places, room.counts, room.times_ms, time_places)
    return room._replace(time_places=time_places)


def plain(samples: SeriesSamples) -> Samples:
    """Return samples that lie one after the other, each with its own time.

    Args:
        samples: Read without sharing.
    """
    offsets = np.zeros(len(samples.counts) + 1, np.int64)
    np.cumsum(samples.counts, out=offsets[1:])
    if len(samples.times_ms) == offsets[-1]:
        return Samples(offsets, samples.times_ms, samples.values)
    times, values = np.empty(int(offsets[-1]), np.int64), np.empty(int(offsets[-1]))
    filled = np.zeros(len(samples.counts), np.int64)
    runs_kernels.copy_runs(
        samples.places, samples.counts, samples.times_ms, samples.values, offsets, filled, times, values
    )
    return Samples(offsets, times, values)


def plain_columns(samples: SeriesSamples) -> Samples:
    """Return samples that lie one after the other, each with its own time, whatever `samples` share."""
    offsets = np.zeros(len(samples.counts) + 1, np.int64)
    np.cumsum(samples.counts, out=offsets[1:])
    within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], samples.counts)
    times = samples.times_ms[np.repeat(samples.time_places, samples.counts) + within]
    return Samples(offsets, times, samples.values[np.repeat(samples.places, samples.counts) + within])
