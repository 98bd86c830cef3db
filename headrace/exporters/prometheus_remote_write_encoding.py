"""From batches to requests of one version, in an order that keeps that of each series."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.wire import remote_write_v2
from headrace.pipeline.wire.families import Families, requests_of
from headrace.pipeline.wire.remote_write_encode import LabelArena, requests
from headrace.pipeline.wire.remote_write_encode_more import exemplar_requests, histogram_requests
from headrace.pipeline.wire.remote_write_request import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from headrace.pipeline.batch import ExemplarColumns, MetricBatch
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.remote_write_v2 import SymbolArena

_REPEAT_S = 60.0
"""How often all metadata is sent again by 1.0: servers forget."""

_SHARD_POINTS = 1000
"""A request of fewer points costs more by itself than by what is in it."""

_NOBODY = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request on its way.

    Attributes:
        version: 1 or 2.
        phase: Requests of a phase may overtake each other, those of different phases must not.
        encoded: The request.
        batch: The points that it is of, among others.
    """

    version: int
    phase: int
    encoded: Encoded
    batch: MetricBatch

    def part(self) -> MetricBatch:
        """Return the points that are in the request."""
        batch, encoded = self.batch, self.encoded
        empty = batch.with_columns(metadata=(), native=None, exemplars=None).select(np.zeros(len(batch.series), bool))
        if encoded.samples:
            points = batch.select(np.isin(batch.series, encoded.series))
            empty = points.with_columns(metadata=(), native=None, exemplars=None)
        if encoded.histograms and batch.native is not None:
            empty = empty.with_columns(native=batch.native.select(np.isin(batch.native.series, encoded.series)))
        if encoded.exemplars and batch.exemplars is not None:
            kept = np.isin(batch.exemplars.series, encoded.series)
            empty = empty.with_columns(exemplars=batch.exemplars.select(kept))
        return empty


