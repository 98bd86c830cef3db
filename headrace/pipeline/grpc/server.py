"""Settings of a gRPC server, with the names that the Collector's ``configgrpc`` gives them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.grpc.tls import check_tls
from headrace.pipeline.http.config import MIB, ServerAuthConfig, ServerConfig, exposure
from headrace.pipeline.http.endpoint import Endpoint
from headrace.pipeline.tls import TlsServerConfig

READ_OPTIONS = ("grpc.experimental.tcp_read_chunk_size", "grpc.experimental.tcp_max_read_chunk_size")
WRITE_OPTION = "grpc.http2.write_buffer_size"
"""Names of settings of gRPC's core that clients and servers have."""

_UNSUPPORTED = {"middlewares": "extensions cannot be put around requests"}

_FRAME_BYTES = 1 << 20
_WINDOW_BYTES = 4 << 20

_DEFAULT_MIB = 4
_MAX_MIB = 1024


class KeepaliveServerParametersConfig(ComponentConfig):
    """How long connections live, and how dead ones are found."""

    max_connection_idle: PositiveDuration | None = None
    """Close a connection without calls after this long; never where it is not set."""

    max_connection_age: PositiveDuration | None = None
    """Close a connection after this long; never where it is not set."""

    max_connection_age_grace: PositiveDuration | None = None
    """Time for the calls of a connection that is closed for its age; no limit where it is not set."""

    time: PositiveDuration = timedelta(hours=2)
    """Ask a client that was silent for this long whether it is there; one without calls is asked only with
    ``enforcement_policy.permit_without_stream``."""

    timeout: PositiveDuration = timedelta(seconds=20)
    """Time for its answer."""


class KeepaliveEnforcementPolicyConfig(ComponentConfig):
    """How often clients may ask whether the server is there."""

    min_time: NonNegativeDuration = timedelta(minutes=5)
    """Least time between two pings; a client that sends more is cut off."""

    permit_without_stream: bool = False
    """Allow pings when no call is under way."""


class KeepaliveServerConfig(ComponentConfig):
    """Keepalive of connections."""

    server_parameters: KeepaliveServerParametersConfig = KeepaliveServerParametersConfig()
    """The server's own."""

    enforcement_policy: KeepaliveEnforcementPolicyConfig = KeepaliveEnforcementPolicyConfig()
    """What clients may do."""


class GrpcServerConfig(ComponentConfig):
    """Settings of a gRPC server."""

    transport: Literal["tcp", "unix"] = "tcp"
    """``tcp``, or ``unix``: then `endpoint` is the path of a socket, which whoever may write to it can use."""

    endpoint: str
    """Where to listen. An address other machines can reach needs `auth`, ``tls.client_ca_file``, or
    ``allow_unauthenticated``."""

    tls: TlsServerConfig | None = None
    """Serve TLS."""

    auth: ServerAuthConfig | None = None
    """Ask for credentials."""

    allow_unauthenticated: bool = False
    """Listen on an address other machines can reach although nobody is asked for credentials."""

    max_recv_msg_size_mib: Annotated[int, Field(ge=0, le=_MAX_MIB)] = _DEFAULT_MIB
    """MiB of a request, as sent and once decompressed; 0 is the default. Longer ones are answered
    RESOURCE_EXHAUSTED."""

    max_concurrent_streams: Annotated[int, Field(ge=0)] = 0
    """Calls under way on one connection; 0 for no limit of its own."""

    keepalive: KeepaliveServerConfig | None = None
    """Keepalive of connections."""

    read_buffer_size: Annotated[ByteSize, Field(ge=0)] = 512 * 1024
    """Bytes that are read from a connection at a time, at most; 0 for gRPC's own choice."""

    write_buffer_size: Annotated[ByteSize, Field(ge=0)] = 0
    """Bytes that are gathered before they are written to a connection; 0 for gRPC's own choice."""

    include_metadata: bool = False
    """Keep the metadata of requests with their points, for components that ask for it."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _UNSUPPORTED)

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, tls: TlsServerConfig | None) -> TlsServerConfig | None:
        check_tls(tls)
        return tls

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str, info: ValidationInfo) -> str:
        # Where the transport is wrong, that is told alone.
        if "transport" in info.data:
            Endpoint.at(endpoint, info.data["transport"])
        return endpoint

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        why = exposure(
            ServerConfig.model_construct(
                endpoint=self.endpoint,
                transport=self.transport,
                tls=self.tls,
                auth=self.auth,
                allow_unauthenticated=self.allow_unauthenticated,
            )
        )
        if why:
            raise ValueError(why)
        return self

    @property
    def address(self) -> Endpoint:
        """The parsed endpoint."""
        return Endpoint.at(self.endpoint, self.transport)

    @property
    def listens_on(self) -> str:
        """The endpoint as gRPC's core takes it."""
        address = self.address
        if address.path:
            return str(address)
        host = address.host or "::"
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"

    @property
    def max_bytes(self) -> int:
        """Bytes of a request."""
        return (self.max_recv_msg_size_mib or _DEFAULT_MIB) * MIB


def channel_options(config: GrpcServerConfig) -> list[tuple[str, int]]:
    """Return the settings as gRPC's core knows them."""
    options = [
        ("grpc.max_receive_message_length", config.max_bytes),
        # The receiver decompresses by itself, up to a limit and beside the event loop.
        ("grpc.per_message_decompression", 0),
        # Requests are long: larger frames and windows than gRPC begins with spare both sides most wake-ups.
        ("grpc.http2.max_frame_size", _FRAME_BYTES),
        ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
        # Two daemons on one port would each get a part of the requests.
        ("grpc.so_reuseport", 0),
    ]
    if config.max_concurrent_streams:
        options.append(("grpc.max_concurrent_streams", config.max_concurrent_streams))
    if config.read_buffer_size:
        options += [(name, config.read_buffer_size) for name in READ_OPTIONS]
    if config.write_buffer_size:
        options.append((WRITE_OPTION, config.write_buffer_size))
    return options + (_keepalive_options(config.keepalive) if config.keepalive else [])


def _keepalive_options(keepalive: KeepaliveServerConfig) -> list[tuple[str, int]]:
    ours, theirs = keepalive.server_parameters, keepalive.enforcement_policy
    durations = {
        "grpc.max_connection_idle_ms": ours.max_connection_idle,
        "grpc.max_connection_age_ms": ours.max_connection_age,
        "grpc.max_connection_age_grace_ms": ours.max_connection_age_grace,
        "grpc.keepalive_time_ms": ours.time,
        "grpc.keepalive_timeout_ms": ours.timeout,
        # A ping has a time limit of its own, a minute where nobody sets it, which this core waits for in any case.
        "grpc.http2.ping_timeout_ms": ours.timeout,
        "grpc.http2.min_ping_interval_without_data_ms": theirs.min_time,
    }
    options = [(name, value // timedelta(milliseconds=1)) for name, value in durations.items() if value is not None]
    return [*options, ("grpc.keepalive_permit_without_calls", int(theirs.permit_without_stream))]
