"""OTLP metrics requests: a plain reading by protobuf's classes, random requests, and their bytes in other orders."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.otlp_names import attribute_text

if TYPE_CHECKING:
    import random

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
NAN = math.nan
NUMBERS = ("gauge", "sum")
HISTOGRAMS = ("histogram", "exponential_histogram", "summary")


@dataclass
class Read:
    """What a request says.

    Attributes:
        numbers: (series, time, start, bits of the value, is integer, is stale).
        histograms: (series, time, start, is stale, everything else as a tuple of bits).
        rejected: Points that cannot be taken.
    """

    numbers: list[tuple[Any, ...]] = field(default_factory=list)
    histograms: list[tuple[Any, ...]] = field(default_factory=list)
    rejected: int = 0


def bits(value: float) -> int:
    """Return the bit pattern of a double."""
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def read(message: ExportMetricsServiceRequest) -> Read:
    """Read a request, point by point."""
    out = Read()
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                which: str = metric.WhichOneof("data") or ""
                for point in getattr(metric, which).data_points if which else ():
                    series = _series(resource, scope, metric, which, point)
                    row = _number(point) if which in NUMBERS else _histogram(which, point)
                    if series is None or row is None:
                        out.rejected += 1
                    else:
                        (out.numbers if which in NUMBERS else out.histograms).append((series, *row))
    return out


def _series(resource: Any, scope: Any, metric: Any, which: str, point: Any) -> Series | None:
    labels: dict[str, str] = {}
    types = []
    for one in point.attributes:
        text = attribute_text(_value(one.value))
        if one.key == "__name__" or (one.key and not text):
            continue
        if not one.key or one.key in labels or len(one.key.encode()) > 1024 or len(text.encode()) > 65_536:
            return None
        labels[one.key] = text
        if one.value.WhichOneof("value") != "string_value":
            types.append((one.key, one.value.WhichOneof("value").removesuffix("_value")))
    if not metric.name or len(metric.name.encode()) > 65_536 or len(labels) > 511:
        return None
    kind = _kind(which, getattr(metric, which))
    if kind is None:
        return None
    entity = _resource(resource)
    library = _scope(scope)
    pairs = tuple(sorted({**labels, "__name__": metric.name}.items(), key=lambda pair: pair[0].encode()))
    return Series(pairs, Form.OTLP, kind, metric.unit, entity, library, tuple(sorted(types)))


def _kind(which: str, data: Any) -> Kind | None:
    if which == "gauge":
        return Kind(MetricType.GAUGE)
    if which == "summary":
        return Kind(MetricType.SUMMARY)
    if data.aggregation_temporality not in {1, 2}:
        return None
    temporality = Temporality(data.aggregation_temporality)
    if which == "sum":
        type_ = MetricType.COUNTER if data.is_monotonic else MetricType.GAUGE
        return Kind(type_, temporality, is_sum=not data.is_monotonic)
    return Kind(MetricType.HISTOGRAM, temporality, is_exponential=which == "exponential_histogram")


def _resource(resource: Any) -> Resource | None:
    if not resource.resource.ByteSize() and not resource.schema_url:
        return None
    return Resource(_attributes(resource.resource.attributes), resource.schema_url)


def _scope(scope: Any) -> Scope | None:
    if not scope.scope.ByteSize() and not scope.schema_url:
        return None
    one = scope.scope
    return Scope(one.name, one.version, _attributes(one.attributes), scope.schema_url)


def _attributes(attributes: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted({one.key: _value(one.value) for one in attributes}.items(), key=lambda pair: pair[0]))


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_value(one) for one in value.array_value.values]
    if which == "kvlist_value":
        return {one.key: _value(one.value) for one in value.kvlist_value.values}
    return getattr(value, which)


def _times(point: Any) -> tuple[int, int] | None:
    if not 0 < point.time_unix_nano < 2**63:
        return None
    return point.time_unix_nano, point.start_time_unix_nano if point.start_time_unix_nano < 2**63 else 0


def _number(point: Any) -> tuple[Any, ...] | None:
    times = _times(point)
    if times is None:
        return None
    if point.flags & 1:
        return (*times, bits(STALE), False, True)
    which = point.WhichOneof("value")
    if which is None:
        return None
    value = float(getattr(point, which))
    return (*times, bits(value), which == "as_int", bits(value) == bits(STALE))


def _histogram(which: str, point: Any) -> tuple[Any, ...] | None:
    times = _times(point)
    if times is None:
        return None
    stale = bool(point.flags & 1)
    kind = HISTOGRAMS.index(which)
    total = point.sum if which == "summary" or point.HasField("sum") else NAN
    low, high = (NAN, NAN) if which == "summary" else (_optional(point, "min"), _optional(point, "max"))
    shape: tuple[Any, ...] = (0, 0.0, 0.0, 0, 0, 0)
    if which == "histogram":
        bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
        ascending = all(a < b for a, b in zip([-math.inf, *bounds], [*bounds, math.inf], strict=True))
        fits = len(counts) == len(bounds) + 1 or not (counts or bounds)
        if not stale and not (ascending and fits):
            return None
        if stale:
            bounds, counts = [], []
        counts = counts or [point.count]
        bounds = [*bounds, math.inf]
    elif which == "summary":
        bounds = [one.quantile for one in point.quantile_values]
        counts = [one.value for one in point.quantile_values]
    else:
        positive, negative = point.positive, point.negative
        counts = [*positive.bucket_counts, *negative.bucket_counts]
        bounds = [0.0] * len(counts)
        shape = (
            point.scale, float(point.zero_count), point.zero_threshold, positive.offset, negative.offset,
            len(positive.bucket_counts),
        )  # fmt: skip
    numbers = (float(point.count), STALE if stale else total, low, high)
    buckets = () if stale else (tuple(map(bits, bounds)), tuple(bits(float(one)) for one in counts))
    rest = tuple(bits(one) if isinstance(one, float) else one for one in (*numbers, *shape))
    return (*times, stale, kind, rest, buckets)


def _optional(point: Any, name: str) -> float:
    return float(getattr(point, name)) if point.HasField(name) else NAN


# -- random requests ------------------------------------------------------------------------------------------


def make(rng: random.Random) -> ExportMetricsServiceRequest:
    """Make a random request that protobuf takes; some of its points are no good."""
    message = ExportMetricsServiceRequest()
    for _ in range(rng.randint(0, 3)):
        resource = message.resource_metrics.add(schema_url=rng.choice(["", "", "https://s"]))
        if rng.random() < 0.8:
            _fill(rng, resource.resource.attributes)
        for _ in range(rng.randint(0, 2)):
            scope = resource.scope_metrics.add(schema_url=rng.choice(["", "", "https://t"]))
            if rng.random() < 0.7:
                scope.scope.name = rng.choice(["", "lib"])
                _fill(rng, scope.scope.attributes)
            for _ in range(rng.randint(0, 4)):
                _metric(rng, scope.metrics.add(name=rng.choice(["a", "b.c", "ö", ""]), unit=rng.choice(["", "By"])))
    return message


def _metric(rng: random.Random, metric: Any) -> None:
    metric.description = rng.choice(["", "What it is."])
    which = rng.choice([*NUMBERS, *HISTOGRAMS, None])
    if which is None:
        return
    data = getattr(metric, which)
    data.SetInParent()
    if which not in {"gauge", "summary"}:
        data.aggregation_temporality = rng.choice([0, 1, 2, 2, 2])
    if which == "sum":
        data.is_monotonic = rng.random() < 0.5
    for _ in range(rng.randint(0, 4)):
        point = data.data_points.add()
        _fill(rng, point.attributes)
        point.time_unix_nano = rng.choice([0, 1, 1_700_000_000_000_000_000, 2**63 - 1, 2**63])
        point.start_time_unix_nano = rng.choice([0, 5, 2**64 - 1])
        point.flags = rng.choice([0, 0, 0, 1, 2, 3])
        if which in NUMBERS:
            _random_number(rng, point)
        else:
            _random_histogram(rng, which, point)


def _random_number(rng: random.Random, point: Any) -> None:
    which = rng.randint(0, 4)
    if which == 0:
        point.as_int = rng.choice([0, -5, 2**63 - 1, -(2**63), 2**53 + 1])
    elif which < 4:
        point.as_double = rng.choice([0.0, -0.0, math.inf, NAN, STALE, rng.random()])
    _exemplars(rng, point)


def _random_histogram(rng: random.Random, which: str, point: Any) -> None:
    point.count = rng.choice([0, 3, 2**64 - 1])
    if rng.random() < 0.7:
        point.sum = rng.choice([0.0, -1.5, NAN])
    if which == "summary":
        for _ in range(rng.randint(0, 3)):
            point.quantile_values.add(quantile=rng.random(), value=rng.random())
        return
    _exemplars(rng, point)
    if rng.random() < 0.5:
        point.min = -1.0
        point.max = 4.0
    if which == "histogram":
        size = rng.randint(0, 4)
        point.explicit_bounds.extend(sorted(rng.random() for _ in range(size)))
        if size and rng.random() < 0.1:
            point.explicit_bounds[0] = rng.choice([NAN, math.inf])
        point.bucket_counts.extend(
            rng.randint(0, 9) for _ in range(rng.choice([size + 1, size + 1, size + 1, size, 0]))
        )
        return
    point.scale = rng.randint(-10, 20)
    point.zero_count = rng.randint(0, 3)
    point.zero_threshold = rng.choice([0.0, 1e-9])
    for one in (point.positive, point.negative):
        if rng.random() < 0.7:
            one.offset = rng.choice([0, -7, 2**31 - 1, -(2**31)])
            one.bucket_counts.extend(rng.choice([0, 1, 127, 128, 2**64 - 1]) for _ in range(rng.randint(0, 5)))


def _exemplars(rng: random.Random, point: Any) -> None:
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        one = point.exemplars.add(time_unix_nano=rng.choice([0, 7]), as_double=rng.random())
        _fill(rng, one.filtered_attributes)
        if rng.random() < 0.5:
            one.trace_id = rng.randbytes(16)


def _fill(rng: random.Random, attributes: Any) -> None:
    for _ in range(rng.randint(0, 3)):
        value = attributes.add(
            key=rng.choice(["k", "l", "service.name", "m.n", "__name__", "ü", ""] + ["p", "q"] * 3)
        ).value
        which = rng.randint(0, 9)
        if which == 0:
            value.int_value = rng.choice([0, -3, 200])
        elif which == 1:
            value.bool_value = rng.random() < 0.5
        elif which == 2:
            value.double_value = rng.choice([0.5, NAN, 1e300])
        elif which == 3:
            value.bytes_value = rng.randbytes(2)
        elif which == 4:
            value.array_value.values.add().string_value = "x"
        elif which == 5:
            value.kvlist_value.values.add(key="y").value.int_value = 1
        elif which > 6:
            value.string_value = rng.choice(["", "v", "w", "ß", "x" * 200])


# -- bytes ----------------------------------------------------------------------------------------------------

_NUMBER: dict[int, Any] = {5: {7: {}}, 7: {}}
_EXPLICIT: dict[int, Any] = {8: {7: {}}, 9: {}}
_EXPONENTIAL: dict[int, Any] = {1: {}, 8: {}, 9: {}, 11: {7: {}}}
_METRIC = {5: {1: _NUMBER}, 7: {1: _NUMBER}, 9: {1: _EXPLICIT}, 10: {1: _EXPONENTIAL}, 11: {1: {6: {}, 7: {}}}}
REQUEST: dict[int, Any] = {1: {1: {1: {}}, 2: {1: {3: {}}, 2: _METRIC}}}
"""Which fields of which messages are messages."""


def fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """Split a message into number, wire type and whole bytes (tag included) of each field."""
    out = []
    p = 0
    while p < len(data):
        first = p
        tag, p = _varint(data, p)
        if tag & 7 == 0:
            _, p = _varint(data, p)
        elif tag & 7 == 2:
            size, p = _varint(data, p)
            p += size
        else:
            p += 8 if tag & 7 == 1 else 4
        out.append((tag >> 3, tag & 7, data[first:p]))
    return out


def shuffled(data: bytes, rng: random.Random, shape: dict[int, Any] | None = None) -> bytes:
    """Return a message with the fields of different numbers in another order, at every depth."""
    shape = REQUEST if shape is None else shape
    groups: dict[int, list[bytes]] = {}
    for number, _, whole in fields(data):
        inner = whole
        if number in shape:
            body = _body(whole)
            moved = shuffled(body, rng, shape[number])
            inner = whole[: len(whole) - len(body)] + moved
        groups.setdefault(number, []).append(inner)
    order = [number for number, group in groups.items() for _ in group]
    rng.shuffle(order)
    waiting = {number: iter(group) for number, group in groups.items()}
    return b"".join(next(waiting[number]) for number in order)


def _body(whole: bytes) -> bytes:
    _, p = _varint(whole, 0)
    _, p = _varint(whole, p)
    return whole[p:]


def _varint(data: bytes, p: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[p]
        p += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, p


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with some damage."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        where = rng.randint(0, len(out))
        which = rng.randint(0, 3)
        if which == 0 and where < len(out):
            out[where] = rng.randrange(256)
        elif which == 1:
            del out[where : where + rng.choice([1, 1, 4])]
        elif which == 2:
            out[where:where] = rng.randbytes(rng.choice([1, 1, 3]))
        elif where < len(out):
            out[where] ^= 1 << rng.randrange(8)
    return bytes(out)
