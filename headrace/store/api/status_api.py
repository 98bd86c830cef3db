"""The endpoints about the daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.api import params, status
from headrace.store.api.envelope import encode
from headrace.store.api.features import features
from headrace.store.api.reply import Reply

if TYPE_CHECKING:
    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering
    from headrace.store.api.pool import QueryPool


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

    async def notifications(self, request: Request) -> Reply:
        """Return what an administrator should know: nothing is told this way."""
        del request
        return Reply(encode([]))
