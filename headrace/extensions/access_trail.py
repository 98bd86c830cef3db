"""From decided calls to lines of the audit log, brought to the disk each second."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.store.access.audit import AuditLog

if TYPE_CHECKING:
    from headrace.extensions.access_call import Account, Call
    from headrace.extensions.access_config import AuditConfig
    from headrace.pipeline.component import Settings

_log = logging.getLogger("headrace.access")

_SYNC_S = 1.0
_AT_ONCE = 128


class Trail:
    """Writes the audit log, where there is to be one.

    Args:
        config: Its settings.
        account: Whose resources are served.
        settings: Of the extension, for counters.
    """

    def __init__(self, config: AuditConfig, account: Account, settings: Settings) -> None:
        self._account = account
        self._all = config.data_plane == "all"
        self._log = (
            AuditLog(Path(config.directory), config.max_file_size, config.max_files) if config.directory else None
        )
        self._syncing: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Call, int, bytes | None]] = []
        counter = settings.counters.counter
        attributes = {"extension": settings.id}
        self._records = counter("headrace_audit_records", "Audit records written.", attributes, "{record}")
        self._failures = counter("headrace_audit_failures", "Audit records that were lost.", attributes, "{record}")

    def open(self) -> None:
        """Go on where the last process ended.

        Raises:
            BrokenChain: The log's end was altered.
        """
        if self._log is None:
            return
        self._log.open()
        if self._log.torn_bytes:
            _log.warning("audit log: dropped %d bytes of a line that a crash cut off", self._log.torn_bytes)
        self._syncing = asyncio.create_task(self._sync(), name="audit log")

    async def close(self) -> None:
        """Bring everything to the disk and close."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
            self._syncing = None
        if self._log is not None:
            self._write()
            self._log.close()

    def answered(self, call: Call, status: int) -> None:
        """Write the record of a call that was answered."""
        operation = call.target.operation
        if self._log is None or not (self._all or operation is not None or call.error or status >= 400):
            return
        # Written many at a time, which costs a third of writing each between two requests.
        self._waiting.append((call, status, call.request.body_read if operation is not None else None))
        if len(self._waiting) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call, status, body in waiting if self._log is not None else ():
            self._append(call.record(status, self._account, body))

    def _append(self, record: dict[str, Any]) -> None:
        if self._log is None:
            return
        try:
            self._log.append(record)
        except (OSError, ValueError) as error:
            self._failures.add(1)
            _log.error("audit record lost: %s", error)
        else:
            self._records.add(1)

    async def _sync(self) -> None:
        while self._log is not None:
            await asyncio.sleep(_SYNC_S)
            self._write()
            try:
                await asyncio.to_thread(self._log.sync)
            except OSError as error:
                self._failures.add(1)
                _log.error("audit log cannot be written: %s", error)
