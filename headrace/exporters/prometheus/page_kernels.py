# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write pages in the text formats.

Source:
    Prometheus, "Exposition formats"; OpenMetrics 1.0, "Text format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_print_kernels import MAX_BYTES, count_digits, write_canonical, write_uint
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE = 4 * MAX_BYTES
"""Room for what a line has besides its name, its labels and those of its exemplar."""

_SPACE, _NEWLINE, _MINUS, _POINT, _ZERO, _HASH = 32, 10, 45, 46, 48, 35
_OPEN, _CLOSE, _COMMA = 123, 125, 44


@kernel
def write_lines(
    order: NDArray[np.int32], names: NDArray[np.int32], places: NDArray[np.int64], sizes: NDArray[np.int32],
    labels: NDArray[np.uint8], values: NDArray[np.float64], times: NDArray[np.int64], openmetrics: bool, timed: bool,
    heads: NDArray[np.uint8], head_bounds: NDArray[np.int64], quoted: NDArray[np.bool_], family_of: NDArray[np.int32],
    headers: NDArray[np.uint8], header_bounds: NDArray[np.int64], exemplified: NDArray[np.bool_],
    ex_places: NDArray[np.int64], ex_sizes: NDArray[np.int32], ex_labels: NDArray[np.uint8],
    ex_values: NDArray[np.float64], ex_times: NDArray[np.int64], out: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Write the lines of numbers, each family under its header.

    Args:
        order: (n,) int32 ids in the order of the page.
        names: (n,) int32 number of each line's name.
        places: (n,) where its labels are.
        sizes: (n,) their bytes.
        labels: Written labels.
        values: By id.
        times: By id, milliseconds.
        openmetrics: Numbers and times as OpenMetrics wants them, and exemplars.
        timed: Write times.
        heads: Names as they begin a line, by number of the name.
        head_bounds: Head i is ``heads[head_bounds[i]:head_bounds[i + 1]]``.
        quoted: By name: whether it stands within the braces.
        family_of: By name.
        headers: What stands above a family.
        header_bounds: By family.
        exemplified: By name: whether exemplars are written.
        ex_places: By id; may be shorter than ids go.
        ex_sizes: By id; -1 where there is none.
        ex_labels: Their labels.
        ex_values: By id.
        ex_times: By id, milliseconds.
        out: Large enough.

    Returns:
        The bytes written.
    """
    p = 0
    family = -1
    for i in range(len(order)):
        one, name = order[i], names[i]
        if family_of[name] != family:
            family = family_of[name]
            p = _copied(headers, header_bounds[family], header_bounds[family + 1], out, p)
        p = _copied(heads, head_bounds[name], head_bounds[name + 1], out, p)
        if sizes[i] > 0:
            out[p] = _COMMA if quoted[name] else _OPEN
            p = _copied(labels, places[i], places[i] + sizes[i], out, p + 1)
        if sizes[i] > 0 or quoted[name]:
            out[p] = _CLOSE
            p += 1
        out[p] = _SPACE
        p = _number(out, p + 1, values[one], openmetrics)
        if timed:
            out[p] = _SPACE
            p = _time(out, p + 1, times[one], openmetrics)
        if openmetrics and exemplified[name] and one < len(ex_sizes) and ex_sizes[one] >= 0:
            p = _exemplar(out, p, ex_labels, ex_places[one], ex_sizes[one], ex_values[one], ex_times[one])
        out[p] = _NEWLINE
        p += 1
    return p


@kernel
def _exemplar(
    out: NDArray[np.uint8], p: int, labels: NDArray[np.uint8], place: int, size: int, value: float, time: int
) -> int:
    out[p] = _SPACE
    out[p + 1] = _HASH
    out[p + 2] = _SPACE
    out[p + 3] = _OPEN
    p = _copied(labels, place, place + size, out, p + 4)
    out[p] = _CLOSE
    out[p + 1] = _SPACE
    p = _number(out, p + 2, value, True)
    out[p] = _SPACE
    return _time(out, p + 1, time, True)


@kernel
def _number(out: NDArray[np.uint8], p: int, value: float, openmetrics: bool) -> int:
    """Write a number; text leaves out a ``.0`` at its end, and the sign that a zero may have."""
    if value == 0.0 and not openmetrics:
        out[p] = _ZERO
        return p + 1
    p = np.int64(write_canonical(out, p, value))
    if not openmetrics and out[p - 2] == _POINT and out[p - 1] == _ZERO:
        p -= 2
    return p


@kernel
def _time(out: NDArray[np.uint8], p: int, time: int, openmetrics: bool) -> int:
    """Write milliseconds, or seconds with three digits behind the point."""
    size = np.uint64(time)
    if time < 0:
        out[p] = _MINUS
        p += 1
        size = np.uint64(-time)
    if not openmetrics:
        return write_uint(out, p, size, count_digits(size))
    whole = size // np.uint64(1000)
    p = np.int64(write_uint(out, p, whole, count_digits(whole)))
    out[p] = _POINT
    return write_uint(out, p + 1, size % np.uint64(1000), 3)


@kernel
def _copied(source: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.uint8], p: int) -> int:
    for at in range(begin, end):
        out[p] = source[at]
        p += 1
    return p
