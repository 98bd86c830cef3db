# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that take the labels of a protobuf exposition out: those of rows that are new, and those of exemplars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_print_kernels import write_canonical
from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.utf8_kernels import is_utf8
from headrace.pipeline.wire.exposition_kernels import LABELS, LABELS_SIZE, NAME, NAME_SIZE, OWNER
from headrace.pipeline.wire.exposition_value_kernels import BUCKET, METRIC_OF, PART, QUANTILE
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = np.frombuffer(b"__name__lequantile_bucket_sum_count", np.uint8).copy()
"""What the arena begins with: names of labels, and what is put behind names of metrics."""

_NAME, _NAME_SIZE = 0, 8
_LE, _LE_SIZE = 8, 2
_QUANTILE, _QUANTILE_SIZE = 10, 8
_SUFFIX = np.array([0, 18, 25, 29, 0, 0], np.int64)
_SUFFIX_SIZE = np.array([0, 7, 4, 6, 0, 0], np.int64)

MORE_BYTES = 40
"""Room that a row takes beside its labels and its family's name: a suffix, and a number."""

# Faults beside those of `protobuf_kernels`.
BAD_METRIC_NAME = -4
BAD_LABEL_NAME = -5
BAD_LABEL_VALUE = -6


@kernel
def spell(
    buf: NDArray[np.uint8],
    chosen: NDArray[np.int64],
    rows: NDArray[np.int32],
    bounds: NDArray[np.float64],
    metrics: NDArray[np.int32],
    families: NDArray[np.int32],
    arena: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    fault: NDArray[np.int64],
) -> int:
    """Write the labels of some rows.

    Args:
        buf: The page.
        chosen: (k,) int64 numbers of rows.
        rows: (n, ROW) int32; this and the next three are those of `exposition_kernels.parse`.
        bounds: (n,) float64.
        metrics: (m, METRIC) int32.
        families: (f, FAMILY) int32.
        arena: uint8 out, with room for NAMES and, a row, for its labels, the family's name and MORE_BYTES.
        spans: (l, 4) int32 out, as `LabelSpans` has them; two a row more than it has labels are enough.
        starts: (k + 1,) int32 out.
        fault: (1,) int64 out: the row of a fault.

    Returns:
        Bytes of the arena in use, or a fault.
    """
    used = len(NAMES)
    for i in range(used):
        arena[i] = NAMES[i]
    label = np.int64(0)
    starts[0] = 0
    for i in range(len(chosen)):
        row = chosen[i]
        fault[0] = row
        part = np.int64(rows[row, PART])
        metric = np.int64(rows[row, METRIC_OF])
        family = np.int64(metrics[metric, OWNER])
        at = used
        used = _copy(buf, np.int64(families[family, NAME]), np.int64(families[family, NAME_SIZE]), arena, used)
        if not is_utf8(arena, at, used - at):
            return BAD_METRIC_NAME
        used = _copy(NAMES, _SUFFIX[part], _SUFFIX_SIZE[part], arena, used)
        _put(spans, label, _NAME, _NAME_SIZE, at, used - at)
        label += 1
        p = np.int64(metrics[metric, LABELS])
        used, label = _labels(buf, p, p + metrics[metric, LABELS_SIZE], arena, used, spans, label)
        if used < 0:
            return used
        if part in (BUCKET, QUANTILE):
            at = used
            used = write_canonical(arena, used, bounds[row])
            if part == BUCKET:
                _put(spans, label, _LE, _LE_SIZE, at, used - at)
            else:
                _put(spans, label, _QUANTILE, _QUANTILE_SIZE, at, used - at)
            label += 1
        starts[i + 1] = label
    return used


@kernel
def spell_exemplars(
    buf: NDArray[np.uint8],
    exemplars: NDArray[np.int32],
    arena: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    fault: NDArray[np.int64],
) -> int:
    """Write the labels of exemplars.

    Args:
        buf: The page.
        exemplars: (e, PLACE) int32.
        arena: uint8 out, as large as the messages.
        spans: (l, 4) int32 out, one a label.
        starts: (e + 1,) int32 out.
        fault: (1,) int64 out: the row of a fault.

    Returns:
        Bytes of the arena in use, or a fault.
    """
    used = np.int64(0)
    label = np.int64(0)
    starts[0] = 0
    for i in range(len(exemplars)):
        fault[0] = exemplars[i, 0]
        p = np.int64(exemplars[i, 1])
        used, label = _labels(buf, p, p + exemplars[i, 2], arena, used, spans, label)
        if used < 0:
            return used
        starts[i + 1] = label
    return used


@kernel
def _labels(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    arena: NDArray[np.uint8],
    used: int,
    spans: NDArray[np.int32],
    label: int,
) -> tuple[int, int]:
    """Write all labels (field 1) of a message; return the bytes in use, or a fault, and the number of labels."""
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p, label
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p, label
        if tag == np.uint64(10):
            body, _ = span(buf, at, end)
            used = _label(buf, body, p, arena, used, spans, label)
            if used < 0:
                return used, label
            label += 1
    return used, label


@kernel
def _label(
    buf: NDArray[np.uint8], p: int, end: int, arena: NDArray[np.uint8], used: int, spans: NDArray[np.int32], label: int
) -> int:
    """Write one label; return the bytes in use, or a fault."""
    name = p
    name_size = np.int64(0)
    value = p
    value_size = np.int64(0)
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
        if tag == np.uint64(10):
            name, _ = span(buf, at, end)
            name_size = p - name
        elif tag == np.uint64(18):
            value, _ = span(buf, at, end)
            value_size = p - value
    at = used
    used = _copy(buf, name, name_size, arena, used)
    if name_size == 0 or not is_utf8(arena, at, name_size):
        return BAD_LABEL_NAME
    used = _copy(buf, value, value_size, arena, used)
    if not is_utf8(arena, at + name_size, value_size):
        return BAD_LABEL_VALUE
    _put(spans, label, at, name_size, at + name_size, value_size)
    return used


@kernel
def _put(spans: NDArray[np.int32], row: int, name: int, name_size: int, value: int, value_size: int) -> None:
    spans[row, 0] = name
    spans[row, 1] = name_size
    spans[row, 2] = value
    spans[row, 3] = value_size


@kernel
def _copy(buf: NDArray[np.uint8], start: int, size: int, arena: NDArray[np.uint8], used: int) -> int:
    for i in range(size):
        arena[used + i] = buf[start + i]
    return used + size
