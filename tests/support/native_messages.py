"""Remote write requests with native histograms, made with protobuf's own library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from headrace.pipeline.native_histograms import NativeFlag

if TYPE_CHECKING:
    from native_rows import Row

_Field = descriptor_pb2.FieldDescriptorProto
_SCHEMA: dict[str, list[tuple[str, int, str, bool]]] = {
    "Label": [("name", 1, "string", False), ("value", 2, "string", False)],
    "Sample": [("value", 1, "double", False), ("timestamp", 2, "int64", False)],
    "Span": [("offset", 1, "sint32", False), ("length", 2, "uint32", False)],
    "Histogram": [
        ("count_int", 1, "uint64", False), ("count_float", 2, "double", False), ("sum", 3, "double", False),
        ("schema", 4, "sint32", False), ("zero_threshold", 5, "double", False), ("zero_count_int", 6, "uint64", False),
        ("zero_count_float", 7, "double", False), ("negative_spans", 8, "Span", True),
        ("negative_deltas", 9, "sint64", True), ("negative_counts", 10, "double", True),
        ("positive_spans", 11, "Span", True), ("positive_deltas", 12, "sint64", True),
        ("positive_counts", 13, "double", True), ("reset_hint", 14, "int32", False),
        ("timestamp", 15, "int64", False), ("custom_values", 16, "double", True),
    ],
    "TimeSeries": [("labels", 1, "Label", True), ("samples", 2, "Sample", True), ("histograms", 4, "Histogram", True)],
    "WriteRequest": [("timeseries", 1, "TimeSeries", True)],
}  # fmt: skip
_ONE_OF = ("count", "zero_count")


def _request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="native.proto", package="native", syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        if name == "Histogram":
            for choice in _ONE_OF:
                message.oneof_decl.add(name=choice)
        for field, number, kind, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            one = message.field.add(name=field, number=number, label=label)
            if kind[0].isupper():
                one.type, one.type_name = _Field.TYPE_MESSAGE, f".native.{kind}"
            else:
                one.type = getattr(_Field, f"TYPE_{kind.upper()}")
            choice = field.rpartition("_")[0]
            if name == "Histogram" and choice in _ONE_OF:
                one.oneof_index = _ONE_OF.index(choice)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("native.WriteRequest"))


WriteRequest = _request()


def _float(bits: int) -> float:
    return float(np.uint64(bits).view(np.float64))


def _fill(message: Any, time_ms: int, row: Row) -> None:
    message.timestamp, message.sum, message.schema = time_ms, _float(row.sum_bits), row.schema
    message.reset_hint, message.zero_threshold = row.hint, _float(row.threshold_bits)
    message.custom_values.extend(_float(bits) for bits in row.bounds_bits)
    size = sum(length for _, length in row.positive)
    for sign, spans, counts in (
        ("positive", row.positive, row.buckets[:size]),
        ("negative", row.negative, row.buckets[size:]),
    ):
        for offset, length in spans:
            getattr(message, f"{sign}_spans").add(offset=offset, length=length)
        if row.flags & NativeFlag.FLOAT_COUNTS:
            getattr(message, f"{sign}_counts").extend(map(_float, counts))
        else:
            getattr(message, f"{sign}_deltas").extend(b - a for a, b in zip((0, *counts), counts, strict=False))
    if row.flags & NativeFlag.FLOAT_COUNTS:
        message.count_float, message.zero_count_float = _float(row.count), _float(row.zero_count)
    else:
        message.count_int, message.zero_count_int = row.count, row.zero_count


def request(series: list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Row]]]]) -> Any:
    """Make a request of version 1.0 from labels, (ms, value) samples and (ms, histogram)."""
    made = WriteRequest()
    for labels, samples, histograms in series:
        one = made.timeseries.add()
        for name, text in labels.items():
            one.labels.add(name=name, value=text)
        for time_ms, value in samples:
            one.samples.add(timestamp=time_ms, value=value)
        for time_ms, row in histograms:
            _fill(one.histograms.add(), time_ms, row)
    return made
