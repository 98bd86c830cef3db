"""Settings of gRPC clients, with the names of the Collector's ``configgrpc``, and a client that has them.

For exporters: one `GrpcClient` per component, `call` per request; messages are bytes on both sides.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import grpc
from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.grpc.server import READ_OPTIONS, WRITE_OPTION
from headrace.pipeline.grpc.target import host_of, is_secure, target_of
from headrace.pipeline.grpc.tls import check_tls
from headrace.pipeline.http.auth import with_credentials
from headrace.pipeline.http.config import AuthConfig
from headrace.pipeline.http.endpoint import is_loopback_host
from headrace.pipeline.tls import TlsClientConfig
from headrace.pipeline.tls.contexts import ClientTls, pem

if TYPE_CHECKING:
    from headrace.pipeline.http.auth import ClientAuthenticator

_COMPRESSION = {
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
    "none": grpc.Compression.NoCompression,
    "": grpc.Compression.NoCompression,
}
_NOT_SPOKEN = ("zstd", "snappy")

_UNSUPPORTED = {
    "middlewares": "extensions cannot be put around requests",
    "compression_params": "gRPC compresses by itself, at a level of its own",
}

_MAX_ANSWER_BYTES = 4 << 20


class KeepaliveClientConfig(ComponentConfig):
    """How a dead server is found."""

    time: PositiveDuration = timedelta(seconds=10)
    """Ask a server that was silent for this long whether it is there."""

    timeout: PositiveDuration = timedelta(seconds=10)
    """Time for its answer."""

    permit_without_stream: bool = False
    """Ask also when no call is under way."""


class GrpcClientConfig(ComponentConfig):
    """Settings of a gRPC client."""

    endpoint: str
    """Where to send to: ``host:port``, also with a scheme (``https://``, ``dns:///``, ``unix:``)."""

    tls: TlsClientConfig = TlsClientConfig()
    """TLS. Without settings it is spoken, and the certificate is checked against the system's authorities;
    ``insecure: true`` turns it off."""

    auth: AuthConfig | None = None
    """Credentials to send, from an extension. They are refused without TLS, but for this machine."""

    headers: dict[str, Secret] = Field(default_factory=dict)
    """Metadata to add to each call."""

    compression: Literal["gzip", "deflate", "none", ""] = "gzip"
    """How messages are compressed; ``none`` for not at all."""

    authority: str = ""
    """Value of the ``:authority`` header instead of the endpoint's."""

    balancer_name: Literal["round_robin", "pick_first"] = "round_robin"
    """How calls are spread over the addresses that a name stands for."""

    wait_for_ready: bool = False
    """Let calls wait for a connection, for as long as their time lasts, instead of failing where there is none."""

    keepalive: KeepaliveClientConfig | None = None
    """How a dead server is found; without it only by calls that fail."""

    read_buffer_size: Annotated[ByteSize, Field(ge=0)] = 0
    """Bytes that are read from a connection at a time, at most; 0 for gRPC's own choice."""

    write_buffer_size: Annotated[ByteSize, Field(ge=0)] = 0
    """Bytes that are gathered before they are written to a connection; 0 for gRPC's own choice."""

    timeout: NonNegativeDuration = timedelta(seconds=5)
    """Time for one call; 0 for no limit."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _UNSUPPORTED)

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        target_of(endpoint)
        return endpoint

    @field_validator("compression", mode="before")
    @classmethod
    def _check_compression(cls, name: Any) -> Any:
        if name in _NOT_SPOKEN:
            raise ValueError(f"{name} is not supported over gRPC here: use gzip or none, or the exporter otlp_http")
        return name

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, tls: TlsClientConfig) -> TlsClientConfig:
        check_tls(tls)
        if tls.insecure_skip_verify and not tls.insecure:
            raise ValueError(
                "insecure_skip_verify is not supported over gRPC: name the server's certificate in ca_file, and its "
                "name in server_name_override"
            )
        if tls.include_system_ca_certs_pool and (tls.ca_file or tls.ca_pem):
            raise ValueError("include_system_ca_certs_pool is not supported over gRPC together with ca_file or ca_pem")
        return tls

    @model_validator(mode="after")
    def _check_clear_text(self) -> Self:
        if self.auth is not None and not self.is_secure and not is_loopback_host(host_of(self.endpoint)):
            raise ValueError(f"auth would send credentials in the clear to {host_of(self.endpoint)}: use TLS")
        return self

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return is_secure(self.endpoint, insecure=self.tls.insecure)


class GrpcClient:
    """Calls one method of one server.

    Args:
        config: Settings.
        key: The component, such as ``exporters.otlp``, for errors.
        method: Full name: ``/package.Service/Method``.
        authenticator: Adds credentials; None where the settings name no extension.
    """

    def __init__(
        self, config: GrpcClientConfig, key: str, method: str, authenticator: ClientAuthenticator | None = None
    ) -> None:
        self._config = config
        self._key = key
        self._method = method
        self._authenticator = authenticator
        self._metadata = tuple((name.lower(), value.reveal()) for name, value in config.headers.items())
        self._tls: ClientTls | None = None
        self._channel: Any = None
        self._call: Any = None

    async def start(self) -> None:
        """Read the TLS files; the connection is made by the first call.

        Raises:
            ConfigError: A file does not load.
        """
        if self._config.is_secure:
            # gRPC would take files that do not fit, and fail each call.
            self._tls = ClientTls(self._config.tls, f"{self._key}.tls")
        self._open()

    async def shutdown(self) -> None:
        """Close the connection; safe before `start` and twice."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def call(self, message: bytes) -> bytes:
        """Send a message and return the answer.

        Raises:
            grpc.aio.AioRpcError: The call failed, or there was no answer in time.
        """
        if self._channel is None:
            raise AssertionError("bug: call before start")
        if self._tls is not None and self._tls.refresh():
            old = self._channel
            self._open()
            await old.close(self._config.timeout.total_seconds() or None)
        metadata = self._metadata
        if self._authenticator is not None:
            sent = with_credentials(dict(metadata), self._authenticator)
            metadata = tuple((name.lower(), value) for name, value in sent.items())
        answer: bytes = await self._call(
            message,
            metadata=metadata,
            timeout=self._config.timeout.total_seconds() or None,
            wait_for_ready=self._config.wait_for_ready or None,
        )
        return answer

    def _open(self) -> None:
        config = self._config
        options = channel_options(config)
        compression = _COMPRESSION[config.compression]
        target = target_of(config.endpoint)
        if self._tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=options, compression=compression)
        else:
            credentials = _credentials(config.tls)
            self._channel = grpc.aio.secure_channel(target, credentials, options=options, compression=compression)
        self._call = self._channel.unary_unary(self._method)


