# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The kernel that writes samples in the text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_print_kernels import MAX_BYTES, count_digits, write_canonical, write_uint
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE = 2 * MAX_BYTES
"""Room for what a line has behind its labels."""

_SPACE, _NEWLINE, _MINUS, _POINT, _ZERO = 32, 10, 45, 46, 48


@kernel
def write_lines(
    texts: NDArray[np.uint8], bounds: NDArray[np.int64], values: NDArray[np.float64], times: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Write ``metric{labels} value milliseconds`` lines.

    Args:
        texts: What each line begins with.
        bounds: (n + 1,) int64: that of line i is ``bounds[i]:bounds[i + 1]``.
        values: (n,).
        times: (n,) milliseconds.
        out: Room for all texts, and LINE bytes for each line.

    Returns:
        The bytes written.
    """
    p = np.int64(0)
    for i in range(len(values)):
        for k in range(bounds[i], bounds[i + 1]):
            out[p] = texts[k]
            p += 1
        out[p] = _SPACE
        p += 1
        if values[i] == 0.0:  # without the sign that a zero may have
            out[p] = _ZERO
            p += 1
        else:
            p = np.int64(write_canonical(out, p, values[i]))
            if out[p - 2] == _POINT and out[p - 1] == _ZERO:
                p -= 2
        out[p] = _SPACE
        p += 1
        time = np.uint64(times[i])
        if times[i] < 0:
            out[p] = _MINUS
            p += 1
            time = np.uint64(-times[i])
        p = np.int64(write_uint(out, p, time, count_digits(time)))
        out[p] = _NEWLINE
        p += 1
    return p
