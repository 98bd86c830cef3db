"""Refuse batches while the process uses too much memory; the Collector's ``memory_limiter``.

Above the soft limit (``limit`` less ``spike_limit``) batches are refused, so that senders keep and repeat them; above
the hard limit garbage is collected as well. What cannot be measured more often than ``check_interval`` is not.
"""

from __future__ import annotations

import gc
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

import psutil
from pydantic import Field, model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.batch import MetricBatch

MIB = 1 << 20


class MemoryLimiterConfig(ComponentConfig):
    """Settings of the ``memory_limiter`` processor."""

    check_interval: PositiveDuration = timedelta(seconds=1)
    """How often memory is measured at most."""

    limit_mib: Annotated[int, Field(ge=0)] = 0
    """Hard limit of the process' resident memory."""

    spike_limit_mib: Annotated[int, Field(ge=0)] = 0
    """How far below the hard limit batches are refused; a fifth of it by default."""

    limit_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """Hard limit in percent of the machine's memory, where `limit_mib` is not set."""

    spike_limit_percentage: Annotated[int, Field(ge=0, le=100)] = 0
    """`spike_limit_mib` in percent of the machine's memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.limit_mib or self.limit_percentage):
            raise ValueError("limit_mib or limit_percentage must be set")
        if self.limit_mib and self.spike_limit_mib >= self.limit_mib:
            raise ValueError("spike_limit_mib must be smaller than limit_mib")
        if not self.limit_mib and self.spike_limit_percentage >= self.limit_percentage:
            raise ValueError("spike_limit_percentage must be smaller than limit_percentage")
        return self

    def limits(self, total: int) -> tuple[int, int]:
        """Return the soft and the hard limit in bytes for a machine with `total` bytes."""
        if self.limit_mib:
            hard = self.limit_mib * MIB
            spike = self.spike_limit_mib * MIB
        else:
            hard = total * self.limit_percentage // 100
            spike = total * self.spike_limit_percentage // 100
        return hard - (spike or hard // 5), hard


def _resident() -> int:
    return int(psutil.Process(os.getpid()).memory_info().rss)


class MemoryLimiter:
    """Measures now and then, and refuses.

    Args:
        settings: The usual.
        config: The limits.
        resident: Returns the bytes in use.
        total: Bytes of the machine; measured by default.
    """

    def __init__(
        self,
        settings: Settings,
        config: MemoryLimiterConfig,
        resident: Callable[[], int] = _resident,
        total: int | None = None,
    ) -> None:
        self._settings = settings
        self._interval_s = config.check_interval.total_seconds()
        self._resident = resident
        self._soft, self._hard = config.limits(psutil.virtual_memory().total if total is None else total)
        self._measured_s = float("-inf")
        self._used = 0
        attributes = {"processor": settings.id}
        counter = settings.counters.counter
        self._accepted = counter(
            "otelcol_processor_accepted_metric_points", "Points let in.", attributes, "{datapoint}"
        )
        self._refused = counter(
            "otelcol_processor_refused_metric_points", "Points refused for memory.", attributes, "{datapoint}"
        )

    def admit_batch(self, points: int, size_bytes: int) -> None:
        """Raise `Refused` while too much memory is in use."""
        self._measure()
        if self._used + size_bytes > self._soft:
            self._refused.add(points)
            raise Refused(
                f"{self._used // MIB} MiB of memory are in use, the soft limit is {self._soft // MIB} MiB",
                self._interval_s,
            )
        self._accepted.add(points)

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch."""
        return batch

    def _measure(self) -> None:
        now = self._settings.monotonic_s()
        if now - self._measured_s < self._interval_s:
            return
        self._measured_s = now
        self._used = self._resident()
        if self._used > self._hard:
            gc.collect()
            self._used = self._resident()
            self._settings.logger.warning("memory is above the hard limit: %d MiB in use", self._used // MIB)


FACTORY = ProcessorFactory(name="memory_limiter", config=MemoryLimiterConfig, create=MemoryLimiter)
