"""The few file operations that durability rests on, behind an object that tests replace to inject faults."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """Real files."""

    def create(self, path: Path) -> int:
        """Create a file for writing and return its descriptor; the name is durable on return."""
        fd = self.open_new(path)
        try:
            self.sync_directory(path.parent)
        except OSError:
            self.close(fd)
            with contextlib.suppress(OSError):
                self.remove(path)
            raise
        return fd

    def open_new(self, path: Path) -> int:
        """Create a file for writing and return its descriptor; nothing is durable yet."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def make_directory(self, path: Path) -> None:
        """Make a directory, durable, with those above it; it may be there already."""
        if path.is_dir():
            return
        self.make_directory(path.parent)
        self.mkdir(path)
        self.sync_directory(path.parent)

    def mkdir(self, path: Path) -> None:
        """Make a directory that may be there already; nothing is durable yet."""
        path.mkdir(mode=0o700, exist_ok=True)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file off and write on from there; nothing is durable yet."""
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)

    def sync(self, fd: int) -> None:
        """Make what was written durable."""
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename durably, within one directory."""
        self.rename(source, target)
        self.sync_directory(target.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one directory; nothing is durable yet."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Delete a file that may be gone already."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Delete a directory with all that is in it; it may be gone already."""
        if path.exists():
            shutil.rmtree(path)
            self.sync_directory(path.parent)

    def write_whole(self, path: Path, data: bytes | bytearray | memoryview) -> None:
        """Put a file in place whole and durable, or not at all."""
        temporary = path.with_name(path.name + ".tmp")
        self.remove(temporary)
        fd = self.open_new(temporary)
        try:
            try:
                self.write(fd, data)
                self.sync(fd)
            finally:
                self.close(fd)
            self.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(temporary)
            raise

    def sync_directory(self, path: Path) -> None:
        """Make names in a directory durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """Return the bytes that may still be written to the file system of `path`."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize
