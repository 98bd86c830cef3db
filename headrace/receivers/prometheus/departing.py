"""Jobs that a reload has removed or changed, until the series of their targets are marked as stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.receivers.prometheus.pool import Gone, ScrapePool
    from headrace.receivers.prometheus.targets import Place


class Departing:
    """Pools that scrape no more, and still have targets to mark."""

    def __init__(self) -> None:
        self._pools: list[ScrapePool] = []

    def add(self, pool: ScrapePool) -> None:
        """Have a pool stop, and mark its targets later on."""
        pool.leave()
        self._pools = [*(one for one in self._pools if not one.left), pool]

    def give_up(self, place: Place) -> Gone | None:
        """Return one of the targets, which is scraped by another job from now on; None where it is not there."""
        return next((gone for pool in self._pools if (gone := pool.give_up(place)) is not None), None)

    async def mark(self) -> None:
        """Mark what waits for it now."""
        for pool in self._pools:
            await pool.mark()

    async def shutdown(self) -> None:
        """Stop; what is not marked yet never is."""
        for pool in self._pools:
            await pool.shutdown()
        self._pools = []
