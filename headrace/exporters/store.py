"""Keep points in the embedded store, and serve it: the Prometheus HTTP API and the query page.

The one place where the pipeline and the store meet. An acknowledgement means that the points are on disk.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from headrace.exporters import store_delivery as delivery
from headrace.exporters.store_api import StoreApi
from headrace.exporters.store_metrics import observe
from headrace.exporters.store_refs import StoreRefs
from headrace.exporters.store_warm import warm_up
from headrace.pipeline.batch import DEFAULT_WORKSPACE
from headrace.pipeline.component import ExporterFactory, Outcome, Settings
from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.config.faults import hint
from headrace.pipeline.errors import ConfigError, HeadraceError, Refused, StoreFailed
from headrace.pipeline.http.config import ServerConfig
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.room import Room
from headrace.pipeline.workspaces import directory_of, is_served
from headrace.store.engine import EngineOptions
from headrace.store.exemplars import MAX_IN_MEMORY
from headrace.store.interfaces import MetadataRow
from headrace.store.log import Sync
from headrace.store.promql.features import FEATURES
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.workspaces import ManagedWorkspace, WorkspaceDirectory
    from headrace.store.engine import Engine

_MS = timedelta(milliseconds=1)
_MAX_POINTS = 4_000_000
_MAX_BYTES = 512 << 20


class QueryConfig(ComponentConfig):
    """Limits of queries."""

    timeout: PositiveDuration = timedelta(minutes=2)
    """Longest time that a query may take."""

    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 20
    """Queries that run at the same time; further ones wait."""

    max_samples: Annotated[int, Field(ge=1)] = 50_000_000
    """Samples that one query may load."""

    lookback_delta: PositiveDuration = timedelta(minutes=5)
    """How far back an instant selector looks for a sample."""

    log_file: str = ""
    """File to which a line of JSON is appended for each query that was evaluated: text, times, samples, who asked and
    how it ended. Without one, none is written."""

    cache_size: ByteSize = 64 << 20
    """Bytes for results of queries, all workspaces together. A dashboard that loads again is answered from there, as
    far as nothing has happened to the samples; requests with ``nocache=1`` are not. Zero keeps none."""

    enable_features: tuple[str, ...] = ()
    """Parts of PromQL that are off by default, named as Prometheus names its feature flags:
    ``promql-experimental-functions``, ``promql-extended-range-selectors`` (``anchored`` and ``smoothed``),
    ``promql-binop-fill-modifiers`` (``fill``), ``promql-delayed-name-removal``, ``promql-per-step-stats``,
    ``type-and-unit-labels``, ``use-start-timestamps``; ``promql-duration-expr`` is always on."""

    @field_validator("enable_features")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in FEATURES:
                raise ValueError(f"there is no feature {name!r}{hint(name, sorted(FEATURES))}")
        return names


class StoreConfig(ServerConfig):
    """Settings of the ``store`` exporter."""

    endpoint: str = "127.0.0.1:9009"
    """Where the Prometheus HTTP API and the query page are served."""

    directory: str = "./data"
    """Where the data lies. One daemon a directory."""

    workspaces: tuple[str, ...] = (DEFAULT_WORKSPACE,)
    """Ids of the workspaces; the first one answers at ``/api/v1``, each at ``/workspaces/{id}/api/v1``. Those that the
    ``workspaces`` extension manages come on top of them; with it, the list may be empty."""

    retention: PositiveDuration = timedelta(days=15)
    """How long samples are kept; managed workspaces have settings of their own for this and the next."""

    retention_size: ByteSize = 0
    """Bytes that the blocks of a workspace may take; the oldest go while they take more. Zero is no limit."""

    out_of_order_time_window: NonNegativeDuration = timedelta(minutes=10)
    """How far behind the newest sample of a workspace a late one may be. Zero takes none, as in Prometheus."""

    max_future: NonNegativeDuration = timedelta(minutes=10)
    """How far ahead of this machine's clock a sample may be."""

    sync: Sync = Sync.ALWAYS
    """When a write is acknowledged: ``always`` after it is on disk, ``interval`` at once with a sync each second,
    ``never`` at once."""

    max_exemplars: Annotated[int, Field(ge=0, le=10_000_000)] = MAX_IN_MEMORY
    """Exemplars of a workspace that are kept in memory until a block takes them, normally after some two hours; the
    oldest go first. Zero keeps none."""

    min_free_disk: ByteSize = 256 << 20
    """Below this much free disk, writes are answered 503, and queries go on."""

    external_labels: dict[str, str] = Field(default_factory=dict)
    """Labels that ``/federate`` and remote read add to series that lack them, as Prometheus' setting of that name."""

    query: QueryConfig = QueryConfig()
    """Limits of queries."""

    enable_admin_api: bool = False
    """Serve ``/api/v1/admin/tsdb/delete_series``, ``clean_tombstones`` and ``snapshot``, for the first workspace and,
    with the ``access`` extension, for administrators alone."""

    @field_validator("workspaces")
    @classmethod
    def _distinct(cls, workspaces: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(workspaces)) < len(workspaces):
            raise ValueError("must be distinct")
        return workspaces


