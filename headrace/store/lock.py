"""One daemon a data directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from headrace.pipeline.errors import Locked

if TYPE_CHECKING:
    from pathlib import Path


class DirectoryLock:
    """An advisory lock that the kernel drops when the process ends, however it ends.

    Args:
        directory: Exists; the file ``lock`` in it names the process that holds the lock.

    Raises:
        Locked: Another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise Locked(f"data directory {directory} is in use by process {holder}") from None
        # On a full disk the holder goes unnamed, and the directory can be opened all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the directory free; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
