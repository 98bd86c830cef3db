"""The time that retention counts from: the clock's, unless it has jumped forward.

A clock that steps a day or a year ahead would have retention remove what is by no means old. So the time is believed as
far as a steady clock has moved since it was last looked at, or, at the start, since the newest sample that is stored. A
step further ahead is believed once it has stood for an hour of the steady clock: until then it is reported, and what
seems too old is kept. A step back is followed at once; it removes nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_MS = 600_000
"""A clock that is ahead by no more is believed at once."""

DOUBT_S = 3600.0
"""How long a step forward has to stand."""


class RetentionClock:
    """The time of one workspace.

    Args:
        clock_ms: Unix time, which may step.
        steady_s: Seconds of a clock that never steps.
        newest_ms: Newest sample that is stored at the start, None without any.
        name: Of the workspace, for messages.
    """

    def __init__(
        self, clock_ms: Callable[[], int], steady_s: Callable[[], float], newest_ms: int | None, name: str
    ) -> None:
        self._clock_ms = clock_ms
        self._steady_s = steady_s
        self._name = name
        self._logger = logging.getLogger("headrace.store")
        self._seen_s = steady_s()
        self._believed_ms = clock_ms() if newest_ms is None else newest_ms
        self._doubted_s: float | None = None

    @property
    def doubted(self) -> bool:
        """Whether the clock has stepped forward and is not believed yet."""
        return self._doubted_s is not None

    def now_ms(self) -> int:
        """Return the time to count from."""
        now, steady = self._clock_ms(), self._steady_s()
        expected = self._believed_ms + round((steady - self._seen_s) * 1000)
        if now <= expected + STEP_MS:
            self._doubted_s = None
            expected = now
        elif self._doubted_s is None:
            self._doubted_s = steady
            self._logger.warning(
                "workspace %s: the clock is %d s ahead of what was expected; retention waits %d s whether that stands",
                self._name, (now - expected) // 1000, int(DOUBT_S),
            )  # fmt: skip
        elif steady - self._doubted_s >= DOUBT_S:
            self._doubted_s = None
            expected = now
        self._believed_ms, self._seen_s = expected, steady
        return expected
