"""Names, labels and ``target_info`` under the choices that exporters offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.pipeline.chain import Stage
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.naming import Naming, ResourceConversionConfig, ResourceLabels, ResourceLabelsConfig, Strategy
from headrace.pipeline.otlp_names import metric_name, prometheus_labels
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, rows

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch

COUNTER = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
GAUGE = Kind(MetricType.GAUGE)

RESOURCE = Resource(
    (("host.name", "h1"), ("service.instance.id", "i"), ("service.name", "shop"), ("zone", "z"))
)  # fmt: skip
SCOPE = Scope("lib", "1.2", (("name", "hidden"), ("tier.x", "gold")), "http://schema")


def series(name: str = "http.requests", kind: Kind = COUNTER, unit: str = "By", **labels: str) -> Series:
    return Series(Series.of({"__name__": name, **labels}).labels, Form.OTLP, kind, unit, RESOURCE, SCOPE)


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        (Strategy.ESCAPE_AND_SUFFIX, ["foo_bar_bytes_total", "_0a_b_c_meters_per_second", "x_ratio", "a_total"]),
        (Strategy.ESCAPE, ["foo_bar", "_0a_b__c", "x_ratio", "a_total"]),
        (Strategy.SUFFIX, ["foo.bar_bytes_total", "0a..b__c_meters_per_second", "x_ratio", "a_total"]),
        (Strategy.NOTHING, ["foo.bar", "0a..b__c", "x.ratio", "a_total"]),
    ],
)
def test_strategies(strategy: Strategy, names: list[str]) -> None:
    """Escaping and suffixes are two choices, and a suffix that is there is not repeated."""
    given = [("foo.bar", "By", COUNTER), ("0a..b__c", "m/s", GAUGE), ("x.ratio", "1", GAUGE), ("a_total", "1", COUNTER)]
    assert [metric_name(*one, Naming(strategy)) for one in given] == names


@pytest.mark.parametrize(
    ("strategy", "name"),
    [(Strategy.ESCAPE_AND_SUFFIX, "my_ns_0a_total"), (Strategy.ESCAPE, "my_ns_0a"), (Strategy.NOTHING, "my.ns_0a")],
)
def test_namespaces(strategy: Strategy, name: str) -> None:
    """A namespace comes first, so that a digit after it needs nothing in front."""
    assert metric_name("0a", "1", COUNTER, Naming(strategy, "my.ns")) == name


def test_labels_of_resource_and_scope() -> None:
    """Attributes of the point are stronger than those of the resource, job and scope stronger than both."""
    naming = Naming(resource=ResourceLabels(("*",), ("service.*",)), scope=True)
    assert prometheus_labels(series(zone="own", job="mine"), naming) == {
        "__name__": "http_requests_bytes_total",
        "host_name": "h1",
        "instance": "i",
        "job": "shop",
        "zone": "own",
        "otel_scope_name": "lib",
        "otel_scope_version": "1.2",
        "otel_scope_schema_url": "http://schema",
        "otel_scope_tier_x": "gold",
    }
    as_it_is = Naming(Strategy.NOTHING, resource=ResourceLabels(("host.name",)))
    labels = prometheus_labels(series().set({"l.x": "1"}), as_it_is)
    assert labels == {"__name__": "http.requests", "host.name": "h1", "l.x": "1", "job": "shop", "instance": "i"}


def test_choices_of_resource_attributes() -> None:
    """The older setting takes all or all but the service's; the newer one patterns."""
    of = ResourceLabels.of
    assert "zone" not in of(ResourceConversionConfig())
    everything = of(ResourceConversionConfig(enabled=True))
    assert "zone" in everything
    assert "service.name" in everything
    assert "service.name" not in of(ResourceConversionConfig(enabled=True, exclude_service_attributes=True))
    chosen = of(ResourceConversionConfig(), ResourceLabelsConfig(excluded=("host.*",)))
    assert [name in chosen for name in ("zone", "host.name")] == [True, False]
    with pytest.raises(ValidationError, match="included or excluded"):
        ResourceLabelsConfig()


def edge(naming: Naming, *before: Stage) -> tuple[PrometheusEdge, Drops]:
    drops = Drops(Counters(), "test")
    return PrometheusEdge(drops, naming, before), drops


def names(batch: MetricBatch) -> list[str]:
    return [name for name, _, _ in rows(batch)]


def test_the_edge_names_as_it_is_told() -> None:
    """A namespace is given to all series, ``target_info`` included, which can be turned off."""
    table = SeriesTable()
    batch = make_batch([series(), "up"], table=table)
    flat = edge(Naming(namespace="ns"))[0].flatten(batch).batch
    assert names(flat) == [
        'ns_http_requests_bytes_total{instance="i", job="shop"}',
        "ns_up",
        'ns_target_info{host_name="h1", instance="i", job="shop", zone="z"}',
    ]
    flat = edge(Naming(Strategy.ESCAPE, target_info=False))[0].flatten(batch).batch
    assert names(flat) == ['http_requests{instance="i", job="shop"}', "up"]


def test_stages_before_naming() -> None:
    """They see the series as OpenTelemetry wrote it, and what they drop is rejected with their reason."""

    class NoBytes:
        def admit(self, one: Series) -> Series | None:
            return None if one.unit == "By" else one

    drops = Drops(Counters(), "stage")
    found, counted = edge(Naming(), Stage(NoBytes(), drops, "no_bytes"))
    batch = make_batch([series(), series("x", unit="s")])
    flat = found.flatten(batch)
    assert names(flat.batch)[0].startswith("x_seconds_total")
    assert drops.by_reason() == {"no_bytes": 1}
    assert counted.by_reason() == {}
    assert np.array_equal(flat.batch.value[:1], [1.0])
