"""Results of queries that were asked before, and what they depend on.

Nothing here is served without asking the workspace's `ChangeLog` what has happened since.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from headrace.store.promql.splicing import size_bytes

if TYPE_CHECKING:
    from headrace.store.changes import ChangeLog
    from headrace.store.promql.evaluate import Result
    from headrace.store.promql.reach import Reach

_OVERHEAD_BYTES = 1024
"""What an entry takes besides its columns and texts."""

_LARGEST_SHARE = 8
"""No entry takes more than this part of the cache."""


class Question(NamedTuple):
    """A query as it was asked.

    Attributes:
        query: PromQL.
        start_ms: First step.
        end_ms: No step is later.
        step_ms: Between steps; 0 where there is one.
        lookback_ms: How far back a sample counts as present; None for the default.
        limit: Series in the answer; 0 for all.
    """

    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    lookback_ms: int | None
    limit: int

    @property
    def line(self) -> tuple[str, int, int, int | None]:
        """What the questions have in common that differ in window and limit alone."""
        if not self.step_ms:
            return self.query, 0, self.start_ms, self.lookback_ms
        return self.query, self.step_ms, self.start_ms % self.step_ms, self.lookback_ms


class Bodies:
    """A whole answer, envelope and all, as it is sent, by its coding.

    Args:
        question: What it answers.
        entry: Where it belongs.
        cache: Whose memory it takes.
    """

    __slots__ = ("_by_coding", "_cache", "entry", "question")

    def __init__(self, question: Question, entry: Entry, cache: ResultCache) -> None:
        self._by_coding: dict[str, bytes] = {}
        self._cache = cache
        self.question = question
        self.entry = entry

    def find(self, coding: str) -> bytes | None:
        """Return the answer in a coding; None where it was not packed so yet."""
        return self._by_coding.get(coding)

    def keep(self, coding: str, body: bytes) -> None:
        """Keep the answer in a coding."""
        if coding not in self._by_coding and len(body) <= self._cache.largest:
            self._by_coding[coding] = body
            self._cache.grow(self.entry, len(body))


@dataclass(slots=True, eq=False)
class Entry:
    """The newest result of the questions of one line.

    Attributes:
        version: Of the samples, or an older one.
        start_ms: First step.
        end_ms: End as it was asked.
        reach: What its steps depend on.
        result: Its columns; None where they cannot be cut, or take too much.
        bodies: Answers written from it, by limit.
        size: Bytes.
        held: Whether it is in the cache.
    """

    version: int
    start_ms: int
    end_ms: int
    reach: Reach
    result: Result | None
    bodies: dict[int, Bodies] = field(default_factory=dict)
    size: int = _OVERHEAD_BYTES
    held: bool = False

    def is_valid(self, changes: ChangeLog) -> bool:
        """Return whether nothing has happened to what it depends on."""
        return changes.since(self.version) > self.reach.newest_ms(self.end_ms)


@dataclass(slots=True)
class CacheStatistics:
    """Counts since the start."""

    hits: int = 0
    """Questions answered without evaluation."""
    partial: int = 0
    """Questions of which only some steps were evaluated."""
    misses: int = 0
    """Questions evaluated wholly."""
    evicted: int = 0
    """Entries that made room for others."""


_Key = tuple["ChangeLog", tuple[str, int, int, int | None]]


class ResultCache:
    """Entries of all workspaces, those used last at hand. Any thread.

    Args:
        capacity: Bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        """Bytes in use."""
        self.largest = capacity // _LARGEST_SHARE
        """Bytes that one entry, or one answer, may take."""
        self.statistics = CacheStatistics()
        self._entries: OrderedDict[_Key, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, changes: ChangeLog, question: Question) -> Entry | None:
        """Return the entry of a question's line, whatever its window."""
        key = (changes, question.line)
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def body(self, changes: ChangeLog, question: Question) -> Bodies | None:
        """Return the answer to exactly this question, where it is still right."""
        entry = self.find(changes, question)
        if entry is None or (entry.start_ms, entry.end_ms) != (question.start_ms, question.end_ms):
            return None
        found = entry.bodies.get(question.limit)
        if found is None or found.find("") is None or not entry.is_valid(changes):
            return None
        self.statistics.hits += 1
        return found

    def put(self, changes: ChangeLog, question: Question, entry: Entry) -> None:
        """Keep an entry in the place of the one of its line."""
        if entry.result is not None:
            entry.size = _OVERHEAD_BYTES + len(question.query) + size_bytes(entry.result)
        if entry.size > self.largest:
            entry.result, entry.size = None, _OVERHEAD_BYTES + len(question.query)
        key = (changes, question.line)
        with self._lock:
            self._forget(key)
            self._entries[key] = entry
            entry.held = True
            self.size += entry.size
            self._make_room()

    def bodies(self, question: Question, entry: Entry) -> Bodies:
        """Return where the answer to a question goes that an entry answers."""
        return entry.bodies.setdefault(question.limit, Bodies(question, entry, self))

    def grow(self, entry: Entry, size: int) -> None:
        """Count bytes that an entry takes besides."""
        with self._lock:
            entry.size += size
            if entry.held:
                self.size += size
                self._make_room()

    def drop(self, changes: ChangeLog) -> None:
        """Forget a workspace."""
        with self._lock:
            for key in [key for key in self._entries if key[0] is changes]:
                self._forget(key)

    def _make_room(self) -> None:
        while self.size > self.capacity and self._entries:
            self._forget(next(iter(self._entries)))
            self.statistics.evicted += 1

    def _forget(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.held = False
            self.size -= entry.size
