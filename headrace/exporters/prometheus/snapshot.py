"""What a board shows at one moment, for a thread that writes a page while the board goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.exporters.prometheus.exemplars import ExemplarView
    from headrace.pipeline.native_histograms import NativeHistograms


@dataclass(slots=True)
class Shape:
    """What lines there are: of use until series come or go.

    Attributes:
        ids: (n,) int32 series that have numbers.
        names: By id: number of the metric's name.
        name_texts: Names by number.
        groups: By id: hash of the labels that the lines of one histogram have in common.
        ranks: By id: bound or quantile.
        places: By id: where the labels are in `labels`.
        sizes: By id: their bytes.
        cuts: By id: how many of these are a bound or quantile; messages only.
        labels: Written labels.
    """

    ids: NDArray[np.int32]
    names: NDArray[np.int32]
    name_texts: list[str]
    groups: NDArray[np.uint64]
    ranks: NDArray[np.float64]
    places: NDArray[np.int64]
    sizes: NDArray[np.int32]
    cuts: NDArray[np.int32]
    labels: NDArray[np.uint8]


@dataclass(slots=True)
class Snapshot:
    """Samples.

    Attributes:
        version: Of the board.
        values: By id.
        times_ms: By id.
        starts_ms: By id, 0 for unknown.
        natives: Histograms.
        exemplars: None without any.
        shape: None where the page was laid out before, and nothing came or went.
    """

    version: int
    values: NDArray[np.float64]
    times_ms: NDArray[np.int64]
    natives: NativeHistograms
    exemplars: ExemplarView | None = None
    starts_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    shape: Shape | None = None
