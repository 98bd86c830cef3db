"""The endpoints under ``/-/``: whether the daemon lives and is ready; reloading and quitting it.

Another configuration is put in place by a signal, or when its file changes; the lifecycle API is off, as it is in
Prometheus without ``--web.enable-lifecycle``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from headrace.pipeline.http.routes import Route
from headrace.store.api.answering import unready

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.http.request import Request

_LOOK = ("GET", "HEAD")
_CHANGE = ("GET", "POST", "PUT")
"""GET has an answer of its own, that of a method which is not allowed."""


class Lifecycle:
    """Handlers.

    Args:
        ready: Whether the daemon is ready.
    """

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._is_ready = ready

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [
            Route("/-/healthy", _LOOK, self._healthy, open_to_all=True),
            Route("/-/ready", _LOOK, self._ready, open_to_all=True),
            Route("/-/reload", _CHANGE, self._change),
            Route("/-/quit", _CHANGE, self._change),
        ]

    async def _healthy(self, request: Request) -> web.StreamResponse:
        return _fine(request, "Prometheus Server is Healthy.")

    async def _ready(self, request: Request) -> web.StreamResponse:
        return _fine(request, "Prometheus Server is Ready.") if self._is_ready() else unready()

    async def _change(self, request: Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(status=405, text="Only POST or PUT requests allowed")
        return web.Response(status=403, text="Lifecycle API is not enabled.")


def _fine(request: Request, words: str) -> web.Response:
    return web.Response() if request.method == "HEAD" else web.Response(text=f"{words}\n")
