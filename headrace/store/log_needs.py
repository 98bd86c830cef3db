"""Which segments of the log an engine still needs: those with samples that are in no block yet.

Writers tell of each append before it goes to the log and again when it came back, so that one that is on its way, was
cancelled, or failed and is written later, holds every segment that it may be in.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from headrace.store.interfaces import Offset


class Need(NamedTuple):
    """What one append puts into the log.

    Attributes:
        floor: No record of it lies in a segment with a smaller number.
        newest_ms: Newest time of all samples.
        late: Whether there are out-of-order samples: until the next flush they are in no block, however old they are.
    """

    floor: int
    newest_ms: int
    late: bool


class LogNeeds:
    """Needs by segment; safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[int, int] = {}
        self._late: set[int] = set()
        self._on_the_way: dict[int, Need] = {}
        self._token = 0

    def begin(self, need: Need) -> int:
        """Note an append that is about to be logged; return what `end` is given."""
        with self._lock:
            self._token += 1
            self._on_the_way[self._token] = need
            return self._token

    def end(self, token: int, offset: Offset | None) -> None:
        """Note where it was logged; None where that is not known, because it failed or nobody waited for it."""
        with self._lock:
            need = self._on_the_way.pop(token)
            self._note(need.floor if offset is None else offset.segment, need)

    def note(self, segment: int, newest_ms: int, *, late: bool) -> None:
        """Note what was read in a segment."""
        with self._lock:
            self._note(segment, Need(segment, newest_ms, late))

    def take_late(self) -> set[int]:
        """Forget the segments with late samples, which are about to be written into blocks; return them."""
        with self._lock:
            taken, self._late = self._late, set()
            return taken

    def keep_late(self, taken: set[int]) -> None:
        """Take back what `take_late` returned: the blocks were not written."""
        with self._lock:
            self._late |= taken

    def first(self, below: int, valid_from: int) -> int:
        """Return the first segment below `below` that is needed, or `below`; forget those that are not.

        Args:
            below: Later records lie in segments from here on.
            valid_from: In-order samples before this time are in blocks.
        """
        with self._lock:
            self._newest = {n: newest for n, newest in self._newest.items() if n >= below or newest >= valid_from}
            on_the_way = (need.floor for need in self._on_the_way.values() if need.late or need.newest_ms >= valid_from)
            return min((*self._newest, *self._late, *on_the_way, below))

    def _note(self, segment: int, need: Need) -> None:
        self._newest[segment] = max(need.newest_ms, self._newest.get(segment, need.newest_ms))
        if need.late:
            self._late.add(segment)
