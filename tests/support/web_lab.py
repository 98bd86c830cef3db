"""A web server on loopback whose answers a test gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable


class WebLab:
    """Server of one test.

    Attributes:
        answer: Makes the answers.
        requests: What came.
        bodies: Bodies of these, in the same order.
    """

    def __init__(self, answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None) -> None:
        self.answer = answer or self._greet
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._scheme = "http"

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._port}"

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> WebLab:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        # A handler that hangs must not hold up the end of a test.
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        self._port = self._runner.addresses[0][1]
        self._scheme = "https" if tls else "http"
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.text())
        return await self.answer(request)

    async def _greet(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello")
