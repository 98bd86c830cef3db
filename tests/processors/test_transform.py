"""Statements of the transform processor, in the forms of users' Collector files."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from headrace.pipeline.batch import Flag
from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.ottl import program
from headrace.pipeline.series_view import SeriesView
from headrace.processors import transform
from headrace.processors.transform import FACTORY, TransformConfig
from headrace.testing.batches import make_batch, make_settings, rows
from headrace.testing.processors import ProcessorContract

GAUGE = Kind(MetricType.GAUGE)
SUM = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)


def series(kind: Kind = GAUGE) -> Series:
    labels = Series.of({"__name__": "m", "a": "x1", "b": "y", "n": "7"}).labels
    return Series(labels, Form.OTLP, kind, "s", Resource((("host", "h"),)), Scope("lib"), (("n", "int"),))


def config(*statements: str, **more: Any) -> TransformConfig:
    return TransformConfig(metric_statements=statements, **more)


def view(text: str, of: Series | None = None) -> SeriesView:
    """Return what one statement makes of a series."""
    outcome = program.run(_blocks(text), of or series(), _fail)
    assert outcome.series is not None
    return SeriesView.of(outcome.series)


def _blocks(text: str) -> Any:
    processor: Any = FACTORY.create(make_settings("transform"), config(text))
    return processor.blocks if hasattr(processor, "admit") else processor._series.blocks


def _fail(error: Exception, *_: Any) -> None:
    raise error


@pytest.mark.parametrize(
    ("editor", "expected"),
    [
        ('set(datapoint.attributes["c"], Concat([datapoint.attributes["a"], "z"], "-"))', {"c": "x1-z"}),
        ('set(datapoint.attributes["a"], nil)', {}),
        ('set(datapoint.attributes["n"], 8)', {"n": 8}),
        ('set(datapoint.attributes["c"], "w") where metric.name == "m"', {"c": "w"}),
        ('set(datapoint.attributes["c"], "w") where metric.name == "o"', {}),
        ('delete_key(datapoint.attributes, "b")', {"b": None}),
        ('delete_matching_keys(datapoint.attributes, "^[ab]$")', {"a": None, "b": None}),
        ('keep_keys(datapoint.attributes, ["a"])', {"b": None, "n": None}),
        ('keep_matching_keys(datapoint.attributes, "a|n")', {"b": None}),
        ('limit(datapoint.attributes, 2, ["n"])', {"b": None}),
        ("truncate_all(datapoint.attributes, 1)", {"a": "x"}),
        ('replace_pattern(datapoint.attributes["a"], "([a-z])([0-9])", "$2$1")', {"a": "1x"}),
        ('replace_match(datapoint.attributes["a"], "x*", "glob")', {"a": "glob"}),
        ('replace_match(datapoint.attributes["a"], "{z,x?}", "glob")', {"a": "glob"}),
        ('replace_match(datapoint.attributes["a"], "x", "glob")', {}),
        ('replace_all_patterns(datapoint.attributes, "value", "[xy]", "q")', {"a": "q1", "b": "q"}),
        ('replace_all_patterns(datapoint.attributes, "key", "^b$", "bb")', {"b": None, "bb": "y"}),
        ('replace_all_matches(datapoint.attributes, "y*", "q")', {"b": "q"}),
        ('merge_maps(datapoint.attributes, {"a": "new", "c": "d"}, "insert")', {"c": "d"}),
        ('merge_maps(datapoint.attributes, {"a": "new", "c": "d"}, "update")', {"a": "new"}),
        ('merge_maps(datapoint.attributes, {"a": "new", "c": "d"}, "upsert")', {"a": "new", "c": "d"}),
        ('append(datapoint.attributes["b"], "z")', {"b": ["y", "z"]}),
    ],
)
def test_editors(editor: str, expected: dict[str, Any]) -> None:
    """Each changes the attributes as worked out by hand; None stands for an attribute that is gone."""
    before = {"a": "x1", "b": "y", "n": 7}
    wanted = {key: value for key, value in {**before, **expected}.items() if value is not None}
    assert view(editor).attributes == wanted


def test_flatten_and_maps() -> None:
    """Nested values are flattened, and set in their place without a change to what other series share."""
    nested: dict[str, Any] = {"x": {"y": 1, "z": [2, {"w": 3}]}, "s": "t"}
    of = Series(Series.of(__name__="m").labels, Form.OTLP, GAUGE, resource=Resource(tuple(sorted(nested.items()))))
    assert view("flatten(resource.attributes)", of).resource == {"x.y": 1, "x.z.0": 2, "x.z.1.w": 3, "s": "t"}
    assert view('flatten(resource.attributes, "p", 1)', of).resource == {"p.x.y": 1, "p.x.z": [2, {"w": 3}], "p.s": "t"}
    assert view('set(resource.attributes["x"]["y"], 5)', of).resource["x"] == {"y": 5, "z": [2, {"w": 3}]}
    assert nested["x"] == {"y": 1, "z": [2, {"w": 3}]}


def test_metric_resource_and_scope() -> None:
    """Names, unit, temporality and type are set where they are."""
    assert view('set(metric.name, Concat(["p", metric.name], "."))').name == "p.m"
    assert view('set(metric.unit, "By")').unit == "By"
    assert view('set(resource.attributes["env"], datapoint.attributes["a"])').resource == {"host": "h", "env": "x1"}
    assert view('set(scope.name, "other")').scope_name == "other"
    assert view("set(metric.aggregation_temporality, AGGREGATION_TEMPORALITY_DELTA)", series(SUM)).kind == Kind(
        MetricType.COUNTER, Temporality.DELTA
    )
    assert view("set(metric.is_monotonic, false)", series(SUM)).kind == Kind(
        MetricType.GAUGE, Temporality.CUMULATIVE, is_sum=True
    )
    assert view("convert_sum_to_gauge()", series(SUM)).kind == GAUGE
    assert view('convert_gauge_to_sum("delta", true)').kind == Kind(MetricType.COUNTER, Temporality.DELTA)
    assert view('convert_gauge_to_sum("delta", true)', series(SUM)).kind == SUM


def process(of: TransformConfig, batch: Any) -> tuple[Any, dict[str, int]]:
    settings = make_settings("transform")
    processor: Any = FACTORY.create(settings, of)
    if hasattr(processor, "admit"):
        processor = SeriesChain([Stage(processor, settings.drops)])
    processor.decide(batch, processor.undecided(batch))
    return processor.process(batch), settings.drops.by_reason()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("set(datapoint.value_double, datapoint.value_double * 2)", [2.0, 4.0, 6.0]),
        ("set(datapoint.value_double, 0) where datapoint.value_double > 1.5", [1.0, 0.0, 0.0]),
        ('set(datapoint.value_double, 9.5) where metric.name == "b"', [1.0, 9.5, 3.0]),
        (
            "set(datapoint.value_double, -1 * datapoint.value_double) where datapoint.value_double < 2",
            [-1.0, 2.0, 3.0],
        ),
        ("set(datapoint.value_double, datapoint.count)", [1.0, 2.0, 3.0]),
        ("set(datapoint.value_int, 1.5)", [1.0, 2.0, 3.0]),
        ("scale_metric(0.5)", [0.5, 1.0, 1.5]),
        ('scale_metric(10, "ms") where metric.name == "a"', [10.0, 2.0, 30.0]),
    ],
)
def test_values_are_set_on_columns(statement: str, values: list[float]) -> None:
    """Points are changed where the condition holds; none is lost and the input stays as it is."""
    batch = make_batch(["a", "b", "a"], value=[1.0, 2.0, 3.0])
    out, counts = process(config(statement), batch)
    assert out.value.tolist() == values
    assert batch.value.tolist() == [1.0, 2.0, 3.0]
    assert counts == {}


def test_later_statements_see_what_earlier_ones_did() -> None:
    """To series and to points."""
    batch = make_batch(["a", "b"], value=[1.0, 2.0])
    statements = (
        'set(metric.name, "c") where metric.name == "a"',
        'set(datapoint.value_double, datapoint.value_double + 10) where metric.name == "c"',
        "set(datapoint.value_double, 0) where datapoint.value_double > 10",
    )
    out, _ = process(config(*statements), batch)
    assert [(name, value) for name, _, value in rows(out)] == [("c", 0.0), ("b", 2.0)]


def test_integers_times_and_stale_points() -> None:
    """Integers stay exact, times are set, and a point without a value keeps having none."""
    batch = make_batch(["a", "a", "a"], value=[1.0, 2.0, 3.0])
    batch.value.view(np.uint64)[2] = 0x7FF0000000000002
    batch = batch.with_columns(flags=np.array([Flag.INTEGER, 0, Flag.STALE], np.uint8))
    out, _ = process(config(f"set(datapoint.value_int, datapoint.value_int + {2**60 + 1})"), batch)
    assert out.integers.tolist()[:2] == [2**60 + 2, 2**60 + 1]
    assert out.flags.tolist() == [Flag.INTEGER, Flag.INTEGER, Flag.STALE]
    assert out.value.view(np.uint64)[2] == 0x7FF0000000000002
    out, _ = process(config("set(datapoint.start_time_unix_nano, datapoint.time_unix_nano - 5)"), batch)
    assert (out.time_ns - out.start_ns).tolist()[:2] == [5, 5]
    out, _ = process(config("set(datapoint.value_double, Double(datapoint.value_int) / 2)"), batch)
    assert out.value.tolist()[:2] == [0.5, 0.0]
    assert out.flags.tolist() == [0, 0, Flag.STALE]


USERS = """
error_mode: ignore
metric_statements:
  - context: resource
    statements:
      - keep_keys(attributes, ["host"])
  - context: metric
    conditions: [type == METRIC_DATA_TYPE_GAUGE, name == "other"]
    statements:
      - replace_pattern(name, "^m$", "app.$0")
  - context: datapoint
    statements:
      - set(attributes["host"], resource.attributes["host"])
      - set(cache["k"], attributes["a"])
      - set(attributes["copy"], cache["k"]) where metric.name == "app.m" and attributes["n"] != nil
  - set(datapoint.attributes["flat"], true)
