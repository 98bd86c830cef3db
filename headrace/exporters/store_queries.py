"""What a store exporter queries with: threads, results of before, what is noted of queries, and figures of all that."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.exporters.store_metrics import PREFIX, StoreMetric
from headrace.pipeline.errors import ConfigError
from headrace.store.api.active_queries import NAME, ActiveQueries
from headrace.store.api.errors import STATUS
from headrace.store.api.pool import QueryPool
from headrace.store.api.query_log import QueryLog, QueryWatcher
from headrace.store.api.result_cache import ResultCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.exporters.store import QueryConfig
    from headrace.pipeline.counters import Counters

_log = logging.getLogger(__name__)


class StoreQueries:
    """Threads and memory for the queries of one exporter.

    Args:
        config: Limits.
        owner: Key of the exporter in the configuration.
        now_s: Unix time in seconds.

    Raises:
        ConfigError: The query log cannot be written.
    """

    def __init__(self, config: QueryConfig, owner: str, now_s: Callable[[], float]) -> None:
        try:
            log = QueryLog(Path(config.log_file), now_s) if config.log_file else None
        except OSError as error:
            raise ConfigError(f"{owner}.query.log_file", f"cannot be written: {error}") from None
        self._now_s = now_s
        self._watcher = QueryWatcher(log)
        self.unfinished = 0
        """Queries that ran when the process before this one died."""
        self.cache = ResultCache(config.cache_size) if config.cache_size else None
        self.pool = QueryPool(config.max_concurrency, timeout_s=config.timeout.total_seconds(), watcher=self._watcher)

    def open(self, directory: Path) -> None:
        """Take note of running queries in a data directory from now on, and tell of those that a crash cut off."""
        try:
            self._watcher.active = ActiveQueries(directory / NAME, self.pool.concurrency, self._now_s)
        except OSError as error:
            _log.warning("running queries are not taken note of: %s", error)
            return
        self.unfinished = len(self._watcher.active.unfinished)

    def shutdown(self) -> None:
        """End the queries; safe twice."""
        self.pool.shutdown()
        self._watcher.close()

    def observe(self, exporter: str, counters: Counters) -> None:
        """Have self-telemetry read figures of queries.

        Args:
            exporter: Its id.
            counters: Of the daemon.
        """
        for metric in (*self._of_pool(), *self._of_cache(), *self._of_files()):
            counters.observe(
                PREFIX + metric.name, metric.description, metric.read,
                {"exporter": exporter, **dict(metric.attributes)}, metric.unit, monotonic=metric.monotonic,
            )  # fmt: skip

    def _of_pool(self) -> Iterator[StoreMetric]:
        pool, counted = self.pool, self.pool.statistics
        yield StoreMetric("queries_running", "Queries that run.", lambda: len(pool.running))
        yield StoreMetric("queries_waiting", "Queries that wait for a thread.", lambda: pool.waiting)
        for name, description, field, unit in (
            ("queries", "Queries that ended.", "queries", "1"),
            ("query_run_seconds", "Time that queries ran.", "run_s", "s"),
            ("query_queue_seconds", "Time that queries waited for a thread.", "queued_s", "s"),
            ("queries_long", "Queries that had to make way for shorter ones.", "long", "1"),
            ("query_samples", "Samples that queries looked at.", "samples", "1"),
        ):
            yield StoreMetric(name, description, partial(_field, counted, field), monotonic=True, unit=unit)
        for kind in STATUS:
            yield StoreMetric(
                "query_errors", "Queries that ended with an error, by its type.", partial(_error, pool, kind),
                monotonic=True, attributes=(("type", kind),),
            )  # fmt: skip

    def _of_cache(self) -> Iterator[StoreMetric]:
        cache = self.cache
        if cache is None:
            return
        yield StoreMetric("query_cache_bytes", "Bytes of kept results.", lambda: cache.size, unit="By")
        yield StoreMetric("query_cache_entries", "Kept results.", lambda: len(cache))
        for name, description, field in (
            ("query_cache_hits", "Queries answered without evaluation.", "hits"),
            ("query_cache_partial", "Queries of which only some steps were evaluated.", "partial"),
            ("query_cache_misses", "Queries evaluated wholly.", "misses"),
            ("query_cache_evictions", "Results dropped for newer ones.", "evicted"),
        ):
            yield StoreMetric(name, description, partial(_field, cache.statistics, field), monotonic=True)

    def _of_files(self) -> Iterator[StoreMetric]:
        watcher = self._watcher
        yield StoreMetric(
            "queries_cut_off", "Queries that were running when the daemon before this one died.",
            lambda: self.unfinished,
        )  # fmt: skip
        yield StoreMetric(
            "query_log_failures", "Lines of the query log that could not be written.",
            lambda: watcher.log.failures if watcher.log is not None else 0, monotonic=True,
        )  # fmt: skip


def _field(statistics: object, name: str) -> float:
    return float(getattr(statistics, name))


def _error(pool: QueryPool, kind: str) -> float:
    return float(pool.statistics.errors[kind])
