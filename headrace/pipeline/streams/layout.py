"""Where the state of a stream has what: columns of the matrices that kernels change."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from headrace.pipeline.streams.slots import Field

TIME = 0
"""Of `marks`: time of the newest point, nanoseconds."""

START = 1
"""Of `marks`: start of the sum, or time of the reference, nanoseconds."""

KNOWN = 2
"""Of `marks`: 0 without a point, 1 with one, EMPTY with a reference of which nothing is to be taken."""

KIND = 3
"""Of `marks` and of rows: a `HistogramKind`."""

SCALE = 4
POSITIVE_OFFSET = 5
NEGATIVE_OFFSET = 6
POSITIVE_SIZE = 7
"""Of `marks` and of rows: buckets, of explicit histograms all."""

NEGATIVE_SIZE = 8
FIRST = 9
"""Of `marks` and of rows: where the buckets begin in their arena."""

ROOM = 10
"""Of `marks`: elements of the arena that the stream has."""

FLAGS = 10
"""Of rows: of `Flag`."""

MARKS = 11
"""Columns of `marks`, and of the integers of rows."""

COUNT = VALUE = 0
"""Of `sums` and of rows: count of a histogram; of `sums`, sum or reference of a number stream."""

SUM = 1
MINIMUM = 2
MAXIMUM = 3
ZERO_COUNT = 4
ZERO_THRESHOLD = 5
LAST = 6
"""Of `sums`: newest value, or count, as it came."""

SUMS = 7
"""Columns of `sums`, and of the floats of rows."""

EMPTY = 2
MILLISECOND = 1_000_000
FLAG_STALE = np.uint8(2)
"""`Flag.STALE`, as kernels take it."""

FIELDS = {"marks": Field(np.int64, MARKS), "sums": Field(np.float64, SUMS)}
"""Columns of state."""


class Verdict(IntEnum):
    """What becomes of a row."""

    KEEP = 0
    INITIAL = 1
    """The first of its stream."""

    RESET = 2
    """The stream began anew."""

    MISMATCH = 3
    """The histogram has other buckets than the one before."""

    OUT_OF_ORDER = 4
    """Its time is not after that of the point before."""

    OLDER_START = 5
    """It starts before the stream does."""

    @property
    def reason(self) -> str:
        """The reason, where the row is dropped for it."""
        return _REASONS[self]


_REASONS = ("", "initial", "reset", "bucket_mismatch", "out_of_order", "older_start")
