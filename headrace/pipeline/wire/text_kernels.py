# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that take an exposition page apart, line by line: Prometheus text and OpenMetrics text.

A sample's raw key is its ``name{labels}`` as written. A page is read in one pass that finds where keys end and reads
the numbers; what is inside a key is looked at (by `text_label_kernels`) only when nobody has seen the key before. A
line that the page before had at this place is known again by its checksum, see `text_line_kernels`.

Source:
    Prometheus, "Exposition formats", text 0.0.4; OpenMetrics 1.0, section "Overall structure" (ABNF).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.text_line_kernels import (
    COMMENT_LINE,
    KIND,
    METADATA_LINE,
    NEW,
    OPENMETRICS,
    TYPE_LINE,
    Lines,
    mark,
    recognise,
)
from headrace.pipeline.wire.text_meta_kernels import HISTOGRAM_TYPE, SUMMARY_TYPE, TYPE, parse_meta, starts
from headrace.pipeline.wire.text_number_kernels import FULL, SLOW, parse_exemplar, parse_numbers
from headrace.pipeline.wire.text_scan_kernels import find_newline, scan_key, skip_blanks

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK = 0

# Faults of a page beside those of its lines; `headrace.pipeline.wire.text` words them.
NO_EOF = -9
AFTER_EOF = -10
BLANK_LINE = -11

# Bits of a sample's flags: how a known key may still differ in meaning. The others are those of `text_number_kernels`.
HISTOGRAM = 1
"""The last TYPE line said histogram: ``le`` is a number."""
SUMMARY = 2
"""The last TYPE line said summary: ``quantile`` is a number."""

# What `out` tells.
SAMPLES = 0
METADATA = 1
EXEMPLARS = 2
LINES = 3
NEW_LINES = 4
SLOW_ROWS = 5
POSITION = 6
OUT = 7

_MIX = np.uint64(0x9E3779B97F4A7C15)


class Samples(NamedTuple):
    """Columns of samples; all have one length.

    Attributes:
        keys: (n, 2) int32 offset and size of the raw key.
        hashes: (n, 2) uint64 hash of the raw key, where the line is new.
        values: (n,) float64.
        times: (n,) int64: milliseconds, FAR or -FAR out of range, 0 where there is none.
        flags: (n,) uint8.
        entries: (n,) int32 what the caller knows the line by, NEW where it is new.
    """

    keys: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    values: NDArray[np.float64]
    times: NDArray[np.int64]
    flags: NDArray[np.uint8]
    entries: NDArray[np.int32]


class Exemplars(NamedTuple):
    """Columns of exemplars; all have one length.

    Attributes:
        places: (e, 4) int32: sample, offset and size of ``{labels}``, 1 with a timestamp.
        values: (e,) float64.
        times: (e,) int64, milliseconds.
    """

    places: NDArray[np.int32]
    values: NDArray[np.float64]
    times: NDArray[np.int64]


@kernel
def count_lines(buf: NDArray[np.uint8], size: int, openmetrics: bool) -> tuple[int, int]:
    """Return how many lines may be samples, and how many may be metadata."""
    samples = 0
    comments = 0
    pos = 0
    while pos < size:
        if not openmetrics:
            pos = skip_blanks(buf, pos, size)
            if pos == size:
                break
        if buf[pos] == 35:
            comments += 1
        elif buf[pos] != 10:
            samples += 1
        pos = find_newline(buf, pos, size) + 1
    return samples, comments


