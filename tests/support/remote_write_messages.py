"""Remote write requests made and read with protobuf's own library, as an oracle for the kernels."""

from __future__ import annotations

from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "int32": _Field.TYPE_INT32,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "uint64": _Field.TYPE_UINT64,
}

_HISTOGRAM: list[tuple[str, int, str, bool | str]] = [
    ("count_int", 1, "uint64", "count"),
    ("count_float", 2, "double", "count"),
    ("sum", 3, "double", False),
    ("schema", 4, "sint32", False),
    ("zero_threshold", 5, "double", False),
    ("zero_count_int", 6, "uint64", "zero_count"),
    ("zero_count_float", 7, "double", "zero_count"),
    ("negative_spans", 8, "BucketSpan", True),
    ("negative_deltas", 9, "sint64", True),
    ("negative_counts", 10, "double", True),
    ("positive_spans", 11, "BucketSpan", True),
    ("positive_deltas", 12, "sint64", True),
    ("positive_counts", 13, "double", True),
    ("reset_hint", 14, "int32", False),
    ("timestamp", 15, "int64", False),
    ("custom_values", 16, "double", True),
    ("start_timestamp", 17, "int64", False),
]

# Message: (name, number, type, repeated); a type with a capital is another message.
# In place of "repeated", a text is the name of the field's oneof.
_SCHEMA: dict[str, dict[str, list[tuple[str, int, str, bool | str]]]] = {
    "v1": {
        "Label": [("name", 1, "bytes", False), ("value", 2, "bytes", False)],
        "Sample": [("value", 1, "double", False), ("timestamp", 2, "int64", False)],
        "Exemplar": [("labels", 1, "Label", True), ("value", 2, "double", False), ("timestamp", 3, "int64", False)],
        "BucketSpan": [("offset", 1, "sint32", False), ("length", 2, "uint32", False)],
        "Histogram": _HISTOGRAM,
        "TimeSeries": [
            ("labels", 1, "Label", True),
            ("samples", 2, "Sample", True),
            ("exemplars", 3, "Exemplar", True),
            ("histograms", 4, "Histogram", True),
        ],
        "Metadata": [
            ("type", 1, "int32", False),
            ("metric_family_name", 2, "string", False),
            ("help", 4, "string", False),
            ("unit", 5, "string", False),
        ],
        "WriteRequest": [("timeseries", 1, "TimeSeries", True), ("metadata", 3, "Metadata", True)],
    },
    "v2": {
        "Sample": [
            ("value", 1, "double", False),
            ("timestamp", 2, "int64", False),
            ("start_timestamp", 3, "int64", False),
        ],
        "Exemplar": [
            ("labels_refs", 1, "uint32", True),
            ("value", 2, "double", False),
            ("timestamp", 3, "int64", False),
        ],
        "BucketSpan": [("offset", 1, "sint32", False), ("length", 2, "uint32", False)],
        "Histogram": _HISTOGRAM,
        "Metadata": [("type", 1, "int32", False), ("help_ref", 3, "uint32", False), ("unit_ref", 4, "uint32", False)],
        "TimeSeries": [
            ("labels_refs", 1, "uint32", True),
            ("samples", 2, "Sample", True),
            ("histograms", 3, "Histogram", True),
            ("exemplars", 4, "Exemplar", True),
            ("metadata", 5, "Metadata", False),
            ("created_timestamp", 6, "int64", False),
        ],
        "Request": [("symbols", 4, "string", True), ("timeseries", 5, "TimeSeries", True)],
    },
}


def _classes() -> dict[str, dict[str, Any]]:
    pool = descriptor_pool.DescriptorPool()
    for package, messages in _SCHEMA.items():
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        for name, fields in messages.items():
            message = file.message_type.add(name=name)
            for field, number, kind, repeated in fields:
                label = _Field.LABEL_REPEATED if repeated is True else _Field.LABEL_OPTIONAL
                if kind[0].isupper():
                    message.field.add(
                        name=field, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=f".{package}.{kind}"
                    )
                else:
                    made = message.field.add(name=field, number=number, label=label, type=_TYPES[kind])
                    if isinstance(repeated, str):
                        names = [one.name for one in message.oneof_decl]
                        if repeated not in names:
                            message.oneof_decl.add(name=repeated)
                            names.append(repeated)
                        made.oneof_index = names.index(repeated)
        pool.AddSerializedFile(file.SerializeToString())
    return {
        package: {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages
        }
        for package, messages in _SCHEMA.items()
    }


CLASSES = _classes()
WriteRequest: Any = CLASSES["v1"]["WriteRequest"]
Request: Any = CLASSES["v2"]["Request"]


def request_v1(series: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> Any:
    """Make a request of version 1.0 from labels and (ms, value) samples."""
    request = WriteRequest()
    for labels, samples in series:
        one = request.timeseries.add()
        for name, text in labels.items():
            one.labels.add(name=name.encode(), value=text.encode())
        for time_ms, value in samples:
            one.samples.add(timestamp=time_ms, value=value)
    return request


def request_v2(series: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> Any:
    """Make a request of version 2.0 from labels and (ms, value) samples."""
    request = Request()
    symbols = {"": 0}
    for labels, samples in series:
        one = request.timeseries.add()
        for text in (part for pair in labels.items() for part in pair):
            one.labels_refs.append(symbols.setdefault(text, len(symbols)))
        for time_ms, number in samples:
            one.samples.add(timestamp=time_ms, value=number)
    request.symbols.extend(symbols)
    return request


def packed(request: Any) -> bytes:
    """Serialise and compress."""
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
