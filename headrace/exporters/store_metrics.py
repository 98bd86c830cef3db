"""What self-telemetry tells about the store; docs/metrics.md lists all of it.

Everything is read from counts that the store keeps anyway, when somebody asks. Counts of all workspaces are added up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from headrace.pipeline.errors import Refused
from headrace.store.exemplars import ExemplarCode
from headrace.store.head import NEVER
from headrace.store.interfaces import FIRST_REJECTION, Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.pipeline.counters import Counters
    from headrace.store.engine import Engine
    from headrace.store.exemplars import ExemplarHead
    from headrace.store.store import Store

PREFIX = "headrace_store_"


class StoreMetric(NamedTuple):
    """One metric of the store.

    Attributes:
        name: Without PREFIX, and without the ``_total`` that counters get when they are written.
        description: A sentence.
        read: Returns its value.
        monotonic: Whether it is a counter; a gauge otherwise.
        unit: UCUM.
        attributes: Besides the exporter.
    """

    name: str
    description: str
    read: Callable[[], float]
    monotonic: bool = False
    unit: str = "1"
    attributes: tuple[tuple[str, str], ...] = ()


def observe(store: Store, exporter: str, counters: Counters) -> None:
    """Have self-telemetry read the store's own figures.

    Args:
        store: Open or not yet.
        exporter: Id of its exporter.
        counters: Of the daemon.
    """
    for metric in metrics(store):
        counters.observe(
            PREFIX + metric.name,
            metric.description,
            metric.read,
            {"exporter": exporter, **dict(metric.attributes)},
            metric.unit,
            monotonic=metric.monotonic,
        )


def metrics(store: Store) -> Iterator[StoreMetric]:
    """Yield all metrics of a store."""
    yield from _ingest(store)
    yield from _log(store)
    yield from _head(store)
    yield from _maintenance(store)
    yield from _blocks(store)
    yield from _index(store)
    yield from _replay(store)


def _sum(store: Store, read: Callable[[Engine], float]) -> Callable[[], float]:
    return lambda: float(sum(read(engine) for engine in store.engines.values()))


def _statistic(store: Store, name: str) -> Callable[[], float]:
    return _sum(store, lambda engine: _field(engine.statistics, name))


def _field(statistics: object, name: str) -> float:
    return float(getattr(statistics, name))


def _block_field(name: str, engine: Engine) -> float:
    return _field(engine.block_set.statistics, name)


def _ingest(store: Store) -> Iterator[StoreMetric]:
    yield StoreMetric("samples_appended", "Samples stored.", _statistic(store, "appended"), monotonic=True)
    for name, description, code in (
        ("samples_late", "Samples stored out of order.", Code.OUT_OF_ORDER_OK),
        ("samples_repeated", "Samples that were there already.", Code.DUPLICATE),
        ("samples_replacing_stale", "Values stored in the place of a stale marker.", Code.REPLACED),
    ):
        yield StoreMetric(name, description, _coded(store, code), monotonic=True)
    for code in Code:
        if code >= FIRST_REJECTION:
            yield StoreMetric(
                "samples_rejected", "Samples refused, by reason.", _coded(store, code), monotonic=True,
                attributes=(("reason", code.reason),),
            )  # fmt: skip
    yield from _exemplars(store)
    created = _sum(store, lambda engine: engine.index.created)
    yield StoreMetric("series_created", "Series seen for the first time.", created, monotonic=True)
    yield StoreMetric("writable", "1 while writes are taken, 0 while they are refused.", lambda: _writable(store))


def _exemplars(store: Store) -> Iterator[StoreMetric]:
    for name, description, read, monotonic in (
        ("exemplars_in_memory", "Exemplars in no block yet.", len, False),
        ("exemplars_appended", "Exemplars stored.", lambda head: head.codes[ExemplarCode.OK], True),
        ("exemplars_evicted", "Exemplars dropped for newer ones.", lambda head: head.evicted, True),
    ):
        yield StoreMetric(name, description, _exemplar_field(store, read), monotonic=monotonic)


def _exemplar_field(store: Store, read: Callable[[ExemplarHead], int]) -> Callable[[], float]:
    return _sum(store, lambda engine: read(engine.exemplar_statistics()))


def _coded(store: Store, code: Code) -> Callable[[], float]:
    return _sum(store, lambda engine: engine.statistics.codes[code])


def _writable(store: Store) -> float:
    try:
        store.admit()
    except Refused:
        return 0.0
    return 1.0


def _log(store: Store) -> Iterator[StoreMetric]:
    log = store.log
    for name, description, field, unit in (
        ("wal_bytes", "Bytes written to the write-ahead log.", "bytes", "By"),
        ("wal_records", "Records written to the write-ahead log.", "records", "1"),
        ("wal_commits", "Group commits of the write-ahead log.", "commits", "1"),
        ("wal_sync_seconds", "Time of making commits durable.", "sync_seconds", "s"),
        ("wal_failures", "Writes that the disk refused.", "failures", "1"),
        ("wal_corrupt_records", "Records skipped.", "corrupt_records", "1"),
        ("wal_torn_tails", "Segments that end within a record.", "torn_tails", "1"),
        ("wal_missing_segments", "Segments that are not there, between others.", "missing_segments", "1"),
    ):
        yield StoreMetric(name, description, partial(_field, log.statistics, field), monotonic=True, unit=unit)
    yield StoreMetric("wal_segments", "Segments of the write-ahead log on disk.", lambda: len(log.segments()))
    yield StoreMetric("wal_disk_bytes", "Bytes of these segments.", log.size_bytes, unit="By")


def _head(store: Store) -> Iterator[StoreMetric]:
    for name, description, read, unit in (
        ("head_series", "Series with samples in memory.", lambda engine: engine.head.active_series, "1"),
        ("head_chunks", "Sealed chunks in memory.", lambda engine: engine.head.chunks, "1"),
        ("head_bytes", "Bytes of samples in memory.", lambda engine: engine.head.memory_bytes(), "By"),
        ("head_late_samples", "Out-of-order samples in memory.", lambda engine: engine.head.late_samples, "1"),
    ):
        yield StoreMetric(name, description, _sum(store, read), unit=unit)
    yield StoreMetric(
        "newest_sample_seconds", "Unix time of the newest sample; 0 without any.", lambda: _newest(store), unit="s"
    )


def _newest(store: Store) -> float:
    newest = max((engine.head.newest_ms for engine in store.engines.values()), default=NEVER)
    return 0.0 if newest == NEVER else newest / 1000


def _maintenance(store: Store) -> Iterator[StoreMetric]:
    for name, description, unit in (
        ("flushes", "Times that heads were written into blocks.", "1"),
        ("flush_seconds", "Time of flushes.", "s"),
        ("flushed_samples", "Samples written by flushes.", "1"),
        ("compactions", "Merges of blocks.", "1"),
        ("compaction_seconds", "Time of merges and purges, rests included.", "s"),
        ("compacted_samples", "Samples written by merges.", "1"),
        ("expired_blocks", "Blocks removed by retention.", "1"),
        ("retention_seconds", "Time of retention.", "s"),
        ("deletions", "Deletions put in force.", "1"),
        ("delete_seconds", "Time of putting deletions in force.", "s"),
        ("purged_blocks", "Blocks rewritten to remove deleted samples.", "1"),
        ("purge_seconds", "Time of purges.", "s"),
    ):
        yield StoreMetric(name, description, _statistic(store, name), monotonic=True, unit=unit)
    yield StoreMetric("compaction_progress", "Part done of the merges under way; 0 without.", lambda: _progress(store))


def _progress(store: Store) -> float:
    running = [found for e in store.engines.values() if (found := e.statistics.compaction) is not None]
    series = sum(one.series for one in running)
    return sum(one.done for one in running) / series if series else 0.0


def _blocks(store: Store) -> Iterator[StoreMetric]:
    yield StoreMetric("blocks", "Blocks on disk.", _sum(store, lambda engine: len(engine.blocks)))
    yield StoreMetric(
        "block_bytes", "Bytes of blocks on disk.", _sum(store, lambda engine: engine.block_set.size_bytes()), unit="By"
    )
    yield StoreMetric(
        "tombstones", "Deletions that blocks still hold samples of.",
        _sum(store, lambda engine: len(engine.block_set.tombstones)),
    )  # fmt: skip
    for name, description, field in (
        ("blocks_set_aside", "Corrupt blocks set aside.", "set_aside"),
        ("blocks_missing", "Blocks that should be there and are not.", "missing"),
        ("block_leftovers", "Files of writes that were cut off, removed.", "leftovers"),
    ):
        yield StoreMetric(name, description, _sum(store, partial(_block_field, field)), monotonic=True)


def _index(store: Store) -> Iterator[StoreMetric]:
    yield StoreMetric("series", "Series known.", _sum(store, len))
    yield StoreMetric("symbols", "Distinct label names and values.", _sum(store, lambda e: len(e.index.symbols)))
    yield StoreMetric(
        "index_bytes", "Bytes of the index in memory.", _sum(store, lambda e: e.index.memory_bytes()), unit="By"
    )


def _replay(store: Store) -> Iterator[StoreMetric]:
    status = store.replay_status
    yield StoreMetric("replay_progress", "Part of the log that was read back at start.", lambda: _replayed(store))
    yield StoreMetric("replay_seconds", "Time of reading the log back, once done.", lambda: status.seconds, unit="s")
    yield StoreMetric(
        "replayed_samples", "Samples read back from the log.", _statistic(store, "replayed"), monotonic=True
    )
    yield StoreMetric(
        "replay_unknown_samples", "Samples in the log whose series was lost.", _statistic(store, "replay_unknown"),
        monotonic=True,
    )  # fmt: skip


def _replayed(store: Store) -> float:
    status = store.replay_status
    if status.done:
        return 1.0
    return (status.current - status.min) / (status.max - status.min + 1) if status.current else 0.0
