"""One file that is written to, put aside when it is large, and begun anew."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO

from headrace.exporters.file_mending import mend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from headrace.exporters.file_config import FileConfig, RotationConfig

_MIB = 1 << 20
_DEFAULT_MIB = 100
_BUFFER_BYTES = 1 << 16
_STAMP = "%Y-%m-%dT%H-%M-%S"
_STAMP_CHARS = len("2026-01-01T00-00-00.000")


class FileWriter:
    """Appends to a file; not for several threads at a time.

    Args:
        path: The file.
        config: Rotation, folder and mode.
        clock_ns: Unix time in nanoseconds, for the names of files that are put aside.
        on_loss: Told how many points that were written before are lost, because a later flush failed.
        append: Keep what is in the file.

    Attributes:
        torn_bytes: What was no whole request at the end of the file, when it was opened.
    """

    def __init__(
        self,
        path: Path,
        config: FileConfig,
        clock_ns: Callable[[], int],
        on_loss: Callable[[int], None],
        *,
        append: bool,
    ) -> None:
        self.path = path
        self._rotation = config.rotation
        self._clock_ns = clock_ns
        if config.create_directory:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.chmod(int(config.directory_permissions, 8))
        self._on_loss = on_loss
        self._size = self._flushed = self._waiting = 0
        # With rotation a file that is there is gone on with, as long as it is not too large.
        keeps = append or self._rotation is not None
        self.torn_bytes = mend(path, framed=config.is_framed) if keeps else 0
        self._file = self._open(keeps=keeps)

    def write(self, data: bytes, points: int, *, flushes: bool) -> None:
        """Append `data`, which is never torn apart, to this file or the next.

        Args:
            data: One or more whole requests.
            points: How many points they hold.
            flushes: Whether to hand everything to the system before returning.

        Raises:
            OSError: The disk is full, or the like; nothing of `data` is in the file.
        """
        if self._file.closed:
            self._file = self._open(keeps=True)
        if self._rotation is not None and self._size and self._size + len(data) > self._limit:
            self._rotate(self._rotation)
        try:
            self._file.write(data)
            if flushes:
                self._file.flush()
        except OSError:
            self._take_back()
            raise
        self._size += len(data)
        if flushes:
            self._note_flushed()
        else:
            self._waiting += points

    def flush(self) -> None:
        """Hand everything to the system.

        Raises:
            OSError: The disk is full, or the like; what was written since the last flush is lost.
        """
        if self._file.closed:
            return
        try:
            self._file.flush()
        except OSError:
            self._take_back()
            raise
        self._note_flushed()

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            with suppress(OSError):
                self._file.close()

    def _note_flushed(self) -> None:
        self._flushed = self._size
        self._waiting = 0

    @property
    def _limit(self) -> int:
        return ((self._rotation.max_megabytes if self._rotation else 0) or _DEFAULT_MIB) * _MIB

    def _open(self, *, keeps: bool) -> BinaryIO:
        file = self.path.open("ab" if keeps else "wb", _BUFFER_BYTES)
        self._size = self._flushed = file.tell()
        return file

    def _take_back(self) -> None:
        """Cut the file off where it was flushed last, so that it holds whole requests only."""
        lost, self._waiting = self._waiting, 0
        if lost:
            self._on_loss(lost)
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            os.truncate(self.path, self._flushed)
        self._file = self._open(keeps=True)

    def _rotate(self, rotation: RotationConfig) -> None:
        self.close()
        self.path.rename(self._aside(rotation))
        self._file = self._open(keeps=False)
        with suppress(OSError):
            self._tidy(rotation)

    def _aside(self, rotation: RotationConfig) -> Path:
        """Return a name that nothing has yet: the time in front of the suffix."""
        now_ms = self._clock_ns() // 1_000_000
        while True:
            moment = datetime.fromtimestamp(now_ms // 1000, None if rotation.localtime else UTC)
            stamp = f"{moment:{_STAMP}}.{now_ms % 1000:03d}"
            found = self.path.with_name(f"{self.path.stem}-{stamp}{self.path.suffix}")
            if not found.exists():
                return found
            now_ms += 1

    def _tidy(self, rotation: RotationConfig) -> None:
        """Delete files that are too many or too old."""
        backups = sorted(self._backups(rotation), reverse=True)
        oldest = datetime.fromtimestamp(self._clock_ns() / 1e9, UTC) - timedelta(days=rotation.max_days)
        for number, (moment, path) in enumerate(backups):
            too_many = rotation.max_backups and number >= rotation.max_backups
            too_old = rotation.max_days and moment < oldest
            if too_many or too_old:
                path.unlink(missing_ok=True)

    def _backups(self, rotation: RotationConfig) -> Iterator[tuple[datetime, Path]]:
        """Yield files that were put aside, with their times."""
        prefix = f"{self.path.stem}-"
        for path in self.path.parent.iterdir():
            stamp = path.name.removeprefix(prefix).removesuffix(self.path.suffix)
            if not path.name.startswith(prefix) or len(stamp) != _STAMP_CHARS:
                continue
            with suppress(ValueError):
                moment = datetime.fromisoformat(stamp[:10] + stamp[10:].replace("-", ":"))
                yield (moment.astimezone(UTC) if rotation.localtime else moment.replace(tzinfo=UTC)), path
