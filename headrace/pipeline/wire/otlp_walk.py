"""OTLP metrics requests as columns that still point into the request; no series table is asked here.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.kernels.bits import PAD
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.series import UNKNOWN
from headrace.pipeline.wire import otlp_bucket_kernels as bucket_kernels
from headrace.pipeline.wire import otlp_count_kernels as count_kernels
from headrace.pipeline.wire import otlp_kernels as kernels
from headrace.pipeline.wire import otlp_label_kernels as label_kernels
from headrace.pipeline.wire import otlp_point_kernels as points
from headrace.pipeline.wire import protobuf_kernels as protobuf

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ITEMS = 1 << 20
"""Resources, scopes, metrics, points, exemplars, labels of exemplars: most of each in one request."""

MAX_BUCKETS = 1 << 22
"""Buckets and quantiles in one request."""

MAX_BYTES = (1 << 31) - 64
"""Offsets have 32 bits."""

_REWRITTEN_BYTES = 4 << 20
"""Requests of an unusual shape are rewritten by protobuf's library, which takes much memory for each byte."""

_NAME = np.frombuffer(METRIC_NAME.encode(), np.uint8)
_TRACE_NAMES = np.frombuffer(b"trace_idspan_id", np.uint8)

_FAULTS = {
    protobuf.TRUNCATED: "a field passes the end of its message",
    protobuf.BAD_WIRE_TYPE: "a field has an unknown wire type",
    protobuf.BAD_VARINT: "a number has more than 64 bits",
    points.IRREGULAR: "a message is in several parts, or numbers are not packed",
}
_LEVELS = ("the request", "ResourceMetrics", "ScopeMetrics", "Metric", "the points of a Metric", "a data point")

ATTRIBUTE_TAG = np.zeros(12, np.int32)
"""Tag of a point's attributes by the field of the metric that holds the point."""
ATTRIBUTE_TAG[[kernels.GAUGE, kernels.SUM, kernels.EXPLICIT, kernels.EXPONENTIAL, kernels.SUMMARY]] = 58, 58, 74, 10, 58

