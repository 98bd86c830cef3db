"""Value types of the store, and the three interfaces that scale-out would replace.

All times under ``store/`` are Unix milliseconds.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.labels import ColumnarSeries, LabelTable, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.scan import Scan

Labels = tuple[tuple[str, str], ...]
"""A label set: name and value, sorted by name, without empty values."""


class SeriesBatch(NamedTuple):
    """Samples of one workspace by store ref.

    Attributes:
        refs: (n,) int32.
        times_ms: (n,) int64.
        values: (n,) float64.
    """

    refs: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class Code(IntEnum):
    """What became of one sample."""

    OK = 0
    """Stored."""

    OUT_OF_ORDER_OK = 1
    """Stored beside the in-order samples: it is older than the newest one, but within the window."""

    DUPLICATE = 2
    """The same sample is there already; as good as stored."""

    REPLACED = 3
    """A value took the place of a stale marker of the same time."""

    CONFLICT = 4
    """Another value of the same time is there."""

    OUT_OF_ORDER = 5
    """Older than the newest sample of the series, and the workspace takes no such samples."""

    TOO_OLD = 6
    """Older than the out-of-order window."""

    TOO_FAR_AHEAD = 7
    """Further in the future than clocks may differ."""

    @property
    def reason(self) -> str:
        """The reason of a rejection as drop counters name it."""
        return _REASONS[self][0]

    @property
    def text(self) -> str:
        """The reason of a rejection in Prometheus' words."""
        return _REASONS[self][1]


FIRST_REJECTION = Code.CONFLICT
"""Codes from here on are rejections."""

_REASONS = {
    Code.CONFLICT: ("duplicate_timestamp", "duplicate sample for timestamp"),
    Code.OUT_OF_ORDER: ("out_of_order", "out of order sample"),
    Code.TOO_OLD: ("too_old", "too old sample"),
    Code.TOO_FAR_AHEAD: ("out_of_bounds", "out of bounds"),
}


class AppendResult(NamedTuple):
    """What became of a batch, once it is durable.

    Attributes:
        accepted: Samples stored, duplicates of stored ones included.
        codes: (n,) uint8 of `Code`.
    """

    accepted: int
    codes: NDArray[np.uint8]


class MetadataRow(NamedTuple):
    """Type, help and unit of a metric family, as text."""

    family: str
    type: str
    help: str
    unit: str


class Offset(NamedTuple):
    """A place in a log."""

    segment: int
    position: int


class Record(NamedTuple):
    """One record of a log.

    Attributes:
        kind: Which of the encodings in `headrace.store.records`.
        workspace: Whose it is.
        payload: Its bytes.
    """

    kind: int
    workspace: str
    payload: bytes | bytearray | memoryview


class IngestLog(Protocol):
    """Where writes become durable. Local: WAL segments."""

    async def append(self, records: Sequence[Record]) -> Offset:
        """Write `records` and return when they are durable.

        Raises:
            StoreFailed: They are not, and nothing after them will be before they are.
        """

    def read(self) -> Iterator[tuple[Offset, Record]]:
        """Yield all records in order, as far as they are intact."""

    def trim(self, upto: Offset, keep: Sequence[Record]) -> None:
        """Forget the records before `upto`; `keep` stands in their place."""


class Queryable(Protocol):
    """What PromQL and the API ask of a workspace's engine; safe on any thread."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> ColumnarSeries:
        """Return the samples of all series that fulfil `matchers`, times from start to end inclusive."""

    def scan(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> Scan:
        """Return the series that fulfil `matchers`, to read their samples piece by piece."""

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> LabelTable:
        """Return the label sets of the series that have samples in the time range."""


class BlockStore(Protocol):
    """Where blocks lie. Local: files, memory-mapped."""

    def put_if_absent(self, key: str, data: bytes | bytearray | memoryview) -> bool:
        """Store `data` durably under `key`; False where the key is taken."""

    def get_range(self, key: str, start: int, length: int) -> memoryview:
        """Return bytes of a stored object."""

    def keys(self, prefix: str) -> list[str]:
        """Return the stored keys that begin with `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove an object; what readers have mapped stays valid."""
