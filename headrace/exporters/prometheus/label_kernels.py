# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write labels as pages have them, once for each series, and for each exemplar.

The spans are those of `headrace.pipeline.wire.spans.LabelSpans`. Where a label's name was rendered before, `which` says
what number it has there; -1 stands for a label that is not written.

Source:
    Prometheus, "Exposition formats"; ``io.prometheus.client``, ``metrics.proto``, ``LabelPair``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND, QUANTILE = 0, 1
"""Numbers of the label names ``le`` and ``quantile``."""

_FNV_START = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_QUOTE, _BACKSLASH, _NEWLINE, _COMMA, _EQUALS, _N, _UNDERSCORE = 34, 92, 10, 44, 61, 110, 95
_PAIR_TAG, _NAME_TAG, _VALUE_TAG = 0x0A, 0x0A, 0x12


@kernel
def survey(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], starts: NDArray[np.int32], which: NDArray[np.int32],
    groups: NDArray[np.uint64], bounds: NDArray[np.int32],
) -> None:  # fmt: skip
    """Hash the labels that the lines of one histogram or summary have in common, and find the one they differ by.

    Args:
        buf: Bytes of the labels.
        spans: (k, 4) int32.
        starts: (n + 1,) int32.
        which: (k,) int32 numbers of the names.
        groups: (n,) takes hashes (FNV-1a) of all labels but ``le`` and ``quantile``.
        bounds: (n,) takes the row in `spans` of ``le``, else of ``quantile``; -1 without.
    """
    for i in range(len(groups)):
        found = _FNV_START
        bounds[i] = -1
        for k in range(starts[i], starts[i + 1]):
            if which[k] == BOUND or (which[k] == QUANTILE and bounds[i] < 0):
                bounds[i] = k
            if which[k] <= QUANTILE:  # the metric's name is -1
                continue
            for part in range(0, 4, 2):
                for p in range(spans[k, part], spans[k, part] + spans[k, part + 1]):
                    found = (found ^ np.uint64(buf[p])) * _FNV_PRIME
                found *= _FNV_PRIME  # what lies between two texts
        groups[i] = found


@kernel
def write_texts(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], starts: NDArray[np.int32], which: NDArray[np.int32],
    names: NDArray[np.uint8], name_bounds: NDArray[np.int64], extra: NDArray[np.uint8],
    extra_bounds: NDArray[np.int64], extra_names: NDArray[np.int32], out: NDArray[np.uint8], ends: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write ``name="value",…`` for each series.

    Args:
        buf: Bytes of the labels.
        spans: (k, 4) int32.
        starts: (n + 1,) int32.
        which: (k,) int32 numbers of the names.
        names: Rendered names, such as ``job="``.
        name_bounds: Name w is ``names[name_bounds[w]:name_bounds[w + 1]]``.
        extra: Whole labels, such as ``zone="eu"``, for series that lack their names.
        extra_bounds: (e + 1,) int64.
        extra_names: (e,) int32 numbers of their names.
        out: Large enough.
        ends: (n,) takes the offset past each text; they follow each other.
    """
    p = 0
    for i in range(len(ends)):
        begin = p
        for k in range(starts[i], starts[i + 1]):
            if which[k] < 0:
                continue
            if p > begin:
                out[p] = _COMMA
                p += 1
            p = _copied(names, name_bounds[which[k]], name_bounds[which[k] + 1], out, p)
            p = _escaped(buf, spans[k, 2], spans[k, 3], out, p)
            out[p] = _QUOTE
            p += 1
        for e in range(len(extra_names)):
            if _has(which, starts[i], starts[i + 1], extra_names[e]):
                continue
            if p > begin:
                out[p] = _COMMA
                p += 1
            p = _copied(extra, extra_bounds[e], extra_bounds[e + 1], out, p)
        ends[i] = p


@kernel
def write_pairs(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], starts: NDArray[np.int32], which: NDArray[np.int32],
    names: NDArray[np.uint8], name_bounds: NDArray[np.int64], extra: NDArray[np.uint8],
    extra_bounds: NDArray[np.int64], extra_names: NDArray[np.int32], out: NDArray[np.uint8], ends: NDArray[np.int64],
    cuts: NDArray[np.int32],
) -> None:  # fmt: skip
    """Write the labels of each series as messages ``LabelPair``.

    Args:
        buf: Bytes of the labels.
        spans: (k, 4) int32.
        starts: (n + 1,) int32.
        which: (k,) int32 numbers of the names.
        names: Rendered names: the field ``name`` of the message.
        name_bounds: Name w is ``names[name_bounds[w]:name_bounds[w + 1]]``.
        extra: Whole labels, for series that lack their names.
        extra_bounds: (e + 1,) int64.
        extra_names: (e,) int32 numbers of their names.
        out: Large enough.
        ends: (n,) takes the offset past each series' labels; they follow each other.
        cuts: (n,) takes the bytes of ``le`` and ``quantile``, which come first: histograms and summaries have them as
            numbers, and leave these bytes out.
    """
    p = 0
    for i in range(len(ends)):
        begin = p
        for part in range(2):
            for k in range(starts[i], starts[i + 1]):
                w = which[k]
                if w < 0 or (w <= QUANTILE) != (part == 0):
                    continue
                p = _open_pair(out, p, name_bounds[w + 1] - name_bounds[w] + _field_size(spans[k, 3]))
                p = _copied(names, name_bounds[w], name_bounds[w + 1], out, p)
                p = _field(out, p, _VALUE_TAG, buf, spans[k, 2], spans[k, 3])
            if part == 0:
                cuts[i] = p - begin
        for e in range(len(extra_names)):
            if not _has(which, starts[i], starts[i + 1], extra_names[e]):
                p = _copied(extra, extra_bounds[e], extra_bounds[e + 1], out, p)
        ends[i] = p


@kernel
def write_exemplar_texts(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], starts: NDArray[np.int32], out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the labels of exemplars as ``name="value",…``; other characters than Prometheus' classic become ``_``.

    Args:
        buf: Bytes of the labels.
        spans: (k, 4) int32.
        starts: (n + 1,) int32.
        out: Large enough.
        ends: (n,) takes the offset past each text.
    """
    p = 0
    for i in range(len(ends)):
        for k in range(starts[i], starts[i + 1]):
            if k > starts[i]:
                out[p] = _COMMA
                p += 1
            for place in range(spans[k, 1]):
                byte = buf[spans[k, 0] + place]
                out[p] = byte if _is_classic(byte, place) else _UNDERSCORE
                p += 1
            out[p] = _EQUALS
            out[p + 1] = _QUOTE
            p = _escaped(buf, spans[k, 2], spans[k, 3], out, p + 2)
            out[p] = _QUOTE
            p += 1
        ends[i] = p


