"""Send to the best pipelines that work; the Collector's ``failover``.

A level of pipelines fails where one of them refuses a batch, or can deliver nothing of it for good. All goes to the
next level then; after `retry_interval` the better levels are tried again, one by one, with a batch that comes along.

An exporter with a queue fails only when its queue is full: one that shall fail over at once has ``sending_queue:
{enabled: false}``.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from headrace.pipeline.component import ConnectorFactory, Outcome, Settings
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.delivery import NO_RESERVATION
from headrace.pipeline.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.outlets import Outlets

_QUEUES = dict.fromkeys(("queue", "sending_queue"), "the exporters of the levels have queues of their own")


class FailoverConfig(ComponentConfig):
    """Settings of the ``failover`` connector."""

    priority_levels: Annotated[tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...], Field(min_length=1)]
    """Ids of pipelines by level, the best level first; all pipelines of a level get every batch."""

    retry_interval: PositiveDuration = timedelta(minutes=10)
    """How long after a failure the better levels are tried again."""

    retry_gap: NonNegativeDuration = timedelta()
    """Time between the tries of two levels; without it they are tried one right after the other."""

    max_retries: Annotated[int, Field(ge=0)] = 0
    """How many tries in a row may fail before a level is left alone until the next reload; 0 for any number."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _QUEUES)

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = [name for level in self.priority_levels for name in level]
        for name in named:
            if named.count(name) > 1:
                raise ValueError(f"priority_levels: pipeline {name!r} is named twice")
        return self


class FailoverConnector:
    """Knows which level is in use."""

    optional = False

    def __init__(self, settings: Settings, config: FailoverConfig, outlets: Outlets) -> None:
        self._settings = settings
        self._config = config
        self._outlets = outlets
        self._levels = config.priority_levels
        self._retries_failed = [0] * len(self._levels)
        self._next_retry = 0
        self._retry_s = 0.0
        self.level = 0
        """Number of the level in use, from 0."""
        settings.counters.observe(
            "headrace_failover_level",
            "Level in use, from 0 for the best.",
            lambda: self.level,
            {"connector": settings.id},
        )
        self._failed = settings.counters.counter(
            "headrace_failover_failures", "Batches that a level could not take.", {"connector": settings.id}, "{batch}"
        )

    async def start(self, host: Host) -> None:
        """Do nothing: a connector has no life of its own."""

    async def shutdown(self) -> None:
        """Do nothing."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant room in the level in use, or in the first behind it that has some, which is used from now on.

        Raises:
            Refused: None has.
        """
        for level in range(self.level, len(self._levels)):
            try:
                return self._outlets.reserve(self._levels[level], points, size_bytes)
            except Refused as error:
                refusal = error
                self._fail(level, str(error))
        raise refusal

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Send a batch to the best level that takes it.

        Raises:
            Refused: None does.
        """
        self._outlets.consumed(batch)
        granted = self.level
        answer: Outcome | Refused | None = None
        for level in (*self._retries(), *range(granted, len(self._levels))):
            answer = await self._try(level, batch, reserved=level == granted)
            if isinstance(answer, Outcome) and (answer.accepted or not len(batch)):
                self._succeed(level)
                return answer
            self._fail(level, answer.message if isinstance(answer, Outcome) else str(answer))
        if isinstance(answer, Outcome):
            return answer
        raise answer or AssertionError("bug: there is always a level")

    async def _try(self, level: int, batch: MetricBatch, *, reserved: bool) -> Outcome | Refused:
        """Return what became of a batch in a level."""
        granted: Reservation = NO_RESERVATION
        try:
            if not reserved:
                granted = self._outlets.reserve(self._levels[level], len(batch), batch.size_bytes)
            return await self._outlets.send(self._levels[level], batch)
        except Refused as error:
            return error
        finally:
            granted.release()

    def _retries(self) -> list[int]:
        """Return the better levels that are due to be tried again."""
        now_s, config = self._settings.monotonic_s(), self._config
        if not self.level or now_s < self._retry_s:
            return []
        limit = config.max_retries or math.inf
        due = [level for level in range(self._next_retry, self.level) if self._retries_failed[level] < limit]
        if config.retry_gap and len(due) > 1:
            self._next_retry, self._retry_s = due[0] + 1, now_s + config.retry_gap.total_seconds()
            return due[:1]
        self._wait()
        return due

    def _wait(self) -> None:
        self._next_retry = 0
        self._retry_s = self._settings.monotonic_s() + self._config.retry_interval.total_seconds()

    def _fail(self, level: int, why: str) -> None:
        self._failed.add()
        if level < self.level:
            self._retries_failed[level] += 1
        elif level + 1 < len(self._levels):
            self._settings.logger.warning("level %d failed, level %d takes over: %s", level, level + 1, why)
            self.level = level + 1
            self._wait()
        else:
            # None works: the next batch tries all of them, as its sender sees fit.
            self.level = 0

    def _succeed(self, level: int) -> None:
        self._retries_failed[level] = 0
        if level < self.level:
            self._settings.logger.info("level %d works again", level)
            self.level = level


def _pipelines(config: FailoverConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for number, level in enumerate(config.priority_levels):
        for place, name in enumerate(level):
            yield ("priority_levels", number, place), name


FACTORY = ConnectorFactory(name="failover", config=FailoverConfig, create=FailoverConnector, pipelines=_pipelines)
