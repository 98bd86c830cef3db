"""Where an import of a large file keeps its samples until they are sorted by time: one file, appended to, resumable.

Samples come in the order of the file, which may be series by series, and go into blocks window by window. Between the
two they lie on disk, 20 bytes each, so that memory does not depend on the size of the file.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.files import Files

_STATE = "state.json"
_SAMPLES = "samples"
_SERIES = "series"
_HEAD = struct.Struct("<QQ")
"""Windows and samples of a frame."""

_SIZE = struct.Struct("<Q")
_SAMPLE_BYTES = 20


@dataclass(frozen=True, slots=True)
class SpillState:
    """How far the file has been read; what lies beyond the sizes is of no account.

    Attributes:
        at: Byte of the file up to which it was read.
        lines: Lines before that.
        type_line: The last line that gave a type, which goes on to count.
        samples_bytes: Size of the file of samples.
        series_bytes: Size of the file of series.
        samples: Samples read.
        complete: The whole file was read.
    """

    at: int = 0
    lines: int = 0
    type_line: str = ""
    samples_bytes: int = 0
    series_bytes: int = 0
    samples: int = 0
    complete: bool = False


class Columns(NamedTuple):
    """Samples as columns.

    Attributes:
        refs: (n,) int32 numbers of series within the import.
        times_ms: (n,) int64.
        values: (n,) float64.
    """

    refs: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Spill:
    """The files of one import.

    Args:
        directory: Theirs; made where it does not exist.
        files: Does what has to be durable.
        window_ms: Time that a window covers.
    """

    def __init__(self, directory: Path, files: Files, window_ms: int) -> None:
        self.directory = directory
        self._files = files
        self._window_ms = window_ms
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state = self._read_state()
        self._fds = [self._opened(_SAMPLES, self.state.samples_bytes), self._opened(_SERIES, self.state.series_bytes)]
        self.extents: dict[int, list[tuple[int, int, int, int]]] = {}
        """By window: frame, its samples, first row in it, rows."""
        self._read_extents()

    def add(self, columns: Columns, series: bytes, state: SpillState) -> None:
        """Append samples and the records of series that are new, and note how far the file has been read, durable.

        Args:
            columns: In the order in which they were read.
            series: A series record, empty for none.
            state: How far; sizes are filled in here.
        """
        samples_at, series_at = self.state.samples_bytes, self.state.series_bytes
        if len(columns.refs):
            samples_at = self._add_frame(columns, samples_at)
        if series:
            self._files.write(self._fds[1], _SIZE.pack(len(series)) + series)
            series_at += _SIZE.size + len(series)
        for fd in self._fds:
            self._files.sync(fd)
        content = {**asdict(state), "samples_bytes": samples_at, "series_bytes": series_at}
        self._files.write_whole(self.directory / _STATE, json.dumps(content).encode())
        self.state = SpillState(**content)

    def series(self) -> Iterator[bytes]:
        """Yield the series records."""
        at = 0
        while at < self.state.series_bytes:
            size = _SIZE.unpack(self._read(1, at, _SIZE.size))[0]
            yield self._read(1, at + _SIZE.size, size)
            at += _SIZE.size + size

    def windows(self) -> list[tuple[int, int]]:
        """Return the numbers of the windows that have samples, ascending, and how many."""
        return sorted((window, sum(rows for *_, rows in found)) for window, found in self.extents.items())

    def read(self, window: int) -> Iterator[Columns]:
        """Yield the samples of a window in the order in which they were read, a bounded number at a time."""
        for frame, n, first, rows in self.extents[window]:
            refs = np.frombuffer(self._read(0, frame + 4 * first, 4 * rows), np.int32)
            at = frame + 4 * n
            times_ms = np.frombuffer(self._read(0, at + 8 * first, 8 * rows), np.int64)
            values = np.frombuffer(self._read(0, at + 8 * (n + first), 8 * rows), np.float64)
            yield Columns(refs, times_ms, values)

    def close(self) -> None:
        """Close the files; safe to call twice."""
        for fd in self._fds:
            self._files.close(fd)
        self._fds = []

    def _add_frame(self, columns: Columns, at: int) -> int:
        windows = columns.times_ms // self._window_ms
        order = np.argsort(windows, kind="stable")
        numbers, firsts = np.unique(windows[order], return_index=True)
        rows = np.diff(firsts, append=len(order))
        n = len(order)
        table = np.stack([numbers, rows], axis=1).astype(np.int64)
        data = [_HEAD.pack(len(numbers), n), table.tobytes(), *(column[order].tobytes() for column in columns)]
        for part in data:
            self._files.write(self._fds[0], part)
        self._note(at, table, n)
        return at + _HEAD.size + table.nbytes + _SAMPLE_BYTES * n

    def _note(self, at: int, table: NDArray[np.int64], n: int) -> None:
        first = 0
        for window, rows in table.tolist():
            self.extents.setdefault(window, []).append((at + _HEAD.size + table.nbytes, n, first, rows))
            first += rows

    def _read_extents(self) -> None:
        at = 0
        while at < self.state.samples_bytes:
            windows, n = _HEAD.unpack(self._read(0, at, _HEAD.size))
            table = np.frombuffer(self._read(0, at + _HEAD.size, 16 * windows), np.int64).reshape(-1, 2)
            self._note(at, table, n)
            at += _HEAD.size + table.nbytes + _SAMPLE_BYTES * n

    def _read_state(self) -> SpillState:
        path = self.directory / _STATE
        try:
            return SpillState(**json.loads(path.read_bytes())) if path.exists() else SpillState()
        except (ValueError, TypeError) as error:
            raise CorruptChunk(f"{path}: {error}; remove {self.directory} to begin anew") from None

    def _opened(self, name: str, size: int) -> int:
        fd = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(fd).st_size < size:
            os.close(fd)
            raise CorruptChunk(f"{self.directory / name}: is cut short; remove {self.directory} to begin anew")
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)
        return fd

    def _read(self, which: int, at: int, size: int) -> bytes:
        parts = []
        while size:
            part = os.pread(self._fds[which], size, at)
            if not part:
                raise CorruptChunk(f"{self.directory}: is cut short; remove it to begin anew")
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return b"".join(parts)
