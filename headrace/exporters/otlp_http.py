"""Send points by OTLP over HTTP.

Source:
    OpenTelemetry Protocol specification, "OTLP/HTTP"; the Collector's ``otlphttp`` exporter, for its settings.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from headrace.pipeline.component import ExporterFactory, Settings
from headrace.pipeline.config import ByteSize, NonNegativeDuration  # noqa: TC001 -- pydantic reads them
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.config.urls import Url, without_password
from headrace.pipeline.http.client import ClientConfig, HttpClient
from headrace.pipeline.http.compression import Compression  # noqa: TC001 -- pydantic reads it
from headrace.pipeline.http.retry_after import retry_after_s
from headrace.pipeline.sending import Permanent, SendingConfig, Throttled
from headrace.pipeline.to_otlp import OtlpSendingExporter, warm_up
from headrace.pipeline.wire.otlp_answers import (
    read_response,
    read_response_json,
    status_message,
)
from headrace.pipeline.wire.otlp_json_encode import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.http.auth import ClientAuthenticator
    from headrace.pipeline.http.client import Reply
    from headrace.pipeline.sending import Loss
    from headrace.pipeline.wire.otlp_answers import PartialSuccess

_PATH = "/v1/metrics"
_TYPES = {"proto": "application/x-protobuf", "json": "application/json"}
_LOCKED = {"content-type", "content-encoding"}
_AGAIN = {429, 502, 503, 504}
"""Answers after which a request may be sent again; all others are final."""

_OTHER_SIGNALS = dict.fromkeys(("traces_endpoint", "logs_endpoint", "profiles_endpoint"), "only metrics are sent")


class OtlpHttpExporterConfig(ClientConfig, SendingConfig):
    """Settings of the ``otlp_http`` exporter."""

    endpoint: Url = ""
    """URL to send to; ``/v1/metrics`` is added."""

    metrics_endpoint: Url = ""
    """Whole URL to send to, instead of `endpoint`."""

    encoding: Literal["proto", "json"] = "proto"
    """How requests are encoded: protobuf or JSON, which costs many times as much."""

    compression: Compression = "gzip"
    """How bodies are compressed; ``none`` for not at all."""

    timeout: NonNegativeDuration = timedelta(seconds=30)
    """Time for one request, from connecting to the end of the answer; 0 for no limit."""

    write_buffer_size: Annotated[ByteSize, Field(ge=0)] = 512 * 1024
    """Bytes that the system takes of a request before the network does; 0 for the system's own choice."""

    @model_validator(mode="before")
    @classmethod
    def _take_endpoint(cls, options: Any) -> Any:
        options = refuse(options, _OTHER_SIGNALS)
        if isinstance(options, dict) and options.get("metrics_endpoint"):
            # One URL is all there is: that of metrics.
            return {**options, "endpoint": options["metrics_endpoint"]}
        if isinstance(options, dict) and not options.get("endpoint"):
            raise ValueError("needs endpoint or metrics_endpoint")
        return options

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        for name in self.headers:
            if name.lower() in _LOCKED:
                raise ValueError(f"headers: {name} is part of OTLP and cannot be set")
        return self

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.metrics_endpoint or self.endpoint.removesuffix("/") + _PATH


class OtlpHttpExporter(OtlpSendingExporter[HttpClient]):
    """Encodes and posts."""

    def __init__(self, settings: Settings, config: OtlpHttpExporterConfig) -> None:
        super().__init__(settings, config, config.auth)
        self._config = config
        self._headers = {"Content-Type": _TYPES[config.encoding]}

    def make_client(self, key: str, authenticator: ClientAuthenticator | None) -> HttpClient:
        """Return a client."""
        return HttpClient(self._config, key, authenticator)

    async def _send(self, batches: Sequence[MetricBatch]) -> list[Loss]:
        client = self.client
        body: bytes | memoryview = self._encoder.encode(batches)
        if self._config.encoding == "json":
            body = await asyncio.to_thread(to_json, body)
        body, encoded = await client.compressed(body)
        reply = await client.post_to(self._config.url, body, {**self._headers, **encoded})
        return self.losses(self._judge(reply), batches)

    def _judge(self, reply: Reply) -> PartialSuccess:
        """Return what an answer says about a request that was taken; raise what it means where it was not."""
        is_json = "json" in reply.headers.get("Content-Type", "")
        if reply.status < 300:
            return read_response_json(reply.body) if is_json else read_response(reply.body)
        why = f"{without_password(self._config.url)} answered {reply.status}: {_reason(reply)}"
        if reply.status in _AGAIN:
            raise Throttled(why, retry_after_s(reply.headers.get("Retry-After", ""), self._settings.clock_ns()))
        raise Permanent(why)


def _reason(reply: Reply) -> str:
    """Return what an answer says: a Status in protobuf, or text."""
    if _TYPES["proto"] in reply.headers.get("Content-Type", ""):
        return status_message(reply.body)
    return reply.text


FACTORY = ExporterFactory(
    name="otlp_http", config=OtlpHttpExporterConfig, create=OtlpHttpExporter, aliases=("otlphttp",), warm_up=warm_up
)
