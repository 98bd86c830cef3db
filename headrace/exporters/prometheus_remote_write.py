"""Send points by remote write 1.0 or 2.0.

Points of a series never overtake each other: one batch follows the other, and a batch is split by series into requests
that are sent side by side.

Source:
    Prometheus Remote-Write specification 1.0 and 2.0.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.exporters.prometheus_remote_write_config import Message, RemoteWriteExporterConfig
from headrace.exporters.prometheus_remote_write_counts import RemoteWriteCounts
from headrace.exporters.prometheus_remote_write_encoding import Encoder, joined
from headrace.exporters.prometheus_remote_write_replies import Fate, judge
from headrace.exporters.prometheus_remote_write_round import Round
from headrace.exporters.prometheus_remote_write_warm import warm_up
from headrace.pipeline.component import ExporterFactory, Outcome, Settings
from headrace.pipeline.config.urls import without_password
from headrace.pipeline.http.client import HttpClient
from headrace.pipeline.http.retry_after import retry_after_s
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.sending import SendingExporter
from headrace.pipeline.wire.snappy import compress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.exporters.prometheus_remote_write_encoding import Outgoing
    from headrace.exporters.prometheus_remote_write_replies import Verdict
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.http.auth import ClientAuthenticator
    from headrace.pipeline.sending import Loss

_FALL_BACK_S = 3600.0

_INLINE_BYTES = 1 << 20
"""Longer bodies are compressed on a thread: one of this size takes the loop about a millisecond."""

_HEADERS = {
    1: {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    2: {
        "Content-Type": f"application/x-protobuf;proto={Message.V2}",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}


class RemoteWriteExporter(SendingExporter[HttpClient]):
    """Translates, encodes and sends."""

    def __init__(self, settings: Settings, config: RemoteWriteExporterConfig) -> None:
        super().__init__(settings, config, config.auth, ordered=True, joined_points=config.joined_points)
        self._config = config
        self._shown = without_password(config.endpoint)
        self._edge = PrometheusEdge(settings.drops, config.naming)
        self._encoder = Encoder(
            config.external_labels,
            config.max_batch_size_bytes,
            shards=min(config.min_shards, config.parallel),
            send_metadata=config.send_metadata,
            namespace=config.namespace,
            monotonic_s=settings.monotonic_s,
        )
        self._speaks_2 = False
        self._fell_back_s: float | None = None
        self._counts = RemoteWriteCounts(settings, config.parallel)

    def make_client(self, key: str, authenticator: ClientAuthenticator | None) -> HttpClient:
        """Return a client."""
        return HttpClient(self._config, key, authenticator)

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Take a batch into the queue; what has no place in remote write is rejected now."""
        flat = self._edge.flatten(batch)
        self._counts.not_translated(sum(flat.rejected.values()))
        outcome = await self._sender.deliver(flat.batch)
        rejected = {**flat.rejected, **outcome.rejected}
        return replace(
            outcome,
            points=len(batch),
            rejected=rejected,
            message=flat.message or outcome.message,
            rejected_histograms=flat.rejected_histograms,
        )

    async def _send(self, batches: Sequence[MetricBatch]) -> Sequence[Loss]:
        for batch in batches:
            self._encoder.learn(batch)
        return await Round(joined(batches), self._encode, self._post, self._config.parallel).send()

    def _encode(self, batch: MetricBatch) -> Iterator[Outgoing]:
        return self._encoder.encode(batch, self._version)

    @property
    def _version(self) -> int:
        """The version to speak: 1.0 for an hour after the server did not know 2.0."""
        if self._config.protobuf_message is Message.V1:
            return 1
        since = self._fell_back_s
        return 1 if since is not None and self._settings.monotonic_s() - since < _FALL_BACK_S else 2

    async def _post(self, outgoing: Outgoing) -> tuple[Verdict, float]:
        client = self.client
        encoded = outgoing.encoded
        is_long = len(encoded.body) > _INLINE_BYTES
        body = await asyncio.to_thread(compress, encoded.body) if is_long else compress(encoded.body)
        reply = await client.post(body, _HEADERS[outgoing.version])
        verdict = judge(reply, encoded, outgoing.version, self._shown, speaks_2=self._speaks_2)
        self._counts.answered(outgoing, reply)
        self._speaks_2 = self._speaks_2 or verdict.speaks_2
        if verdict.fate is Fate.NOT_SPOKEN and self._version == 2:
            self._fall_back()
        return verdict, retry_after_s(reply.headers.get("Retry-After", ""), self._settings.clock_ns())

    def _fall_back(self) -> None:
        """Speak 1.0 for a while: servers are upgraded."""
        log = self._settings.logger.warning if self._fell_back_s is None else self._settings.logger.info
        log("%s does not know remote write 2.0; 1.0 for the next hour", self._shown)
        self._fell_back_s = self._settings.monotonic_s()
        self._speaks_2 = False


FACTORY = ExporterFactory(
    name="prometheus_remote_write",
    config=RemoteWriteExporterConfig,
    create=RemoteWriteExporter,
    aliases=("prometheusremotewrite",),
    warm_up=warm_up,
)
