"""What a scraped page offers, in whichever format it came: text, OpenMetrics or protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import Metadata
    from headrace.pipeline.errors import InvalidInput
    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.pipeline.wire.spans import LabelSpans
    from headrace.pipeline.wire.text_line_kernels import Lines


@dataclass(frozen=True, slots=True, eq=False)
class PageHistograms:
    """The native histograms of a page.

    Attributes:
        rows: (h,) int32 samples of the page that they are the values of, ascending.
        columns: (h,) of them, with those numbers in place of series.
        faults: (h,) uint8: 0, or what is wrong with the row, see `remote_write_histograms`.
    """

    rows: NDArray[np.int32]
    columns: NativeHistograms
    faults: NDArray[np.uint8]


class Exposition(Protocol):
    """One page as columns of n samples."""

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """(n, 2) uint64 hash of all that tells which series a sample belongs to, where it has no entry."""

    @property
    def entries(self) -> NDArray[np.int32]:
        """(n,) int32 what the caller knows a sample by, from the page before; negative where it is new."""

    @property
    def lines(self) -> Lines | None:
        """What the next page is read with; None for formats without lines."""

    @property
    def unchanged(self) -> bool:
        """Whether the samples are exactly those of the page before, in their order."""

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) float64; of no meaning for native histograms."""

    @property
    def timed(self) -> NDArray[np.bool_]:
        """(n,) bool: the sample has a timestamp of its own."""

    @property
    def times(self) -> NDArray[np.int64]:
        """(n,) int64 milliseconds since 1970, meaningful where `timed`."""

    @property
    def created(self) -> NDArray[np.int64] | None:
        """(n,) int64 milliseconds when the counting began, 0 for unknown; None where the format does not say."""

    @property
    def native(self) -> PageHistograms | None:
        """Native histograms, None without any."""

    @property
    def digest(self) -> tuple[int, int]:
        """Hash of all metadata: what is equal need not be read again."""

    @property
    def exemplars(self) -> NDArray[np.int32]:
        """(e, …) int32, the first column tells the sample."""

    @property
    def exemplar_values(self) -> NDArray[np.float64]:
        """(e,) float64."""

    @property
    def exemplar_times(self) -> NDArray[np.int64]:
        """(e,) int64 milliseconds, 0 for none."""

    def __len__(self) -> int:
        """Count the samples."""

    def labels(self, rows: NDArray[np.intp]) -> LabelSpans:
        """Return the labels of some samples.

        Raises:
            InvalidInput: They are not well formed.
        """

    def exemplar_labels(self) -> LabelSpans:
        """Return the labels of all exemplars.

        Raises:
            InvalidInput: They are not well formed.
        """

    def collect_metadata(self, found: dict[str, Metadata]) -> Iterator[None]:
        """Fill `found` by family, a little each step.

        Raises:
            InvalidInput: A name or a text is not valid.
        """

    def fault_at(self, row: int, why: str) -> InvalidInput:
        """Return an error about a sample."""
