"""Every error the daemon raises on purpose.

* HeadraceError
  - ConfigError            the configuration is wrong; start-up stops, exit code 2
  - InvalidInput           bytes or text from outside do not decode; the sender is told where and why
    - TooLarge             they are larger than a limit, found before memory was taken
    - Unsupported          a format or feature that this daemon does not take
  - DeliveryError
    - Refused              try again later: nothing has run yet (queue full, memory limit)
    - Rejected             never send these rows again: the next try would fail the same way
  - StoreError
    - CorruptChunk         bytes on disk do not decode; the block is set aside
    - StoreFailed          the disk failed or is full; the pipeline is not ready
    - Locked               another process has the data directory open
  - QueryError             a query cannot be answered; see `headrace.store.promql.errors`

A broken invariant of our own is an AssertionError whose text starts with ``bug:``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class HeadraceError(Exception):
    """Base class of every deliberate error."""


class ConfigError(HeadraceError):
    """A setting is missing, unknown or out of range.

    Args:
        key: Path of the setting, such as ``processors.batch.timeout``; empty where there is none.
        why: What is wrong, as a sentence without subject ("must not be negative").
    """

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}" if key else why)
        self.key = key
        self.why = why


class InvalidInput(HeadraceError):  # noqa: N818 -- named for the condition, as the tree above lists it
    """Input from outside does not decode."""


class TooLarge(InvalidInput):
    """Input is larger than a limit; raised before memory is taken for it.

    Args:
        what: What is too large, such as ``decompressed body``.
        size: Its size in bytes (or items).
        limit: The limit it passes.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(f"{what} of {size} passes the limit of {limit}")
        self.size = size
        self.limit = limit


class Unsupported(InvalidInput):
    """A format, encoding or feature that this daemon does not take."""


class DeliveryError(HeadraceError):
    """Base class of what an exporter or a limiter answers instead of an acknowledgement."""


class Refused(DeliveryError):  # noqa: N818 -- named for the condition
    """Try again later; nothing of the batch has been processed.

    Args:
        why: The reason, in words an operator understands.
        retry_after: Seconds after which a new try makes sense.
    """

    def __init__(self, why: str, retry_after: float = 1.0) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after = retry_after


class Rejected(DeliveryError):  # noqa: N818 -- named for the condition
    """Some rows can never be delivered; the others were.

    Args:
        reasons: Count of rejected points by reason.
        message: The first rejection in words, naming its series.
        rows: (n,) bool mask of rejected rows of the batch as received, where the exporter can tell; else None.
    """

    def __init__(self, reasons: dict[str, int], message: str, rows: NDArray[np.bool_] | None = None) -> None:
        super().__init__(message)
        self.reasons = reasons
        self.message = message
        self.rows = rows

    @property
    def count(self) -> int:
        """Number of rejected points."""
        return sum(self.reasons.values())


class StoreError(HeadraceError):
    """Base class of errors raised by the store."""


class CorruptChunk(StoreError):  # noqa: N818 -- named for the condition
    """Bytes on disk do not decode."""


class StoreFailed(StoreError):  # noqa: N818 -- named for the condition
    """The disk failed or is full; what was not acknowledged is not stored."""


class Locked(StoreError):  # noqa: N818 -- named for the condition
    """Another process has the data directory open."""


class QueryError(HeadraceError):
    """A query cannot be answered."""