"""


def test_a_file_of_a_user() -> None:
    """Groups of contexts, conditions and flat statements work together."""
    processor: Any = FACTORY.create(make_settings("transform"), TransformConfig(**yaml.safe_load(USERS)))
    found = SeriesView.of(processor.admit(series()))
    assert found.name == "app.m"
    assert found.attributes == {"a": "x1", "b": "y", "n": 7, "host": "h", "copy": "x1", "flat": True}
    assert SeriesView.of(processor.admit(series(SUM))).name == "m"


@pytest.mark.parametrize(("mode", "kept", "errors"), [("ignore", 1, 1), ("silent", 1, 1), ("propagate", 0, 1)])
def test_a_statement_without_a_value(mode: str, kept: int, errors: int) -> None:
    """It is counted once; the next one runs, or the series is dropped for that reason."""
    settings = make_settings("transform")
    of = config("set(metric.name, SHA1(1))", 'set(metric.unit, "x")', error_mode=mode)
    out, counts = process(of, make_batch(["a"]))
    assert len(out) == kept
    assert counts == ({} if kept else {"expression_failed": 1})
    processor: Any = FACTORY.create(settings, of)
    processor.admit(series()) if hasattr(processor, "admit") else processor.process(make_batch(["a"]))
    assert settings.counters.value("headrace_expression_errors") == errors


def test_edits_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series whose edits are one set too many keeps its values; that is an error like a missing value."""
    monkeypatch.setattr(transform, "MAX_PLANS", 1)
    settings = make_settings("transform")
    edits = [f'set(datapoint.value_double, 9) where metric.name == "{name}"' for name in "ab"]
    processor: Any = FACTORY.create(settings, config(edits[0], edits[1] + " and datapoint.value_double > 0"))
    out = processor.process(make_batch(["a", "b", "c"], value=[1.0, 2.0, 3.0]))
    assert out.value.tolist() == [9.0, 2.0, 3.0]
    assert settings.counters.value("headrace_expression_errors") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{metric_statements: []}", "must have a statement"),
        ("{metric_statements: ['set(metric.nme, 1)']}", "there is no path metric.nme"),
        ("{metric_statements: ['set(metric.type, 1)']}", "this path cannot be set"),
        ("{metric_statements: ['set(metric.name)']}", "set takes 2 arguments"),
        ("{metric_statements: ['metric.name == 1']}", "'metric' is no function"),
        ("{metric_statements: ['frobnicate(metric.name)']}", "there is no editor 'frobnicate'"),
        ('{metric_statements: [\'replace_match(metric.unit, "[", "x")\']}', "missing closing"),
        ("{metric_statements: ['copy_metric(\"x\")']}", "copy_metric is not supported"),
        (
            '{metric_statements: [\'aggregate_on_attributes("sum", ["a"])\']}',
            "aggregate_on_attributes is not supported",
        ),
        ("{metric_statements: ['set(datapoint.attributes[\"v\"], datapoint.value_double)']}", "a series of its own"),
        ("{metric_statements: ['set(metric.name, \"x\") where datapoint.value_double > 1']}", "may not be on values"),
        ("{metric_statements: ['set(datapoint.count, 1)']}", "datapoint.count cannot be set"),
        ("{metric_statements: [{context: span, statements: ['set(name, 1)']}]}", "there is no context 'span'"),
        ("{metric_statements: [{context: metric, statements: ['set(datapoint.value_int, 1)']}]}", "cannot be reached"),
        ("{metric_statements: ['set(metric.unit, \"\")'], log_statements: [x]}", "not supported: log_statements"),
        ("{metric_statements: ['delete_matching_keys(datapoint.attributes, \"(\")']}", "missing closing"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    """What is wrong or not supported is refused by name."""
    with pytest.raises(ValidationError, match=why):
        TransformConfig(**yaml.safe_load(text))


class TestTransform(ProcessorContract):
    """``transform`` of series."""

    factory = FACTORY
    config: ClassVar[dict[str, Any]] = {"metric_statements": ('set(metric.name, "z") where metric.name == "b"',)}


class TestTransformPoints(ProcessorContract):
    """``transform`` of points."""

    factory = FACTORY
    config: ClassVar[dict[str, Any]] = {
        "metric_statements": (
            'set(metric.name, "z") where metric.name == "b"',
            "set(datapoint.start_time_unix_nano, 5)",
        )
    }


def test_steady_state_asks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a series is decided, its points cost columns alone."""
    batch = make_batch(["a", "b"], value=[1.0, 9.0])
    processor: Any = FACTORY.create(make_settings("transform"), config("scale_metric(2)"))
    assert processor.process(batch).value.tolist() == [2.0, 18.0]
    monkeypatch.setattr(SeriesView, "of", None)
    assert processor.process(batch).value.tolist() == [2.0, 18.0]


def test_statements_run_once_for_each_new_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is something to do to its points."""
    seen: list[Series] = []

    def counting(blocks: Any, one: Series, note: Any) -> program.Outcome:
        seen.append(one)
        return program.run(blocks, one, note)

    monkeypatch.setattr(transform, "run", counting)
    processor: Any = FACTORY.create(make_settings("transform"), config('scale_metric(2) where metric.name == "a"'))
    batch = make_batch(["a", "b"], value=[1.0, 9.0])
    for _ in range(2):
        assert processor.process(batch).value.tolist() == [2.0, 9.0]
    assert len(seen) == len(set(seen)) == 2
