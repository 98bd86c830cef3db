"""A clock that goes when it is told."""

from __future__ import annotations


class ManualClock:
    """Unix time in nanoseconds and monotonic seconds, moved by `advance`."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = now_ns
        self._started_ns = now_ns

    def clock_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        return self.now_ns

    def monotonic_s(self) -> float:
        """Return seconds since the clock was made."""
        return (self.now_ns - self._started_ns) / 1e9

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now_ns += int(seconds * 1e9)
