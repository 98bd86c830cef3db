"""The queries that run now, in a small file that outlives a crash: what ran when the process died is known afterwards.

The file is mapped into memory, so that taking note of a query is a copy of some hundred bytes; the system writes them
to disk in its own time, and they are there after the process was killed. It has a place of fixed size for each query
that may run, filled with JSON and zero bytes.
"""

from __future__ import annotations

import json
import logging
import mmap
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.store.api.pool import About

NAME = "queries.active"
"""File in the data directory; Prometheus' has the same name."""

_PLACE_BYTES = 1024
_EMPTY = bytes(_PLACE_BYTES)

_log = logging.getLogger(__name__)


class ActiveQueries:
    """Takes note of queries that run. Any thread.

    Args:
        path: The file; what a process before left in it is read and told first.
        places: Queries that may run at the same time; of further ones none is taken note of.
        now_s: Unix time in seconds.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, places: int, now_s: Callable[[], float]) -> None:
        self.unfinished = left_in(path)
        """Queries that ran when the process before this one died."""
        for query in self.unfinished:
            _log.warning("a query was running when the store was cut off: %s", json.dumps(query, ensure_ascii=False))
        size = places * _PLACE_BYTES
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._free = list(range(places))
        self._lock = threading.Lock()
        self._now_s = now_s

    def begin(self, about: About, workspace: str) -> Callable[[], None]:
        """Take note of a query until what is returned is called."""
        with self._lock:
            if not self._free or self._map.closed:
                return lambda: None
            place = self._free.pop()
            self._write(place, _noted(about, workspace, self._now_s()))
        return lambda: self._end(place)

    def _end(self, place: int) -> None:
        with self._lock:
            if not self._map.closed:
                self._write(place, b"")
                self._free.append(place)

    def _write(self, place: int, text: bytes) -> None:
        start = place * _PLACE_BYTES
        self._map[start : start + _PLACE_BYTES] = text + _EMPTY[len(text) :]

    def close(self) -> None:
        """Forget all of them, as at an orderly end; safe twice."""
        with self._lock:
            if not self._map.closed:
                self._map[:] = bytes(len(self._map))
                self._map.close()


def left_in(path: Path) -> list[dict[str, Any]]:
    """Return the queries in a file; those that were not written whole are left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for start in range(0, len(data), _PLACE_BYTES):
        text = data[start : start + _PLACE_BYTES].rstrip(b"\0")
        try:
            query = json.loads(text) if text else None
        except ValueError:
            continue
        if isinstance(query, dict):
            found.append(query)
    return found


def _noted(about: About, workspace: str, now_s: float) -> bytes:
    """Return what fits a place: of a long query, the beginning."""
    fields = {"workspace": workspace, "start_ms": about.start_ms, "end_ms": about.end_ms, "step_ms": about.step_ms}
    query = about.query[:_PLACE_BYTES]
    while True:
        text = json.dumps({"query": query, "timestamp_sec": int(now_s), **fields}).encode("ascii")
        if len(text) <= _PLACE_BYTES or not query:
            return text[:_PLACE_BYTES]
        query = query[: len(query) * _PLACE_BYTES // (len(text) + 1)]
