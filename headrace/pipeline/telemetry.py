"""Self-telemetry: the daemon's counters as OpenTelemetry instruments, pulled in Prometheus' text format.

Components add to plain numbers (`headrace.pipeline.counters`); the SDK is asked only when somebody scrapes.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

import psutil
from aiohttp import web
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData, NumberDataPoint, Sum
from opentelemetry.sdk.resources import Resource

from headrace.pipeline.http.listeners import Listeners
from headrace.pipeline.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.pipeline.counters import Counters, Instrument
    from headrace.pipeline.host import Host
    from headrace.pipeline.http.config import ServerConfig
    from headrace.pipeline.http.request import Request

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OWNER = "service.telemetry.metrics"
"""Whose the routes are."""


class PullReader(MetricReader):
    """A reader that keeps what the last collection brought."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality=dict.fromkeys(_INSTRUMENTS, AggregationTemporality.CUMULATIVE))
        self.data: MetricsData | None = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_kwargs: Any) -> None:
        del timeout_millis
        self.data = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Forget what was collected."""
        del timeout_millis
        self.data = None


def _instrument_types() -> tuple[type, ...]:
    from opentelemetry.sdk.metrics import ObservableCounter, ObservableGauge

    return ObservableCounter, ObservableGauge


_INSTRUMENTS = _instrument_types()


class Telemetry:
    """The daemon's own metrics.

    Args:
        counters: What is measured.
        monotonic_s: Seconds that never go back, for the uptime.
    """

    def __init__(self, counters: Counters, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._reader = PullReader()
        self._provider = MeterProvider([self._reader], Resource({"service.name": "headrace"}), shutdown_on_exit=False)
        self._meter = self._provider.get_meter("headrace")
        self._known: set[str] = set()
        _observe_process(counters, monotonic_s)

    def text(self) -> str:
        """Return all metrics in Prometheus' text format 0.0.4."""
        for instrument in list(self._counters.instruments.values()):
            if instrument.name not in self._known:
                self._known.add(instrument.name)
                self._register(instrument)
        self._reader.collect()
        return "".join(exposition(self._reader.data)) if self._reader.data else ""

    def shutdown(self) -> None:
        """Let go of the SDK."""
        self._provider.shutdown()

    def _register(self, instrument: Instrument) -> None:
        def read(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, attributes) for attributes, value in instrument.read()]

        make = self._meter.create_observable_counter if instrument.monotonic else self._meter.create_observable_gauge
        make(instrument.name, [read], instrument.unit, instrument.description)


def serve(telemetry: Telemetry, host: Host, config: ServerConfig, more: Iterable[Route] = ()) -> None:
    """Answer ``/metrics`` at the endpoint of `config`, and some more routes."""

    async def answer(request: Request) -> web.StreamResponse:
        del request
        return web.Response(text=telemetry.text(), headers={"Content-Type": CONTENT_TYPE})

    host.service("listeners", Listeners).add(config, [Route("/metrics", ("GET", "HEAD"), answer), *more], OWNER)


def exposition(data: MetricsData) -> Iterator[str]:
    """Yield the lines of the text format; counters end in ``_total``."""
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                monotonic = isinstance(metric.data, Sum) and metric.data.is_monotonic
                name = metric.name + ("_total" if monotonic and not metric.name.endswith("_total") else "")
                yield f"# HELP {name} {_escape_help(metric.description or '')}\n"
                yield f"# TYPE {name} {'counter' if monotonic else 'gauge'}\n"
                for point in metric.data.data_points:
                    if not isinstance(point, NumberDataPoint):
                        continue
                    labels = ",".join(
                        f'{key}="{_escape(str(value))}"' for key, value in (point.attributes or {}).items()
                    )
                    yield (
                        f"{name}{{{labels}}} {_number(point.value)}\n"
                        if labels
                        else (f"{name} {_number(point.value)}\n")
                    )


def _observe_process(counters: Counters, monotonic_s: Callable[[], float]) -> None:
    process = psutil.Process(os.getpid())
    began = monotonic_s()

    def cpu_seconds() -> float:
        times = process.cpu_times()
        return times.user + times.system

    observe = counters.observe
    observe("otelcol_process_uptime_seconds", "Uptime.", lambda: monotonic_s() - began, unit="s", monotonic=True)
    observe("otelcol_process_cpu_seconds", "CPU time, user and system.", cpu_seconds, unit="s", monotonic=True)
    observe("otelcol_process_memory_rss_bytes", "Resident memory.", lambda: process.memory_info().rss, unit="By")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape(text: str) -> str:
    return _escape_help(text).replace('"', '\\"')
