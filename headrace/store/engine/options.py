"""The settings of one workspace's store."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.store.exemplars import MAX_IN_MEMORY

BLOCK_MS = 2 * 3600 * 1000
"""Time that a block of the head covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Settings of one workspace.

    Attributes:
        retention_ms: Blocks whose newest sample is older are removed.
        retention_bytes: The oldest blocks go while all together are larger; 0 for no limit.
        out_of_order_ms: How far behind the newest sample of the workspace a late one may be; 0 takes none.
        max_future_ms: How far ahead of the clock a sample may be.
        block_ms: Time that a block of the head covers.
        linger_ms: How long the head keeps a window open after its end, for samples that come late; half of `block_ms`
            where it is negative.
        max_exemplars: Exemplars in memory, until a block takes them; the oldest go first. 0 takes none.
    """

    retention_ms: int = 15 * 86_400_000
    retention_bytes: int = 0
    out_of_order_ms: int = 600_000
    max_future_ms: int = 600_000
    block_ms: int = BLOCK_MS
    linger_ms: int = -1
    max_exemplars: int = MAX_IN_MEMORY
