"""Expressions of OTTL against answers worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.ottl.compiler import Compiler, compile_condition
from headrace.pipeline.ottl.lexer import tokens
from headrace.pipeline.ottl.nodes import Statement
from headrace.pipeline.ottl.parser import parse_condition, parse_statement
from headrace.pipeline.ottl.paths import Context
from headrace.pipeline.series_view import SeriesView

SERIES = Series(
    Series.of(
        {"__name__": "http.server.duration", "route": "/a/b", "port": "8080", "ok": "true", "tags": '["x","y"]'}
    ).labels,
    Form.OTLP,
    Kind(MetricType.COUNTER, Temporality.DELTA),
    "s",
    Resource((("service.name", "shop"), ("nested", {"a": {"b": 1}}))),
    Scope("lib", "1.2"),
    (("ok", "bool"), ("port", "int"), ("tags", "array")),
)


def holds(text: str, context: Context | None = None) -> Any:
    return compile_condition(text, context).value(SeriesView.of(SERIES))


def value(text: str) -> Any:
    """Return the value of an expression; a comparison is what the grammar takes it in."""
    node: Any = parse_condition(f"{text} == 1")
    return Compiler(text).expression(node.left).value(SeriesView.of(SERIES))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / 2.0", 3.5),
        ("1 + 1.5", 2.5),
        ("9223372036854775807 + 1", -9223372036854775808),
        ("-(2 + 3)", -5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("0x0aff", b"\x0a\xff"),
        ('"a\\"b\\n"', 'a"b\n'),
        ("[1, 2.5, true, nil]", [1, 2.5, True, None]),
        ('{"a": 1, "b": [2]}', {"a": 1, "b": [2]}),
        ("metric.name", "http.server.duration"),
        ("metric.unit", "s"),
        ("metric.type", 2),
        ("metric.is_monotonic", True),
        ("metric.aggregation_temporality", 1),
        ('datapoint.attributes["port"]', 8080),
        ('datapoint.attributes["ok"]', True),
        ('datapoint.attributes["tags"][1]', "y"),
        ('datapoint.attributes["none"]', None),
        ('resource.attributes["nested"]["a"]["b"]', 1),
        ("scope.name", "lib"),
        ("instrumentation_scope.version", "1.2"),
        ('Concat(["a", 1, 2.5, true, nil], "-")', "a-1-2.5-true-<nil>"),
        ('Split("a|b|c", "|")', ["a", "b", "c"]),
        ('Split("a|b|c", "|")[2]', "c"),
        ('Substring("0123456789", 3, 4)', "3456"),
        ('Int("12")', 12),
        ("Int(2.9)", 2),
        ("Int(true)", 1),
        ('Int("x")', None),
        ('Double("1.5")', 1.5),
        ("Double(2)", 2.0),
        ("String(12)", "12"),
        ("String(nil)", None),
        ('Bool("true")', True),
        ('Len("abc")', 3),
        ("Len([1, 2])", 2),
        ('Trim("  a ")', "a"),
        ('Trim("--a--", "-")', "a"),
        ('TrimPrefix("abc", "a")', "bc"),
        ('ToUpperCase("aB")', "AB"),
        ('ToLowerCase("aB")', "ab"),
        ('ConvertCase("HttpRequest", "snake")', "http_request"),
        ('ConvertCase("http_request", "camel")', "HttpRequest"),
        ('HasPrefix("abc", "ab")', True),
        ('HasSuffix("abc", "ab")', False),
        ('MD5("abc")', "900150983cd24fb0d6963f7d28e17f72"),
        ('SHA1("abc")', "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ('SHA256("abc")', "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ('FNV("")', -3750763034362895579),
        ("Log(1)", 0.0),
        ('Format("%s-%03d-%.1f %%", ["a", 7, 2.25])', "a-007-2.2 %"),
        ('ExtractPatterns("a-12", "(?P<n>[0-9]+)")["n"]', "12"),
        ('ParseJSON("{\\"a\\": [1]}")["a"][0]', 1),
        ('Index("abc", "c")', 2),
        ('ContainsValue(["a"], "a")', True),
        ('Keys({"a": 1})', ["a"]),
    ],
)
def test_values(text: str, expected: object) -> None:
    """Each has the value that was worked out by hand, and its type."""
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('metric.name == "http.server.duration"', True),
        ('IsMatch(metric.name, "server")', True),
        ('IsMatch(metric.name, "^server")', False),
        ('IsMatch(datapoint.attributes["port"], "^80")', True),
        ('IsMatch(datapoint.attributes["none"], ".*")', False),
        ('datapoint.attributes["port"] == "8080"', False),
        ('datapoint.attributes["port"] != "8080"', True),
        ('datapoint.attributes["port"] > 80.5', True),
        ('datapoint.attributes["port"] < "9"', False),
        ('datapoint.attributes["none"] == nil', True),
        ('datapoint.attributes["none"] != nil', False),
        ("nil <= nil", True),
        ("true > false", True),
        ('"b" > "a"', True),
        ("[1] == [1]", True),
        ("[1] < [2]", False),
        ("true or true and false", True),
        ("(true or true) and false", False),
        ("not true or true", True),
        ("not (true or true)", False),
        ("true or 1 / 0 == 1", True),
        ("metric.type == METRIC_DATA_TYPE_SUM", True),
        ("metric.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE", False),
        ('HasAttrKeyOnDatapoint("route")', True),
        ('HasAttrOnDatapoint("route", "/x")', False),
        ("IsString(metric.name) and IsInt(1) and IsDouble(1.0) and IsBool(true) and IsMap({}) and IsList([])", True),
        ("IsInt(true)", False),
    ],
)
def test_conditions(text: str, expected: bool) -> None:
    """Comparison, precedence and types are OTTL's."""
    assert holds(text) is expected