_EXEMPLAR_TAG = np.zeros(12, np.int32)
_EXEMPLAR_TAG[[kernels.GAUGE, kernels.SUM, kernels.EXPLICIT, kernels.EXPONENTIAL]] = 42, 42, 66, 90


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Number points, or histogram points.

    Attributes:
        rows: (k, ROW) or (k, H_ROW) int32, see the kernels.
        keys: (k, 2) uint64 raw keys.
        times: (k,) int64 nanoseconds.
        starts: (k,) int64 nanoseconds, 0 for unknown.
        flags: (k,) uint8 of `headrace.pipeline.batch.Flag`.
        faults: (k,) uint8 why a point cannot be taken, 0 where it can.
        ids: (k,) int32 ids, or refusals; UNKNOWN for points with a fault. `headrace.pipeline.wire.otlp` fills it.
    """

    rows: NDArray[np.int32]
    keys: NDArray[np.uint64]
    times: NDArray[np.int64]
    starts: NDArray[np.int64]
    flags: NDArray[np.uint8]
    faults: NDArray[np.uint8]
    ids: NDArray[np.int32]

    @classmethod
    def room(cls, size: int, columns: int) -> Points:
        """Return room for `size` points."""
        return cls(
            np.empty((size, columns), np.int32),
            np.empty((size, 2), np.uint64),
            np.empty(size, np.int64),
            np.empty(size, np.int64),
            np.empty(size, np.uint8),
            np.empty(size, np.uint8),
            np.full(size, UNKNOWN, np.int32),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def metric(self) -> NDArray[np.int32]:
        """(k,) int32 row of each point's metric."""
        return self.rows[:, points.METRIC]


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Buckets of histograms and quantiles of summaries, as in `headrace.pipeline.batch.HistogramColumns`."""

    starts: NDArray[np.int64]
    bounds: NDArray[np.float64]
    counts: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Exemplars:
    """Exemplars of number points or of histogram points.

    Attributes:
        owners: (e,) int32 index of the point.
        times: (e,) int64 nanoseconds, 0 for none.
        values: (e,) float64.
        starts: (e + 1,) int32.
        spans: (l, 4) int32.
        arena: uint8.
    """

    owners: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    starts: NDArray[np.int32]
    spans: NDArray[np.int32]
    arena: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A request.

    Attributes:
        buf: Its bytes, PAD zeros, ``__name__`` and PAD zeros.
        size: How many bytes it has.
        resources: (r, SCOPE_COLUMNS) int32, see `otlp_kernels`.
        scopes: (s, SCOPE_COLUMNS) int32.
        metrics: (m, METRIC_COLUMNS) int32.
        told: (m, 2) uint64 hash of what each metric says about its family.
        numbers: Number points.
        values: (k,) float64 of the number points.
        integers: (k,) int64 of those that were integers.
        histograms: Histogram and summary points.
        stats: (h, STATS) float64 of those.
        buckets: Of those.
        rewritten: Whether the bytes are not those that were sent, because the kernels cannot read those.
    """

    buf: NDArray[np.uint8]
    size: int
    resources: NDArray[np.int32]
    scopes: NDArray[np.int32]
    metrics: NDArray[np.int32]
    told: NDArray[np.uint64]
    numbers: Points
    values: NDArray[np.float64]
    integers: NDArray[np.int64]
    histograms: Points
    stats: NDArray[np.float64]
    buckets: Buckets
    rewritten: bool = False

    @property
    def name_at(self) -> int:
        """Offset of ``__name__`` in `buf`."""
        return self.size + PAD

    def cut(self, row: NDArray[np.int32], column: int) -> bytes:
        """Return the bytes whose offset and size stand at `column` of a row."""
        first, size = row[column : column + 2].tolist()
        return self.buf[first : first + size].tobytes()

    def fields(self, of: Points) -> NDArray[np.int32]:
        """Return the (k,) field of the metric that holds each point."""
        fields: NDArray[np.int32] = self.metrics[of.metric, kernels.FIELD]
        return fields

    def exemplars(self, of: Points) -> Exemplars | None:
        """Return the exemplars of points, None without any.

        Raises:
            InvalidInput: They do not decode.
            TooLarge: There are too many.
        """
        having = np.flatnonzero(of.rows[:, points.EXEMPLARS])
        amount = int(of.rows[:, points.EXEMPLARS].sum(dtype=np.int64))
        if not amount:
            return None
        _bound("exemplars", amount, MAX_ITEMS)
        chosen = having.astype(np.int32)
        tags = _EXEMPLAR_TAG[self.fields(of)[having]]
        where = np.array([0, points.IN_POINT])
        sizes = np.zeros(2, np.int64)
        out = Exemplars(
            np.empty(amount, np.int32),
            np.empty(amount, np.int64),
            np.empty(amount, np.float64),
            np.zeros(amount + 1, np.int32),
            np.empty((0, 4), np.int32),
            np.empty(0, np.uint8),
        )
        for _ in range(2):
            status = label_kernels.exemplars(
                self.buf, of.rows, chosen, tags, out.owners, out.times, out.values, out.starts, out.spans, out.arena,
                sizes, where,
            )  # fmt: skip
            checked(status, where)
            _bound("labels of exemplars", int(sizes[0]), MAX_ITEMS)
            if not len(out.arena):
                arena = np.zeros(int(sizes[1]) + PAD, np.uint8)
                arena[: label_kernels.NAMES] = _TRACE_NAMES
                spans = np.empty((int(sizes[0]), 4), np.int32)
                out = Exemplars(out.owners, out.times, out.values, out.starts, spans, arena)
        return out


class _Irregular(Exception):  # noqa: N818 -- named for the condition
    """The request has a shape that the kernels do not read."""