@kernel
def parse_page(
    buf: NDArray[np.uint8],
    size: int,
    openmetrics: bool,
    secrets: NDArray[np.uint64],
    known: Lines,
    lines: Lines,
    samples: Samples,
    meta: NDArray[np.int32],
    exemplars: Exemplars,
    digest: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Read a page.

    Args:
        buf: uint8 with PAD readable bytes after `size`.
        size: Bytes of the page.
        openmetrics: OpenMetrics 1.0 as Prometheus reads it, else text 0.0.4.
        secrets: (4, 2) uint64 hash keys: for keys below a TYPE that is neither, a histogram, a summary; for checksums.
        known: The lines of the page before.
        lines: Out: those of this page, save where it has exactly those that are known.
        samples: Out.
        meta: (m, META) int32 out: metadata lines that are new.
        exemplars: Out.
        digest: (2,) uint64 out: hash of all metadata lines in their order.
        out: (OUT,) int64 out: numbers of rows, and the offset of a fault.

    Returns:
        OK, FULL or a fault.
    """
    # What happens for each line is written out here: a call with all these arrays takes longer than reading a number.
    context = OPENMETRICS if openmetrics else 0
    kind = 0
    item = 0
    count = 0
    row = 0
    same = True
    ended = False
    digest[0] = secrets[3, 0]
    digest[1] = secrets[3, 1]
    for i in range(OUT):
        out[i] = 0
    pos = 0
    while pos < size:
        out[POSITION] = pos
        if ended:
            return AFTER_EOF
        if not openmetrics:
            pos = skip_blanks(buf, pos, size)
            if pos == size:
                break
        if buf[pos] == 10:
            if openmetrics:
                return BLANK_LINE
            pos += 1
            continue
        if count == len(lines.sizes):
            return FULL
        found = recognise(buf, pos, size, context | kind, known, item, secrets[3, 0], secrets[3, 1])
        if same and found != count:
            _copy(known, lines, count)
            same = False
        if found >= 0:
            item = found + 1
            end = pos + known.sizes[found]
            entry = np.int64(known.entries[found])
            if not same:
                _note(lines, count, end - pos, known.marks[found], known.kinds[found], entry)
            count += 1
            if entry < NEW:
                if entry == TYPE_LINE:
                    kind = np.int64(known.kinds[found]) & KIND
                if entry != COMMENT_LINE:
                    _digest(digest, known.marks[found])
                pos = end + 1
                continue
            if row == len(samples.values):
                return FULL
        elif buf[pos] == 35:
            end = find_newline(buf, pos, size)
            if openmetrics and end - pos == 5 and starts(buf, pos + 1, end, 32, 69, 79, 70):
                ended = True
            else:
                kind = _comment(buf, pos, end, openmetrics, kind, secrets, lines, count, meta, digest, out)
                if kind < 0:
                    return kind
                count += 1
            pos = end + 1
            continue
        else:
            if row == len(samples.values):
                return FULL
            end = scan_key(buf, pos, size, openmetrics)
            if end < 0:
                return end
            entry = np.int64(NEW)
            _note(lines, count, end - pos, mark(buf, pos, end - pos, secrets[3, 0], secrets[3, 1]), context | kind, NEW)
            count += 1
            out[NEW_LINES] += 1
            low, high = siphash128(buf, pos, end - pos, secrets[kind, 0], secrets[kind, 1])
            samples.hashes[row, 0] = low
            samples.hashes[row, 1] = high
        samples.keys[row, 0] = pos
        samples.keys[row, 1] = end - pos
        samples.entries[row] = entry
        value, time, flag, pos = parse_numbers(buf, end, size, openmetrics)
        if pos < 0:
            return pos
        samples.values[row] = value
        samples.times[row] = time
        samples.flags[row] = kind | flag
        if flag & SLOW:
            out[SLOW_ROWS] += 1
        if pos < size and buf[pos] == 32:
            pos = parse_exemplar(
                buf, pos, size, row, exemplars.places, exemplars.values, exemplars.times, out[EXEMPLARS]
            )
            if pos < 0:
                return pos
            out[EXEMPLARS] += 1
        pos += 1
        row += 1
    if same and count != len(known.sizes):
        _copy(known, lines, count)
    out[SAMPLES] = row
    out[LINES] = count
    out[POSITION] = size
    return NO_EOF if openmetrics and not ended else OK


@kernel
def _copy(known: Lines, lines: Lines, count: int) -> None:
    """Copy the first lines, which the page has as the one before had them."""
    for i in range(count):
        lines.sizes[i] = known.sizes[i]
        lines.marks[i] = known.marks[i]
        lines.kinds[i] = known.kinds[i]
        lines.entries[i] = known.entries[i]


@kernel
def _note(lines: Lines, number: int, size: int, checksum: np.uint64, kind: int, entry: int) -> None:
    """Add a line to those of the page."""
    lines.sizes[number] = size
    lines.marks[number] = checksum
    lines.kinds[number] = kind
    lines.entries[number] = entry


@kernel
def _digest(digest: NDArray[np.uint64], checksum: np.uint64) -> None:
    """Take a metadata line into the hash of all of them."""
    digest[0] = (digest[0] ^ checksum) * _MIX
    digest[1] = (digest[1] + digest[0]) ^ (digest[0] >> np.uint64(29))


@kernel
def _comment(
    buf: NDArray[np.uint8],
    pos: int,
    end: int,
    openmetrics: bool,
    kind: int,
    secrets: NDArray[np.uint64],
    lines: Lines,
    number: int,
    meta: NDArray[np.int32],
    digest: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Read a comment that is new; return the kind of the samples after it, or a fault."""
    row = out[METADATA]
    code = parse_meta(buf, pos, end, openmetrics, meta, row)
    if code < 0:
        return code
    checksum = mark(buf, pos, end - pos, secrets[3, 0], secrets[3, 1])
    if code > 0:
        out[METADATA] = row + 1
        _digest(digest, checksum)
    entry = METADATA_LINE if code > 0 else COMMENT_LINE
    if code == TYPE:
        type_ = meta[row, 5]
        kind = HISTOGRAM if type_ == HISTOGRAM_TYPE else (SUMMARY if type_ == SUMMARY_TYPE else 0)
        entry = TYPE_LINE
    _note(lines, number, end - pos, checksum, (OPENMETRICS if openmetrics else 0) | kind, entry)
    out[NEW_LINES] += 1
    return kind
