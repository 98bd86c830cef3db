"""The endpoints about the daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from headrace.store.api import openapi, params, status
from headrace.store.api.envelope import encode
from headrace.store.api.errors import ApiError
from headrace.store.api.features import features
from headrace.store.api.reply import Reply
from headrace.store.api.self_metrics import families

if TYPE_CHECKING:
    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering
    from headrace.store.api.pool import QueryPool

_OPENAPI_HEADERS = {
    "Content-Type": "application/yaml; charset=utf-8",
    "Cache-Control": "no-cache, no-store, must-revalidate",
}


class StatusApi:
    """Handlers.

    Args:
        answering: Finds the workspace, and has the settings.
        pool: Threads to look things up on.
    """

    def __init__(self, answering: Answering, pool: QueryPool) -> None:
        self._answering = answering
        self._settings = answering.settings
        self._pool = pool
        self._started_ns = self._settings.clock_ns()

    async def tsdb(self, request: Request) -> Reply:
        """Return what the series of a workspace are made of."""
        form = await request.form()
        backend = self._answering.backend(request)
        limit = params.entries_parameter(form)
        facts, found = await self._pool.run(lambda _ticket: backend.index.cardinality(limit), request)
        return Reply(encode(status.tsdb(facts, found)))

    async def blocks(self, request: Request) -> Reply:
        """Return the blocks of a workspace, oldest first."""
        backend = self._answering.backend(request)
        found = await self._pool.run(lambda _ticket: backend.index.blocks(), request)
        return Reply(encode({"blocks": [status.block(one) for one in found]}))

    async def buildinfo(self, request: Request) -> Reply:
        """Return versions."""
        del request
        return Reply(encode(status.buildinfo()))

    async def runtimeinfo(self, request: Request) -> Reply:
        """Return facts about the process."""
        del request
        settings = self._settings
        return Reply(encode(status.runtimeinfo(self._started_ns, settings.clock_ns(), settings.retention)))

    async def flags(self, request: Request) -> Reply:
        """Return the command line options."""
        del request
        return Reply(encode(self._settings.flags))

    async def config(self, request: Request) -> Reply:
        """Return the configuration in force, without secrets."""
        del request
        return Reply(encode({"yaml": self._settings.config_yaml()}))

    async def walreplay(self, request: Request) -> Reply:
        """Return how far reading the log has come."""
        del request
        first, last, present = self._settings.replay()
        return Reply(encode({"min": first, "max": last, "current": present}))

    async def features(self, request: Request) -> Reply:
        """Return which features there are, and which are on."""
        del request
        return Reply(encode(features(self._settings.language, self._settings.switches())))

    async def self_metrics(self, request: Request) -> Reply:
        """Return the daemon's own metrics."""
        form = await request.form()
        return Reply(encode(families(self._settings.counters, form.get("metric_name_pattern"))))

    async def openapi(self, request: Request) -> web.StreamResponse:
        """Return the OpenAPI document, of version 3.1 where no other is asked for."""
        form = await request.form()
        version = ".".join(form.get("openapi_version").split(".")[:2])
        body = openapi.text(version if version in openapi.VERSIONS else "3.1")
        return web.Response(body=body, headers=_OPENAPI_HEADERS)

    async def live_notifications(self, request: Request) -> web.StreamResponse:
        """Tell a browser that there is nothing to follow, so that it does not connect again."""
        del request
        return web.Response(status=204)

    async def search(self, request: Request) -> Reply:
        """Answer as Prometheus does while its experimental search is off."""
        del request
        raise ApiError("unavailable", "search API disabled")

    async def notifications(self, request: Request) -> Reply:
        """Return what an administrator should know: nothing is told this way."""
        del request
        return Reply(encode([]))
