"""Discovery that asks again and again."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Protocol

from headrace.pipeline.discovery.contract import TargetGroup
from headrace.pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from headrace.pipeline.discovery.contract import DiscoverySettings

_FIRST_RETRY_S = 1.0
_GROWTH = 2.0
_SPREAD = 0.2
"""By how much a pause differs from the plan: many daemons that lost one server do not come back in step."""


class DiscoveryFailed(HeadraceError):  # noqa: N818 -- named for the condition
    """A look for targets brought none.

    Args:
        reason: For the counter, one of a few words.
        why: In words.
    """

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class Lookup(Protocol):
    """One look for targets."""

    async def __call__(self) -> Sequence[TargetGroup]:
        """Return all groups there are now.

        Raises:
            DiscoveryFailed: They could not be found out.
        """


class Backoff:
    """Pauses between tries: one second, doubled each time, up to a limit.

    Args:
        limit_s: Longest pause.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._next_s = min(_FIRST_RETRY_S, limit_s)

    def next_s(self) -> float:
        """Return the pause after one more failure."""
        pause_s = self._next_s
        self._next_s = min(self._limit_s, pause_s * _GROWTH)
        return pause_s * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 -- no secret

    def reset(self) -> None:
        """Begin anew after a success."""
        self._next_s = min(_FIRST_RETRY_S, self._limit_s)


async def poll(
    lookup: Lookup,
    interval_s: float,
    settings: DiscoverySettings,
    publish: Callable[[Iterable[TargetGroup]], None],
) -> None:
    """Look for targets until cancelled: every `interval_s`, and sooner after a failure.

    Groups that a look does not bring any more are published as gone. A failed look changes nothing.
    """
    backoff = Backoff(interval_s)
    known: set[str] = set()
    while True:
        pause_s = interval_s
        try:
            groups = await lookup()
        except DiscoveryFailed as error:
            settings.report.failed(error.reason, str(error))
            pause_s = backoff.next_s()
        else:
            settings.report.succeeded()
            backoff.reset()
            sources = {group.source for group in groups}
            publish([*groups, *(TargetGroup(source) for source in sorted(known - sources))])
            known = sources
        await asyncio.sleep(pause_s)
