"""Show the newest samples to scrapers.

Deltas are added up; explicit histograms become classic ones and exponential ones native, which only protobuf shows
whole. A sample that is older than the one shown is dropped, and a series whose type is not that of its family as well.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

import cramjam
from aiohttp import web

from headrace.exporters.prometheus.board import Board
from headrace.exporters.prometheus.families import Families
from headrace.exporters.prometheus.layout import Layout
from headrace.exporters.prometheus.negotiation import Format, negotiate
from headrace.exporters.prometheus.page import write_page
from headrace.pipeline.batch import DEFAULT_WORKSPACE
from headrace.pipeline.chain import Stage
from headrace.pipeline.component import NoReservation, Outcome
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.routes import Route
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.streams.deltas import DeltaSums

if TYPE_CHECKING:
    from headrace.exporters.prometheus.config import PrometheusExporterConfig
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation, Settings
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.series import SeriesTable

_TIDY_S = 5.0
"""How often what expired is taken off."""

_WRITERS = 2
"""Pages that are written at the same time; a page takes as much memory as it has bytes."""

_ZIP_FROM = 1024
_ZIP_LEVEL = 1
_SLICE = 500
"""Series that are named at a stretch."""


class PrometheusExporter:
    """Keeps samples, and answers scrapes."""

    optional = False

    def __init__(self, settings: Settings, config: PrometheusExporterConfig) -> None:
        self._settings = settings
        self._config = config
        self._expiry_s = config.metric_expiration.total_seconds()
        self._families = Families(config.naming)
        self._sums = DeltaSums(settings, round(self._expiry_s * 1e9))
        self._edge = self._new_edge()
        self._boards: weakref.WeakKeyDictionary[SeriesTable, Board] = weakref.WeakKeyDictionary()
        self._workspaces: dict[str, weakref.ref[SeriesTable]] = {}
        self._layouts: weakref.WeakKeyDictionary[Board, dict[Format, Layout]] = weakref.WeakKeyDictionary()
        self._writers = asyncio.Semaphore(_WRITERS)
        self._tidier: asyncio.Task[None] | None = None
        self._sent = settings.counters.counter(
            "otelcol_exporter_sent_metric_points", "Points taken.", {"exporter": settings.id}, "{datapoint}"
        )

    async def start(self, host: Host) -> None:
        """Open the paths ``/metrics`` and ``/workspaces/{id}/metrics``."""
        owner = f"{self._settings.kind}.{self._settings.id}"
        methods = ("GET", "HEAD")
        routes = [
            Route("/metrics", methods, self._answer, action="aps:QueryMetrics", params={"id": DEFAULT_WORKSPACE}),
            Route("/workspaces/{id}/metrics", methods, self._answer, action="aps:QueryMetrics"),
        ]
        host.service("listeners", Listeners).add(self._config, routes, owner)
        self._tidier = asyncio.create_task(self._tidy_often(), name=f"{owner} tidier")

    async def shutdown(self) -> None:
        """Stop tidying; the listener is closed already."""
        if self._tidier is not None:
            self._tidier.cancel()
            await asyncio.gather(self._tidier, return_exceptions=True)
            self._tidier = None

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything: what is kept is one sample of each series of the table."""
        del points, size_bytes
        return NoReservation()

    # -- samples -------------------------------------------------------------------------------------------

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Show the newest of a batch."""
        points = len(batch)
        self._families.tell(batch.metadata)
        batch = self._sums.process(batch)
        edge = self._edge
        new = edge.undecided(batch)
        for begin in range(0, len(new), _SLICE):
            edge.decide(batch, new[begin : begin + _SLICE])
            await asyncio.sleep(0)
        flat = edge.flatten(batch)
        board = self._board(batch)
        for _ in board.learn(flat.batch):
            await asyncio.sleep(0)
        older = board.take(flat.batch, self._settings.monotonic_s())
        if older:
            self._settings.drops.add("out_of_order", older)
        self._sent.add(points - sum(flat.rejected.values()))
        return Outcome(points, flat.rejected, flat.message, flat.rejected_histograms)

    def _new_edge(self) -> PrometheusEdge:
        drops = self._settings.drops
        return PrometheusEdge(drops, self._config.naming, [Stage(self._families, drops, "type_conflict")])

    def _board(self, batch: MetricBatch) -> Board:
        table = batch.table
        board = self._boards.get(table)
        if board is None:
            board = self._boards[table] = Board(table, self._config.const_labels)
            self._workspaces[batch.context.workspace] = weakref.ref(table)
        return board

    async def _tidy_often(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_S)
            self.tidy()

    def tidy(self) -> None:
        """Take off what expired, and have series decided anew whose family's other type is gone."""
        before_s = self._settings.monotonic_s() - self._expiry_s
        self._sums.tick(self._settings.clock_ns())
        boards = [board for _, board in list(self._boards.items())]
        for board in boards:
            board.expire(before_s)
        if self._families.conflicts:
            shown = {name for board in boards for name in board.shown_names()}
            if self._families.settle(shown):
                self._edge = self._new_edge()

    # -- pages ---------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> web.StreamResponse:
        form = negotiate(request.headers.get("Accept", ""), openmetrics=self._config.enable_open_metrics)
        headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
        zipped = "gzip" in request.headers.get("Accept-Encoding", "")
        page = await self.page(request.params["id"], form)
        if zipped and len(page) >= _ZIP_FROM:
            headers["Content-Encoding"] = "gzip"
            page = await asyncio.to_thread(lambda: memoryview(cramjam.gzip.compress(page, level=_ZIP_LEVEL)))
        return web.Response(body=bytes(page), headers=headers)

    async def page(self, workspace: str, form: Format) -> memoryview:
        """Return the page of a workspace; an empty one where nothing of it came."""
        reference = self._workspaces.get(workspace)
        table = reference() if reference is not None else None
        board = self._boards.get(table) if table is not None else None
        async with self._writers:
            if board is None:
                return memoryview(form.end)
            board.expire(self._settings.monotonic_s() - self._expiry_s)
            for _ in board.write_labels(form):
                await asyncio.sleep(0)
            return await self._write(board, form)

    async def _write(self, board: Board, form: Format) -> memoryview:
        known = self._layouts.setdefault(board, {})
        version = (board.version, self._families.version)
        layout = known.get(form)
        if layout is not None and layout.version != version:
            layout = None
        snapshot = board.snapshot(form, with_shape=layout is None)

        def write() -> tuple[Layout, memoryview]:
            used = layout or Layout.of(snapshot, version, self._families, form)
            return used, write_page(used, snapshot, form, timed=self._config.send_timestamps)

        known[form], page = await asyncio.to_thread(write)
        return page