class StoreExporter:
    """Writes batches to the workspaces' engines."""

    optional = False
    needs_restart = "the store has its directory and its queries open"

    def __init__(self, settings: Settings, config: StoreConfig) -> None:
        self.config = config
        self.id = settings.id
        self._settings = settings
        self._owner = f"{settings.kind}.{settings.id}"
        self._edge = PrometheusEdge(settings.drops)
        self._room = Room(_MAX_POINTS, _MAX_BYTES)
        self._refs: dict[str, StoreRefs] = {}
        self._opening: asyncio.Task[None] | None = None
        self._api: StoreApi | None = None
        self._directory: WorkspaceDirectory | None = None
        self.store = Store(
            Path(config.directory),
            StoreOptions(
                config.sync,
                config.min_free_disk,
                EngineOptions(
                    retention_ms=config.retention // _MS,
                    retention_bytes=config.retention_size,
                    out_of_order_ms=config.out_of_order_time_window // _MS,
                    max_future_ms=config.max_future // _MS,
                    max_exemplars=config.max_exemplars,
                ),
            ),
            clock_ms=lambda: settings.clock_ns() // 1_000_000,
            steady_s=settings.monotonic_s,
        )
        attributes = {"exporter": settings.id}
        counter = settings.counters.counter
        self._sent = counter("otelcol_exporter_sent_metric_points", "Points stored.", attributes, "{datapoint}")
        self._failed = counter(
            "otelcol_exporter_send_failed_metric_points", "Points not stored.", attributes, "{datapoint}"
        )

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self, host: Host) -> None:
        """Serve the API at once, and open the store in the background; the daemon is not ready before."""
        self._directory = directory_of(host)
        if self._directory is None and not self.config.workspaces:
            raise ConfigError(f"{self._owner}.workspaces", "names none, and there is no workspaces extension")
        if self._directory is not None:
            self.store.options_of = self._engine_options
            self._directory.on_remove(self._forget_workspace)
        host.readiness.block(self._owner, "reading the write-ahead log")
        self._api = StoreApi(self, host, self._owner)
        observe(self.store, self.id, host.counters)
        self._opening = asyncio.create_task(self._open(host), name="open the store")

    async def shutdown(self) -> None:
        """End the queries, write everything into blocks and close."""
        if self._api is not None:
            self._api.shutdown()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
            self._opening = None
        await self.store.close()

    async def opened(self) -> None:
        """Wait until the store is open; for tests and for programs that embed it."""
        if self._opening is not None:
            await self._opening

    async def _open(self, host: Host) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.store.open)
        except HeadraceError as error:
            host.readiness.block(self._owner, str(error))
            host.fail(f"{self._owner}: {error}")
            return
        if self._api is not None:
            self._api.opened(self.store.directory)
        for workspace in self.config.workspaces:
            self.store.engine(workspace)
        self.store.on_forget = self._forget_refs
        self.store.start()
        if self._directory is not None:
            await self._directory.attach(self)
        host.readiness.clear(self._owner)

    # -- workspaces ----------------------------------------------------------------------------------------

    def serves(self, workspace: str) -> bool:
        """Return whether there is such a workspace."""
        return is_served(workspace, self.config.workspaces, self._directory)

    def create(self, workspace: str) -> None:
        """Make the directory of a managed workspace; its engine is opened at first use. See `WorkspaceKeeper`."""
        self.store.make(workspace)

    def configure(self, workspace: ManagedWorkspace) -> None:
        """Put a managed workspace's settings in force; see `WorkspaceKeeper`."""
        engine = self.store.engines.get(workspace.id)
        if engine is not None:
            engine.options = self._engine_options(workspace.id)

    async def remove(self, workspace: str) -> None:
        """Remove a managed workspace's data; see `WorkspaceKeeper`."""
        await self.store.remove(workspace)

    def _engine_options(self, workspace: str) -> EngineOptions:
        options = self.store.options.engine
        found = self._directory.find(workspace) if self._directory is not None else None
        if found is None or workspace in self.config.workspaces:
            return options
        return replace(options, retention_ms=found.retention_ms, out_of_order_ms=found.out_of_order_ms)

    def _forget_workspace(self, workspace: str) -> None:
        self._refs.pop(workspace, None)
        if self._api is not None:
            self._api.forget(workspace)

    # -- delivery ------------------------------------------------------------------------------------------

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room for a batch while the store can be written."""
        self.store.admit()
        return self._room.take(points, size_bytes)

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Store a batch; return when it is durable."""
        workspace = batch.context.workspace
        if not self.serves(workspace):
            self._settings.drops.add("unknown_workspace", len(batch), workspace)
            return Outcome(len(batch), {"unknown_workspace": len(batch)}, f"workspace {workspace!r} does not exist")
        flat = self._edge.flatten(batch)
        try:
            engine = self.store.engine(workspace)
        except OSError as error:
            raise Refused(f"workspace {workspace}: {error}", 5) from None
        try:
            appended = await delivery.append(engine, flat.batch, self._refs_memo(flat.batch, engine))
            if batch.metadata:
                await engine.update_metadata(
                    MetadataRow(one.family, one.type.text, one.help, one.unit) for one in batch.metadata
                )
        except StoreFailed as error:
            self._failed.add(len(batch))
            raise Refused(str(error), 5) from None
        outcome = delivery.outcome(len(batch), flat, appended, self._settings.drops)
        self._sent.add(outcome.accepted)
        self._failed.add(outcome.points - outcome.accepted)
        return outcome

    def _refs_memo(self, batch: MetricBatch, engine: Engine) -> StoreRefs:
        refs = self._refs.get(engine.workspace)
        if refs is None or not refs.serves(batch.table):
            refs = self._refs[engine.workspace] = StoreRefs(batch.table, engine)
        return refs

    def _forget_refs(self, workspace: str, refs: NDArray[np.int32]) -> None:
        memo = self._refs.get(workspace)
        if memo is not None:
            memo.forget_refs(refs)


FACTORY = ExporterFactory(name="store", config=StoreConfig, create=StoreExporter, warm_up=warm_up)