def walk(data: bytes | memoryview, k0: np.uint64, k1: np.uint64) -> Walk:
    """Read an ExportMetricsServiceRequest.

    Args:
        data: The message.
        k0: Lower half of the key that raw keys are hashed with.
        k1: Upper half.

    Raises:
        InvalidInput: It does not decode.
        TooLarge: It has more parts than a request may have.
    """
    try:
        return _walk(data, k0, k1)
    except _Irregular as error:
        if len(data) > _REWRITTEN_BYTES:
            raise InvalidInput(f"{error}; that is taken in requests of up to {_REWRITTEN_BYTES} bytes") from None
    try:
        rewritten = ExportMetricsServiceRequest.FromString(bytes(data)).SerializeToString()
        return replace(_walk(rewritten, k0, k1), rewritten=True)
    except (DecodeError, _Irregular) as error:
        raise InvalidInput(f"OTLP: the request does not decode: {error}") from None


def _walk(data: bytes | memoryview, k0: np.uint64, k1: np.uint64) -> Walk:
    size = len(data)
    if size > MAX_BYTES:
        raise TooLarge("OTLP request", size, MAX_BYTES)
    buf = np.zeros(size + 2 * PAD + len(_NAME), np.uint8)
    buf[:size] = np.frombuffer(data, np.uint8)
    buf[size + PAD : size + PAD + len(_NAME)] = _NAME
    where = np.zeros(2, np.int64)
    counts = np.zeros(count_kernels.COUNTS, np.int64)
    checked(count_kernels.count(buf, size, counts, where), where)
    r, s, m, k, h = counts.tolist()
    for what, amount in (("resources", r), ("scopes", s), ("metrics", m), ("data points", k + h)):
        _bound(what, amount, MAX_ITEMS)
    resources = np.zeros((r, kernels.SCOPE_COLUMNS), np.int32)
    scopes = np.zeros((s, kernels.SCOPE_COLUMNS), np.int32)
    metrics = np.zeros((m, kernels.METRIC_COLUMNS), np.int32)
    told = np.empty((m, 2), np.uint64)
    numbers, many = Points.room(k, points.ROW), Points.room(h, points.H_ROW)
    values, integers, stats = np.empty(k), np.empty(k, np.int64), np.empty((h, points.STATS))
    scratch = np.empty(size + 2 * PAD, np.uint8)
    status = kernels.read(
        buf, size, k0, k1, resources, scopes, metrics, told, scratch,
        numbers.rows, numbers.keys, numbers.times, numbers.starts, values, integers, numbers.flags, numbers.faults,
        many.rows, many.keys, many.times, many.starts, stats, many.flags, many.faults, where,
    )  # fmt: skip
    checked(status, where)
    buckets = _buckets(buf, many, stats, where)
    return Walk(
        buf, size, resources, scopes, metrics, told, numbers, values, integers, many, stats, buckets
    )  # fmt: skip


def _buckets(buf: NDArray[np.uint8], many: Points, stats: NDArray[np.float64], where: NDArray[np.int64]) -> Buckets:
    starts = np.zeros(len(many) + 1, np.int64)
    np.cumsum(many.rows[:, points.BUCKETS], out=starts[1:])
    amount = int(starts[-1])
    _bound("buckets", amount, MAX_BUCKETS)
    buckets = Buckets(starts, np.empty(amount), np.empty(amount))
    if len(many):
        status = bucket_kernels.read_buckets(
            buf, many.rows, stats, starts, buckets.bounds, buckets.counts, many.flags, many.faults, where
        )
        checked(status, where)
    return buckets


def _bound(what: str, amount: int, limit: int) -> None:
    if amount > limit:
        raise TooLarge(f"OTLP request: number of {what}", amount, limit)


def checked(status: int, where: NDArray[np.int64]) -> int:
    """Return the status of a kernel.

    Raises:
        InvalidInput: It is that of a fault.
    """
    if status >= 0:
        return status
    offset, level = where.tolist()
    why = f"OTLP: the request does not decode: {_FAULTS[status]}, in {_LEVELS[level]} at byte {offset}"
    if status == points.IRREGULAR:
        raise _Irregular(why)
    raise InvalidInput(why)
