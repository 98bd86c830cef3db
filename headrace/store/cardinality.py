"""What a workspace's series are made of: the names, labels and pairs that most of them have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from headrace.store.index import Index

_METRIC_NAME = "__name__"
_SHORT = 255
_LONG_SIZE_BYTES = 4
"""Of the size of a text that is not shorter than _SHORT bytes."""

Ranking = list[tuple[str, int]]
"""Names and their numbers, the largest first; of equal ones the first in the alphabet."""


class Cardinality(NamedTuple):
    """The largest of each kind.

    Attributes:
        pairs: All pairs of label name and value that there are.
        metrics: Series by metric name.
        values: Distinct values by label name.
        label_bytes: Bytes of the labels of all series by label name, as `_label_bytes` counts them.
        label_pairs: Series by pair, as ``name=value``.
    """

    pairs: int
    metrics: Ranking
    values: Ranking
    label_bytes: Ranking
    label_pairs: Ranking


def cardinality(index: Index, limit: int) -> Cardinality:
    """Count the series of an index; a pass over the distinct values of each label, on any thread.

    Args:
        index: Its lists are made where they are not yet.
        limit: Entries of each ranking, at least 1.
    """
    columns = index.cardinality()
    # After the columns, whose symbols may be newer than what was there before.
    _, bounds = index.symbols.arrays
    metrics: Ranking = []
    label_pairs: Ranking = []
    for name, symbols, counts in columns:
        best = _largest(counts, limit)
        texts = [index.symbols.text(symbol) for symbol in symbols[best].tolist()]
        rows = list(zip(texts, counts[best].tolist(), strict=True))
        label_pairs += [(f"{name}={text}", count) for text, count in rows]
        if name == _METRIC_NAME:
            metrics = rows
    sizes = (
        (name, int((_label_bytes(name, bounds[symbols + 1] - bounds[symbols]) * counts).sum()))
        for name, symbols, counts in columns
    )
    return Cardinality(
        sum(len(symbols) for _, symbols, _ in columns),
        _ranked(metrics, limit),
        _ranked(((name, len(symbols)) for name, symbols, _ in columns), limit),
        _ranked(sizes, limit),
        _ranked(label_pairs, limit),
    )


def _label_bytes(name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what Prometheus' own label sets take for labels with values of so many bytes: texts behind their sizes."""
    own = len(name.encode())
    return own + values + np.where(values < _SHORT, 1, _LONG_SIZE_BYTES) + (1 if own < _SHORT else _LONG_SIZE_BYTES)


def _largest(counts: NDArray[np.int64], limit: int) -> NDArray[np.intp]:
    """Return the places of the `limit` largest; of equal ones any."""
    if len(counts) <= limit:
        return np.arange(len(counts))
    return np.argpartition(counts, len(counts) - limit)[len(counts) - limit :]


def _ranked(rows: Iterable[tuple[str, int]], limit: int) -> Ranking:
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:limit]
