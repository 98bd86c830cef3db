"""Settings of the Collector's ``exporterhelper``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

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
    """After this long a request is dropped, and counted; 0 for never. Never, too, where it is not set and the queue is
    on disk: what waits there is kept until it is delivered."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_elapsed_time and self.max_elapsed_time < self.initial_interval:
            raise ValueError("max_elapsed_time must not be less than initial_interval")
        return self

    def interval_s(self, attempt: int, spread: float) -> float:
        """Return the time before repetition `attempt` (from 0); `spread` is random, 0 to 1."""
        # The exponent is bounded: an outage of days would overflow a float.
        grown = self.multiplier ** min(attempt, 1000) if self.multiplier < 2 else self.multiplier ** min(attempt, 100)
        interval = min(self.initial_interval.total_seconds() * grown, self.max_interval.total_seconds())
        return interval * (1 + self.randomization_factor * (2 * spread - 1))


class PartitionConfig(ComponentConfig):
    """What keeps batches apart, beside workspaces, which a request never mixes."""

    metadata_keys: tuple[str, ...] = ()
    """Headers of clients; batches that differ in one of them are not joined. Receivers keep headers where
    ``include_metadata`` is on."""


class QueueBatchConfig(ComponentConfig):
    """How what waits is joined and cut before it is sent."""

    flush_timeout: PositiveDuration = timedelta(milliseconds=200)
    """Send what has gathered after this long, however little."""

    min_size: Annotated[int, Field(ge=0)] = 8192
    """Send as soon as so much has gathered."""

    max_size: Annotated[int, Field(ge=0)] = 0
    """Cut what is larger; 0 for no limit."""

    sizer: Literal["items", "bytes"] | None = None
    """What sizes count: points, or bytes that points take in memory. That of the queue where it is not set and the
    queue counts one of these, else ``items``."""

    partition: PartitionConfig = PartitionConfig()
    """What is not joined."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.max_size < self.min_size:
            raise ValueError("max_size must not be less than min_size")
        return self


class QueueConfig(ComponentConfig):
    """The queue between a pipeline and the network."""

    enabled: bool = True
    """Without it, a sender is answered when the request has been delivered, or given up."""

    num_consumers: Annotated[int, Field(ge=1)] = 10
    """Requests that are sent at the same time."""

    queue_size: Annotated[int, Field(ge=1)] = 1000
    """How much waits at most, in units of `sizer`; what comes then is refused, so that its sender repeats it."""

    sizer: Literal["requests", "items", "bytes"] = "requests"
    """What `queue_size` counts: batches as they come, points, or bytes that points take in memory."""

    queue_bytes: Annotated[ByteSize, Field(ge=1)] = 256 << 20
    """Bytes of memory that what waits takes at most, whatever `queue_size` says; of a queue on disk, more is read back
    when its turn comes."""

    block_on_overflow: bool = False
    """Have senders wait for room instead of refusing what they send."""

    wait_for_result: bool = False
    """Answer senders when the request has been delivered, or given up; not for a queue on disk."""

    storage: str | None = None
    """Id of a ``file_storage`` extension that keeps the queue on disk: what was taken survives the process."""

    dead_letter: str | None = None
    """Id of a ``dead_letter`` extension that keeps what the destination will never take, and what was given up."""

    batch: QueueBatchConfig | None = None
    """Join and cut what waits; an empty section takes the defaults. Without it what came is sent as it came, save by
    exporters that keep the order of points, which send together what waits."""

    @model_validator(mode="before")
    @classmethod
    def _default_batch(cls, options: Any) -> Any:
        if isinstance(options, dict) and "batch" in options and options["batch"] is None:
            return {**options, "batch": {}}
        return options

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.wait_for_result and self.storage:
            raise ValueError("wait_for_result is not possible with storage: what is on disk has been taken")
        if self.batch is not None and self.batch_sizer == self.sizer and self.batch.min_size > self.queue_size:
            raise ValueError("batch: min_size must not be more than queue_size")
        return self

    @property
    def batch_sizer(self) -> str:
        """What the sizes of `batch` count."""
        own = self.batch.sizer if self.batch is not None else None
        return own or (self.sizer if self.sizer != "requests" else "items")


class SendingConfig(ComponentConfig):
    """Base of the settings of exporters that send."""

    sending_queue: QueueConfig = QueueConfig()
    """The queue."""

    retry_on_failure: RetryConfig = RetryConfig()
    """When a request is sent again."""

    @property
    def max_elapsed_s(self) -> float:
        """Seconds after which a request is dropped; 0 for never."""
        if self.sending_queue.storage and "max_elapsed_time" not in self.retry_on_failure.model_fields_set:
            return 0.0
        return self.retry_on_failure.max_elapsed_time.total_seconds()
