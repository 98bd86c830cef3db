# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that lay out an OTLP metrics request and write it.

A request is a tree: resources, their scopes, their metrics, their points. Rows come in any order. `arrange` threads
them on lists (a metric knows its first row, a row the next one of its metric, and so upwards) and adds up sizes, so
that `write` can put each length before what it is the length of. Nothing is sorted: rows of a metric stay in order, and
metrics, scopes and resources come in the order of their first rows.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, store_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_encode_histogram_kernels import put_histogram
from headrace.pipeline.wire.protobuf_write_kernels import copy, put_varint, sized

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of what is known about metrics, scopes and resources.
PARENT = 0
"""Of a metric its scope, of a scope its resource."""
HEAD = 1
"""Offset of the bytes before the children, and their size."""
TAIL = 3
"""Of a scope and a resource the same for what comes after them; of a metric: temporality, and 4 if it is monotonic."""
FIELD = 4
"""Of a metric: number of the field with its points."""
COLUMNS = 5

# Columns of the nodes of one request: the row of the table above, first and last child, next sibling, size.
WHAT = 0
FIRST = 1
LAST = 2
NEXT = 3
SIZE = 4
DATA_SIZE = 5
"""Of a metric: size of the message with the points."""
NODE = 6

_NONE = -1
_MONOTONIC = 4
_SUM, _GAUGE, _SUMMARY = 7, 5, 11
_INTEGER, _STALE = np.uint8(1), np.uint8(2)
_TAG_1, _TAG_2 = 10, 18
_START, _TIME, _DOUBLE, _INT, _FLAGS = 17, 25, 33, 49, 64


