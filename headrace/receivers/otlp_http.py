"""OTLP over HTTP: protobuf and JSON.

Source:
    OpenTelemetry Protocol specification, "OTLP/HTTP".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from headrace.pipeline.errors import InvalidInput, Refused, Rejected, TooLarge, Unsupported
from headrace.pipeline.http.request import BodyTimeout, text
from headrace.pipeline.http.routes import Route
from headrace.pipeline.request_metadata import metadata_of
from headrace.receivers import otlp_status
from headrace.receivers.otlp_ingest import Body, Taken

if TYPE_CHECKING:
    from headrace.pipeline.http.config import ServerConfig
    from headrace.pipeline.http.request import Request
    from headrace.receivers.otlp_ingest import Ingest

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_NO_METADATA: dict[str, tuple[str, ...]] = {}
PROMETHEUS_PATH = "/api/v1/otlp/v1/metrics"
"""Where Prometheus takes OTLP."""


class OtlpHttp:
    """Answers export requests.

    Args:
        ingest: Takes their bodies.
        config: Settings of the listener.
        path: Where.
    """

    def __init__(self, ingest: Ingest, config: ServerConfig, path: str) -> None:
        self._ingest = ingest
        self._config = config
        self._path = path

    def routes(self) -> list[Route]:
        """Return the paths: the configured one, Prometheus' own, and that of each workspace."""
        paths = dict.fromkeys((self._path, PROMETHEUS_PATH, f"/workspaces/{{id}}{PROMETHEUS_PATH}"))
        params = {"id": self._ingest.default_workspace}
        return [Route(path, ("POST",), self._export, action="aps:RemoteWrite", params=params) for path in paths]

    async def _export(self, request: Request) -> web.StreamResponse:
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind not in {PROTOBUF, JSON}:
            return text(f"unsupported content type {kind[:100]!r}: {PROTOBUF} and {JSON} are taken", 415)
        is_json = kind == JSON
        workspace = request.params["id"]
        if not self._ingest.serves(workspace):
            return _fault(otlp_status.NOT_FOUND, f"workspace {workspace[:100]!r} does not exist", 404, is_json=is_json)
        encoding = request.headers.get("Content-Encoding", "")
        try:
            body = Body(
                await request.body(),
                encoding,
                is_json,
                request.max_body_bytes,
                self._config.compression_algorithms,
                metadata_of(request.headers.items()) if self._config.include_metadata else _NO_METADATA,
            )
            taken = await self._ingest.export(body, workspace, request.principal.name)
        except BodyTimeout:
            raise
        except (InvalidInput, Rejected, Refused) as error:
            return _explain(error, is_json=is_json)
        return _answer(taken, is_json=is_json)


def _explain(error: InvalidInput | Rejected | Refused, *, is_json: bool) -> web.Response:
    """Return the answer to a request that is not taken."""
    if isinstance(error, Refused):
        answer = _fault(otlp_status.UNAVAILABLE, error.why, 503, is_json=is_json)
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after)))
        return answer
    if isinstance(error, TooLarge):
        answer = _fault(otlp_status.RESOURCE_EXHAUSTED, str(error), 413, is_json=is_json)
        answer.force_close()  # what is left of the body is not worth reading
        return answer
    if isinstance(error, Unsupported):
        return _fault(otlp_status.UNIMPLEMENTED, str(error), 415, is_json=is_json)
    return _fault(otlp_status.INVALID_ARGUMENT, str(error), 400, is_json=is_json)


def _answer(taken: Taken, *, is_json: bool) -> web.Response:
    if is_json:
        return web.Response(body=otlp_status.response_json(taken), content_type=JSON)
    return web.Response(body=otlp_status.response(taken), content_type=PROTOBUF)


def _fault(code: int, message: str, status: int, *, is_json: bool) -> web.Response:
    """Answer an error in the encoding of the request."""
    body = otlp_status.status_json(code, message) if is_json else otlp_status.status(code, message)
    return web.Response(status=status, body=body, content_type=JSON if is_json else PROTOBUF)
