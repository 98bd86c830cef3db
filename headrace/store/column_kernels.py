# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of a label's column: its rows sorted by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def count(values: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
    """Add to `counts`, by symbol, how many rows of `values` have it."""
    for i in range(len(values)):
        counts[values[i]] += 1


@kernel
def fill(refs: NDArray[np.int32], values: NDArray[np.int32], places: NDArray[np.int32], out: NDArray[np.int32]) -> None:
    """Sort the refs of rows by value.

    Args:
        refs: (n,) int32, ascending; empty where row i is of ref i.
        values: (n,) int32 symbols.
        places: int32 by symbol: where its first ref goes; changed to where the next symbol begins.
        out: (n,) int32: refs, ascending among those of one value.
    """
    dense = len(refs) == 0
    for i in range(len(values)):
        place = places[values[i]]
        out[place] = i if dense else refs[i]
        places[values[i]] = place + 1


@kernel
def join(refs: NDArray[np.int32], starts: NDArray[np.int32], chosen: NDArray[np.int64], out: NDArray[np.int32]) -> None:
    """Copy the lists of some values, one after the other.

    Args:
        refs: (n,) int32 refs by value.
        starts: (values + 1,) int32; list v is ``refs[starts[v]:starts[v + 1]]``.
        chosen: (k,) int64 numbers of lists.
        out: int32 with room for exactly these.
    """
    at = 0
    for i in range(len(chosen)):
        for j in range(starts[chosen[i]], starts[chosen[i] + 1]):
            out[at] = refs[j]
            at += 1


@kernel
def mark(
    refs: NDArray[np.int32], starts: NDArray[np.int32], chosen: NDArray[np.int64], out: NDArray[np.bool_], to: bool
) -> None:
    """Set `out`, (refs,) bool by ref, to `to` for the refs in some lists; for the rest see `join`.

    Refs that are newer than `out` are passed over.
    """
    for i in range(len(chosen)):
        for j in range(starts[chosen[i]], starts[chosen[i] + 1]):
            if refs[j] < len(out):
                out[refs[j]] = to
