"""Take remote write requests, 1.0 and 2.0.

Answers are those of Prometheus' receiver, but for one thing: of a 1.0 request whose samples are in part not
acceptable, the good ones are kept (docs/adr/0003), where Prometheus rolls all of them back.

Source:
    Prometheus Remote-Write specification 1.0 and 2.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from pydantic import Field, field_validator

from headrace.pipeline.batch import DEFAULT_WORKSPACE, BatchContext
from headrace.pipeline.component import Outcome, ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ByteSize  # noqa: TC001 -- pydantic reads it
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.http.config import MIB, ServerConfig
from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.request import text
from headrace.pipeline.http.routes import Route
from headrace.pipeline.request_metadata import metadata_of
from headrace.pipeline.wire import snappy
from headrace.pipeline.wire.remote_write import Decoded, RemoteWriteDecoder
from headrace.pipeline.workspaces import directory_of, is_served

if TYPE_CHECKING:
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.workspaces import WorkspaceDirectory

_V1 = "prometheus.WriteRequest"
_V2 = "io.prometheus.write.v2.Request"
_MEDIA = "application/x-protobuf"
_INVALID_HISTOGRAM = ("native_histogram_invalid", "native_histogram_invalid_schema")


class RemoteWriteConfig(ServerConfig):
    """Settings of the ``prometheus_remote_write`` receiver."""

    endpoint: str = "127.0.0.1:9009"
    """Where to listen; components that name the same endpoint share it."""

    path: str = "/api/v1/write"
    """Path of the first workspace; each is also at ``/workspaces/{id}/api/v1/remote_write``."""

    workspaces: tuple[str, ...] = (DEFAULT_WORKSPACE,)
    """Ids of the workspaces that are written to, besides those that the ``workspaces`` extension manages."""

    max_request_body_size: Annotated[ByteSize, Field(ge=1)] = 32 * MIB
    """Bytes of a request, as sent; longer ones are refused with 413."""

    max_decoded_size: Annotated[ByteSize, Field(ge=1)] = 32 * MIB
    """Bytes that a request may decompress to; it says so at its beginning, and longer ones are refused with 413."""

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path.startswith("/") or "{" in path:
            raise ValueError(f"must start with a slash and hold no braces, got {path!r}")
        return path


class UnsupportedMedia(InvalidInput):
    """Content type or encoding is not one of remote write; the answer is 415."""


def negotiate(content_type: str, encoding: str) -> bool:
    """Return whether a request is of version 2.0.

    Raises:
        UnsupportedMedia: It is of neither version, or not compressed with snappy.
    """
    parts = [part.strip() for part in content_type.split(";")]
    if parts[0].lower() != _MEDIA:
        raise UnsupportedMedia(f"expected {_MEDIA} as the first (media) part, got {content_type} content-type")
    proto = _V1
    for part in parts[1:]:
        name, equals, value = part.partition("=")
        if not equals:
            raise UnsupportedMedia(f"expected parameters to be key-values, got {part} in {content_type} content-type")
        if name.strip().lower() == "proto":
            proto = value.strip()
    if proto not in {_V1, _V2}:
        raise UnsupportedMedia(f"got {proto} content-type parameter; supported are {_V1} and {_V2}")
    if encoding and encoding.lower() != "snappy":
        why = f"{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        raise UnsupportedMedia(why)
    return proto == _V2


class RemoteWriteReceiver:
    """Answers write requests."""

    def __init__(self, settings: Settings, config: RemoteWriteConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._sink = sink
        self._host: Host | None = None
        self._directory: WorkspaceDirectory | None = None
        self._decoders: dict[tuple[str, bool], RemoteWriteDecoder] = {}

    async def start(self, host: Host) -> None:
        """Open the routes."""
        self._host = host
        self._directory = directory_of(host)
        if self._directory is not None:
            self._directory.on_remove(self._forget)
        default = next(iter(self._config.workspaces), "")
        routes = [
            Route(self._config.path, ("POST",), self._write, action="aps:RemoteWrite", params={"id": default}),
            Route("/workspaces/{id}/api/v1/remote_write", ("POST",), self._write, action="aps:RemoteWrite"),
        ]
        owner = f"{self._settings.kind}.{self._settings.id}"
        host.service("listeners", Listeners).add(self._config, routes, owner)

    async def shutdown(self) -> None:
        """Do nothing: the listener has let the requests finish."""

    async def _write(self, request: Request) -> web.StreamResponse:
        workspace = request.params["id"]
        if not is_served(workspace, self._config.workspaces, self._directory):
            return text(f"workspace {workspace!r} does not exist", 404)
        try:
            v2 = negotiate(request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
        except UnsupportedMedia as error:
            self._settings.drops.add("unsupported_media_type", 1)
            return text(str(error), 415)
        body = await request.body()
        self._sink.check(1, len(body))
        metadata = metadata_of(request.headers.items()) if self._config.include_metadata else {}
        context = BatchContext(
            workspace, self._settings.id, request.principal.name, self._settings.clock_ns(), metadata
        )
        try:
            buf, size = snappy.decompress(body, self._config.max_decoded_size)
            decoded = self._decoder(workspace, v2=v2).decode(buf, size, context)
        except InvalidInput as error:
            reason = "too_large" if isinstance(error, TooLarge) else "corrupt"
            self._settings.drops.add(reason, 1)
            raise
        batch = decoded.batch
        outcome = Outcome(0) if batch.is_empty else await self._sink.send(batch)
        # Not before: a request that is refused comes again, with the same points in it.
        for reason, amount in decoded.rejected.items():
            self._settings.drops.add(reason, amount, decoded.message)
        return _answer(decoded, outcome, v2=v2)

    def _decoder(self, workspace: str, *, v2: bool) -> RemoteWriteDecoder:
        decoder = self._decoders.get((workspace, v2))
        if decoder is None:
            if self._host is None:
                raise AssertionError("bug: a request before start")
            table = self._host.workspaces.table(workspace)
            decoder = self._decoders[workspace, v2] = RemoteWriteDecoder(table, v2=v2)
        return decoder

    def _forget(self, workspace: str) -> None:
        for v2 in (False, True):
            self._decoders.pop((workspace, v2), None)


def _answer(decoded: Decoded, outcome: Outcome, *, v2: bool) -> web.Response:
    # Prometheus leaves series with bad labels out of a 1.0 request without a word, and so do we, counted; exemplars
    # that it refuses it does not tell 1.0 senders about either. An invalid histogram it does.
    messages = [decoded.message, outcome.message, outcome.exemplar_message]
    message = "; ".join(filter(None, messages)) if v2 else outcome.message or decoded.message
    failed = bool(sum(outcome.rejected.values())) or any(reason in decoded.rejected for reason in _INVALID_HISTOGRAM)
    if v2:
        failed = failed or bool(decoded.rejected) or bool(outcome.rejected_exemplars)
    response = text(message, 400) if failed else web.Response(status=204)
    if v2:
        bad = decoded.rejected_histograms + outcome.rejected_histograms
        histograms = decoded.histograms - bad
        samples = outcome.accepted - histograms
        exemplars = 0 if decoded.batch.exemplars is None else len(decoded.batch.exemplars)
        for kind, written in (
            ("Samples", samples), ("Histograms", histograms), ("Exemplars", exemplars - outcome.rejected_exemplars)
        ):  # fmt: skip
            response.headers[f"X-Prometheus-Remote-Write-{kind}-Written"] = str(max(0, written))
    return response


def warm_up() -> None:
    """Compile the decoders' kernels by reading a small request of each version."""
    from headrace.pipeline.series import SeriesTable

    table = SeriesTable()
    for v2, request in ((False, _SMALL_V1), (True, _SMALL_V2)):
        buf, size = snappy.decompress(request, MIB)
        decoder = RemoteWriteDecoder(table, v2=v2)
        decoder.decode(buf, size, BatchContext())
        decoder.decode(buf, size, BatchContext())


# A series ``m{a="b"}`` with a sample, a histogram of schema 9 and an exemplar, in each version.
_SMALL_V1 = bytes.fromhex(
    "59700a570a0d0a085f5f6e616d655f5f12016d0a060a0161120162120c0900050118f03f10e8071a14011810741201311105152800f03f18e807"
    "221a08021911103820125a04080210026202020078d00f"
)
_SMALL_V2 = bytes.fromhex(
    "63d8220022085f5f6e616d655f5f22016d2201612201622201742201312a460a0401020304120c09000000000000f03f10e8071a1a080219000d109020"
    "125a04080210026202020078d00f22100a02050611000000000000f03f18e8072a020801"
)


FACTORY = ReceiverFactory(
    name="prometheus_remote_write",
    config=RemoteWriteConfig,
    create=RemoteWriteReceiver,
    aliases=("prometheusremotewrite",),
    warm_up=warm_up,
)
