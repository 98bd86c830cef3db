"""What the blocks of a workspace are made of: sizes, cardinality, churn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.inspection import index_of
from headrace.store.labels import QuerySymbols
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.block import Block

_METRIC = "__name__"

Counted = list[tuple[str, float]]


@dataclass(slots=True)
class Analysis:
    """Figures of some blocks.

    Attributes:
        blocks: How many they are.
        series: Distinct series.
        samples: Samples, repeats in overlapping blocks included.
        size_bytes: Bytes of the files.
        sections: Bytes by section.
        min_ms: Oldest time.
        max_ms: Newest time.
        labels: Label names by distinct values.
        pairs: Label pairs by series.
        metrics: Metric names by series.
        churning_labels: Label names by churn, which counts for each series the share of the time that it was away.
        churning_pairs: Label pairs by churn.
    """

    blocks: int
    series: int
    samples: int
    size_bytes: int
    sections: dict[str, int]
    min_ms: int
    max_ms: int
    labels: Counted = field(default_factory=list)
    pairs: Counted = field(default_factory=list)
    metrics: Counted = field(default_factory=list)
    churning_labels: Counted = field(default_factory=list)
    churning_pairs: Counted = field(default_factory=list)


def analyze(blocks: list[Block], top: int) -> Analysis:
    """Analyze one or more blocks; lists have `top` entries, the largest first.

    Raises:
        CorruptChunk: A series record does not read.
    """
    sections: dict[str, int] = {}
    for block in blocks:
        for name, size in block.section_sizes().items():
            sections[name] = sections.get(name, 0) + size
    index = index_of(blocks)
    refs = index.refs()
    found = Analysis(
        len(blocks), len(refs), sum(b.meta.samples for b in blocks), sum(b.size_bytes for b in blocks), sections,
        min(b.meta.min_ms for b in blocks), max(b.meta.max_ms for b in blocks),
    )  # fmt: skip
    away = _away(blocks, refs, found.min_ms, found.max_ms)
    table = index.table(refs, QuerySymbols(index.symbols))
    labels: dict[str, float] = {}
    pairs: list[tuple[str, float]] = []
    churning_labels: dict[str, float] = {}
    churning_pairs: list[tuple[str, float]] = []
    for name in table.names:
        values = table.column(name)
        here = values != ABSENT
        counts = np.bincount(values[here])
        churn = np.bincount(values[here], away[here])
        labels[name] = int(np.count_nonzero(counts))
        churning_labels[name] = float(churn.sum())
        for target, amounts in ((pairs, counts), (churning_pairs, churn)):
            largest = np.argsort(-amounts, kind="stable")[:top]
            target += [(f"{name}={table.text(int(s))}", amounts[s].item()) for s in largest if counts[s]]
        if name == _METRIC:
            found.metrics = _top([(table.text(int(s)), int(counts[s])) for s in np.flatnonzero(counts)], top)
    found.labels, found.pairs = _top(list(labels.items()), top), _top(pairs, top)
    found.churning_labels, found.churning_pairs = _top(list(churning_labels.items()), top), _top(churning_pairs, top)
    return found


def _top(rows: Counted, top: int) -> Counted:
    return sorted((row for row in rows if row[1] > 0), key=lambda row: (-row[1], row[0]))[:top]


def _away(blocks: list[Block], refs: NDArray[np.int32], min_ms: int, max_ms: int) -> NDArray[np.float64]:
    """Return the share of the time before the first and after the last sample of each series."""
    first = np.full(len(refs), max_ms, np.int64)
    last = np.full(len(refs), min_ms, np.int64)
    for block in blocks:
        tables = block.tables
        at = np.searchsorted(refs, block.refs)
        if len(at):
            np.minimum.at(first, at, tables.time_rows[1, tables.chunk_times[tables.firsts[:-1]]])
            np.maximum.at(last, at, block.last_ms())
        chunks = block.histograms
        if chunks is not None:
            at = np.searchsorted(refs, chunks.refs)
            np.minimum.at(first, at, chunks.first_ms[chunks.firsts[:-1]])
            np.maximum.at(last, at, chunks.last_ms[chunks.firsts[1:] - 1])
    shares: NDArray[np.float64] = 1.0 - np.clip(last - first, 0, None) / max(max_ms - min_ms, 1)
    return shares
