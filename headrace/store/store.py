"""The store of a data directory: its lock, its log and one engine for each workspace.

Layout of the directory: ``lock``, ``wal/00000001.wal`` …, ``workspaces/<id>/00000001.block`` …,
``workspaces/<id>/manifest.json``; snapshots, each laid out like this, in ``snapshots``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import CorruptChunk, InvalidInput, Refused, StoreFailed
from headrace.store import records
from headrace.store.engine import Engine, EngineOptions
from headrace.store.files import Files
from headrace.store.interfaces import Record
from headrace.store.lock import DirectoryLock
from headrace.store.log import Sync, WriteAheadLog
from headrace.store.snapshot import DIRECTORY as SNAPSHOTS
from headrace.store.snapshot import snapshot_name
from headrace.store.stopwatch import spent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.matchers import Matcher

_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_MAINTAIN_S = 1.0
_RETAIN_MS = 60_000
_COMPACT_S = 10.0

_CHECKED_BYTES = 256 << 20
"""Of the newest blocks, whose checksums are compared after the start instead of by the first query."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Settings of a data directory.

    Attributes:
        sync: When a write is acknowledged.
        min_free_bytes: Below this much free disk, writes are refused and queries go on.
        engine: Settings of each workspace.
    """

    sync: Sync = Sync.ALWAYS
    min_free_bytes: int = 256 << 20
    engine: EngineOptions = field(default_factory=EngineOptions)


@dataclass(slots=True)
class ReplayStatus:
    """Progress of reading the log back, in segments: first, last, and the one being read; and its time once done."""

    min: int = 0
    max: int = 0
    current: int = 0
    done: bool = False
    seconds: float = 0.0


class Store:
    """Opens a data directory and serves its workspaces.

    Args:
        directory: Made where it does not exist.
        options: Settings.
        files: Does the writing.
        clock_ms: Unix time.
        steady_s: Seconds of a clock that never steps; `clock_ms` is taken for one without it.
    """

    def __init__(
        self,
        directory: Path,
        options: StoreOptions | None = None,
        *,
        files: Files | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        steady_s: Callable[[], float] | None = None,
    ) -> None:
        self.directory = directory
        self.options = options or StoreOptions()
        self.replay_status = ReplayStatus()
        self._files = files or Files()
        self._clock_ms = clock_ms
        self._steady_s = steady_s
        self._logger = logging.getLogger("headrace.store")
        self._engines: dict[str, Engine] = {}
        self._lock: DirectoryLock | None = None
        self._maintainer: asyncio.Task[None] | None = None
        self._compactor: asyncio.Task[None] | None = None
        self._retained_ms = 0
        self._open = False
        self._maintaining = threading.Lock()
        self.options_of: Callable[[str], EngineOptions] = lambda _workspace: self.options.engine
        """Gives the settings of a workspace when its engine is opened."""
        self.on_forget: Callable[[str, NDArray[np.int32]], None] = lambda _workspace, _refs: None
        """Called before refs of a workspace are given up, so that whoever keeps them forgets them."""
        self.log = WriteAheadLog(directory / "wal", self.options.sync, self._files)

    # -- life ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Lock the directory and read the log back; takes a while, so call it on a thread.

        Raises:
            Locked: Another process has the directory open.
            StoreFailed: The directory cannot be used.
        """
        try:
            self._files.make_directory(self.log.directory)
            self._files.make_directory(self._workspaces)
            self._lock = DirectoryLock(self.directory)
            # Also names that somebody who was killed has made, and not synced.
            self._files.sync_directory(self.directory)
            self._files.sync_directory(self._workspaces)
            self.log.remove_leftovers()
            for path in sorted(self._workspaces.iterdir()):
                if path.is_dir():
                    self.engine(path.name)
            with spent(self.replay_status, "seconds"):
                self._replay()
            for engine in self._engines.values():
                engine.believe()
        except OSError as error:
            raise StoreFailed(f"data directory {self.directory}: {error}") from None
        self._open = True

    def start(self) -> None:
        """Begin to flush, retain and sync in the background."""
        self._maintainer = asyncio.create_task(self._maintain(), name="store maintenance")
        self._compactor = asyncio.create_task(self._compact(), name="store compaction")

    async def close(self) -> None:
        """Write everything into blocks, so that the next start has nothing to read back; safe to call twice."""
        tasks = [task for task in (self._maintainer, self._compactor) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._maintainer = self._compactor = None
        if self._open:
            self._open = False
            with contextlib.suppress(StoreFailed):
                await self.log.retry()
            try:
                if not self.log.failed:
                    await asyncio.get_running_loop().run_in_executor(None, lambda: self.flush(everything=True))
            except StoreFailed as error:
                self._logger.error("%s; the next start reads the log back", error)  # noqa: TRY400 -- says all
            await self.log.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- workspaces ----------------------------------------------------------------------------------------

    def engine(self, workspace: str) -> Engine:
        """Return the engine of `workspace`, opened at first use.

        Raises:
            InvalidInput: The id cannot be one.
        """
        engine = self._engines.get(workspace)
        if engine is None:
            if not _WORKSPACE.fullmatch(workspace):
                raise InvalidInput(f"workspace id {workspace!r} has characters that are not allowed")
            directory = self._workspaces / workspace
            self._files.make_directory(directory)
            engine = self._engines[workspace] = Engine(
                workspace, directory, self.log, self._files, self.options_of(workspace), self._clock_ms,
                self._steady_s,
            )  # fmt: skip
        return engine

    def make(self, workspace: str) -> None:
        """Make the directory of a workspace, without opening its engine; any thread.

        Raises:
            StoreFailed: The disk refused.
        """
        try:
            self._files.make_directory(self._workspaces / workspace)
        except OSError as error:
            raise StoreFailed(f"workspace {workspace}: {error}") from None

    async def remove(self, workspace: str) -> None:
        """Remove all data of a workspace, in blocks and in the log; safe to call twice, and again after a crash.

        Who calls has seen to it that nobody writes to it any more. Queries under way still read it.

        Raises:
            StoreFailed: The disk refused; what is left goes with the next call.
        """
        engine = self._engines.pop(workspace, None)
        # From here on a crash does not bring it back: reading the log undoes what was read of it.
        await self.log.append([Record(records.REMOVED, workspace, b"")])
        await asyncio.get_running_loop().run_in_executor(None, self._erase, workspace, engine)

    def _erase(self, workspace: str, engine: Engine | None) -> None:
        with self._maintaining:
            if engine is not None:
                engine.close()
            try:
                self._files.remove_tree(self._workspaces / workspace)
                self.log.erase(workspace, self.log.rotate())
            except OSError as error:
                raise StoreFailed(f"workspace {workspace}: {error}") from None

    @property
    def engines(self) -> dict[str, Engine]:
        """All engines that are open, by workspace."""
        return dict(self._engines)

    @property
    def _workspaces(self) -> Path:
        return self.directory / "workspaces"

    # -- admission -----------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Raise `Refused` while nothing can be written: disk nearly full, or failing."""
        if not self._open:
            raise Refused("the store is not open", 5)
        if self.log.failed:
            raise Refused("the write-ahead log cannot be written", 5)
        if self._short_of_disk:
            raise Refused(f"less than {self.options.min_free_bytes} bytes of disk are free", 30)

    _short_of_disk = False

    def check_disk(self) -> None:
        """Look how much disk is free."""
        with contextlib.suppress(OSError):
            self._short_of_disk = self._files.free_bytes(self.directory) < self.options.min_free_bytes

    # -- maintenance ---------------------------------------------------------------------------------------

    def flush(self, *, everything: bool = False, only: Engine | None = None) -> int:
        """Write finished windows of heads into blocks and trim the log; return the samples written.

        Args:
            everything: Also windows that are not finished.
            only: One engine instead of all.

        Raises:
            StoreFailed: The disk refused; nothing is lost.
        """
        try:
            return self._flush(self.engines.values() if only is None else (only,), everything=everything)
        except OSError as error:
            raise StoreFailed(f"flush of the head: {error}") from None

    def _flush(self, engines: Iterable[Engine], *, everything: bool) -> int:
        with self._maintaining:
            due = [engine for engine in engines if everything or engine.flush_due()]
            if not due:
                return 0
            all_of_them = self.engines.values()
            for engine in all_of_them:
                engine.forget_logged()
            below = self.log.rotate()
            written = sum(engine.flush(everything=everything) for engine in due)
            if not self._open:
                # Nobody writes any more: what has left the head needs no definition.
                for engine in all_of_them:
                    engine.forget_logged()
            upto = min((engine.log_needed_from(below) for engine in all_of_them), default=below)
            if any(number < upto for number, _ in self.log.segments()):
                self.log.trim(upto, [record for engine in all_of_them for record in engine.definitions()])
            return written

    async def delete(self, workspace: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> int:
        """Delete samples: gone from answers on return, and from disk with the next merge or `purge`.

        Args:
            workspace: Its id.
            matchers: Which series.
            start_ms: First time.
            end_ms: Last time.

        Returns:
            Number of series that had such samples.

        Raises:
            StoreFailed: The disk refused.
        """
        loop = asyncio.get_running_loop()
        engine = self.engine(workspace)
        await loop.run_in_executor(None, lambda: self.flush(everything=True, only=engine))
        try:
            row = await loop.run_in_executor(None, engine.delete, matchers, start_ms, end_ms)
        except OSError as error:
            raise StoreFailed(f"workspace {workspace}: {error}") from None
        if len(row.refs):
            await engine.log_deletion(row)
        return len(row.refs)

    async def purge(self, workspace: str) -> int:
        """Remove deleted samples from disk; return the number of blocks rewritten.

        Raises:
            StoreFailed: The disk refused; what was not rewritten stays hidden.
        """
        engine = self.engine(workspace)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, engine.purge)
        except OSError as error:
            raise StoreFailed(f"workspace {workspace}: {error}") from None

    def snapshot(self, *, with_head: bool = True) -> Path:
        """Make a snapshot of all workspaces, durable on return; takes a while, so call it on a thread.

        Args:
            with_head: Write what is only in memory and in the log into blocks first, so that it is part of it.

        Returns:
            A directory below ``snapshots`` that is a data directory by itself. Its blocks are links to ours.

        Raises:
            StoreFailed: The disk refused; nothing is left behind.
        """
        if with_head:
            self.flush(everything=True)
        target = self.directory / SNAPSHOTS / snapshot_name(self._clock_ms())
        unfinished = target.with_name(target.name + ".tmp")
        try:
            for engine in self.engines.values():
                engine.snapshot(unfinished / "workspaces" / engine.workspace)
            for path in (unfinished / "workspaces", unfinished):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._files.sync_directory(path)
            self._files.replace(unfinished, target)
            self._files.sync_directory(self.directory)
        except OSError as error:
            self._files.remove_tree(unfinished)
            raise StoreFailed(f"snapshot {target}: {error}") from None
        return target

    async def maintain(self) -> None:
        """Do what is due: sync, retry, flush, retain."""
        loop = asyncio.get_running_loop()
        self.check_disk()
        with contextlib.suppress(StoreFailed):
            await self.log.retry()
            await self.log.sync_now()
        await self._retain()
        if not self.log.failed:
            await loop.run_in_executor(None, self.flush)

    async def _retain(self) -> None:
        """Remove what is too old: before flushes, which a full disk makes fail until something goes."""
        loop = asyncio.get_running_loop()
        # As far as the clock has moved either way: one that was set back must not keep old blocks.
        if abs(self._clock_ms() - self._retained_ms) > _RETAIN_MS:
            self._retained_ms = self._clock_ms()
            for engine in self.engines.values():
                try:
                    removed = await loop.run_in_executor(None, engine.retain)
                except OSError as error:
                    self._logger.error("workspace %s: retention: %s", engine.workspace, error)  # noqa: TRY400 -- says all
                    continue
                if removed:
                    orphans = engine.orphans()
                    self.on_forget(engine.workspace, orphans)
                    engine.forget(orphans)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(_MAINTAIN_S)
            try:
                await self.maintain()
            except Exception:  # the edge of a task: the next round may fare better
                self._logger.exception("maintenance of the store failed")

    async def _check_newest(self) -> None:
        """Check some of the blocks that the next queries will ask, right after the start."""
        loop, left = asyncio.get_running_loop(), _CHECKED_BYTES
        try:
            for engine in tuple(self.engines.values()):
                left -= await loop.run_in_executor(None, engine.check_newest, left)
        except Exception:  # the edge of a task: those who read a block check it then
            self._logger.exception("checking blocks failed")

    async def compact(self) -> int:
        """Merge the blocks of all engines whose turn it is; return the number of merges."""
        loop = asyncio.get_running_loop()
        merges = 0
        for engine in self.engines.values():
            while not self._short_of_disk and await loop.run_in_executor(None, engine.compact):
                merges += 1
        return merges

    async def _compact(self) -> None:
        await self._check_newest()
        while True:
            await asyncio.sleep(_COMPACT_S)
            try:
                await self.compact()
            except Exception:  # the edge of a task: the next round may fare better
                self._logger.exception("compaction of the store failed")

    def _replay(self) -> None:
        numbers = [number for number, _ in self.log.segments()]
        status = self.replay_status
        status.min, status.max = min(numbers, default=0), max(numbers, default=0)
        removed = set()
        for offset, record in self.log.read():
            status.current = offset.segment
            if record.workspace in removed:
                continue
            if record.kind == records.REMOVED:
                removed.add(record.workspace)
                self._engines.pop(record.workspace, None)
                self._files.remove_tree(self._workspaces / record.workspace)
                continue
            try:
                self.engine(record.workspace).replay(offset, record)
            except (CorruptChunk, InvalidInput) as error:
                self.log.statistics.corrupt_records += 1
                self._logger.error("record in segment %d skipped: %s", offset.segment, error)  # noqa: TRY400 -- says all
        status.current, status.done = status.max, True
