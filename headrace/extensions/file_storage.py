"""Keep sending queues and states on disk, so that they survive the process; the Collector's ``file_storage``.

Each exporter that names the extension in its ``sending_queue.storage`` has a folder of its own in `directory`: files
of records (docs/format/queue.md) and a cursor. One process has a directory open.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, PositiveDuration
from headrace.pipeline.errors import Locked, StoreFailed
from headrace.pipeline.state import StateDirectory
from headrace.pipeline.storage import RecordLog
from headrace.pipeline.storage.usage import Usage

if TYPE_CHECKING:
    from headrace.pipeline.host import Host

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_POLL_S = 0.05

_SERVICE = "file_storage.directories"
"""Name of the service that knows which directories are open."""


class CompactionConfig(ComponentConfig):
    """Settings of the Collector's compaction; they are checked and have nothing to do: files that are done go."""

    on_start: bool = False
    """In the Collector: compact at the start."""

    on_rebound: bool = False
    """In the Collector: compact when a queue has become short."""

    directory: str = ""
    """In the Collector: where the copy is made."""

    max_transaction_size: Annotated[int, Field(ge=0)] = 65536
    """In the Collector: items that are copied at a time."""

    rebound_needed_threshold_mib: Annotated[int, Field(ge=0)] = 100
    """In the Collector: size from which a queue counts as long."""

    rebound_trigger_threshold_mib: Annotated[int, Field(ge=0)] = 10
    """In the Collector: size below which it counts as short."""

    check_interval: PositiveDuration = timedelta(seconds=5)
    """In the Collector: time between two looks at it."""

    cleanup_on_start: bool = False
    """In the Collector: remove what an interrupted compaction has left."""


class FileStorageConfig(ComponentConfig):
    """Settings of the ``file_storage`` extension."""

    directory: str = "/var/lib/headrace/file_storage"
    """Where the queues are."""

    timeout: NonNegativeDuration = timedelta(seconds=1)
    """How long to wait for another process to let go of the directory."""

    fsync: bool = False
    """Acknowledge points when they are on the disk itself. Without it they survive the end of the process, however
    sudden, and not that of the machine. Senders that wait at the same time share a sync."""

    create_directory: bool = True
    """Make the directory where it does not exist."""

    directory_permissions: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0750"
    """Permissions of a directory that is made, octal."""

    max_size: Annotated[ByteSize, Field(ge=0)] = 10 << 30
    """Bytes that all queues of the extension take on disk at most; what comes then is refused, so that its sender
    repeats it. 0 for no limit. A queue that is worked off keeps up to 64 MiB until its newest file is full."""

    compaction: CompactionConfig = CompactionConfig()
    """Accepted so that configurations of the Collector load."""


class FileStorage:
    """Opens logs."""

    def __init__(self, settings: Settings, config: FileStorageConfig) -> None:
        self._settings = settings
        self._config = config
        self._directory = Path(config.directory)
        self._usage = Usage(settings, config.max_size)
        self._opened: OpenDirectory | None = None
        self._logs: dict[str, RecordLog] = {}

    async def start(self, host: Host) -> None:
        """Lock the directory.

        Raises:
            StoreFailed: It is not there, or cannot be made or written.
            Locked: Another process has it open.
        """
        try:
            if self._config.create_directory:
                self._directory.mkdir(int(self._config.directory_permissions, 8), parents=True, exist_ok=True)
            path = self._directory.resolve(strict=True)
            known = host.services.setdefault(_SERVICE, {})
            opened = known.get(path) or OpenDirectory(path, known)
        except OSError as error:
            raise StoreFailed(f"file_storage {self._directory}: {error.strerror}") from None
        await self._lock(opened)
        self._opened = opened

    async def shutdown(self) -> None:
        """Close what is open, and let go of the directory."""
        for owner in list(self._logs):
            await self.close_log(owner)
        if self._opened is not None:
            self._opened.leave()
            self._opened = None

    @property
    def states(self) -> StateDirectory:
        """Where components that name the extension keep what is no queue; see `StateStorage`."""
        return StateDirectory(self._directory / "states")

    def is_free(self, owner: str) -> bool:
        """Return whether nobody has the log of `owner` open."""
        return not self._directory_of(owner).turn(owner).locked()

    async def open_log(self, owner: str) -> RecordLog:
        """Return the log of an owner; see `headrace.pipeline.storage.QueueStorage`."""
        turn = self._directory_of(owner).turn(owner)
        await turn.acquire()
        log = RecordLog(self._directory / _UNSAFE.sub("_", owner), self._usage, fsync=self._config.fsync)
        try:
            await asyncio.to_thread(log.recover)
        except BaseException:
            turn.release()
            raise
        if log.waiting.points:
            self._settings.logger.info("%s: %d points wait since the last time", owner, log.waiting.points)
        self._logs[owner] = log
        return log

    async def close_log(self, owner: str) -> None:
        """Close the log of an owner, and let the next one open it."""
        log = self._logs.pop(owner, None)
        if log is not None:
            await log.close()
            self._directory_of(owner).turn(owner).release()

    def _directory_of(self, owner: str) -> OpenDirectory:
        if self._opened is None:
            raise AssertionError(f"bug: {owner} asks for a storage that is not started")
        return self._opened

    async def _lock(self, opened: OpenDirectory) -> None:
        deadline = self._settings.monotonic_s() + self._config.timeout.total_seconds()
        while not opened.enter():
            if self._settings.monotonic_s() >= deadline:
                raise Locked(f"file_storage {self._directory}: another process has it open")
            await asyncio.sleep(_POLL_S)


class OpenDirectory:
    """A directory that this process has locked, and who works in it.

    In a reload an extension and its successor have it open at the same time.

    Args:
        path: Of the directory.
        known: Where it is found by its path as long as somebody uses it.

    Raises:
        OSError: The file that is locked cannot be made.
    """

    def __init__(self, path: Path, known: dict[Path, OpenDirectory]) -> None:
        self._path = path
        self._known = known
        self._users = 0
        self._fd = -1
        self._turns: dict[str, asyncio.Lock] = {}
        with (path / "lock").open("a"):
            pass

    def enter(self) -> bool:
        """Lock the directory, or join those of this process who have; return whether that was possible."""
        if not self._users:
            fd = os.open(self._path / "lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                return False
            self._fd = fd
            self._known[self._path] = self
        self._users += 1
        return True

    def leave(self) -> None:
        """Unlock the directory when nobody else has it open."""
        self._users -= 1
        if not self._users:
            os.close(self._fd)
            del self._known[self._path]

    def turn(self, owner: str) -> asyncio.Lock:
        """Return what the one holds who has the log of an owner open."""
        return self._turns.setdefault(owner, asyncio.Lock())


FACTORY = ExtensionFactory(name="file_storage", config=FileStorageConfig, create=FileStorage)
