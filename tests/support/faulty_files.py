"""A disk that loses power, fills up and fails on request.

Programs see ordinary files in an ordinary directory, so that reading and mapping them works. Beside them this keeps
what a disk owes: of data since the last sync of their file, any part may be lost or torn; of names since the last sync
of their directory, any; what a failed sync was about is never owed again, whatever later syncs say.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from headrace.store.files import Files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

_WRITE = 0
_CUT = 1


class _Owed(IntEnum):
    """How sure a change is."""

    PENDING = 0
    LOST = 1
    """A sync failed after it: it may be gone for ever."""

    SURE = 2


@dataclass
class _Change:
    kind: int
    at: int
    new: bytes = b""
    owed: _Owed = _Owed.PENDING


@dataclass
class _Node:
    """A file as the disk may have it: certain bytes, then changes that may have happened."""

    certain: bytearray = field(default_factory=bytearray)
    changes: list[_Change] = field(default_factory=list)

    def sync(self, *, worked: bool) -> None:
        """Settle what has changed since the last sync, for better or worse."""
        for change in self.changes:
            if change.owed is _Owed.PENDING:
                change.owed = _Owed.SURE if worked else _Owed.LOST
        while self.changes and self.changes[0].owed is _Owed.SURE:
            _apply(self.certain, self.changes.pop(0))

    def after_loss(self, random: Random) -> bytes:
        """Return what may be left of it."""
        data = bytearray(self.certain)
        style = random.randrange(4)
        for number, change in enumerate(self.changes):
            last = number == len(self.changes) - 1
            if change.owed is _Owed.SURE or style == 0 or (style == 1 and not last):
                _apply(data, change)
            elif change.kind == _CUT:
                if random.random() < 0.5:
                    _apply(data, change)
            else:
                size = len(change.new)
                end = random.choice((0, size, random.randint(0, size)))
                # Any of its pages, so that it may be the front which is missing.
                start = random.randint(0, end) if style == 3 and random.random() < 0.3 else 0
                if end > start:
                    _apply(data, _Change(_WRITE, change.at + start, change.new[start:end]))
        return bytes(data)


def _apply(data: bytearray, change: _Change) -> None:
    if change.kind == _CUT:
        del data[change.at :]
        return
    data.extend(bytes(max(change.at - len(data), 0)))
    data[change.at : change.at + len(change.new)] = change.new


@dataclass
class _Folder:
    """A directory: certain names, then for each name all that it may have become since."""

    certain: dict[str, _Node | _Folder] = field(default_factory=dict)
    changes: dict[str, list[_Node | _Folder | None]] = field(default_factory=dict)

    def change(self, name: str, node: _Node | _Folder | None) -> None:
        self.changes.setdefault(name, [self.certain.get(name)]).append(node)

    def now(self, name: str) -> _Node | _Folder | None:
        return self.changes[name][-1] if name in self.changes else self.certain.get(name)

    def settle(self) -> None:
        for name, history in self.changes.items():
            if history[-1] is None:
                self.certain.pop(name, None)
            else:
                self.certain[name] = history[-1]
        self.changes.clear()

    def after_loss(self, random: Random) -> Iterator[tuple[str, _Node | _Folder]]:
        style = random.randrange(3)
        names = {**self.certain, **dict.fromkeys(self.changes)}
        for name in names:
            history = self.changes.get(name, [self.certain.get(name)])
            node = history[0] if style == 0 else history[-1] if style == 1 else random.choice(history)
            if node is not None:
                yield name, node


@dataclass
class Fault:
    """One kind of operation that fails.

    Attributes:
        operation: Name of the method of `Files`.
        error: Its errno.
        match: Pattern that the name of the file fulfils.
        after: So many are let through before.
        times: So many fail.
    """

    operation: str
    error: int = errno.EIO
    match: str = "*"
    after: int = 0
    times: int = 1 << 30


class FaultyFiles(Files):
    """Files under one directory, which is durable itself.

    Args:
        root: Exists; what is in it is durable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.room: int | None = None
        """Bytes that may still be written; None for no limit."""
        self.free: int | None = None
        """What `free_bytes` says; None for the truth."""
        self.dies_in = 1 << 60
        """Operations until the power goes."""
        self.dead = False
        self.operations = 0
        self._lock = threading.RLock()
        self._tree = _scan(root)
        self._open: dict[int, tuple[_Node, str]] = {}

    # -- faults --------------------------------------------------------------------------------------------

    def fail(
        self, operation: str, error: int = errno.EIO, match: str = "*", after: int = 0, times: int = 1 << 30
    ) -> None:
        """Have operations fail from now on."""
        self.faults.append(Fault(operation, error, match, after, times))

    def heal(self) -> None:
        """End all faults."""
        self.faults.clear()
        self.room = None

    def lose_power(self, random: Random, target: Path) -> None:
        """Write what is left into `target`, which does not exist; nothing works here afterwards."""
        with self._lock:
            self.dead = True
            _materialise(self._tree, target, random)

    def _happens(self, operation: str, name: str) -> None:
        """Count an operation, and fail it where it is to fail."""
        self.operations += 1
        self.dies_in -= 1
        if self.dies_in < 0:
            self.dead = True
        if self.dead:
            raise OSError(errno.EIO, "the power is gone", name)
        for fault in self.faults:
            if fault.operation == operation and fnmatch(name, fault.match) and fault.times > 0:
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                raise OSError(fault.error, os.strerror(fault.error), name)

    # -- operations ----------------------------------------------------------------------------------------

    def open_new(self, path: Path) -> int:
        with self._lock:
            self._happens("open_new", path.name)
            fd = super().open_new(path)
            node = _Node()
            self._open[fd] = node, path.name
            self._folder(path.parent).change(path.name, node)
            return fd

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        with self._lock:
            node, name = self._open[fd]
            at = os.lseek(fd, 0, os.SEEK_CUR)
            new = bytes(data)
            try:
                self._happens("write", name)
            except OSError:
                # The last write may have got anywhere.
                node.changes.append(_Change(_WRITE, at, new))
                raise
            taken = new if self.room is None else new[: max(self.room, 0)]
            super().write(fd, taken)
            node.changes.append(_Change(_WRITE, at, taken))
            if self.room is not None:
                self.room -= len(taken)
                if len(taken) < len(new):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            node, name = self._open[fd]
            self._happens("truncate", name)
            if self.room is not None:
                self.room += max(os.fstat(fd).st_size - size, 0)
            super().truncate(fd, size)
            node.changes.append(_Change(_CUT, size))

    def sync(self, fd: int) -> None:
        with self._lock:
            node, name = self._open[fd]
            try:
                self._happens("sync", name)
            except OSError:
                node.sync(worked=False)
                raise
            node.sync(worked=True)

    def close(self, fd: int) -> None:
        with self._lock:
            self._open.pop(fd)
            super().close(fd)

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            self._happens("rename", source.name)
            super().rename(source, target)
            folder = self._folder(source.parent)
            folder.change(target.name, folder.now(source.name))
            folder.change(source.name, None)

    def remove(self, path: Path) -> None:
        with self._lock:
            self._happens("remove", path.name)
            if not path.exists():
                return
            if self.room is not None:
                self.room += path.stat().st_size
            super().remove(path)
            self._folder(path.parent).change(path.name, None)

    def remove_tree(self, path: Path) -> None:
        with self._lock:
            self._happens("remove_tree", path.name)
            if path.exists():
                self._folder(path.parent).change(path.name, None)
            super().remove_tree(path)

    def mkdir(self, path: Path) -> None:
        with self._lock:
            self._happens("mkdir", path.name)
            known = path.is_dir()
            super().mkdir(path)
            if not known:
                self._folder(path.parent).change(path.name, _Folder())

    def sync_directory(self, path: Path) -> None:
        with self._lock:
            self._happens("sync_directory", path.name)
            self._folder(path).settle()

    def free_bytes(self, path: Path) -> int:
        return super().free_bytes(path) if self.free is None else self.free

    def _folder(self, path: Path) -> _Folder:
        folder = self._tree
        for name in path.relative_to(self.root).parts:
            found = folder.now(name)
            assert isinstance(found, _Folder), path
            folder = found
        return folder


def _scan(path: Path | str) -> _Folder:
    """Read a directory; not with `Path`, whose methods tests replace."""
    folder = _Folder()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir():
                folder.certain[entry.name] = _scan(entry.path)
                continue
            fd = os.open(entry.path, os.O_RDONLY)
            folder.certain[entry.name] = _Node(bytearray(os.read(fd, entry.stat().st_size)))
            os.close(fd)
    return folder


def _materialise(folder: _Folder, target: Path, random: Random) -> None:
    target.mkdir()
    for name, node in folder.after_loss(random):
        if isinstance(node, _Folder):
            _materialise(node, target / name, random)
        else:
            (target / name).write_bytes(node.after_loss(random))
