"""Settings of the Collector's ``exporterhelper``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration


class RetryConfig(ComponentConfig):
    """When a request is sent again."""

    enabled: bool = True
    """Without it, a request that fails is dropped, and counted."""

    initial_interval: PositiveDuration = timedelta(seconds=5)
    """Time to the first repetition."""

    randomization_factor: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How far the times are spread, so that clients do not repeat at the same moment."""

    multiplier: Annotated[float, Field(ge=1)] = 1.5
    """Each time is so much longer than the one before."""

    max_interval: PositiveDuration = timedelta(seconds=30)
    """Longest time between two repetitions."""

    max_elapsed_time: NonNegativeDuration = timedelta(minutes=5)
    """After this long a request is dropped, and counted; 0 for never."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_elapsed_time and self.max_elapsed_time < self.initial_interval:
            raise ValueError("max_elapsed_time must not be less than initial_interval")
        return self

    def interval_s(self, attempt: int, spread: float) -> float:
        """Return the time before repetition `attempt` (from 0); `spread` is random, 0 to 1."""
        interval = min(
            self.initial_interval.total_seconds() * self.multiplier**attempt, self.max_interval.total_seconds()
        )
        return interval * (1 + self.randomization_factor * (2 * spread - 1))


class QueueConfig(ComponentConfig):
    """The queue between a pipeline and the network; in memory."""

    enabled: bool = True
    """Without it, a sender is answered when the request has been delivered."""

    queue_size: Annotated[int, Field(ge=1)] = 1_000_000
    """Points that wait at most; further batches are refused, so that their sender repeats them."""

    queue_bytes: Annotated[ByteSize, Field(ge=1)] = 256 << 20
    """Bytes that wait at most."""

    max_batch_points: Annotated[int, Field(ge=1)] = 50_000
    """Batches that wait are sent together up to this many points."""


class SendingConfig(ComponentConfig):
    """Base of the settings of exporters that send."""

    sending_queue: QueueConfig = QueueConfig()
    """The queue."""

    retry_on_failure: RetryConfig = RetryConfig()
    """When a request is sent again."""
