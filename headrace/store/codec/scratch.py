"""Room that the codec's kernels work in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SAMPLES = 1024
"""Most samples of a chunk."""


class Scratch(NamedTuple):
    """Room that encoding and decoding work in; one thread at a time.

    Attributes:
        words: (1024,) uint64.
        integers: (MAX_SAMPLES + 128,) int64.
        rest: (MAX_SAMPLES + 128,) int64.
        widths: (512,) int64.
    """

    words: NDArray[np.uint64]
    integers: NDArray[np.int64]
    rest: NDArray[np.int64]
    widths: NDArray[np.int64]


def scratch() -> Scratch:
    """Return new room."""
    return Scratch(
        np.zeros(MAX_SAMPLES, np.uint64),
        np.zeros(MAX_SAMPLES + 128, np.int64),
        np.zeros(MAX_SAMPLES + 128, np.int64),
        np.zeros(512, np.int64),
    )
