"""The exporters of OTLP keep their contract."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from headrace.exporters.otlp import FACTORY as OTLP
from headrace.exporters.otlp_http import FACTORY as OTLP_HTTP
from headrace.testing.components import ComponentContract
from headrace.testing.exporters import ExporterContract
from otlp_server import grpc_server, http_server
from running import free_port

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from otlp_server import OtlpServer


class Served(ComponentContract):
    """Into a server that counts."""

    __test__ = False

    def renew(self) -> None:
        super().renew()
        self.port = free_port()
        self._points = 0

    def serve(self) -> AbstractAsyncContextManager[OtlpServer]:
        """Return the server, which listens on `port`."""
        raise NotImplementedError

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        self._server = await self._stack.enter_async_context(self.serve())

    async def close(self) -> None:
        self._points = len(self._server.points())
        await self._stack.aclose()

    def arrived(self) -> int:
        return self._points


class TestOtlp(Served, ExporterContract):
    """Over gRPC."""

    __test__ = True
    factory = OTLP

    def configuration(self) -> dict[str, Any]:
        return {"endpoint": f"127.0.0.1:{self.port}", "tls": {"insecure": True}}

    def serve(self) -> AbstractAsyncContextManager[OtlpServer]:
        return grpc_server(port=self.port)


class TestOtlpHttp(Served, ExporterContract):
    """Over HTTP."""

    __test__ = True
    factory = OTLP_HTTP

    def configuration(self) -> dict[str, Any]:
        return {"endpoint": f"http://127.0.0.1:{self.port}"}

    def serve(self) -> AbstractAsyncContextManager[OtlpServer]:
        return http_server(port=self.port)
