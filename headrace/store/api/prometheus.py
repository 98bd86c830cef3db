"""The Prometheus HTTP API, ``/api/v1``, for the default workspace and, under ``/workspaces/{id}``, for any.

Parameters, envelopes and error texts are those of Prometheus 3.5, compared with a real one by the tests. Differences,
all deliberate: unclean paths (``//``) are 404 instead of a redirect; times that overflow Prometheus' int64 arithmetic
are errors or right instead of wrapped; a step under a millisecond is refused like a step of zero; a timeout of zero
or less is answered 503 ``timeout``; there is no ``DELETE /series``, and no CORS header.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.pipeline.errors import StoreError
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route
from headrace.store.api import admin, params, status
from headrace.store.api.envelope import encode, failure
from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.label_json import label_objects
from headrace.store.api.query_api import QueryApi
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply, respond, send
from headrace.store.api.selectors import parse_selectors, unescape_name, union

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.targets import TargetsSource
    from headrace.store.api.admin import StoreAdmin
    from headrace.store.api.backend import Backend, FindBackend, SelectorParser
    from headrace.store.api.pool import QueryPool, Ticket
    from headrace.store.labels import LabelTable
    from headrace.store.matchers import Matcher

_log = logging.getLogger(__name__)

_TRUNCATED = "results truncated due to limit"
_READ = ("GET", "POST")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API is given.

    Attributes:
        default_workspace: Workspace behind ``/api/v1``.
        parse_selector: Parses ``match[]``.
        targets: Who scrapes; None for nobody.
        ready: Whether the daemon is ready; before, queries are answered 503.
        replay: Progress of the log's replay: first, last and present segment.
        config_yaml: The configuration in force, without secrets.
        flags: Command line options by name.
        clock_ns: Unix time in nanoseconds.
        gzip_level: 1 to 9 for answers to clients that accept gzip; 0 for never.
        admin: Does what administrators ask for; None where that is off.
    """

    parse_selector: SelectorParser
    default_workspace: str = "default"
    targets: TargetsSource | None = None
    ready: Callable[[], bool] = lambda: True
    replay: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)
    config_yaml: Callable[[], str] = str
    flags: dict[str, str] = field(default_factory=dict)
    clock_ns: Callable[[], int] = time.time_ns
    gzip_level: int = 1
    admin: StoreAdmin | None = None


