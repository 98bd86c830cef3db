"""Conditions of the filter, in the forms of users' Collector files."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from headrace.pipeline.batch import Flag
from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Series
from headrace.pipeline.series_view import SeriesView
from headrace.processors.filter import FACTORY
from headrace.processors.filter_config import FilterConfig
from headrace.testing.batches import make_batch, make_settings, rows, with_native
from headrace.testing.processors import ProcessorContract


def gauge(name: str, attributes: dict[str, str] | None = None, **resource: str) -> Series:
    labels = Series.of({"__name__": name, **(attributes or {})}).labels
    return Series(labels, Form.OTLP, Kind(MetricType.GAUGE), resource=Resource(tuple(sorted(resource.items()))))


def run(text: str, batch: Any) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """Return what passes the filter of a YAML text, and what it counted."""
    settings = make_settings("filter")
    processor: Any = FACTORY.create(settings, FilterConfig(**yaml.safe_load(text)))
    if hasattr(processor, "admit"):
        processor = SeriesChain([Stage(processor, settings.drops)])
    processor.decide(batch, processor.undecided(batch))
    out = processor.process(batch)
    return [(name, value) for name, _, value in rows(out)], settings.drops.by_reason()


BATCH = [
    gauge("a", {"env": "dev"}, host="h1"),
    gauge("a", {"env": "prod"}, host="h1"),
    gauge("b", {"env": "dev"}, host="h2"),
]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("metric_conditions: ['metric.name == \"a\"']", [3.0]),
        ("metric_conditions: ['datapoint.attributes[\"env\"] == \"dev\"']", [2.0]),
        ("metric_conditions: ['resource.attributes[\"host\"] == \"h1\"', 'metric.name == \"b\"']", []),
        ("metric_conditions: ['datapoint.value_double > 1.5']", [1.0]),
        ("metric_conditions: ['metric.name == \"a\" and datapoint.value_double >= 2']", [1.0, 3.0]),
        ("metric_conditions: ['datapoint.value_double * 2 > 3 or metric.name == \"a\"']", []),
        ("metric_conditions: [{context: datapoint, conditions: ['attributes[\"env\"] == \"prod\"']}]", [1.0, 3.0]),
        ("metric_conditions: ['datapoint.time_unix_nano == 0']", [1.0, 2.0, 3.0]),
        ("metric_conditions: ['datapoint.count != nil']", [1.0, 2.0, 3.0]),
        ("metrics: {metric: ['name == \"a\" and type == METRIC_DATA_TYPE_GAUGE']}", [3.0]),
        ("metrics: {datapoint: ['metric.name == \"a\" and attributes[\"env\"] == \"dev\"']}", [2.0, 3.0]),
        ("metrics: {include: {match_type: regexp, metric_names: ['[a]']}}", [1.0, 2.0]),
        ("metrics: {include: {match_type: strict, metric_names: [b]}}", [3.0]),
        ("metrics: {exclude: {match_type: strict, resource_attributes: [{key: host, value: h2}]}}", [1.0, 2.0]),
        ("metrics: {exclude: {match_type: regexp, resource_attributes: [{key: host, value: '2'}]}}", [1.0, 2.0]),
        ("{exclude: [{metric_names: [a]}], metric_conditions: ['metric.name == \"b\"']}", []),
    ],
)  # fmt: skip
def test_what_passes(text: str, kept: list[float]) -> None:
    """Conditions drop; all points are kept or counted."""
    found, counts = run(text, make_batch(BATCH, value=[1.0, 2.0, 3.0]))
    assert [value for _, value in found] == kept
    assert counts == ({"dropped_by_rule": 3 - len(kept)} if len(kept) < 3 else {})


def test_integers_are_read_apart_from_doubles() -> None:
    """A point is an int or a double, and reads as 0 as the other."""
    batch = make_batch(["a", "b"], value=[5.0, 5.0])
    flags = np.array([Flag.INTEGER, 0], np.uint8)
    assert run("metric_conditions: ['datapoint.value_int == 5']", batch.with_columns(flags=flags))[0] == [("b", 5.0)]
    assert run("metric_conditions: ['datapoint.value_double == 5']", batch.with_columns(flags=flags))[0] == [("a", 5.0)]
    large = batch.with_columns(flags=flags, integers=np.array([2**62 + 1, 0]), value=np.array([2.0**62, 5.0]))
    assert run(f"metric_conditions: ['datapoint.value_int == {2**62 + 1}']", large)[0] == [("b", 5.0)]


def test_native_histograms_have_a_count() -> None:
    """Conditions on counts drop histograms and leave number points."""
    batch = with_native(make_batch(["a"]), ["h", "i", "h"])
    settings = make_settings("filter")
    processor: Any = FACTORY.create(settings, FilterConfig(metric_conditions=("datapoint.count >= 2",)))
    out = processor.process(batch)
    assert out.native is not None
    assert out.native.count.tolist() == [1]
    assert len(out) == 2
    assert settings.drops.by_reason() == {"dropped_by_rule": 2}


@pytest.mark.parametrize(("mode", "kept"), [("ignore", 1), ("silent", 1), ("propagate", 0)])
def test_a_condition_without_a_value(mode: str, kept: int) -> None:
    """It does not hold, or its series is dropped and counted for that."""
    text = f'{{error_mode: {mode}, metric_conditions: [\'SHA1(datapoint.attributes["none"]) == ""\']}}'
    found, counts = run(text, make_batch(["a"]))
    assert len(found) == kept
    assert counts == ({} if kept else {"expression_failed": 1})


def test_conditions_on_identity_are_of_the_cheap_tier() -> None:
    """They are fused with other rules; those on values are not."""
    made = [
        FACTORY.create(make_settings("filter"), FilterConfig(metric_conditions=(text,)))
        for text in ('metric.name == "a"', "datapoint.value_int == 0")
    ]
    assert [hasattr(one, "admit") for one in made] == [True, False]


def test_steady_state_asks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a series is decided, its points cost columns alone."""
    batch = make_batch(["a", "b"], value=[1.0, 9.0])
    processor: Any = FACTORY.create(
        make_settings("filter"), FilterConfig(metric_conditions=("datapoint.value_double > 5",))
    )
    assert len(processor.process(batch)) == 1
    monkeypatch.setattr(SeriesView, "of", None)
    assert len(processor.process(batch)) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{metric_conditions: ['metric.nme == 1']}", "there is no path metric.nme"),
        ("{metric_conditions: [{context: span, conditions: ['a == 1']}]}", "there is no context 'span'"),
        ("{metrics: {include: {match_type: expr, expressions: ['x']}}}", "match_type expr is not supported"),
        ("{logs: , log_conditions: ['a']}", "not supported: log_conditions"),
        ("{metrics: {metric: ['name == 1']}, metric_conditions: ['metric.name == 1']}", "cannot be used together"),
        ("{metrics: {include: {match_type: regexp, metric_names: ['(']}}}", "missing closing"),
        ("{metric_conditions: ['metric.name == 1'], error_mode: panic}", "error_mode"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    """What is wrong or not supported is refused by name."""
    with pytest.raises(ValidationError, match=why):
        FilterConfig(**yaml.safe_load(text))


def test_every_point_passes_or_is_counted() -> None:
    """Of random conditions over random points: what passes and what is counted adds up, and is what the rule says."""
    generator = random.Random(11)
    for _ in range(200):
        limit, name = generator.choice([0.2, 0.5, 0.8]), generator.choice("abc")
        series = [gauge(generator.choice("abc"), {"env": generator.choice(["dev", "prod"])}) for _ in range(50)]
        values = [generator.random() for _ in series]
        text = f"metric_conditions: ['metric.name == \"{name}\" and not datapoint.value_double > {limit}']"
        found, counts = run(text, make_batch(series, value=values))
        pairs = zip(series, values, strict=True)
        assert [value for _, value in found] == [v for one, v in pairs if one.name != name or v > limit]
        assert len(found) + sum(counts.values()) == len(series)


class TestConditionsOfTheColumnTier(ProcessorContract):
    """``filter`` that counts faults apart."""

    factory = FACTORY
    config: ClassVar[dict[str, Any]] = {"metric_conditions": ('metric.name == "b"',), "error_mode": "propagate"}
