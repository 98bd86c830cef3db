"""OTLP over gRPC, with requests as raw bytes: no message classes stand between the wire and the kernels.

Traces, logs and profiles are other services, which are not here, so gRPC answers UNIMPLEMENTED.

Source:
    OpenTelemetry Protocol specification, "OTLP/gRPC".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import grpc

from headrace.pipeline.errors import ConfigError, InvalidInput, Refused, Rejected, TooLarge, Unsupported
from headrace.pipeline.grpc.server import channel_options
from headrace.pipeline.grpc.server_tls import GrpcServerTls
from headrace.pipeline.http.auth import ANONYMOUS, Authenticator, Peer, Principal, Unauthenticated
from headrace.pipeline.request_metadata import metadata_of
from headrace.receivers import otlp_status
from headrace.receivers.otlp_ingest import Body

if TYPE_CHECKING:
    from headrace.pipeline.grpc.server import GrpcServerConfig
    from headrace.pipeline.host import Host
    from headrace.receivers.otlp_ingest import Ingest

_EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_DETAILS = "grpc-status-details-bin"
_GRACE_S = 10.0
_MAX_CALLS = 1024
"""Calls under way; further ones are answered RESOURCE_EXHAUSTED."""

_MAGIC = {b"\x1f\x8b": "gzip", b"\x78": "deflate", b"\x28\xb5\x2f\xfd": "zstd"}
"""What compressed messages begin with. No request begins so: its first byte is the tag of ResourceMetrics."""

_BLOCK = b"\x0a"
"""That tag."""

_BEHIND = {"auth", "allow_unauthenticated", "include_metadata", "tls"}
"""Settings that can change while the server listens on; of ``tls``, the server's own certificate."""

_POLL_S = 0.01

_log = logging.getLogger(__name__)


class OtlpGrpc:
    """Serves the metrics service.

    Args:
        ingest: Takes the requests.
        config: Settings.
        owner: Key of the receiver in the configuration, for errors.
    """

    def __init__(self, ingest: Ingest, config: GrpcServerConfig, owner: str) -> None:
        self._ingest = ingest
        self._config = config
        self._key = f"{owner}.protocols.grpc"
        self._authenticator: Authenticator | None = None
        self._tls: GrpcServerTls | None = None
        self._door = _Door(self._export)
        self._server: Any = None
        self._under_way = 0
        self.port = 0
        """Once started, the port that is listened on."""

    async def start(self, host: Host) -> None:
        """Listen.

        Raises:
            ConfigError: The address is taken, a certificate does not load, or the authenticator does not exist.
        """
        config = self._config
        self.prepare(host)
        server = grpc.aio.server(options=channel_options(config), maximum_concurrent_rpcs=_MAX_CALLS)
        server.add_generic_rpc_handlers((self._door,))
        try:
            if self._tls is None:
                self.port = server.add_insecure_port(config.listens_on)
            else:
                self.port = server.add_secure_port(config.listens_on, self._tls.credentials())
        except RuntimeError:
            raise ConfigError(f"{self._key}.endpoint", f"cannot listen on {config.endpoint}") from None
        await server.start()
        self._server = server

    def prepare(self, host: Host) -> None:
        """Do all of `start` but to listen.

        Raises:
            ConfigError: A certificate does not load, or the authenticator does not exist.
        """
        config = self._config
        if config.auth is not None:
            key = f"{self._key}.auth.authenticator"
            self._authenticator = host.extension(config.auth.authenticator, Authenticator, key)  # type: ignore[type-abstract]
        if config.tls is not None:
            self._tls = GrpcServerTls(config.tls, self._key)

    def can_succeed(self, before: OtlpGrpc) -> bool:
        """Return whether the server of `before` can go on with these settings: it listens, and serves, alike."""
        ours, theirs = self._config, before._config
        # Who connected under one authority must not go on under another.
        alike = (ours.tls and ours.tls.client_ca_file) == (theirs.tls and theirs.tls.client_ca_file)
        same = ours.model_dump(exclude=_BEHIND) == theirs.model_dump(exclude=_BEHIND)
        return before._server is not None and alike and same

    def succeed(self, before: OtlpGrpc) -> None:
        """Take over the server of `before`, once prepared: calls from now on are taken here."""
        self._server, before._server = before._server, None
        self._door, self.port = before._door, before.port
        self._door.lead_to(self._export)
        self._tls, before._tls = before._tls, None
        if self._tls is not None and self._config.tls is not None:
            self._tls.take(self._config.tls)

    async def shutdown(self) -> None:
        """Take no new calls, and let those under way finish."""
        if self._server is not None:
            await self._server.stop(_GRACE_S)
            self._server = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                while self._under_way:  # noqa: ASYNC110 -- at the end of a server that another one has taken over
                    await asyncio.sleep(_POLL_S)

    async def _export(self, data: bytes, context: Any) -> bytes:
        self._under_way += 1
        try:
            return await self._answer(data, context)
        finally:
            self._under_way -= 1

    async def _answer(self, data: bytes, context: Any) -> bytes:
        try:
            principal = await self._principal(context)
            metadata = metadata_of(context.invocation_metadata() or ()) if self._config.include_metadata else {}
            body = Body(data, _encoding_of(data), is_json=False, limit=self._config.max_bytes, metadata=metadata)
            taken = await self._ingest.export(body, self._ingest.default_workspace, principal.name)
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.why)
        except Refused as error:
            details = otlp_status.status(otlp_status.UNAVAILABLE, error.why, error.retry_after)
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.why, ((_DETAILS, details),))
        except (InvalidInput, Rejected) as error:
            await context.abort(_code_of(error), str(error))
        except Exception:  # noqa: BLE001 -- the edge: whatever fails is an answer and a line in the log
            _log.exception("bug: an OTLP call failed")
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")
        return otlp_status.response(taken)

    async def _principal(self, context: Any) -> Principal:
        if self._authenticator is None and self._config.tls is None:
            return ANONYMOUS
        peer = Peer(_address_of(context.peer()), _subject_of(context.auth_context()))
        if self._authenticator is None:
            return ANONYMOUS if peer.subject is None else Principal(peer.subject, "mtls")
        headers = {key.lower(): value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return await self._authenticator.authenticate(headers, peer)


class _Door(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the one method there is."""

    def __init__(self, export: Any) -> None:
        self.lead_to(export)

    def lead_to(self, export: Any) -> None:
        """Have calls that come from now on answered by `export`."""
        self._handler = grpc.unary_unary_rpc_method_handler(export)

    def service(self, details: Any) -> Any:
        """Return the handler of a call, None for a method that is not implemented."""
        return self._handler if details.method == _EXPORT else None


def _encoding_of(data: bytes) -> str:
    """Return how a message is compressed: gRPC keeps the header that says so to itself."""
    if data.startswith(_BLOCK):
        return ""
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "")


def _code_of(error: Exception) -> grpc.StatusCode:
    if isinstance(error, TooLarge):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return grpc.StatusCode.UNIMPLEMENTED if isinstance(error, Unsupported) else grpc.StatusCode.INVALID_ARGUMENT


def _address_of(peer: str) -> str:
    """Return the address in ``ipv4:127.0.0.1:1234`` or ``ipv6:[::1]:1234``."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""


def _subject_of(properties: Any) -> str | None:
    """Return the name in the client certificate, None without one."""
    for key in ("x509_common_name", "x509_subject_alternative_name"):
        for name in properties.get(key, ()):
            return bytes(name).decode("utf-8", "replace")
    return None
