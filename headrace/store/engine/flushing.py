"""Writing the head into blocks, when a window is over or many late samples are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.flush import Flush
from headrace.store.head import FOREVER, NEVER
from headrace.store.stopwatch import measured

if TYPE_CHECKING:
    from headrace.store.engine.contents import Contents
    from headrace.store.engine.turns import Turns

_MAX_LATE = 1 << 18
"""Out-of-order samples in memory at which they are written into blocks at once."""


class Flushing:
    """Flushes the head of one workspace."""

    def __init__(self, contents: Contents, turns: Turns) -> None:
        self._contents = contents
        self._head = contents.head
        self._turns = turns
        self.statistics = contents.statistics

    def due(self) -> bool:
        """Return whether the head holds a window that is over, or many late samples."""
        return self._boundary() > self._flushed_to() or self._many_late()

    def flush(self, *, everything: bool) -> int:
        """Write finished windows, or all there is; return the samples written.

        Raises:
            OSError: The disk refused; nothing has changed.
        """
        with self._turns.changing:
            if self._turns.closed or self._head.newest_ms == NEVER:
                return 0
            boundary = self._head.newest_ms + 1 if everything else self._boundary()
            due = boundary > self._flushed_to()
            if not due and not everything and not self._many_late():
                return 0
            boundary = max(boundary, self._head.valid_from) if due or everything else self._head.valid_from
            return self._flush(boundary)

    def _many_late(self) -> bool:
        """Return whether there are many late samples that a flush would write: those of windows that are flushed."""
        head = self._head
        return head.late_samples > _MAX_LATE and head.late_before(head.valid_from) > _MAX_LATE

    def _flushed_to(self) -> int:
        return max(self._head.valid_from, min(self._head.oldest_ms, FOREVER - 1))

    def _boundary(self) -> int:
        newest = self._head.newest_ms
        if newest == NEVER:
            return NEVER
        options = self._contents.options
        linger = options.linger_ms if options.linger_ms >= 0 else options.block_ms // 2
        return (newest - linger) // options.block_ms * options.block_ms

    @measured("flush_seconds", result="flushed_samples")
    def _flush(self, boundary: int) -> int:
        contents, head = self._contents, self._head
        late = contents.needs.take_late()
        in_memory = contents.exemplars.head
        worked = False
        try:
            flush = Flush(
                head,
                lambda: contents.index,
                contents.block_set,
                contents.workspace,
                contents.options.block_ms,
                in_memory,
            )
            blocks = flush.write(boundary)
            contents.block_set.commit(contents.manifest(None if boundary == NEVER else boundary), add=blocks)
            worked = True
            in_memory.forget(flush.exemplar_parts, flush.exemplars_below)
            if boundary > head.valid_from:
                head.forget_before(boundary)
        finally:
            head.end_flush(worked=worked)
            if not worked:
                contents.needs.keep_late(late)
        self.statistics.flushes += 1
        return sum(block.meta.samples for block in blocks)
