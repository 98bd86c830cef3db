"""``io.prometheus.client`` messages, made with protobuf's own library, to read pages with."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCHEMA = {
    "LabelPair": "name 1 string|value 2 string",
    "Timestamp": "seconds 1 int64|nanos 2 int32",
    "Exemplar": "label 1 LabelPair *|value 2 double|timestamp 3 Timestamp",
    "Gauge": "value 1 double",
    "Untyped": "value 1 double",
    "Counter": "value 1 double|exemplar 2 Exemplar|created_timestamp 3 Timestamp",
    "Quantile": "quantile 1 double|value 2 double",
    "Summary": "sample_count 1 uint64|sample_sum 2 double|quantile 3 Quantile *|created_timestamp 4 Timestamp",
    "BucketSpan": "offset 1 sint32|length 2 uint32",
    "Bucket": "cumulative_count 1 uint64|upper_bound 2 double|exemplar 3 Exemplar|cumulative_count_float 4 double",
    "Histogram": (
        "sample_count 1 uint64|sample_sum 2 double|bucket 3 Bucket *|sample_count_float 4 double|schema 5 sint32"
        "|zero_threshold 6 double|zero_count 7 uint64|zero_count_float 8 double|negative_span 9 BucketSpan *"
        "|negative_delta 10 sint64 *|negative_count 11 double *|positive_span 12 BucketSpan *"
        "|positive_delta 13 sint64 *|positive_count 14 double *|created_timestamp 15 Timestamp|exemplars 16 Exemplar *"
    ),
    "Metric": (
        "label 1 LabelPair *|gauge 2 Gauge|counter 3 Counter|summary 4 Summary|untyped 5 Untyped|timestamp_ms 6 int64"
        "|histogram 7 Histogram"
    ),
    "MetricFamily": "name 1 string|help 2 string|type 3 int32|metric 4 Metric *|unit 5 string",
}


def _family() -> Any:
    # proto2, as the original: whether a field is there can be seen, and lists of numbers are not packed.
    file = descriptor_pb2.FileDescriptorProto(name="families.proto", package="families", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for text in fields.split("|"):
            field, number, kind, *repeated = text.split()
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            one = message.field.add(name=field, number=int(number), label=label)
            if kind[0].isupper():
                one.type, one.type_name = _Field.TYPE_MESSAGE, f".families.{kind}"
            else:
                one.type = getattr(_Field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("families.MetricFamily"))


MetricFamily = _family()


def families(page: bytes) -> list[Any]:
    """Return the messages of a page, each of which stands behind its length."""
    found = []
    pos = 0
    while pos < len(page):
        size = shift = 0
        while True:
            byte = page[pos]
            pos += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.append(MetricFamily.FromString(page[pos : pos + size]))
        pos += size
    assert pos == len(page)
    return found
