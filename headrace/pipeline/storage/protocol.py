"""What an exporter asks of a storage extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from headrace.pipeline.storage.record_log import RecordLog


@runtime_checkable
class QueueStorage(Protocol):
    """Keeps queues on disk, one for each owner."""

    def is_free(self, owner: str) -> bool:
        """Return whether nobody has the log of `owner` open."""
        ...

    async def open_log(self, owner: str) -> RecordLog:
        """Return the log of `owner`, recovered; waits while somebody else has it open.

        Args:
            owner: Such as ``exporters.otlp_http/eu``; names the folder.

        Raises:
            StoreFailed: Its files cannot be read or written.
        """
        ...

    async def close_log(self, owner: str) -> None:
        """Let the next one open it."""
        ...
