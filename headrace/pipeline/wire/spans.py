"""Labels as byte spans: what wire formats hand to the series table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.buffers import padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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

    @classmethod
    def of(cls, streams: Iterable[Mapping[str, str]]) -> LabelSpans:
        """Return the labels of streams made by Python code; a label that several have is laid out once."""
        places: dict[tuple[str, str], tuple[int, int, int, int]] = {}
        parts: list[bytes] = []
        flat: list[tuple[int, int, int, int]] = []
        starts = [0]
        position = 0
        for labels in streams:
            for pair in labels.items():
                place = places.get(pair)
                if place is None:
                    name, value = (text.encode("utf-8", "surrogatepass") for text in pair)
                    middle = position + len(name)
                    place = places[pair] = (position, len(name), middle, len(value))
                    position = middle + len(value)
                    parts += (name, value)
                flat.append(place)
            starts.append(len(flat))
        spans = np.array(flat, np.int32).reshape(-1, 4)
        return cls(padded(b"".join(parts)), spans, np.array(starts, np.int32))
