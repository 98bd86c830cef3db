"""A remote write request that is ready to go, whatever its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request.

    Attributes:
        body: Before compression.
        series: (k,) int32 ids of the series in it.
        samples: Samples in it.
        histograms: Native histograms in it.
        exemplars: Exemplars in it.
    """

    body: memoryview
    series: NDArray[np.int32]
    samples: int = 0
    histograms: int = 0
    exemplars: int = 0

    @property
    def points(self) -> int:
        """Samples and histograms."""
        return self.samples + self.histograms
