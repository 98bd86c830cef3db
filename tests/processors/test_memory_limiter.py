"""The memory limiter, with made-up memory and time."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import Refused
from headrace.processors.memory_limiter import MIB, MemoryLimiter, MemoryLimiterConfig
from headrace.testing.batches import make_settings


class Machine:
    """Memory in use, and a clock."""

    def __init__(self) -> None:
        self.used = 0
        self.now_s = 0.0
        self.measured = 0
        self.counters = Counters()

    def resident(self) -> int:
        self.measured += 1
        return self.used

    def limiter(self, **config: Any) -> MemoryLimiter:
        settings = make_settings("memory_limiter", counters=self.counters, monotonic_s=lambda: self.now_s)
        return MemoryLimiter(settings, MemoryLimiterConfig(**config), self.resident, 1000 * MIB)


def test_above_the_soft_limit_batches_are_refused() -> None:
    """And taken again once memory is free; memory is measured once an interval."""
    machine = Machine()
    limiter = machine.limiter(limit_mib=100, spike_limit_mib=30, check_interval="2s")
    machine.used = 69 * MIB
    limiter.admit_batch(10, 1000)
    machine.used = 71 * MIB
    limiter.admit_batch(10, 1000)
    assert machine.measured == 1
    machine.now_s = 2.0
    with pytest.raises(Refused, match="71 MiB of memory are in use, the soft limit is 70 MiB") as caught:
        limiter.admit_batch(5, 1000)
    assert caught.value.retry_after == 2.0
    machine.used, machine.now_s = 10 * MIB, 4.0
    limiter.admit_batch(1, 1000)
    assert machine.counters.value("otelcol_processor_accepted_metric_points") == 21
    assert machine.counters.value("otelcol_processor_refused_metric_points") == 5


def test_a_batch_that_would_pass_the_limit() -> None:
    """Its own size counts."""
    machine = Machine()
    limiter = machine.limiter(limit_mib=100)
    with pytest.raises(Refused):
        limiter.admit_batch(1, 81 * MIB)
    limiter.admit_batch(1, 79 * MIB)


def test_percentages() -> None:
    """Of the machine's memory."""
    config = MemoryLimiterConfig(limit_percentage=50, spike_limit_percentage=20)
    assert config.limits(1000) == (300, 500)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "limit_mib or limit_percentage must be set"),
        ({"limit_mib": 10, "spike_limit_mib": 10}, "spike_limit_mib must be smaller"),
        ({"limit_percentage": 101}, "less than or equal to 100"),
    ],
)
def test_validation(config: dict[str, Any], why: str) -> None:
    """Limits that contradict each other are refused."""
    with pytest.raises(ValidationError, match=why):
        MemoryLimiterConfig(**config)
