"""What the ``store`` exporter serves: the Prometheus HTTP API over its engines, and the query page."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from headrace.exporters.store_flags import flags
from headrace.exporters.store_queries import StoreQueries
from headrace.pipeline.http.listeners import Listeners
from headrace.store.api.answering import ApiSettings
from headrace.store.api.backend import Backend, BlockFacts, Exemplar, HeadFacts
from headrace.store.api.page import ServedPath, StatusPage
from headrace.store.api.prometheus import PrometheusApi
from headrace.store.api.promql import PromQLService
from headrace.store.api.reuse import WorkspaceCache
from headrace.store.api.selection import Selection, put_together
from headrace.store.api.status import retention_text
from headrace.store.cardinality import cardinality
from headrace.store.exemplars import by_series
from headrace.store.labels import QuerySymbols
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.features import with_features
from headrace.store.promql.language.parser import parse_selector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.exporters.store import StoreExporter
    from headrace.pipeline.host import Host
    from headrace.pipeline.targets import TargetsSource
    from headrace.store.cardinality import Cardinality
    from headrace.store.engine import Engine
    from headrace.store.labels import LabelTable
    from headrace.store.matchers import Matcher

_MS = 1000
_MILLISECOND = timedelta(milliseconds=1)
_RECEIVERS = {"remote_write_receiver": "/api/v1/write", "otlp_write_receiver": "/api/v1/otlp/v1/metrics"}
"""Features that receivers bring where they serve these paths at the address of the API."""


class EngineIndex:
    """An engine as the API's `SeriesIndex`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the label names of the matching series, sorted."""
        return self._engine.label_names(matchers, start_ms, end_ms)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """Return the values that label `name` has among the matching series, sorted."""
        return self._engine.label_values(name, matchers, start_ms, end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LabelTable:
        """Return the matching series that have samples in the time."""
        return self._engine.series(matchers, start_ms, end_ms)

    def exemplars(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> list[tuple[Mapping[str, str], list[Exemplar]]]:
        """Return the matching series that have exemplars in the time, with these in order of time."""
        table, rows = self._engine.exemplars(matchers, start_ms, end_ms)
        found: list[tuple[Mapping[str, str], list[Exemplar]]] = []
        for row, (_, numbers) in enumerate(by_series(rows)):
            own = [Exemplar(int(rows.times_ms[i]), float(rows.values[i]), rows.label_set(i)) for i in numbers]
            found.append((table.labels(row), own))
        return found

    def metadata(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """Return ``type``, ``unit`` and ``help`` by metric family."""
        return {row.family: [{"type": row.type, "unit": row.unit, "help": row.help}] for row in self._engine.metadata()}

    def cardinality(self, limit: int) -> tuple[HeadFacts, Cardinality]:
        """Return what the series are made of, `limit` entries of each kind."""
        engine, head = self._engine, self._engine.head
        chunks = head.chunks + head.active_series
        facts = HeadFacts(len(engine), chunks, head.oldest_ms, head.newest_ms)
        return facts, cardinality(engine.index, limit)

    def samples(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """Return the samples and native histograms of the matching series."""
        symbols = QuerySymbols(self._engine.symbols())
        floats = self._engine.select(matchers, start_ms, end_ms, symbols)
        return put_together(floats, self._engine.select_histograms(matchers, start_ms, end_ms, symbols))

    def blocks(self) -> list[BlockFacts]:
        """Return the blocks on disk, oldest first."""
        found = sorted(self._engine.blocks, key=lambda block: (block.meta.min_ms, block.number))
        return [
            BlockFacts(
                block.number, block.meta.min_ms, block.meta.max_ms, block.meta.samples, block.meta.series,
                block.meta.level, block.meta.sources,
            )
            for block in found
        ]  # fmt: skip


class ExporterAdmin:
    """A store exporter as the API's `StoreAdmin`, for one workspace.

    Args:
        exporter: Whose store it is.
        workspace: What is deleted from; snapshots are of all workspaces.
    """

    def __init__(self, exporter: StoreExporter, workspace: str) -> None:
        self._store = exporter.store
        self._workspace = workspace

    async def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> None:
        """Delete the samples of matching series."""
        await self._store.delete(self._workspace, matchers, start_ms, end_ms)

    async def purge(self) -> None:
        """Remove deleted samples from disk."""
        await self._store.purge(self._workspace)

    async def snapshot(self, *, with_head: bool) -> str:
        """Make a snapshot; return its name."""
        made = await asyncio.to_thread(self._store.snapshot, with_head=with_head)
        return made.name


class StoreApi:
    """The API of a store exporter, mounted on its endpoint.

    Args:
        exporter: Whose engines answer.
        host: Listeners, targets and readiness.
        owner: Key of the exporter in the configuration.
    """

    def __init__(self, exporter: StoreExporter, host: Host, owner: str) -> None:
        query = exporter.config.query
        self._exporter = exporter
        self._backends: dict[str, Backend] = {}
        limits = EvaluatorOptions(
            lookback_ms=round(query.lookback_delta.total_seconds() * _MS), max_samples=query.max_samples
        )
        self._options = with_features(limits, query.enable_features)
        self._queries = StoreQueries(query, owner, lambda: host.clock_ns() / 1e9)
        self._queries.observe(exporter.id, host.counters)
        targets = cast("TargetsSource | None", host.services.get("targets"))
        listeners = host.service("listeners", Listeners)
        config = exporter.config
        settings = ApiSettings(
            parse_selector=parse_selector,
            default_workspace=next(iter(config.workspaces), ""),
            targets=targets,
            ready=lambda: host.readiness.ready,
            replay=self._replay,
            config_yaml=host.services.get("config_yaml", str),
            flags=flags(config),
            clock_ns=host.clock_ns,
            admin=self._admin(),
            language=self._options.parser,
            external_labels=config.external_labels,
            lookback_ms=self._options.lookback_ms,
            retention=retention_text(config.retention // _MILLISECOND, config.retention_size),
            switches=lambda: self._switches(listeners),
            counters=host.counters,
        )
        api = PrometheusApi(self._find, self._queries.pool, settings)
        page = StatusPage(lambda: served(listeners), targets)
        listeners.add(exporter.config, [*api.routes(), page.route()], owner)

    def _admin(self) -> ExporterAdmin | None:
        config = self._exporter.config
        if not (config.enable_admin_api and config.workspaces):
            return None
        return ExporterAdmin(self._exporter, config.workspaces[0])

    def _switches(self, listeners: Listeners) -> frozenset[str]:
        """Return the features that are on: the language's by their names, receivers by whether their paths are here."""
        config = self._exporter.config
        served = {
            mounted.route.path
            for listener in listeners.open
            if listener.config.endpoint == config.endpoint
            for mounted in listener.table.mounted
        }
        found = {name for name, path in _RECEIVERS.items() if path in served}
        return frozenset({*config.query.enable_features, *found, *(["admin"] if config.enable_admin_api else [])})

    def _find(self, workspace: str) -> Backend | None:
        if not self._exporter.serves(workspace):
            return None
        backend = self._backends.get(workspace)
        if backend is None:
            engine = self._exporter.store.engine(workspace)
            results = self._queries.cache
            cache = None if results is None else WorkspaceCache(results, engine.changes)
            backend = Backend(EngineIndex(engine), PromQLService(engine, self._options, cache), cache)
            self._backends[workspace] = backend
        return backend

    def forget(self, workspace: str) -> None:
        """Let go of a workspace that is removed."""
        backend = self._backends.pop(workspace, None)
        if backend is not None and backend.cache is not None:
            backend.cache.drop()

    def opened(self, directory: Path) -> None:
        """Go on once the data directory is open."""
        self._queries.open(directory)

    def shutdown(self) -> None:
        """End the queries; safe twice."""
        self._queries.shutdown()

    def _replay(self) -> tuple[int, int, int]:
        status = self._exporter.store.replay_status
        return status.min, status.max, status.current


def served(listeners: Listeners) -> list[ServedPath]:
    """Return all paths that the daemon answers."""
    return [
        ServedPath(f"{listener.url}{mounted.route.path}", ", ".join(mounted.route.methods), mounted.owner)
        for listener in listeners.open
        for mounted in listener.table.mounted
    ]