def channel_options(config: GrpcClientConfig) -> list[tuple[str, int | str]]:
    """Return the settings as gRPC's core knows them."""
    balancer = json.dumps({"loadBalancingConfig": [{config.balancer_name: {}}]})
    options: list[tuple[str, int | str]] = [
        ("grpc.service_config", balancer),
        ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
        ("grpc.max_send_message_length", -1),
    ]
    if config.authority:
        options.append(("grpc.default_authority", config.authority))
    if config.is_secure and config.tls.server_name_override:
        options.append(("grpc.ssl_target_name_override", config.tls.server_name_override))
    if config.read_buffer_size:
        options += [(name, config.read_buffer_size) for name in READ_OPTIONS]
    if config.write_buffer_size:
        options.append((WRITE_OPTION, config.write_buffer_size))
    if config.keepalive is not None:
        options += _keepalive_options(config.keepalive)
    return options


def _keepalive_options(keepalive: KeepaliveClientConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.keepalive_time_ms", keepalive.time // timedelta(milliseconds=1)),
        ("grpc.keepalive_timeout_ms", keepalive.timeout // timedelta(milliseconds=1)),
        # A ping has a time limit of its own, a minute where nobody sets it, which this core waits for in any case.
        ("grpc.http2.ping_timeout_ms", keepalive.timeout // timedelta(milliseconds=1)),
        ("grpc.keepalive_permit_without_calls", int(keepalive.permit_without_stream)),
        # Otherwise the core sends two pings and then waits for data.
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _credentials(tls: TlsClientConfig) -> Any:
    parts = [pem(tls.ca_file, tls.ca_pem), pem(tls.key_file, tls.key_pem), pem(tls.cert_file, tls.cert_pem)]
    return grpc.ssl_channel_credentials(*(part or None for part in parts))
