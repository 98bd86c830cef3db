"""The newest exemplar of every series, written in both ways that pages have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus import label_kernels as kernels
from headrace.exporters.prometheus.arena import Arena
from headrace.kernels.growth import grown
from headrace.pipeline.batch import NS_PER_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns


@dataclass(frozen=True, slots=True)
class ExemplarView:
    """Exemplars for a thread to write.

    Attributes:
        places: By id.
        sizes: By id; -1 where there is none.
        labels: Bytes of the labels.
        values: By id.
        times_ms: By id.
    """

    places: NDArray[np.int64]
    sizes: NDArray[np.int32]
    labels: NDArray[np.uint8]
    values: NDArray[np.float64]
    times_ms: NDArray[np.int64]

    @classmethod
    def none(cls) -> ExemplarView:
        """Return no exemplars."""
        return cls(
            np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0), np.zeros(0, np.int64)
        )  # fmt: skip


class Exemplars:
    """Keeps exemplars; those of a series that has a newer one are forgotten."""

    def __init__(self) -> None:
        self._texts, self._pairs = Arena(), Arena()
        self._values = np.zeros(1024)
        self._times_ms = np.zeros(1024, np.int64)
        self._some = False

    def take(self, exemplars: ExemplarColumns, received_ms: int, capacity: int) -> None:
        """Keep the last exemplar of each series; one without a time has that of its arrival."""
        self._some = True
        for arena in (self._texts, self._pairs):
            arena.fit(capacity)
        self._values = grown(self._values, capacity)
        self._times_ms = grown(self._times_ms, capacity)
        # The first of the reversed column is the last one.
        ids, backwards = np.unique(exemplars.series[::-1], return_index=True)
        rows = np.zeros(len(exemplars), np.bool_)
        rows[len(exemplars) - 1 - backwards] = True
        kept = exemplars.select(rows)
        order = np.argsort(kept.series)
        self._values[ids] = kept.value[order]
        times_ms = kept.time_ns[order] // NS_PER_MS
        self._times_ms[ids] = np.where(times_ms == 0, received_ms, times_ms)
        text_room = int(kept.spans[:, 1].sum(dtype=np.int64) + 2 * kept.spans[:, 3].sum(dtype=np.int64))
        out = np.empty(text_room + 16 * len(kept.spans), np.uint8)
        ends = np.empty(len(kept), np.int64)
        for arena, write in ((self._texts, kernels.write_exemplar_texts), (self._pairs, kernels.write_exemplar_pairs)):
            write(kept.arena, kept.spans, kept.starts, out, ends)
            arena.put(kept.series, out, ends)

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the exemplars of `ids`."""
        self._texts.forget(ids)
        self._pairs.forget(ids)

    def snapshot(self, *, is_protobuf: bool) -> ExemplarView | None:
        """Return all, as text or as messages; None where there never was one."""
        if not self._some:
            return None
        arena = self._pairs if is_protobuf else self._texts
        return ExemplarView(
            arena.places.copy(), arena.sizes.copy(), arena.bytes, self._values.copy(), self._times_ms.copy()
        )
