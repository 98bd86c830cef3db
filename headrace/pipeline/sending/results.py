"""What becomes of a request: what a `Send` raises and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from headrace.pipeline.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.pipeline.batch import MetricBatch

REJECTED = "rejected_by_server"
GIVEN_UP = "send_failed"
NOT_MADE = "request_failed"
"""Reason of what no request could be made of: a fault of the exporter, not of the destination."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Points that the destination will never take, while the others of the request were delivered.

    Attributes:
        points: How many.
        why: What it said.
        batch: They themselves, or a batch that has them among others where nobody can tell which they are; None where
            they are of no use.
        reason: For the count of drops.
    """

    points: int
    why: str
    batch: MetricBatch | None = None
    reason: str = REJECTED


@dataclass(frozen=True, slots=True)
class Rest:
    """The part of a request that has not been delivered yet.

    Attributes:
        send: Sends it; answers as `Send` does.
        points: Points of it.
        batches: Returns them.
    """

    send: Callable[[], Awaitable[Sequence[Loss] | None]]
    points: int
    batches: Callable[[], Sequence[MetricBatch]]


class Permanent(DeliveryError):  # noqa: N818 -- named for the condition
    """Sending again would fail the same way; nothing of the request was taken."""


class Throttled(DeliveryError):  # noqa: N818 -- named for the condition
    """Send again, but not at once.

    Args:
        why: What happened.
        retry_after_s: What the server asked for; 0 where it did not.
        rest: What has to be sent again; everything where it is None.
    """

    def __init__(self, why: str, retry_after_s: float = 0.0, rest: Rest | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.rest = rest


Send: TypeAlias = "Callable[[Sequence[MetricBatch]], Awaitable[Sequence[Loss] | None]]"
"""Sends some batches of one workspace as one; returns what the destination will never take, None for nothing.

Raises `Permanent`, `Throttled`, ConnectionError or TimeoutError.
"""
