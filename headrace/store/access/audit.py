"""The audit log: one JSON line a call, in CloudTrail's shape, each line bound to the one before by its hash.

A line is the record with two members more: ``previousHash``, the hash of the line before (64 zeros for the first of
all), and ``hash``, the SHA-256 of the line's text up to there. Changing, removing or reordering lines breaks the chain;
`verify` says where. Cutting off the end is found by the head file, which names the last line as of the last sync.

Source:
    AWS CloudTrail User Guide, "CloudTrail record contents".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from headrace.pipeline.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIRST = "0" * 64
"""Hash that the first line of all names as the one before it."""

_PREFIX = "audit-"
_SUFFIX = ".jsonl"
_HEAD = "audit.head"


class BrokenChain(StoreError):  # noqa: N818 -- named for the condition
    """A line of the audit log is not the one that was written.

    Args:
        file: File it is in.
        line: Its number, from 1.
        why: What is wrong.
    """

    def __init__(self, file: Path, line: int, why: str) -> None:
        super().__init__(f"{file}:{line}: {why}")
        self.file = file
        self.line = line


class Verified(NamedTuple):
    """What `verify` has found in order.

    Attributes:
        files: Files read.
        lines: Lines read.
        last: Hash of the last line.
        oldest_complete: Whether the first file is the first that was ever written; False where old ones were removed.
    """

    files: int
    lines: int
    last: str
    oldest_complete: bool


class AuditLog:
    """Appends records. One process writes a directory.

    Args:
        directory: Where the files lie; made where it is missing.
        max_bytes: Size from which a new file is begun.
        max_files: Files that are kept; the oldest is removed for one more. 0 keeps all.
    """

    def __init__(self, directory: Path, max_bytes: int = 64 << 20, max_files: int = 0) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._file: IO[bytes] | None = None
        self._number = 0
        self._size = 0
        self._last = FIRST
        self._unsynced = False
        self._lock = threading.Lock()
        self.torn_bytes = 0
        """Bytes of a line that a crash cut off, dropped when the log was opened."""

    def open(self) -> None:
        """Go on where the last process ended.

        Raises:
            BrokenChain: The last whole line is not one that this log wrote.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = files(self._directory)
        if found:
            self._number = _number(found[-1])
            self._drop_torn_line(found[-1])
        for path in reversed(found):
            last = _last_line(path)
            if last is not None:
                self._last = _check(path, 0, last, None)
                break
        self._begin(max(self._number, 1))

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record; it reaches the disk with the next `sync`."""
        if self._file is None:
            raise AssertionError("bug: audit record before open")
        with self._lock:
            text = encode({**record, "previousHash": self._last})
            self._last = _digest(text)
            line = text[:-1] + b',"hash":"' + self._last.encode() + b'"}\n'
            self._file.write(line)
            self._size += len(line)
            self._unsynced = True
            if self._size >= self._max_bytes:
                self._rotate()

    def _rotate(self) -> None:
        if self._file is None:
            return
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._write_head(self._last)
        self._file.close()
        self._begin(self._number + 1)
        self._remove_old()

    def sync(self) -> None:
        """Return when all records that were appended before are on disk; from any one thread."""
        with self._lock:
            if self._file is None or not self._unsynced:
                return
            self._file.flush()
            self._unsynced = False
            last, number = self._last, self._number
            # A descriptor of its own: appending, and even the next file, need not wait for the disk.
            handle = os.dup(self._file.fileno())
        try:
            os.fdatasync(handle)
        finally:
            os.close(handle)
        with self._lock:
            if number == self._number:  # else a new file was begun meanwhile, and its head is the later one
                self._write_head(last)

    def _write_head(self, last: str) -> None:
        head = self._directory / _HEAD
        scratch = head.with_suffix(".tmp")
        scratch.write_text(f"{last}\n")
        scratch.replace(head)

    def close(self) -> None:
        """Sync and close; safe before `open` and twice."""
        self.sync()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, number: int) -> None:
        path = self._directory / f"{_PREFIX}{number:08d}{_SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(handle, "ab")
        self._number = number
        self._size = path.stat().st_size

    def _remove_old(self) -> None:
        found = files(self._directory)
        extra = len(found) - self._max_files if self._max_files else 0
        for path in found[: max(extra, 0)]:
            path.unlink()

    def _drop_torn_line(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        self.torn_bytes = len(data) - whole
        if self.torn_bytes:
            with path.open("r+b") as file:
                file.truncate(whole)


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON on one line, without blanks."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def files(directory: Path) -> list[Path]:
    """Return the files of a log, oldest first."""
    return sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}"), key=_number)


def read(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the records, oldest first, without checking the chain; lines that are no JSON are left out."""
    for path in files(directory):
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    yield json.loads(line)


def verify(directory: Path) -> Verified:
    """Read the whole log and check that each line is what was written after the one before.

    Raises:
        BrokenChain: The first line that is not, with file and number.
    """
    found = files(directory)
    lines, last, seen = 0, None, set()
    for path in found:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    raise BrokenChain(path, number, "the line is cut off")
                last = _check(path, number, line[:-1], last)
                seen.add(last)
                lines += 1
    _check_head(directory, found, seen, lines)
    first = bool(found) and _number(found[0]) == 1
    return Verified(len(found), lines, last or FIRST, first)


def _check_head(directory: Path, found: list[Path], seen: set[str], lines: int) -> None:
    head = directory / _HEAD
    if not head.exists():
        if lines:
            raise BrokenChain(head, 1, "is missing: whether lines are missing at the end cannot be told")
        return
    if head.read_text().strip() not in seen:
        raise BrokenChain(found[-1] if found else head, lines, "lines are missing at the end")


def _check(path: Path, number: int, line: bytes, previous: str | None) -> str:
    """Return the hash of a line (without its end), once it is the right one."""
    text, separator, tail = line.rpartition(b',"hash":"')
    if not separator or len(tail) != 66 or not tail.endswith(b'"}'):
        raise BrokenChain(path, number, "is no line of an audit log")
    said = tail[:64].decode("ascii", "replace")
    if _digest(text + b"}") != said:
        raise BrokenChain(path, number, "the line was altered: its hash is another one")
    named = text.rpartition(b'"previousHash":"')[2][:64].decode("ascii", "replace")
    first_of_all = previous is None and number and _number(path) == 1
    expected = FIRST if first_of_all else previous
    if expected is not None and named != expected:
        raise BrokenChain(path, number, f"follows the line with hash {named[:12]}…, which is not the one before it")
    return said


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _number(path: Path) -> int:
    digits = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return int(digits) if digits.isdigit() else 0


def _last_line(path: Path) -> bytes | None:
    lines = path.read_bytes().splitlines()
    return lines[-1] if lines else None