class PrometheusApi:
    """Handlers of the API, and the routes to them.

    Args:
        find: Returns the workspace with an id.
        pool: Threads to query on.
        settings: The rest.
    """

    def __init__(self, find: FindBackend, pool: QueryPool, settings: ApiSettings) -> None:
        self._find = find
        self._pool = pool
        self._settings = settings
        self._started_ns = settings.clock_ns()
        self._admin = admin.AdminApi(settings.admin, self._selectors)
        self._queries = QueryApi(self._backend, pool, settings.clock_ns)

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        found: list[Route] = []
        for prefix, named in (
            ("/api/v1", {"id": self._settings.default_workspace}),
            ("/workspaces/{id}/api/v1", {}),
        ):
            for path, methods, handler, action in (
                ("query", _READ, self._queries.query, "aps:QueryMetrics"),
                ("query_range", _READ, self._queries.query_range, "aps:QueryMetrics"),
                ("query_exemplars", _READ, self._queries.query_exemplars, "aps:QueryMetrics"),
                ("series", _READ, self._series, "aps:GetSeries"),
                ("labels", _READ, self._labels, "aps:GetLabels"),
                ("label/{name}/values", ("GET",), self._label_values, "aps:GetLabels"),
                ("metadata", ("GET",), self._metadata, "aps:GetMetricMetadata"),
                ("status/tsdb", ("GET",), self._tsdb, "aps:GetLabels"),
            ):
                route = self._route(f"{prefix}/{path}", methods, handler)
                found.append(replace(route, action=action, params=named))
        found += [
            self._route("/api/v1/targets", ("GET",), self._targets),
            self._route("/api/v1/status/buildinfo", ("GET",), self._buildinfo),
            self._route("/api/v1/status/runtimeinfo", ("GET",), self._runtimeinfo),
            self._route("/api/v1/status/flags", ("GET",), self._flags),
            self._route("/api/v1/status/config", ("GET",), self._config),
            self._route("/api/v1/status/walreplay", ("GET",), self._walreplay, before_ready=True),
            *(
                self._route(f"/api/v1/admin/tsdb/{path}", admin.METHODS, self._administer(handler))
                for path, handler in (
                    ("delete_series", self._admin.delete_series),
                    ("clean_tombstones", self._admin.clean_tombstones),
                    ("snapshot", self._admin.snapshot),
                )
            ),
            Route("/-/healthy", ("GET", "HEAD"), self._healthy, open_to_all=True),
            Route("/-/ready", ("GET", "HEAD"), self._ready, open_to_all=True),
        ]
        return found

    def _route(
        self,
        path: str,
        methods: tuple[str, ...],
        handler: Callable[[Request], Awaitable[Reply]],
        *,
        before_ready: bool = False,
    ) -> Route:
        """Wrap `handler` into what all of the API has: readiness, errors as JSON, compression."""

        async def answer(request: Request) -> web.StreamResponse:
            if not before_ready and not self._settings.ready():
                return text("Service Unavailable", 503, {"X-Prometheus-Stopping": "false"})
            try:
                reply = await handler(request)
                return await send(request, reply, self._settings.gzip_level)
            except ApiError as error:
                body, status_code = failure(error), error.status
            except StoreError as error:
                _log.error("%s: %s", path, error)
                broken = ApiError("internal", str(error))
                body, status_code = failure(broken), broken.status
            return await respond(request, body, status_code, self._settings.gzip_level)

        return Route(path, methods, answer)

    @staticmethod
    def _administer(handler: Callable[[Request], Awaitable[bytes]]) -> Callable[[Request], Awaitable[Reply]]:
        async def answer(request: Request) -> Reply:
            return Reply(await handler(request))

        return answer

    def _backend(self, request: Request) -> Backend:
        workspace = request.params["id"]
        found = self._find(workspace)
        if found is None:
            raise ApiError("not_found", f"workspace {go_quote(workspace)} does not exist")
        return found

    async def _series(self, request: Request) -> Reply:
        form = await request.form()
        backend = self._backend(request)
        if form.error:
            raise ApiError("bad_data", f"error parsing form values: {form.error}")
        if not form.all("match[]"):
            raise ApiError("bad_data", "no match[] parameter provided")
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)
        try:
            selectors = self._selectors(form)
        except ApiError as error:
            raise invalid_parameter("match[]", error.message) from None

        def find(ticket: Ticket) -> tuple[bytes, bool]:
            tables = []
            for matchers in selectors:
                ticket.check()
                tables.append(backend.index.series(matchers, start_ms, end_ms))
            return _series_json(tables, limit, ticket)

        data, cut = await self._pool.run(find, request)
        return Reply(data, [_TRUNCATED] if cut else [])

    async def _labels(self, request: Request) -> Reply:
        form = await request.form()
        backend = self._backend(request)
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)

        def names(matchers: Sequence[Matcher]) -> Sequence[str]:
            return backend.index.label_names(matchers, start_ms, end_ms)

        return await self._strings(request, form, limit, names)

    async def _label_values(self, request: Request) -> Reply:
        form = await request.form()
        backend = self._backend(request)
        name = unescape_name(request.params["name"])
        if not name or any("\ud800" <= char <= "\udfff" for char in name):
            raise ApiError("bad_data", f"invalid label name: {go_quote(name)}")
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)

        def values(matchers: Sequence[Matcher]) -> Sequence[str]:
            return backend.index.label_values(name, matchers, start_ms, end_ms)

        return await self._strings(request, form, limit, values)

    async def _strings(
        self, request: Request, form: Form, limit: int, ask: Callable[[Sequence[Matcher]], Sequence[str]]
    ) -> Reply:
        """Answer with what `ask` returns for each selector, or for none at all."""
        selectors = self._selectors(form) or [()]

        def find(ticket: Ticket) -> list[str]:
            lists = []
            for matchers in selectors:
                ticket.check()
                lists.append(ask(matchers))
            return union(lists)

        found = await self._pool.run(find, request)
        cut = 0 < limit < len(found)
        return Reply(encode(found[:limit] if cut else found), [_TRUNCATED] if cut else [])

    async def _metadata(self, request: Request) -> Reply:
        form = await request.form()
        backend = self._backend(request)
        limit = params.number_parameter(form, "limit", -1)
        limit_per_metric = params.number_parameter(form, "limit_per_metric", -1)
        metric = form.get("metric")
        known = await self._pool.run(lambda _ticket: backend.index.metadata(), request)
        families = [metric] if metric and metric in known else ([] if metric else sorted(known))
        if limit >= 0:
            families = families[:limit]
        entries = {family: list(known[family]) for family in families}
        if limit_per_metric > 0:
            entries = {family: found[:limit_per_metric] for family, found in entries.items()}
        return Reply(encode(entries))

    async def _tsdb(self, request: Request) -> Reply:
        form = await request.form()
        backend = self._backend(request)
        limit = params.entries_parameter(form)
        facts, found = await self._pool.run(lambda _ticket: backend.index.cardinality(limit), request)
        return Reply(encode(status.tsdb(facts, found)))

    async def _targets(self, request: Request) -> Reply:
        form = await request.form()
        return Reply(encode(status.targets(self._settings.targets, form.get("state"), form.get("scrapePool"))))

    async def _buildinfo(self, request: Request) -> Reply:
        del request
        return Reply(encode(status.buildinfo()))

    async def _runtimeinfo(self, request: Request) -> Reply:
        del request
        return Reply(encode(status.runtimeinfo(self._started_ns, self._settings.clock_ns())))

    async def _flags(self, request: Request) -> Reply:
        del request
        return Reply(encode(self._settings.flags))

    async def _config(self, request: Request) -> Reply:
        del request
        return Reply(encode({"yaml": self._settings.config_yaml()}))

    async def _walreplay(self, request: Request) -> Reply:
        del request
        first, last, present = self._settings.replay()
        return Reply(encode({"min": first, "max": last, "current": present}))

    async def _healthy(self, request: Request) -> web.StreamResponse:
        del request
        return text("Prometheus Server is Healthy.")

    async def _ready(self, request: Request) -> web.StreamResponse:
        del request
        if self._settings.ready():
            return text("Prometheus Server is Ready.")
        return text("Service Unavailable", 503, {"X-Prometheus-Stopping": "false"})

    def _selectors(self, form: Form) -> list[Sequence[Matcher]]:
        return parse_selectors([params.go_text(text) for text in form.all("match[]")], self._settings.parse_selector)


def _series_json(tables: Sequence[LabelTable], limit: int, ticket: Ticket) -> tuple[bytes, bool]:
    """Write label sets, sorted and without repeats; return also whether `limit` cut some.

    Args:
        tables: Each without repeats.
        limit: Most label sets; 0 for all.
        ticket: Asked now and then.
    """
    if len(tables) == 1:
        order = tables[0].order()
        cut = 0 < limit < len(order)
        return b"[" + b",".join(label_objects(tables[0].take(order[:limit] if cut else order))) + b"]", cut
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for table in tables:
        for row in range(len(table)):
            if not row & 0xFFF:
                ticket.check()
            found[tuple(table.labels(row).items())] = None
    ordered = sorted(found)
    cut = 0 < limit < len(ordered)
    return encode([dict(labels) for labels in (ordered[:limit] if cut else ordered)]), cut