@kernel
def write_exemplar_pairs(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], starts: NDArray[np.int32], out: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:  # fmt: skip
    """Write the labels of exemplars as messages ``LabelPair``; the arguments are those of `write_exemplar_texts`."""
    p = 0
    for i in range(len(ends)):
        for k in range(starts[i], starts[i + 1]):
            p = _open_pair(out, p, _field_size(spans[k, 1]) + _field_size(spans[k, 3]))
            p = _field(out, p, _NAME_TAG, buf, spans[k, 0], spans[k, 1])
            p = _field(out, p, _VALUE_TAG, buf, spans[k, 2], spans[k, 3])
        ends[i] = p


@kernel
def _has(which: NDArray[np.int32], first: int, end: int, name: int) -> bool:
    for k in range(first, end):
        if which[k] == name:
            return True
    return False


@kernel
def _is_classic(byte: np.uint8, place: int) -> bool:
    letter = 97 <= byte | 32 <= 122
    return letter or byte == _UNDERSCORE or (48 <= byte <= 57 and place > 0)


@kernel
def _copied(source: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.uint8], p: int) -> int:
    for at in range(begin, end):
        out[p] = source[at]
        p += 1
    return p


@kernel
def _escaped(buf: NDArray[np.uint8], begin: int, size: int, out: NDArray[np.uint8], p: int) -> int:
    for at in range(begin, begin + size):
        byte = buf[at]
        if byte in (_QUOTE, _BACKSLASH, _NEWLINE):
            out[p] = _BACKSLASH
            out[p + 1] = _N if byte == _NEWLINE else byte
            p += 2
        else:
            out[p] = byte
            p += 1
    return p


@kernel
def _field_size(size: int) -> int:
    """Return the bytes of a field of text."""
    return 1 + _varint_size(size) + size


@kernel
def _varint_size(value: int) -> int:
    size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


@kernel
def _open_pair(out: NDArray[np.uint8], p: int, size: int) -> int:
    out[p] = _PAIR_TAG
    return _varint(out, p + 1, size)


@kernel
def _field(out: NDArray[np.uint8], p: int, tag: int, buf: NDArray[np.uint8], begin: int, size: int) -> int:
    out[p] = tag
    return _copied(buf, begin, begin + size, out, _varint(out, p + 1, size))


@kernel
def _varint(out: NDArray[np.uint8], p: int, value: int) -> int:
    while value >= 128:
        out[p] = value & 127 | 128
        value >>= 7
        p += 1
    out[p] = value
    return p + 1
