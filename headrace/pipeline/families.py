"""What sources have said about metric families, for exporters that say it again.

A source says it once; an exporter may be there only later. So it is kept beside the series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.pipeline.batch import Metadata

_MAX_FAMILIES = 100_000


class Families:
    """The latest that was said about each family of one workspace.

    Args:
        limit: Families that are remembered; further ones are not.
    """

    def __init__(self, limit: int = _MAX_FAMILIES) -> None:
        self._limit = limit
        self._by_name: dict[str, Metadata] = {}
        self._changed: dict[str, None] = {}
        self.version = 0
        """Grows whenever something new was said."""

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, family: str) -> Metadata | None:
        """Return what is known of a family, None where nothing is."""
        return self._by_name.get(family)

    def note(self, said: Sequence[Metadata]) -> None:
        """Take what a batch says."""
        for one in said:
            known = self._by_name.get(one.family)
            if known == one or (known is None and len(self._by_name) >= self._limit):
                continue
            self._by_name[one.family] = one
            # At the end, also where it was there before: the order is that of the changes.
            self._changed.pop(one.family, None)
            self._changed[one.family] = None
            self.version += 1

    def changed(self, since: int) -> Iterable[str]:
        """Return families that changed after `version` was `since`; a few more may be among them."""
        amount = min(self.version - since, len(self._changed))
        newest = reversed(self._changed)
        return [next(newest) for _ in range(amount)]
