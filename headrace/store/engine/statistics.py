"""What an engine has done, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.store.interfaces import Code

if TYPE_CHECKING:
    from headrace.store.compaction import Progress


@dataclass
class EngineStatistics:
    """What an engine has done since it was opened.

    Attributes:
        appended: Samples stored.
        codes: Samples by what became of them.
        replayed: Samples read back from the log.
        replay_unknown: Samples in the log whose series' definition was lost.
        flushes: Times that the head was written into blocks.
        compactions: Merges of blocks.
        compacted_samples: Samples written by merges.
        compaction: The merge under way, None without one.
        flush_seconds: Time of flushes.
        flushed_samples: Samples that flushes have written.
        compaction_seconds: Time of merges and purges, rests included.
        expired_blocks: Blocks that retention has removed.
        retention_seconds: Time of looking for them and removing them.
        deletions: Tombstones put in force.
        delete_seconds: Time of that.
        purged_blocks: Blocks rewritten to remove deleted samples.
        purge_seconds: Time of that.
    """

    appended: int = 0
    codes: dict[Code, int] = field(default_factory=lambda: dict.fromkeys(Code, 0))
    replayed: int = 0
    replay_unknown: int = 0
    flushes: int = 0
    compactions: int = 0
    compacted_samples: int = 0
    compaction: Progress | None = None
    flush_seconds: float = 0.0
    flushed_samples: int = 0
    compaction_seconds: float = 0.0
    expired_blocks: int = 0
    retention_seconds: float = 0.0
    deletions: int = 0
    delete_seconds: float = 0.0
    purged_blocks: int = 0
    purge_seconds: float = 0.0
