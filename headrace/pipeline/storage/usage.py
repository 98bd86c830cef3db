"""What the logs of one storage share: how much room they take, and what went wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.errors import Refused

_PAUSE_S = 1.0
"""How long nothing is tried after a write that failed."""

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.component import Settings


class Usage:
    """Counts.

    Args:
        settings: Of the extension.
        max_bytes: More than this on disk refuses what comes; 0 for no limit.
    """

    def __init__(self, settings: Settings, max_bytes: int) -> None:
        self.bytes = 0
        self.max_bytes = max_bytes
        self._monotonic_s = settings.monotonic_s
        self._failure = ""
        self._failed_until_s = 0.0
        self._logger = settings.logger
        counters, attributes = settings.counters, {"storage": settings.id}
        self._torn = counters.counter(
            "headrace_storage_torn_tails", "Records that were cut off when the process ended.", attributes
        )
        self._damaged = counters.counter(
            "headrace_storage_damaged_bytes", "Bytes of queues that are no records.", attributes, "By"
        )
        self._failures = counters.counter("headrace_storage_failures", "Writes that failed.", attributes)
        counters.observe("headrace_storage_bytes", "Bytes on disk.", lambda: self.bytes, attributes, "By")

    def check(self) -> None:
        """Raise `Refused` where the storage is full, or has just failed: before anything is processed in vain."""
        if self._failure and self._monotonic_s() < self._failed_until_s:
            raise Refused(f"the storage failed: {self._failure}", 5)
        if self.max_bytes and self.bytes >= self.max_bytes:
            raise Refused(f"the storage is full: {self.bytes} bytes on disk", 5)

    def damaged(self, path: Path, offset: int, size: int, *, torn: bool) -> None:
        """Count bytes that are no record: at the end of the last file it was never acknowledged."""
        if torn:
            self._torn.add()
            self._logger.warning("%s: %d bytes at the end are of a record that was not finished", path, size)
        else:
            self._damaged.add(size)
            self._logger.error("%s: %d bytes at %d are damaged and left out", path, size, offset)

    def failed(self, path: Path, error: OSError) -> None:
        """Count a write that failed."""
        self._failures.add()
        self._failure = error.strerror or str(error)
        self._failed_until_s = self._monotonic_s() + _PAUSE_S
        self._logger.error("%s: %s", path, error.strerror)
