"""Which series and families the log defines.

The log defines every series that it has samples of, whatever blocks say: these may go.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.store import records
from headrace.store.interfaces import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.store.engine.exemplars import EngineExemplars
    from headrace.store.head import Head
    from headrace.store.index import Index
    from headrace.store.interfaces import MetadataRow

_MAX_FAMILIES = 100_000

_DEFINED_AT_ONCE = 1 << 16
"""Series of one record of definitions, so that no record gets larger than a log takes."""


class Definitions:
    """What the log defines of one workspace.

    Args:
        workspace: Its id.
        head: Its samples that are in no block.
        exemplars: Its exemplars.
        families: Families that its manifest knows.

    Attributes:
        families: All families by name, in the order in which they were first seen.
    """

    def __init__(self, workspace: str, head: Head, exemplars: EngineExemplars, families: Iterable[MetadataRow]) -> None:
        self._workspace = workspace
        self._head = head
        self._exemplars = exemplars
        self.families = {row.family: row for row in families}
        self._new_families: list[MetadataRow] = []
        self._logged = np.zeros(256, np.bool_)
        self._defining = threading.Lock()

    def fit(self, refs: int) -> None:
        """Make room for refs below `refs`."""
        if refs > len(self._logged):
            with self._defining:
                self._logged = grown(self._logged, refs, fill=False)

    def note(self, refs: NDArray[np.int32]) -> None:
        """Note series whose definitions were read in the log."""
        self._logged[refs] = True

    def update(self, rows: Iterable[MetadataRow]) -> bool:
        """Take types, helps and units of families; return whether any have to be logged."""
        for row in rows:
            if self.families.get(row.family) != row and (
                row.family in self.families or len(self.families) < _MAX_FAMILIES
            ):
                self.families[row.family] = row
                self._new_families.append(row)
        return bool(self._new_families)

    def pending(self, index: Index, refs: NDArray[np.int32]) -> list[Record]:
        """Return what has to be in the log before samples of `refs`."""
        entries = []
        with self._defining:
            known = self._logged[refs]
            new = np.unique(refs[~known]) if not known.all() else refs[:0]
            self._logged[new] = True
        if len(new):
            entries.append(Record(records.SERIES, self._workspace, index.encode(new)))
        if self._new_families:
            entries.append(Record(records.METADATA, self._workspace, records.encode_metadata(self._new_families)))
            self._new_families = []
        return entries

    def forget_logged(self, index: Index) -> None:
        """Take only the series in the head as defined in the log."""
        with self._defining:
            refs = index.refs()
            live = np.union1d(refs[self._head.has_samples(refs)], self._exemplars.head.refs())
            before = grown(self._logged, index.next_ref, fill=False)
            logged = np.zeros_like(before)
            # As it is: the writer may be about to define what it has just put into the head.
            logged[live] = before[live]
            # The writer defines again what it finds missing here: after the rotation, or `records` name it.
            self._logged = logged

    def records(self, index: Index) -> list[Record]:
        """Return the records that have to stay in the log when segments go."""
        refs = np.flatnonzero(self._logged).astype(np.int32)
        needed = refs[index.alive(refs)]
        kept = [
            Record(records.SERIES, self._workspace, index.encode(needed[i : i + _DEFINED_AT_ONCE]))
            for i in range(0, len(needed), _DEFINED_AT_ONCE)
        ]
        if self.families:
            families = records.encode_metadata(list(self.families.values()))
            kept.append(Record(records.METADATA, self._workspace, families))
        return kept
