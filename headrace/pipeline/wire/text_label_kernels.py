# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that split raw keys, ``name{a="b"}`` or ``{"my.name", "a.b"="c"}``, into labels.

They run for keys that nobody has seen before, and for exemplars.

Source:
    Prometheus, "Exposition formats"; OpenMetrics 1.0, section "Overall structure" (ABNF).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels import float_parse_kernels as numbers
from headrace.kernels.float_print_kernels import write_canonical
from headrace.kernels.jit import kernel
from headrace.kernels.utf8_kernels import is_utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME_BYTES = 8
"""The arena begins with ``__name__``, which all metric names share."""

NUMBER_BYTES = 32
"""Room for a ``le`` or ``quantile`` that is written in its canonical form."""

# Faults of a key.
BAD_NAME = -1
TWO_NAMES = -2
BAD_LABEL_NAME = -3
NO_EQUALS = -4
NO_QUOTE = -5
NO_COMMA = -6
INVALID_UTF8 = -7
NO_METRIC_NAME = -8
STRAY = -9

_NAME = np.frombuffer(b"__name__", np.uint8).copy()
_LE = np.frombuffer(b"le", np.uint8).copy()
_QUANTILE = np.frombuffer(b"quantile", np.uint8).copy()
_HISTOGRAM = 1
_SUMMARY = 2


@kernel
def count_quotes(buf: NDArray[np.uint8], keys: NDArray[np.int32]) -> int:
    """Return how many ``"`` the keys, (n, 2) int32 of offset and size, hold: at least two a label."""
    n = 0
    for i in range(len(keys)):
        for pos in range(keys[i, 0], keys[i, 0] + keys[i, 1]):
            if buf[pos] == 34:
                n += 1
    return n


@kernel
def split(
    buf: NDArray[np.uint8],
    keys: NDArray[np.int32],
    flags: NDArray[np.uint8],
    openmetrics: bool,
    named: bool,
    arena: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    fault: NDArray[np.int64],
) -> int:
    """Split keys into labels, undoing escapes and writing numbers of histograms and summaries in one way.

    Args:
        buf: The page, with PAD readable bytes after it.
        keys: (n, 2) int32: offset and size of each key, all within `buf`.
        flags: (n,) uint8: HISTOGRAM and SUMMARY of `text_kernels`.
        openmetrics: No blanks between labels.
        named: Keys have a metric name; False for the labels of exemplars.
        arena: uint8 out, with room for NAME_BYTES, all keys, and NUMBER_BYTES a key. It never holds more labels than
            half of `count_quotes` and one a key.
        spans: (k, 4) int32 out, as `LabelSpans` has them, into `arena`.
        starts: (n + 1,) int32 out.
        fault: (2,) int64 out: key and offset of a fault.

    Returns:
        Bytes of the arena in use, or a fault.
    """
    used = 0
    if named:
        for i in range(NAME_BYTES):
            arena[i] = _NAME[i]
        used = NAME_BYTES
    label = 0
    starts[0] = 0
    for i in range(len(keys)):
        pos = np.int64(keys[i, 0])
        end = pos + keys[i, 1]
        has_name = False
        has_number = False
        fault[0] = i
        start = pos
        while pos < end and buf[pos] != 123 and buf[pos] != 32 and buf[pos] != 9:
            pos += 1
        fault[1] = start
        if pos > start:
            if not named or not _is_name(buf, start, pos, True):
                return BAD_NAME
            used = _copy(buf, start, pos, arena, used)
            _put(spans, label, 0, NAME_BYTES, used - (pos - start), pos - start)
            label += 1
            has_name = True
        pos = _skip(buf, pos, end, openmetrics)
        if pos < end:
            fault[1] = pos
            if buf[pos] != 123:
                return STRAY
            pos = _skip(buf, pos + 1, end, openmetrics)
            more = True
            while pos < end and buf[pos] != 125:
                fault[1] = pos
                # Prometheus does not miss a comma in text.
                if not more and openmetrics:
                    return NO_COMMA
                start = pos
                quoted = buf[pos] == 34
                name_at = used
                if quoted:
                    pos, used = _unquote(buf, pos, end, openmetrics, arena, used)
                    if pos < 0:
                        return NO_QUOTE
                    if used == name_at or not is_utf8(arena, name_at, used - name_at):
                        return BAD_LABEL_NAME
                else:
                    while pos < end and _is_word(buf[pos]):
                        pos += 1
                    if not _is_name(buf, start, pos, False):
                        return BAD_LABEL_NAME
                    used = _copy(buf, start, pos, arena, used)
                name_size = used - name_at
                pos = _skip(buf, pos, end, openmetrics)
                fault[1] = pos
                if quoted and named and pos < end and (buf[pos] == 44 or buf[pos] == 125):
                    if has_name:
                        return TWO_NAMES
                    has_name = True
                    _put(spans, label, 0, NAME_BYTES, name_at, name_size)
                    label += 1
                else:
                    if pos >= end or buf[pos] != 61:
                        return NO_EQUALS
                    pos = _skip(buf, pos + 1, end, openmetrics)
                    fault[1] = pos
                    if pos >= end or buf[pos] != 34:
                        return NO_QUOTE
                    value_at = used
                    pos, used = _unquote(buf, pos, end, openmetrics, arena, used)
                    if pos < 0:
                        return NO_QUOTE
                    if not is_utf8(arena, value_at, used - value_at):
                        return INVALID_UTF8
                    if not has_number and _is_number_label(arena, name_at, name_size, flags[i]):
                        has_number = True
                        used = _canonical(arena, value_at, used)
                    _put(spans, label, name_at, name_size, value_at, used - value_at)
                    label += 1
                pos = _skip(buf, pos, end, openmetrics)
                more = pos < end and buf[pos] == 44
                if more:
                    pos = _skip(buf, pos + 1, end, openmetrics)
            fault[1] = pos
            if pos + 1 != end:
                return STRAY
        if named and not has_name:
            return NO_METRIC_NAME
        starts[i + 1] = label
    return used


