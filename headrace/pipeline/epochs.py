"""Epochs: when may the id of a series that is gone be given to another one?

A batch in flight pins the epoch in which it was made. An id freed in epoch e is reusable once no batch of an epoch
up to e is alive, and every holder of ids (a memo, a scrape cache, the store's map) has forgotten it. Holders are
told twice: when an id is freed, so that no memo leads a new batch to it, and before it is reused, because a batch
that was in flight may have taught them the id again.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Holder(Protocol):
    """Something that keeps ids of series across batches."""

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop everything that is known about `ids`, (n,) int32, or that leads to one of them."""


class Pin:
    """Keeps an epoch alive as long as somebody refers to the object."""

    __slots__ = ("__weakref__", "epoch")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch


class Epochs:
    """Counts epochs, knows which are pinned, and keeps freed ids until they are reusable."""

    def __init__(self) -> None:
        self.current = 0
        self._pins: dict[int, weakref.ref[Pin]] = {}
        self._limbo: list[tuple[int, NDArray[np.int32]]] = []
        self._holders: weakref.WeakSet[Holder] = weakref.WeakSet()

    def pin(self) -> Pin:
        """Return the pin of the current epoch."""
        reference = self._pins.get(self.current)
        pin = reference() if reference else None
        if pin is None:
            pin = Pin(self.current)
            self._pins[self.current] = weakref.ref(pin)
        return pin

    def register(self, holder: Holder) -> None:
        """Have `holder` told before ids are reused; it is kept by a weak reference."""
        self._holders.add(holder)

    def retire(self, ids: NDArray[np.int32]) -> None:
        """Begin a new epoch; `ids` were freed in the one that ends."""
        self._limbo.append((self.current, ids))
        self.current += 1
        self._forget(ids)

    def reclaim(self) -> Sequence[NDArray[np.int32]]:
        """Return the groups of ids that are reusable now, after every holder has forgotten them."""
        self._pins = {epoch: pin for epoch, pin in self._pins.items() if pin() is not None}
        oldest = min(self._pins, default=self.current)
        ready = [ids for epoch, ids in self._limbo if epoch < oldest]
        self._limbo = [(epoch, ids) for epoch, ids in self._limbo if epoch >= oldest]
        for ids in ready:
            self._forget(ids)
        return ready

    def _forget(self, ids: NDArray[np.int32]) -> None:
        for holder in list(self._holders):
            holder.forget(ids)

    @property
    def waiting(self) -> int:
        """Number of freed ids that are not reusable yet."""
        return sum(len(ids) for _, ids in self._limbo)
