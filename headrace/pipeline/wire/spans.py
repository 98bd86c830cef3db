"""Labels as byte spans: what wire formats hand to the series table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LabelSpans(NamedTuple):
    """Labels of n streams, not yet checked.

    Attributes:
        buf: uint8 bytes that the spans point into, with PAD readable bytes after the last.
        spans: (k, 4) int32: name offset, name size, value offset, value size. Includes ``__name__``; may be unsorted,
            repeat names, hold empty values or bytes that are not UTF-8: the table checks. It may reorder the rows.
        starts: (n + 1,) int32; labels of stream i are ``spans[starts[i]:starts[i + 1]]``.
    """

    buf: NDArray[np.uint8]
    spans: NDArray[np.int32]
    starts: NDArray[np.int32]
