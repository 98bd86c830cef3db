"""Prometheus names of OpenTelemetry metrics."""

from __future__ import annotations

import math

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import AttributeValue, Form, Kind, MetricType, Resource, Series, Temporality
from headrace.pipeline.otlp_names import (
    OtlpNames,
    attribute_text,
    canonical_float,
    label_name,
    labels_of,
    metric_name,
    target_info,
    target_labels,
)

COUNTER = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
GAUGE = Kind(MetricType.GAUGE)
SUM = Kind(MetricType.GAUGE, Temporality.CUMULATIVE, is_sum=True)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("system.cpu.time", "s", COUNTER, "system_cpu_time_seconds_total"),
        ("http.server.duration", "ms", Kind(MetricType.HISTOGRAM), "http_server_duration_milliseconds"),
        ("requests_total", "", COUNTER, "requests_total"),
        ("total.requests", "1", COUNTER, "requests_total"),
        ("disk.io", "By", COUNTER, "disk_io_bytes_total"),
        ("memory_bytes", "By", GAUGE, "memory_bytes"),
        ("cpu.utilization", "1", GAUGE, "cpu_utilization_ratio"),
        ("queue", "1", SUM, "queue"),
        ("speed", "m/s", GAUGE, "speed_meters_per_second"),
        ("rate", "{req}/s", GAUGE, "rate_per_second"),
        ("packets", "{packet}", COUNTER, "packets_total"),
        ("odd", "foo bar", GAUGE, "odd_foo_bar"),
        ("__a..b__", "", GAUGE, "a_b"),
        ("2xx", "", GAUGE, "_2xx"),
        ("a:b", "", GAUGE, "a:b"),
        ("temperature", "Cel", GAUGE, "temperature_celsius"),
    ],
)
def test_metric_names(name: str, unit: str, kind: Kind, expected: str) -> None:
    """Characters, units and suffixes follow Prometheus' default translation."""
    assert metric_name(name, unit, kind) == expected


@pytest.mark.parametrize("name", ["", "___", "äöü"])
def test_names_without_anything_are_refused(name: str) -> None:
    """A name of which nothing is left is an error that quotes it."""
    with pytest.raises(InvalidInput, match="has no character"):
        metric_name(name, "", GAUGE)


@pytest.mark.parametrize(
    ("key", "expected"),
    [("a.b", "a_b"), ("a..b", "a__b"), ("1a", "key_1a"), ("_a", "key_a"), ("__a", "__a"), ("ä", None), ("_", None)],
)
def test_label_names(key: str, expected: str | None) -> None:
    """Other characters become underscores; leading digits and single underscores get a prefix."""
    if expected is None:
        with pytest.raises(InvalidInput):
            label_name(key)
    else:
        assert label_name(key) == expected


def test_equal_labels_are_joined_in_the_order_of_their_keys() -> None:
    """Attributes that become one label keep all their values."""
    assert labels_of([("a_b", "2"), ("a.b", "1"), ("__name__", "x"), ("empty", "")]) == {"a_b": "1;2"}


def test_attribute_texts() -> None:
    """Values that are not strings have one text each."""
    values: list[AttributeValue] = ["x", True, 3, 1.5, 2.0, None, b"\x00\xff", ["a", 1], {"k": False}]
    assert [attribute_text(v) for v in values] == ["x", "true", "3", "1.5", "2", "", "AP8=", '["a",1]', '{"k":false}']


def test_target_of_a_resource() -> None:
    """Job and instance come from the service; what else is known goes into target_info."""
    resource = Resource(
        (("host.name", "h"), ("service.instance.id", "i"), ("service.name", "n"), ("service.namespace", "s"))
    )
    assert target_labels(resource) == {"job": "s/n", "instance": "i"}
    info = target_info(resource)
    assert info is not None
    assert str(info) == 'target_info{host_name="h", instance="i", job="s/n"}'
    assert target_info(Resource((("host.name", "h"),))) is None
    assert target_info(Resource((("service.name", "n"),))) is None


def test_translation_of_a_series() -> None:
    """Attributes, resource and unit all end in Prometheus labels; others pass untouched."""
    names = OtlpNames()
    otlp = Series(
        (("__name__", "system.cpu.time"), ("cpu", "0")),
        Form.OTLP,
        COUNTER,
        "s",
        Resource((("service.name", "x"),)),
    )
    assert str(names.admit(otlp)) == 'system_cpu_time_seconds_total{cpu="0", job="x"}'
    plain = Series.of(__name__="up")
    assert names.admit(plain) is plain
    assert names.admit(Series((("__name__", "ä"),), Form.OTLP)) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0.0"), (1, "1.0"), (10, "10.0"), (0.1, "0.1"), (0.005, "0.005"), (1e-5, "1e-05"), (123456.0, "123456.0"),
        (1234567.0, "1.234567e+06"), (1e6, "1e+06"), (2.5, "2.5"), (-3, "-3.0"), (1e21, "1e+21"), (1e300, "1e+300"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (0.00012, "0.00012"), (1000000.5, "1.0000005e+06"),
    ],
)  # fmt: skip
def test_canonical_floats(value: float, expected: str) -> None:
    """Bounds have one text, the shortest that reads back, with exponents as Go's %g has them."""
    assert canonical_float(value) == expected
