"""Settings of an HTTP listener, with the names that the Collector's ``confighttp`` gives them.

A component that serves HTTP derives its configuration from `ServerConfig` (the fields lie flat beside its own, as in
the Collector) and hands it to `Listeners.add`. Options of ``confighttp`` that are not here are refused like any
unknown key.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.http.cors import CorsConfig
from headrace.pipeline.http.decompression import ALGORITHMS
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.tls import TlsServerConfig

MIB = 1 << 20

Encoding = Literal["", "gzip", "zstd", "zlib", "snappy", "deflate", "lz4", "x-snappy-framed"]

_UNSUPPORTED = {"middlewares": "extensions cannot be put around requests"}


class AuthConfig(ComponentConfig):
    """Who may send requests."""

    authenticator: str
    """Id of an extension that authenticates, such as ``basic_auth`` or ``bearer_token_auth/team``."""


class ServerAuthConfig(AuthConfig):
    """Who may send requests to a listener."""

    request_params: tuple[str, ...] = ()
    """Parameters of the query string that the extension gets as if they were headers."""


class ServerConfig(ComponentConfig):
    """Settings of an HTTP listener."""

    transport: Literal["tcp", "tcp4", "tcp6", "unix"] = "tcp"
    """``tcp``, of IPv4 (``tcp4``) or IPv6 (``tcp6``) alone, or ``unix``: then `endpoint` is the path of a socket, which
    whoever may write to it can use."""

    endpoint: str
    """Where to listen, as ``host:port``. Components that name the same endpoint share one listener. An address other
    machines can reach needs ``auth`` or ``tls.client_ca_file``, or ``allow_unauthenticated``."""

    tls: TlsServerConfig | None = None
    """Serve HTTPS."""

    auth: ServerAuthConfig | None = None
    """Ask for credentials. Without it, only requests with a local Host header are answered on a loopback address."""

    allow_unauthenticated: bool = False
    """Listen on an address other machines can reach although nobody is asked for credentials."""

    cors: CorsConfig | None = None
    """Let web pages of other origins send requests and read the answers. Without it, they are turned away."""

    max_request_body_size: Annotated[ByteSize, Field(ge=1)] = 20 * MIB
    """Bytes of a request body, as sent and once decompressed; longer ones are refused with 413."""

    compression_algorithms: tuple[Encoding, ...] = ("", *ALGORITHMS)
    """What bodies may be compressed with; others are refused with 415. The empty name stands for those that are not."""

    include_metadata: bool = False
    """Keep the headers of requests with their points, for components that ask for them."""

    response_headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to add to each answer."""

    keep_alives_enabled: bool = True
    """Whether a connection is used for more than one request."""

    max_header_size: Annotated[ByteSize, Field(ge=1024, le=MIB)] = 16 * 1024
    """Bytes of the request line, and of each header; longer ones are refused with 431."""

    max_connections: Annotated[int, Field(ge=1)] = 1024
    """Open connections; further ones are answered 503 and closed."""

    read_header_timeout: NonNegativeDuration = timedelta(seconds=10)
    """Time for a client to send a whole request head, and to finish the TLS handshake; 0 for no limit."""

    read_timeout: NonNegativeDuration = timedelta(seconds=60)
    """Time for a client to send a request body; 0 for no limit."""

    write_timeout: NonNegativeDuration = timedelta(seconds=60)
    """Time for a client to take an answer; 0 for no limit."""

    idle_timeout: NonNegativeDuration = timedelta(seconds=60)
    """How long an unused connection is kept; 0 for ever."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _UNSUPPORTED)

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str, info: ValidationInfo) -> str:
        # Where the transport is wrong, that is told alone.
        if "transport" in info.data:
            Endpoint.at(endpoint, info.data["transport"])
        return endpoint

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        why = exposure(self)
        if why:
            raise ValueError(why)
        return self

    @property
    def address(self) -> Endpoint:
        """The parsed endpoint."""
        return Endpoint.at(self.endpoint, self.transport)

    @property
    def authenticates(self) -> bool:
        """Whether a request without credentials is turned away."""
        return self.auth is not None or (self.tls is not None and bool(self.tls.client_ca_file))


def exposure(config: ServerConfig) -> str:
    """Return why a listener with these settings must not start, or nothing.

    Separate from the model's validation, because components that share a listener may each be incomplete: one names
    the authenticator, the others only the endpoint.
    """
    if config.address.is_loopback or config.authenticates or config.allow_unauthenticated:
        return ""
    return (
        f"endpoint {config.endpoint} can be reached from other machines and nobody is asked for credentials: set "
        "auth.authenticator or tls.client_ca_file, listen on 127.0.0.1, or set allow_unauthenticated: true"
    )