@kernel
def number_sizes(
    series: NDArray[np.int32],
    starts: NDArray[np.int64],
    flags: NDArray[np.uint8],
    label_sizes: NDArray[np.int32],
    exemplars: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Compute the size of each number point, without tag and length.

    Args:
        series: (n,) ids.
        starts: (n,) nanoseconds, 0 for unknown.
        flags: (n,) of `headrace.pipeline.batch.Flag`.
        label_sizes: Bytes of the encoded attributes by id.
        exemplars: (n + 1,) where the encoded exemplars of each row begin.
        out: (n,) or more.
    """
    for i in range(len(series)):
        size = np.int64(label_sizes[series[i]]) + 9 + exemplars[i + 1] - exemplars[i]
        if starts[i] != 0:
            size += 9
        out[i] = size + (2 if flags[i] & _STALE else 9)


@kernel
def arrange(
    series: NDArray[np.int32],
    sizes: NDArray[np.int64],
    metric_of: NDArray[np.int32],
    metrics: NDArray[np.int64],
    scopes: NDArray[np.int64],
    resources: NDArray[np.int64],
    m_slot: NDArray[np.int32],
    s_slot: NDArray[np.int32],
    r_slot: NDArray[np.int32],
    m_nodes: NDArray[np.int64],
    s_nodes: NDArray[np.int64],
    r_nodes: NDArray[np.int64],
    next_row: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> int:
    """Thread rows on their metrics, those on their scopes, those on their resources; return the size of the request.

    Args:
        series: (t,) ids of all rows.
        sizes: (t,) size of each point.
        metric_of: Metric by id.
        metrics: (m, COLUMNS).
        scopes: (s, COLUMNS).
        resources: (r, COLUMNS).
        m_slot: (m,) node of each metric, all -1; left so.
        s_slot: (s,) the same.
        r_slot: (r,) the same.
        m_nodes: (t, NODE) or as many rows as metrics.
        s_nodes: (t, NODE) or as many rows as scopes.
        r_nodes: (t, NODE) or as many rows as resources.
        next_row: (t,) takes the row after each, -1 after the last.
        counts: (3,) takes how many nodes there are.
    """
    for level in range(3):
        counts[level] = 0
    for i in range(len(series)):
        m = metric_of[series[i]]
        node = m_slot[m]
        if node < 0:
            node = _join(m, m_nodes, m_slot, counts, 0)
        _thread(m_nodes, node, i)
        next_row[i] = _NONE
        if m_nodes[node, FIRST] != i:
            next_row[m_nodes[node, LAST]] = i
        m_nodes[node, LAST] = i
        m_nodes[node, SIZE] += sized(sizes[i])
    for node in range(counts[0]):
        m = m_nodes[node, WHAT]
        m_slot[m] = _NONE
        data = m_nodes[node, SIZE] + _tail_size(metrics[m, FIELD], metrics[m, TAIL])
        m_nodes[node, DATA_SIZE] = data
        m_nodes[node, SIZE] = metrics[m, HEAD + 1] + sized(data)
        _hang(m_nodes, node, metrics[m, PARENT], s_nodes, s_slot, counts, 1)
    for node in range(counts[1]):
        s = s_nodes[node, WHAT]
        s_slot[s] = _NONE
        s_nodes[node, SIZE] += scopes[s, HEAD + 1] + scopes[s, TAIL + 1]
        _hang(s_nodes, node, scopes[s, PARENT], r_nodes, r_slot, counts, 2)
    total = np.int64(0)
    for node in range(counts[2]):
        r = r_nodes[node, WHAT]
        r_slot[r] = _NONE
        r_nodes[node, SIZE] += resources[r, HEAD + 1] + resources[r, TAIL + 1]
        total += sized(r_nodes[node, SIZE])
    return total


@kernel
def _join(what: int, nodes: NDArray[np.int64], slots: NDArray[np.int32], counts: NDArray[np.int64], level: int) -> int:
    """Begin the node of a metric, a scope or a resource."""
    node = counts[level]
    counts[level] += 1
    slots[what] = node
    nodes[node, WHAT] = what
    nodes[node, FIRST] = _NONE
    nodes[node, LAST] = _NONE
    nodes[node, NEXT] = _NONE
    nodes[node, SIZE] = 0
    nodes[node, DATA_SIZE] = 0
    return node


@kernel
def _thread(nodes: NDArray[np.int64], node: int, child: int) -> None:
    if nodes[node, FIRST] < 0:
        nodes[node, FIRST] = child


@kernel
def _hang(
    nodes: NDArray[np.int64],
    node: int,
    parent: int,
    parents: NDArray[np.int64],
    slots: NDArray[np.int32],
    counts: NDArray[np.int64],
    level: int,
) -> None:
    """Make a node the last child of its parent."""
    above = slots[parent]
    if above < 0:
        above = np.int32(_join(parent, parents, slots, counts, level))
    _thread(parents, above, node)
    if parents[above, FIRST] != node:
        nodes[parents[above, LAST], NEXT] = node
    parents[above, LAST] = node
    parents[above, SIZE] += sized(nodes[node, SIZE])


@kernel
def _tail_size(field: int, tail: int) -> int:
    if field in (_GAUGE, _SUMMARY):
        return 0
    return 4 if tail & _MONOTONIC else 2


@kernel
def write(
    m_nodes: NDArray[np.int64],
    s_nodes: NDArray[np.int64],
    r_nodes: NDArray[np.int64],
    roots: int,
    metrics: NDArray[np.int64],
    scopes: NDArray[np.int64],
    resources: NDArray[np.int64],
    heads: NDArray[np.uint8],
    next_row: NDArray[np.int32],
    sizes: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    integers: NDArray[np.int64],
    flags: NDArray[np.uint8],
    places: NDArray[np.int64],
    label_sizes: NDArray[np.int32],
    labels: NDArray[np.uint8],
    h_times: NDArray[np.int64],
    stats: NDArray[np.float64],
    shapes: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    buckets: NDArray[np.float64],
    exemplar_at: NDArray[np.int64],
    exemplars: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write what `arrange` has arranged; return the bytes written.

    Args:
        m_nodes: Metrics.
        s_nodes: Scopes.
        r_nodes: Resources.
        roots: How many resources.
        metrics: (m, COLUMNS).
        scopes: (s, COLUMNS).
        resources: (r, COLUMNS).
        heads: Bytes that the columns HEAD and TAIL point into.
        next_row: (t,).
        sizes: (t,).
        series: (t,) ids: number points first, histograms after them.
        times: (n,) nanoseconds of the number points.
        starts: (n,) nanoseconds, 0 for unknown.
        values: (n,).
        integers: (n,) or (0,) exact integers.
        flags: (n,).
        places: Offset of the encoded attributes by id.
        label_sizes: Their size by id.
        labels: The encoded attributes.
        h_times: (h, 2) start and time of the histograms.
        stats: (h, STATS), see `otlp_encode_histogram_kernels`.
        shapes: (h, SHAPES), see there.
        bucket_starts: (h + 1,).
        bounds: Of the buckets.
        buckets: Counts.
        exemplar_at: (t + 1,).
        exemplars: Encoded, with tags and lengths.
        out: As many bytes as `arrange` said, and PAD.
    """
    n = len(times)
    p = 0
    for r in range(roots):
        p = put_varint(out, _tag(out, p, _TAG_1), r_nodes[r, SIZE])
        part = r_nodes[r, WHAT]
        p = copy(heads, resources[part, HEAD], resources[part, HEAD + 1], out, p)
        s = r_nodes[r, FIRST]
        while s >= 0:
            p = put_varint(out, _tag(out, p, _TAG_2), s_nodes[s, SIZE])
            what = s_nodes[s, WHAT]
            p = copy(heads, scopes[what, HEAD], scopes[what, HEAD + 1], out, p)
            m = s_nodes[s, FIRST]
            while m >= 0:
                p = _put_metric(out, p, m_nodes, m, metrics, heads)
                i = m_nodes[m, FIRST]
                while i >= 0:
                    p = put_varint(out, _tag(out, p, _TAG_1), sizes[i])
                    if i < n:
                        p = _put_number(out, p, i, times, starts, values, integers, flags)
                    else:
                        p = put_histogram(out, p, i - n, h_times, stats, shapes, bucket_starts, bounds, buckets)
                    p = copy(exemplars, exemplar_at[i], exemplar_at[i + 1] - exemplar_at[i], out, p)
                    p = copy(labels, places[series[i]], np.int64(label_sizes[series[i]]), out, p)
                    i = np.int64(next_row[i])
                p = _put_tail(out, p, metrics[m_nodes[m, WHAT], FIELD], metrics[m_nodes[m, WHAT], TAIL])
                m = m_nodes[m, NEXT]
            p = copy(heads, scopes[what, TAIL], scopes[what, TAIL + 1], out, p)
            s = s_nodes[s, NEXT]
        p = copy(heads, resources[part, TAIL], resources[part, TAIL + 1], out, p)
    return p


@kernel
def _tag(out: NDArray[np.uint8], p: int, tag: int) -> int:
    out[p] = tag
    return p + 1


@kernel
def _put_metric(
    out: NDArray[np.uint8],
    p: int,
    nodes: NDArray[np.int64],
    node: int,
    metrics: NDArray[np.int64],
    heads: NDArray[np.uint8],
) -> int:
    """Write a metric up to its points."""
    m = nodes[node, WHAT]
    p = put_varint(out, _tag(out, p, _TAG_2), nodes[node, SIZE])
    p = copy(heads, metrics[m, HEAD], metrics[m, HEAD + 1], out, p)
    return put_varint(out, _tag(out, p, metrics[m, FIELD] << 3 | 2), nodes[node, DATA_SIZE])


@kernel
def _put_tail(out: NDArray[np.uint8], p: int, field: int, tail: int) -> int:
    """Write what comes after the points of a metric."""
    if field in (_GAUGE, _SUMMARY):
        return p
    out[p] = 16
    out[p + 1] = tail & 3
    p += 2
    if tail & _MONOTONIC:
        out[p] = 24
        out[p + 1] = 1
        p += 2
    return p


@kernel
def _put_number(
    out: NDArray[np.uint8],
    p: int,
    i: int,
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    integers: NDArray[np.int64],
    flags: NDArray[np.uint8],
) -> int:
    """Write a number point up to its exemplars and attributes."""
    if starts[i] != 0:
        out[p] = _START
        store_u64(out, p + 1, np.uint64(starts[i]))
        p += 9
    out[p] = _TIME
    store_u64(out, p + 1, np.uint64(times[i]))
    p += 9
    if flags[i] & _STALE:
        out[p] = _FLAGS
        out[p + 1] = 1
        return p + 2
    # A processor may have made a fraction of an integer.
    if flags[i] & _INTEGER and (len(integers) or values[i] == np.floor(values[i])):
        out[p] = _INT
        store_u64(out, p + 1, np.uint64(integers[i] if len(integers) else np.int64(values[i])))
    else:
        out[p] = _DOUBLE
        store_u64(out, p + 1, np.uint64(float_bits(values[i])))
    return p + 9
