"""The end of a file that is gone on with: a crash may have left part of a request there."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

LENGTH = struct.Struct(">I")
"""What stands before a request that is no line."""


def mend(path: Path, *, framed: bool) -> int:
    """Have what is appended to a file be whole requests; return how many bytes at its end are none.

    A line without end is ended: a reader finds that it is no request, and goes on. A message that is shorter than the
    length before it is cut off, since its reader would take what comes after for its rest.

    Raises:
        OSError: The file cannot be changed, or holds something else than messages.
    """
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        return _mend_frames(file) if framed else _mend_lines(file)


def _mend_lines(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    begin = size
    while begin:
        start = max(0, begin - 65_536)
        file.seek(start)
        found = file.read(begin - start).rfind(b"\n")
        if found >= 0:
            begin = start + found + 1
            break
        begin = start
    if begin < size:
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    return size - begin


def _mend_frames(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    begin = 0
    while begin < size:
        file.seek(begin)
        head = file.read(LENGTH.size)
        end = begin + LENGTH.size + (LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0)
        if len(head) < LENGTH.size or end > size:
            if begin == 0:
                raise OSError(errno.EINVAL, "it holds no requests behind their lengths")
            file.truncate(begin)
            return size - begin
        begin = end
    return 0
