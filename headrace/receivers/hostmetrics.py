"""Measure this machine; the Collector's ``hostmetrics``, with OpenTelemetry's ``system.*`` names.

Source:
    OpenTelemetry semantic conventions, "System metrics".
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from pydantic import Field, model_validator

from headrace.pipeline.batch import BatchContext, Flag, MetricBatch
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.errors import HeadraceError
from headrace.pipeline.identity import METRIC_NAME, Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.receivers.hostmetrics_scrapers import DEFAULT_OFF, METRICS, SCRAPERS, Filters, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.host import Host
    from headrace.pipeline.series import SeriesTable

_SUM = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
_UP_DOWN = Kind(MetricType.GAUGE, Temporality.CUMULATIVE, is_sum=True)
_GAUGE = Kind(MetricType.GAUGE)
_SCOPE = Scope("headrace.receivers.hostmetrics")
_NS = 1_000_000_000


class MetricConfig(ComponentConfig):
    """One metric of a scraper."""

    enabled: bool = True
    """Whether it is sent."""


class MatchConfig(ComponentConfig):
    """Names to include or exclude."""

    match_type: str = Field("strict", pattern="^(strict|regexp)$")
    """``strict`` for whole names, ``regexp`` for RE2 patterns."""

    devices: tuple[str, ...] = ()
    """Of disks."""

    interfaces: tuple[str, ...] = ()
    """Of the network."""

    mount_points: tuple[str, ...] = ()
    """Of filesystems."""

    fs_types: tuple[str, ...] = ()
    """Of filesystems."""


class ScraperConfig(ComponentConfig):
    """Settings of one scraper."""

    metrics: dict[str, MetricConfig] = Field(default_factory=dict)
    """Turn single metrics on or off, by name."""

    include: MatchConfig = MatchConfig()
    """Only these; everything where it is empty."""

    exclude: MatchConfig = MatchConfig()
    """None of these."""

    include_virtual_filesystems: bool = False
    """Of the filesystem scraper: also tmpfs, proc and the like."""

    cpu_average: bool = False
    """Of the load scraper: divide by the number of CPUs."""


class HostmetricsConfig(ComponentConfig):
    """Settings of the ``hostmetrics`` receiver."""

    collection_interval: PositiveDuration = timedelta(minutes=1)
    """How often the machine is measured."""

    initial_delay: NonNegativeDuration = timedelta(seconds=1)
    """Time from the start to the first measurement."""

    scrapers: dict[str, ScraperConfig | None]
    """What is measured: ``cpu``, ``disk``, ``filesystem``, ``load``, ``memory``, ``network``, ``paging``,
    ``processes``, ``system``."""

    @model_validator(mode="after")
    def _check(self) -> HostmetricsConfig:
        if not self.scrapers:
            raise ValueError("scrapers: at least one is needed")
        for name, scraper in self.scrapers.items():
            if name not in SCRAPERS:
                raise ValueError(f"scrapers: there is no {name!r} (there: {', '.join(SCRAPERS)})")
            unknown = sorted(set((scraper or ScraperConfig()).metrics) - METRICS[name])
            if unknown:
                raise ValueError(f"scrapers.{name}.metrics: there is no {unknown[0]!r}")
        return self


class HostmetricsReceiver:
    """Measures in a loop, on a thread: a dead network filesystem may take its time."""

    def __init__(self, settings: Settings, config: HostmetricsConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._sink = sink
        self._ids: dict[tuple[Any, ...], int] = {}
        self._table: SeriesTable | None = None
        self._task: asyncio.Task[None] | None = None
        self._scrapers = [(name, config_of(name, one or ScraperConfig())) for name, one in config.scrapers.items()]
        self._enabled = {name: enabled(name, one or ScraperConfig()) for name, one in config.scrapers.items()}
        counter = settings.counters.counter
        self._scraped = {
            name: counter(
                "otelcol_scraper_scraped_metric_points",
                "Points measured.",
                {"receiver": settings.id, "scraper": name},
                "{datapoint}",
            )
            for name in config.scrapers
        }
        self._errored = {
            name: counter(
                "otelcol_scraper_errored_metric_points",
                "Measurements that failed.",
                {"receiver": settings.id, "scraper": name},
                "{datapoint}",
            )
            for name in config.scrapers
        }

    async def start(self, host: Host) -> None:
        """Begin to measure."""
        self._table = host.workspaces.table(BatchContext().workspace)
        self._table.register(self)
        self._task = asyncio.create_task(self._run(), name=self._settings.id)

    async def shutdown(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the ids that the table frees."""
        gone = set(ids.tolist())
        self._ids = {key: found for key, found in self._ids.items() if found not in gone}

    async def _run(self) -> None:
        await asyncio.sleep(self._config.initial_delay.total_seconds())
        interval = self._config.collection_interval.total_seconds()
        due = self._settings.monotonic_s()
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await self.collect()
            due = max(due + interval, self._settings.monotonic_s())
            await asyncio.sleep(due - self._settings.monotonic_s())

    async def collect(self) -> None:
        """Measure once and send."""
        readings = await asyncio.to_thread(self._measure)
        if not readings:
            return
        try:
            await self._sink.send(self.batch(readings))
        except HeadraceError as error:
            self._settings.logger.warning("a measurement was not taken: %s", error)

    def _measure(self) -> list[Reading]:
        readings: list[Reading] = []
        for name, filters in self._scrapers:
            try:
                found = [one for one in SCRAPERS[name](filters) if one.name in self._enabled[name]]
            except (OSError, psutil.Error, ValueError, IndexError) as error:  # the other scrapers still measure
                self._errored[name].add()
                self._settings.logger.warning("scraper %s failed: %s", name, error)
                continue
            self._scraped[name].add(len(found))
            readings += found
        return readings

    def batch(self, readings: Sequence[Reading]) -> MetricBatch:
        """Make a batch; every identity is interned once."""
        if self._table is None:
            raise AssertionError("bug: measured before start")
        now_ns = self._settings.clock_ns()
        keys = [(one.name, one.attributes) for one in readings]
        new = [i for i, key in enumerate(keys) if key not in self._ids]
        if new:
            ids = self._table.intern([_series(readings[i]) for i in new])
            self._ids.update(zip((keys[i] for i in new), ids.tolist(), strict=True))
        series = np.array([self._ids[key] for key in keys], np.int32)
        taken = series >= 0
        batch = MetricBatch.of(
            self._table,
            series[taken],
            np.full(int(taken.sum()), now_ns, np.int64),
            np.array([one.value for one in readings], np.float64)[taken],
            flags=np.array([Flag.INTEGER if isinstance(one.value, int) else 0 for one in readings], np.uint8)[taken],
            start_ns=np.array([one.start_ns for one in readings], np.int64)[taken],
            context=BatchContext(source=self._settings.id, received_ns=now_ns),
        )
        if not taken.all():
            self._settings.drops.add("series_limit", int((~taken).sum()))
            for key in [key for key, found in self._ids.items() if found < 0]:
                del self._ids[key]
        self._table.touch(batch.series)
        return batch


def config_of(name: str, config: ScraperConfig) -> Filters:
    """Return what a scraper is asked for."""
    del name
    return Filters(
        include=config.include.model_dump(),
        exclude=config.exclude.model_dump(),
        virtual=config.include_virtual_filesystems,
        cpu_average=config.cpu_average,
    )


def enabled(name: str, config: ScraperConfig) -> set[str]:
    """Return the metrics of scraper `name` that are on."""
    chosen = set(METRICS[name] - DEFAULT_OFF)
    for metric, one in config.metrics.items():
        chosen = chosen | {metric} if one.enabled else chosen - {metric}
    return chosen


def _series(reading: Reading) -> Series:
    kind = {"sum": _SUM, "updown": _UP_DOWN, "gauge": _GAUGE}[reading.kind]
    labels = tuple(sorted([(METRIC_NAME, reading.name), *reading.attributes]))
    return Series(labels, Form.OTLP, kind, reading.unit, Resource(), _SCOPE)


FACTORY = ReceiverFactory(
    name="hostmetrics", config=HostmetricsConfig, create=HostmetricsReceiver, aliases=("host_metrics",)
)
