"""Protobuf expositions, made with protobuf's own library, and a plain reading of them."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]

from headrace.pipeline.otlp_names import canonical_float

PROTO = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)

_Field = descriptor_pb2.FieldDescriptorProto
_SCHEMA: dict[str, list[tuple[str, int, str, bool]]] = {
    "Timestamp": [("seconds", 1, "int64", False), ("nanos", 2, "int32", False)],
    "LabelPair": [("name", 1, "string", False), ("value", 2, "string", False)],
    "Exemplar": [("label", 1, "LabelPair", True), ("value", 2, "double", False), ("timestamp", 3, "Timestamp", False)],
    "Gauge": [("value", 1, "double", False)],
    "Counter": [
        ("value", 1, "double", False), ("exemplar", 2, "Exemplar", False), ("created_timestamp", 3, "Timestamp", False)
    ],
    "Quantile": [("quantile", 1, "double", False), ("value", 2, "double", False)],
    "Summary": [
        ("sample_count", 1, "uint64", False), ("sample_sum", 2, "double", False), ("quantile", 3, "Quantile", True),
        ("created_timestamp", 4, "Timestamp", False),
    ],
    "Untyped": [("value", 1, "double", False)],
    "Bucket": [
        ("cumulative_count", 1, "uint64", False), ("cumulative_count_float", 4, "double", False),
        ("upper_bound", 2, "double", False), ("exemplar", 3, "Exemplar", False),
    ],
    "BucketSpan": [("offset", 1, "sint32", False), ("length", 2, "uint32", False)],
    "Histogram": [
        ("sample_count", 1, "uint64", False), ("sample_count_float", 4, "double", False),
        ("sample_sum", 2, "double", False), ("bucket", 3, "Bucket", True),
        ("created_timestamp", 15, "Timestamp", False), ("schema", 5, "sint32", False),
        ("zero_threshold", 6, "double", False), ("zero_count", 7, "uint64", False),
        ("zero_count_float", 8, "double", False), ("negative_span", 9, "BucketSpan", True),
        ("negative_delta", 10, "sint64", True), ("negative_count", 11, "double", True),
        ("positive_span", 12, "BucketSpan", True), ("positive_delta", 13, "sint64", True),
        ("positive_count", 14, "double", True), ("exemplars", 16, "Exemplar", True),
    ],
    "Metric": [
        ("label", 1, "LabelPair", True), ("gauge", 2, "Gauge", False), ("counter", 3, "Counter", False),
        ("summary", 4, "Summary", False), ("untyped", 5, "Untyped", False), ("histogram", 7, "Histogram", False),
        ("timestamp_ms", 6, "int64", False),
    ],
    "MetricFamily": [
        ("name", 1, "string", False), ("help", 2, "string", False), ("type", 3, "int32", False),
        ("metric", 4, "Metric", True), ("unit", 5, "string", False),
    ],
}  # fmt: skip


def _family() -> Any:
    # Version 2 of the language: fields have presence, and repeated numbers come one by one, as client libraries do.
    file = descriptor_pb2.FileDescriptorProto(name="exposition.proto", package="exposition", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            one = message.field.add(name=field, number=number, label=label)
            if kind[0].isupper():
                one.type, one.type_name = _Field.TYPE_MESSAGE, f".exposition.{kind}"
            else:
                one.type = getattr(_Field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("exposition.MetricFamily"))


MetricFamily = _family()


def family(name: str, kind: int, *metrics: dict[str, Any], **more: Any) -> Any:
    """Make a family; a metric is its ``labels`` and the fields of its message."""
    made = MetricFamily(name=name, type=kind, **more)
    for metric in metrics:
        fields = dict(metric)
        labels = fields.pop("labels", {})
        made.metric.add(label=[{"name": label, "value": value} for label, value in labels.items()], **fields)
    return made


def page(*families: Any) -> bytes:
    """Write families one after the other, each behind its length."""
    parts = [made.SerializeToString() for made in families]
    return b"".join(_VarintBytes(len(part)) + part for part in parts)


Sample = tuple[tuple[tuple[str, str], ...], "float | str", int, int]
"""Labels, value (``native`` for native histograms), milliseconds and created milliseconds, 0 for none."""


def plain_reading(*families: Any, native: bool, classic: bool) -> list[Sample]:
    """Return the samples of a page, as the exposition format describes them."""
    found: list[Sample] = []
    for one in families:
        for metric in one.metric:
            found += _samples(one, metric, native=native, classic=classic)
    return found


def _samples(one: Any, metric: Any, *, native: bool, classic: bool) -> list[Sample]:
    labels = [(pair.name, pair.value) for pair in metric.label]

    def sample(value: float | str, created: int, suffix: str = "", *more: tuple[str, str]) -> Sample:
        return (("__name__", one.name + suffix), *labels, *more), value, metric.timestamp_ms, created

    if one.type in {HISTOGRAM, GAUGE_HISTOGRAM}:
        histogram = metric.histogram
        created = _milliseconds(histogram)
        is_native = native and bool(
            histogram.positive_span or histogram.negative_span or histogram.zero_threshold > 0
            or histogram.zero_count > 0 or histogram.zero_count_float > 0
        )  # fmt: skip
        found = [sample("native", created)] if is_native else []
        if is_native and not classic:
            return found
        count = histogram.sample_count_float or float(histogram.sample_count)
        found += [sample(count, created, "_count"), sample(histogram.sample_sum, created, "_sum")]
        buckets = [(b.upper_bound, b.cumulative_count_float or float(b.cumulative_count)) for b in histogram.bucket]
        if not any(bound == math.inf for bound, _ in buckets):
            buckets.append((math.inf, count))
        return found + [sample(n, created, "_bucket", ("le", canonical_float(bound))) for bound, n in buckets]
    if one.type == SUMMARY:
        summary = metric.summary
        created = _milliseconds(summary)
        quantiles = [sample(q.value, created, "", ("quantile", canonical_float(q.quantile))) for q in summary.quantile]
        return [
            *quantiles, sample(summary.sample_sum, created, "_sum"),
            sample(float(summary.sample_count), created, "_count"),
        ]  # fmt: skip
    if one.type == COUNTER:
        return [sample(metric.counter.value, _milliseconds(metric.counter))]
    return [sample((metric.gauge if one.type == GAUGE else metric.untyped).value, 0)]


def _milliseconds(value: Any) -> int:
    stamp = value.created_timestamp
    return int(stamp.seconds) * 1000 + int(stamp.nanos) // 1_000_000