@kernel
def _put(spans: NDArray[np.int32], row: int, name: int, name_size: int, value: int, value_size: int) -> None:
    spans[row, 0] = name
    spans[row, 1] = name_size
    spans[row, 2] = value
    spans[row, 3] = value_size


@kernel
def _copy(buf: NDArray[np.uint8], start: int, end: int, arena: NDArray[np.uint8], used: int) -> int:
    for i in range(end - start):
        arena[used + i] = buf[start + i]
    return used + end - start


@kernel
def _skip(buf: NDArray[np.uint8], pos: int, end: int, openmetrics: bool) -> int:
    while not openmetrics and pos < end and (buf[pos] == 32 or buf[pos] == 9):
        pos += 1
    return pos


@kernel
def _unquote(
    buf: NDArray[np.uint8], pos: int, end: int, openmetrics: bool, arena: NDArray[np.uint8], used: int
) -> tuple[int, int]:
    r"""Copy a quoted text without its quotes, undoing ``\\``, ``\"`` and ``\n``; the offset is -1 without an end."""
    pos += 1
    while pos < end:
        byte = buf[pos]
        pos += 1
        if byte == 34:
            return pos, used
        if byte == 10 and openmetrics:
            return -1, used
        if byte == 92 and pos < end:
            if buf[pos] == 110:
                byte = np.uint8(10)
                pos += 1
            elif buf[pos] == 92 or buf[pos] == 34:
                byte = buf[pos]
                pos += 1
        arena[used] = byte
        used += 1
    return -1, used


@kernel
def _is_word(byte: int) -> bool:
    return 97 <= byte | 32 <= 122 or byte == 95 or 48 <= byte <= 57


@kernel
def _is_name(buf: NDArray[np.uint8], start: int, end: int, colons: bool) -> bool:
    """Return whether bytes are a name that needs no quotes; `colons` for metric names."""
    if start == end or 48 <= buf[start] <= 57:
        return False
    for pos in range(start, end):
        if not _is_word(buf[pos]) and not (colons and buf[pos] == 58):
            return False
    return True


@kernel
def _is_number_label(arena: NDArray[np.uint8], pos: int, size: int, flags: int) -> bool:
    word = _LE if flags & _HISTOGRAM else _QUANTILE
    if not flags & (_HISTOGRAM | _SUMMARY) or size != len(word):
        return False
    for i in range(size):
        if arena[pos + i] != word[i]:
            return False
    return True


@kernel
def _canonical(arena: NDArray[np.uint8], start: int, end: int) -> int:
    """Write the number in ``arena[start:end]`` in its canonical form; leave alone what is none."""
    value, pos, status = numbers.parse(arena, start, end)
    if status != numbers.READ or pos != end:
        return end
    return write_canonical(arena, start, value)


@kernel
def append_labels(
    arena: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    more: NDArray[np.int32],
    keep: NDArray[np.bool_],
    out_spans: NDArray[np.int32],
    out_starts: NDArray[np.int32],
    clashes: NDArray[np.bool_],
) -> None:
    """Give every stream some labels more.

    Args:
        arena: Bytes that all spans point into.
        spans: (k, 4) int32 labels of n streams.
        starts: (n + 1,) int32.
        more: (m, 4) int32 labels to add.
        keep: (m,) bool: where the stream has such a label with a value, leave it as it is and add none.
        out_spans: (k + n * m, 4) int32 out.
        out_starts: (n + 1,) int32 out.
        clashes: (n,) bool out: the stream has one of the labels, and it is not to be kept (the added one is left
            out, and somebody else has to decide).
    """
    used = 0
    out_starts[0] = 0
    for i in range(len(starts) - 1):
        first = used
        for j in range(starts[i], starts[i + 1]):
            _put(out_spans, used, spans[j, 0], spans[j, 1], spans[j, 2], spans[j, 3])
            used += 1
        clashes[i] = False
        last = used
        for m in range(len(more)):
            found = -1
            for j in range(first, last):
                if _same(arena, out_spans[j, 0], out_spans[j, 1], more[m, 0], more[m, 1]):
                    found = j
                    break
            if found >= 0:
                clashes[i] = clashes[i] or not keep[m]
                continue
            _put(out_spans, used, more[m, 0], more[m, 1], more[m, 2], more[m, 3])
            used += 1
        out_starts[i + 1] = used


@kernel
def _same(arena: NDArray[np.uint8], a: int, a_size: int, b: int, b_size: int) -> bool:
    if a_size != b_size:
        return False
    for i in range(a_size):
        if arena[a + i] != arena[b + i]:
            return False
    return True
