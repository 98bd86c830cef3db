# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Loops of the codec's benchmark: many columns one after the other, as a query reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.times_kernels import decode_times, encode_times
from headrace.store.codec.values_kernels import decode_values, encode_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.store.codec.scratch import Scratch


@kernel
def encode_all_values(
    values: NDArray[np.float64], out: NDArray[np.uint8], places: NDArray[np.int64], room: Scratch
) -> None:
    """Write the rows of `values`; row i goes to bytes ``places[i]`` to ``places[i + 1]``."""
    at = 0
    for i in range(len(values)):
        places[i] = at
        at = encode_values(values[i], values.shape[1], out, at, room.words, room.integers, room.rest, room.widths)
    places[len(values)] = at


@kernel
def decode_all_values(
    buf: NDArray[np.uint8], places: NDArray[np.int64], out: NDArray[np.float64], room: Scratch
) -> int:
    """Undo `encode_all_values`; return how many columns did not decode."""
    bad = 0
    n = out.shape[1]
    for i in range(len(out)):
        bad -= decode_values(buf, places[i], places[i + 1], n, 0, n, out[i], 0, room.integers, room.widths)
    return bad


@kernel
def encode_all_times(
    times: NDArray[np.int64], out: NDArray[np.uint8], places: NDArray[np.int64], room: Scratch
) -> None:
    """Write the rows of `times`, as `encode_all_values` does."""
    at = 0
    for i in range(len(times)):
        places[i] = at
        at = encode_times(times[i], times.shape[1], out, at, room.words, room.integers, room.rest, room.widths)
    places[len(times)] = at


@kernel
def decode_all_times(buf: NDArray[np.uint8], places: NDArray[np.int64], out: NDArray[np.int64], room: Scratch) -> int:
    """Undo `encode_all_times`; return how many columns did not decode."""
    bad = 0
    n = out.shape[1]
    for i in range(len(out)):
        if decode_times(buf, places[i], places[i + 1], n, room.integers, room.widths) != places[i + 1]:
            bad += 1
        for j in range(n):
            out[i, j] = room.integers[j]
    return bad