class Encoder:
    """Makes requests.

    Args:
        external: Labels to add where a series lacks them.
        max_bytes: Of a request before compression.
        shards: In how many parts a batch is split by series, where it is large enough.
        send_metadata: Whether requests of version 1.0 have metadata beside them.
        namespace: What names of metrics begin with.
        monotonic_s: Seconds that never go back.
    """

    def __init__(
        self,
        external: Mapping[str, str],
        max_bytes: int,
        *,
        shards: int = 1,
        send_metadata: bool,
        namespace: str,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._external = external
        self._max_bytes = max_bytes
        self._shards = shards
        self._send_metadata = send_metadata
        self._prefix = f"{namespace}_" if namespace else ""
        self._monotonic_s = monotonic_s
        self._repeated_s = monotonic_s()
        self._labels: weakref.WeakKeyDictionary[SeriesTable, LabelArena] = weakref.WeakKeyDictionary()
        self._symbols: weakref.WeakKeyDictionary[SeriesTable, SymbolArena] = weakref.WeakKeyDictionary()
        self._families: weakref.WeakKeyDictionary[SeriesTable, Families] = weakref.WeakKeyDictionary()

    def learn(self, batch: MetricBatch) -> None:
        """Take note of what a batch says about metrics."""
        if batch.metadata:
            said = (replace(one, family=self._prefix + one.family) for one in batch.metadata)
            self._families_of(batch.table).learn(said)

    def encode(self, batch: MetricBatch, version: int) -> Iterator[Outgoing]:
        """Yield the requests of a batch, phase by phase."""
        shards = min(self._shards, len(batch) // _SHARD_POINTS)
        # No series is in two of them.
        parts = sharded(batch, shards) if shards > 1 else (batch,)
        found = self._version_2 if version == 2 else self._version_1
        for phase, part, encoded in _by_phase([(part, found(part)) for part in parts]):
            yield Outgoing(version, phase, encoded, part)

    def _version_2(self, batch: MetricBatch) -> Iterator[tuple[int, Encoded]]:
        table = batch.table
        arena = self._symbols.get(table)
        if arena is None:
            arena = remote_write_v2.SymbolArena(table, self._external, self._families_of(table))
            self._symbols[table] = arena
        now_ms = batch.context.received_ns // NS_PER_MS
        for encoded in remote_write_v2.requests(arena, batch, now_ms, self._max_bytes):
            yield 0, encoded

    def _version_1(self, batch: MetricBatch) -> Iterator[tuple[int, Encoded]]:
        table = batch.table
        arena = self._labels.get(table)
        if arena is None:
            arena = self._labels[table] = LabelArena(table, self._external)
        limit = self._max_bytes
        for encoded in self._metadata(table):
            yield 0, encoded
        for encoded in requests(arena, batch.series, batch.time_ms, batch.value, limit):
            yield 0, encoded
        phase = 0
        if batch.native is not None:
            for encoded in histogram_requests(arena, batch.native, limit):
                phase += 1  # A series may be in two of them.
                yield phase, encoded
        if batch.exemplars is not None:
            for encoded in exemplar_requests(arena, batch.exemplars, batch.context.received_ns // NS_PER_MS, limit):
                phase += 1
                yield phase, encoded

    def _metadata(self, table: SeriesTable) -> Iterator[Encoded]:
        if not self._send_metadata:
            return
        families = self._families_of(table)
        if self._monotonic_s() - self._repeated_s >= _REPEAT_S:
            self._repeated_s = self._monotonic_s()
            families.repeat()
        for body in requests_of(families.unsent(), self._max_bytes):
            yield Encoded(memoryview(body), _NOBODY)

    def _families_of(self, table: SeriesTable) -> Families:
        found = self._families.get(table)
        if found is None:
            found = self._families[table] = Families()
        return found


def _by_phase(
    parts: Sequence[tuple[MetricBatch, Iterator[tuple[int, Encoded]]]],
) -> Iterator[tuple[int, MetricBatch, Encoded]]:
    """Yield the requests of some parts, those of a phase of all of them before those of the next."""
    phase = 0
    while parts:
        later: list[tuple[MetricBatch, Iterator[tuple[int, Encoded]]]] = []
        for part, requests_of_part in parts:
            for own, encoded in requests_of_part:
                if own > phase:
                    later.append((part, chain([(own, encoded)], requests_of_part)))
                    break
                yield phase, part, encoded
        parts = later
        phase += 1


def sharded(batch: MetricBatch, shards: int) -> list[MetricBatch]:
    """Return a batch in parts by series, each in the batch's order; parts without points are left out."""
    parts = []
    for shard in range(shards):
        sides = {
            name: side.select(side.series % shards == shard)
            for name in ("native", "exemplars")
            if (side := getattr(batch, name)) is not None
        }
        points = batch.with_columns(native=None, exemplars=None).select(batch.series % shards == shard)
        parts.append(points.with_columns(**{name: side if len(side) else None for name, side in sides.items()}))
    return [part for part in parts if not part.is_empty]


def joined(batches: Sequence[MetricBatch]) -> MetricBatch:
    """Return batches of one table as one, in their order; metadata is left out."""
    first = batches[0]
    if len(batches) == 1:
        return first
    native = [batch.native for batch in batches if batch.native is not None]
    exemplars = [_timed(batch) for batch in batches if batch.exemplars is not None]
    return first.with_columns(
        pin=min((batch.pin for batch in batches), key=lambda pin: pin.epoch),
        series=np.concatenate([batch.series for batch in batches]),
        time_ns=np.concatenate([batch.time_ns for batch in batches]),
        value=np.concatenate([batch.value for batch in batches]),
        flags=np.concatenate([batch.flags for batch in batches]),
        start_ns=np.concatenate([batch.start_ns for batch in batches]),
        integers=None,
        native=NativeHistograms.joined(native) if native else None,
        exemplars=_joined_exemplars(exemplars) if exemplars else None,
        metadata=(),
    )


def _timed(batch: MetricBatch) -> ExemplarColumns:
    """Return the exemplars of a batch, those without a time with that of its receipt."""
    exemplars = batch.exemplars
    if exemplars is None:
        raise AssertionError("bug: a batch without exemplars is asked for them")
    if exemplars.time_ns.all():
        return exemplars
    return replace(exemplars, time_ns=np.where(exemplars.time_ns == 0, batch.context.received_ns, exemplars.time_ns))


def _joined_exemplars(parts: Sequence[ExemplarColumns]) -> ExemplarColumns:
    spans, starts, arena_bytes, labels = [], [np.zeros(1, np.int32)], 0, 0
    for part in parts:
        spans.append(part.spans + np.array([arena_bytes, 0, arena_bytes, 0], np.int32))
        starts.append((part.starts[1:] + labels).astype(np.int32))
        arena_bytes += len(part.arena)
        labels += len(part.spans)
    return replace(
        parts[0],
        series=np.concatenate([part.series for part in parts]),
        time_ns=np.concatenate([part.time_ns for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        starts=np.concatenate(starts),
        spans=np.concatenate(spans),
        arena=np.concatenate([part.arena for part in parts]),
    )
