# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that encode the labels of series for remote write 1.0.

Source:
    Prometheus Remote-Write specification 1.0, ``prompb/types.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.protobuf_write_kernels import put_varint, sized
from headrace.pipeline.wire.remote_write_encode_kernels import put_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABELS, _NAME, _VALUE = 10, 10, 18


@kernel
def encode_labels(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    more_buf: NDArray[np.uint8],
    more: NDArray[np.int32],
    places: NDArray[np.int64],
    sizes: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """Encode the labels of n series, together with those labels that all have that do not say otherwise.

    Args:
        buf: Bytes of names and values.
        spans: (k, 4) labels: name offset, name size, value offset, value size; sorted by name within a series.
        starts: (n + 1,) where those of each series begin.
        more_buf: Bytes of the common labels.
        more: (m, 4) common labels, sorted by name.
        places: (n,) where to write each series.
        sizes: (n,) takes the bytes of each.
        out: Where to write; without room sizes are told and nothing is written.
    """
    writes = len(out) > 0
    for i in range(len(starts) - 1):
        p = places[i] if writes else 0
        size = 0
        j = np.int64(starts[i])
        end = np.int64(starts[i + 1])
        e = 0
        while j < end or e < len(more):
            own = e == len(more)
            if j < end and not own:
                sign = _compare(buf, spans[j, 0], spans[j, 1], more_buf, more[e, 0], more[e, 1])
                own = sign <= 0
                e += sign == 0
            label = spans[j] if own else more[e]
            body = sized(label[1]) + sized(label[3])
            size += sized(body)
            if writes:
                p = _put(buf if own else more_buf, label, body, out, p)
            j += own
            e += not own
        sizes[i] = size


@kernel
def _compare(a: NDArray[np.uint8], p: int, m: int, b: NDArray[np.uint8], q: int, n: int) -> int:
    """Compare two ranges as bytes; return -1, 0 or 1."""
    for k in range(min(m, n)):
        if a[p + k] != b[q + k]:
            return -1 if a[p + k] < b[q + k] else 1
    return -1 if m < n else 1 if m > n else 0


@kernel
def _put(buf: NDArray[np.uint8], label: NDArray[np.int32], body: int, out: NDArray[np.uint8], p: int) -> int:
    out[p] = _LABELS
    p = put_varint(out, p + 1, body)
    out[p] = _NAME
    p = put_varint(out, p + 1, label[1])
    p = put_bytes(buf, label[0], label[1], out, p)
    out[p] = _VALUE
    p = put_varint(out, p + 1, label[3])
    return put_bytes(buf, label[2], label[3], out, p)
