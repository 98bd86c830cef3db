"""Settings of the ``prometheus_remote_write`` exporter."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.http.client import ClientConfig
from headrace.pipeline.naming import Naming, ResourceConversionConfig, ResourceLabels, Strategy
from headrace.pipeline.sending import QueueConfig, RetryConfig, SendingConfig

_LOCKED = frozenset({"content-type", "content-encoding", "x-prometheus-remote-write-version"})

_JOINED_POINTS = 50_000
_REQUEST_POINTS = 30_000
"""About what a request of the default size has."""

_UNSUPPORTED = {"wal": "sending_queue.storage keeps the queue on disk, with a file_storage extension"}


class Message(StrEnum):
    """What is sent, by the names of the specification."""

    V1 = "prometheus.WriteRequest"
    """Remote write 1.0."""

    V2 = "io.prometheus.write.v2.Request"
    """Remote write 2.0."""


class RemoteWriteQueueConfig(ComponentConfig):
    """The Collector's settings of the queue: the same as those of `sending_queue` with these names."""

    enabled: bool = True
    """Whether there is a queue."""

    queue_size: Annotated[int, Field(ge=1)] = 10_000
    """Batches that wait at most."""

    num_consumers: Annotated[int, Field(ge=1)] = 5
    """Requests that are sent at the same time."""


class RemoteWriteSendingQueueConfig(QueueConfig):
    """The queue. What waits is sent together; points of a series never overtake each other."""

    queue_size: Annotated[int, Field(ge=1)] = 10_000
    """How much waits at most, in units of `sizer`; what comes then is refused, so that its sender repeats it."""

    num_consumers: Annotated[int, Field(ge=1)] = 5
    """Requests that are sent at the same time: what is sent together is split among them by series."""


class TargetInfoConfig(ComponentConfig):
    """What becomes of OTLP resources."""

    enabled: bool = True
    """Send ``target_info`` for each resource."""


class RemoteWriteExporterConfig(ClientConfig, SendingConfig):
    """Settings of the ``prometheus_remote_write`` exporter."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """Time for one request."""

    protobuf_message: Message = Message.V1
    """Version to speak. A server that does not know 2.0 is sent 1.0 from then on."""

    namespace: str = ""
    """What all names of metrics that come from OTLP begin with, followed by ``_``."""

    external_labels: dict[str, str] = Field(default_factory=dict)
    """Labels added to series that lack them."""

    resource_to_telemetry_conversion: ResourceConversionConfig = ResourceConversionConfig()
    """Add resource attributes as labels."""

    target_info: TargetInfoConfig = TargetInfoConfig()
    """What becomes of OTLP resources."""

    disable_scope_info: bool = False
    """Leave out the labels ``otel_scope_name``, ``otel_scope_version`` and others of the instrumentation scope."""

    add_metric_suffixes: bool = True
    """Append unit and type to names. `translation_strategy` replaces this setting."""

    translation_strategy: Strategy | None = None
    """How names of OTLP metrics and attributes are translated; ``UnderscoreEscapingWithSuffixes`` unless
    `add_metric_suffixes` is off."""

    send_metadata: bool = False
    """Send what is known of types, descriptions and units by 1.0 as well: what is new at once, all of it every minute.
    By 2.0 they go with each series in any case."""

    max_batch_size_bytes: Annotated[ByteSize, Field(ge=1000)] = 3_000_000
    """Bytes of a request before compression."""

    max_batch_request_parallelism: Annotated[int, Field(ge=1)] | None = None
    """Requests that are sent at the same time, instead of `sending_queue.num_consumers`."""

    min_shards: Annotated[int, Field(ge=1)] = 1
    """Split what is sent together among at least so many requests side by side, by series, as long as each has 1,000
    points: for servers that need longer for a large request than for some small ones."""

    remote_write_queue: RemoteWriteQueueConfig | None = None
    """The Collector's name for some settings of `sending_queue`."""

    http: dict[str, Any] | None = None
    """Another place for `endpoint`, `tls`, `auth`, `headers` and the other settings of the HTTP client."""

    sending_queue: RemoteWriteSendingQueueConfig = RemoteWriteSendingQueueConfig()
    """The queue."""

    retry_on_failure: RetryConfig = RetryConfig(initial_interval=timedelta(milliseconds=50))
    """When a request is sent again: after 5xx, 429 and broken connections."""

    @model_validator(mode="before")
    @classmethod
    def _take_over(cls, options: Any) -> Any:
        """Put the settings of `http` and `remote_write_queue` where those of the client and the queue are."""
        options = _lifted(refuse(options, _UNSUPPORTED))
        older = options.get("remote_write_queue") if isinstance(options, dict) else None
        if not isinstance(older, dict):
            return options
        newer = options.get("sending_queue") or {}
        twice = sorted(set(older) & set(newer))
        if twice:
            raise ValueError(f"remote_write_queue and sending_queue both set {', '.join(twice)}")
        known = {name: value for name, value in older.items() if name in RemoteWriteQueueConfig.model_fields}
        return {**options, "sending_queue": {**newer, **known}}

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        for name in self.headers:
            if name.lower() in _LOCKED:
                raise ValueError(f"headers: {name} is part of remote write and cannot be set")
        return self

    @property
    def naming(self) -> Naming:
        """How series are named."""
        older = Strategy.ESCAPE_AND_SUFFIX if self.add_metric_suffixes else Strategy.ESCAPE
        return Naming(
            self.translation_strategy or older,
            self.namespace,
            ResourceLabels.of(self.resource_to_telemetry_conversion),
            scope=not self.disable_scope_info,
            target_info=self.target_info.enabled,
        )

    @property
    def parallel(self) -> int:
        """Requests that are sent at the same time."""
        return self.max_batch_request_parallelism or self.sending_queue.num_consumers

    @property
    def joined_points(self) -> int:
        """Points that are sent together: enough for all requests that may be sent side by side."""
        return max(_JOINED_POINTS, _REQUEST_POINTS * self.parallel)


def _lifted(options: Any) -> Any:
    """Return settings with those of `http` among them."""
    inner = options.get("http") if isinstance(options, dict) else None
    if not isinstance(inner, dict):
        return options
    unknown = sorted(set(inner) - set(ClientConfig.model_fields))
    if unknown:
        raise ValueError(f"http: {', '.join(unknown)} is no setting of an HTTP client")
    twice = sorted(set(inner) & set(options))
    if twice:
        raise ValueError(f"{', '.join(twice)} is set twice: in http and beside it")
    return {**{name: value for name, value in options.items() if name != "http"}, **inner}