def test_paths_without_a_prefix_belong_to_the_context() -> None:
    """As in configurations that name a context."""
    assert holds('name == "http.server.duration" and type == METRIC_DATA_TYPE_SUM', Context.METRIC) is True
    assert holds('attributes["route"] == "/a/b" and metric.unit == "s"', Context.DATAPOINT) is True
    assert holds('attributes["service.name"] == "shop"', Context.RESOURCE) is True


def test_context_is_the_innermost() -> None:
    """Conditions without a context have the one of the innermost path."""
    assert compile_condition('resource.attributes["a"] == 1').context is Context.RESOURCE
    assert compile_condition('resource.attributes["a"] == 1 or metric.name == "b"').context is Context.METRIC
    assert compile_condition('datapoint.attributes["a"] == metric.name').context is Context.DATAPOINT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("true = 1", "unexpected '=' at character 6"),
        ('metric.name == "a', "a string is not closed at character 16"),
        ("metric.name == ", "a value is needed, not the end at character 16"),
        ("metric.name", "a condition is needed"),
        ("name == 1", "a path begins with its context"),
        ("metric.nme == 1", "there is no path metric.nme at character 1"),
        ('metric.description == ""', "metric.description is not supported"),
        ('IsMatch(metric.name, "(")', "missing closing \\)"),
        ('IsMatch("a")', "IsMatch needs pattern"),
        ('IsMatch("a", "b", "c")', "IsMatch takes 2 arguments, not 3"),
        ('IsMatch(target="a", patern="b")', "IsMatch has no argument 'patern'"),
        ("Nope(1)", "there is no function 'Nope'"),
        ("Now() == 1", "Now is not supported"),
        ('"\\d" == ""', "unknown escape `\\\\d`"),
        ("METRIC_DATA_TYPE_GAGE == 1", "no enumeration value 'METRIC_DATA_TYPE_GAGE'"),
        ("99999999999999999999 == 1", "does not fit into 64 bits"),
        ("true and 1", "a condition is needed"),
        ("not 1", "a condition is needed"),
        ("1 / datapoint.value_int == 1", "cannot be divisors"),
        ('IsMatch(datapoint.value_int, "1")', "does not take the values of points"),
        ("#", "unexpected '#' at character 1"),
        ("(" * 100 + "1", "nested deeper"),
    ],
)
def test_faults_name_the_place(text: str, why: str) -> None:
    """What is wrong is refused with the reason and the place."""
    with pytest.raises(InvalidInput, match=why):
        compile_condition(text)


@pytest.mark.parametrize(
    "text", ["1 / 0 == 1", 'Substring("a", 0, 9) == ""', 'SHA1(1) == ""', "Log(0) == 1", '"a" + 1 == 1']
)
def test_expressions_without_a_value(text: str) -> None:
    """What has no value says why when it is asked."""
    with pytest.raises(InvalidInput):
        holds(text)


def test_statements() -> None:
    """An editor with arguments by place and by name, and its condition."""
    found = parse_statement('limit(datapoint.attributes, 3, priority_keys=["a"]) where metric.name == "b"')
    assert isinstance(found, Statement)
    assert [name for name, _ in found.editor.arguments] == [None, None, "priority_keys"]
    assert found.where is not None


WORDS = 'metric . name == != "a" ( ) [ ] { } , : 1 2.5 and or not IsMatch where set nil true - + * / Concat = < 0x1'
MORE = 'datapoint.attributes ["k"] "\\ \u00e9 Format "%9d" value_double METRIC_DATA_TYPE_SUM resource.attributes'
PIECES = [*WORDS.split(), *MORE.split(), "\n", "\ud800", "9" * 25]


def test_any_text_is_read_or_refused() -> None:
    """Random texts never fail in another way than by saying what is wrong."""
    generator = random.Random(6)
    good = 0
    for _ in range(20_000):
        text = " ".join(generator.choices(PIECES, k=generator.randint(1, 12)))
        for read in (parse_statement, compile_condition, tokens):
            try:
                found: Any = read(text)
                if read is compile_condition:
                    found.value(SeriesView.of(SERIES))
                good += 1
            except InvalidInput as error:
                assert str(error)  # noqa: PT017 -- what is raised is the matter of the test
    assert good > 1000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1" + " + 1" * 100 + " == 1", "nested deeper"),
        ("(" * 45 + "1" + (" + 1" * 30 + ")") * 45 + " == 1", "nested deeper"),
        (" or ".join(["true"] * 3000), "more than 2000 operators and values"),
        ("not " * 100 + "true", "nested deeper"),
        ("- " * 100 + "1 == 1", "nested deeper"),
        ("[" * 100, "nested deeper"),
        ('IsString("' + "x" * 70_000 + '")', "passes the limit"),
    ],
)
def test_size_is_bounded(text: str, why: str) -> None:
    """Texts that would nest without end are refused."""
    with pytest.raises(InvalidInput, match=why):
        compile_condition(text)


def test_many_conditions_in_a_row() -> None:
    """A list of some hundreds of conditions is evaluated, and nests little."""
    assert holds(" or ".join(["false"] * 900 + ["true"])) is True
    assert holds(" and ".join(["true"] * 900 + ["false"])) is False
