"""The parser: what Prometheus 3.14 has and 3.5 has not, feature switches, and texts made to exhaust it."""

from __future__ import annotations

import time

import pytest

from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.ast import Binary, Expr, MatrixSelector, StringLiteral, VectorSelector, walk
from headrace.store.promql.language.parser import (
    ALL_FEATURES,
    MAX_DEPTH,
    MAX_HEIGHT,
    ParserOptions,
    parse,
    parse_selector,
)
from headrace.store.promql.language.printer import printed

EXPERIMENTAL = "--enable-feature=promql-experimental-functions"
IN_RANGE = "in subquery or range selector, expected number, duration, step(), or range()"
ENDLESS = 100_000
PARSE_SECONDS = 2e-3
"""Far more than a parse takes, so that a busy machine does not matter."""


def failure(query: str, options: ParserOptions = ALL_FEATURES) -> str:
    """Return what the parser says of a wrong text."""
    with pytest.raises(ParseError) as caught:
        parse(query, options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("rate(a[5m] anchored)", "rate(a[5m] anchored)"),
        ("rate(a smoothed[5m])", "rate(a[5m] smoothed)"),
        ("a anchored offset 1m", "a anchored offset 1m"),
        ("a[step()*2]", "a[step() * 2]"),
        ("a[RANGE() + 1 : Step()]", "a[range() + 1:step()]"),
        ("a[min_of(1m,max_of(step(),5))]", "a[min_of(1m, max_of(step(), 5))]"),
        ("a offset -min_of(step(), 1s)^0", "a offset -min_of(step(), 1s) ^ 0"),
        ("a offset (5)", "a offset (5)"),
        ("a offset -(1m+2m)", "a offset -(1m + 2m)"),
        ("a[2^3^2]", "a[2 ^ 3 ^ 2]"),
        ("a </ b >/ 3", "a </ b >/ 3"),
        ("a + fill(0) b", "a + fill (0) b"),
        ("a + on(x) group_left fill_left(-1) b", "a + on (x) group_left () fill_left (-1) b"),
        ("a + fill_left(-1) fill_right(1m) b", "a + fill_left (-1) fill_right (60) b"),
        ("a + fill_right(1) fill_left(1) b", "a + fill (1) b"),
        ("fill + fill_left", "fill + fill_left"),
        ("start() + end() - step() * range()", "start() + end() - step() * range()"),
        ("start + end - step * range", "start + end - step * range"),
        ("min_of(1, 2)", "min_of(1, 2)"),
        ("anchored + smoothed", "anchored + smoothed"),
        ('histogram_quantiles(a, "q", 0.5, 0.9)', 'histogram_quantiles(a, "q", 0.5, 0.9)'),
        ('{"a.b", "c d"=~"x"}', '{"c d"=~"x",__name__="a.b"}'),
        ('sum by ("a.b", c) (d)', 'sum by ("a.b", c) (d)'),
    ],
)  # fmt: skip
def test_newest_language(query: str, wanted: str) -> None:
    """What came after Prometheus 3.5 is read, and printed in normal form."""
    assert printed(parse(query, ALL_FEATURES)) == wanted


@pytest.mark.parametrize(
    ("left", "end"),
    [
        ("sum(a)", 6),
        ("sum(sum(a) by (b))", 18),
        ("sum by (b) (a)", 14),
        ("(a) + abs(b)", 12),
        ("x / on (a) abs(y)", 11),
        ("x @ end() + sum(y)", 10),
        ("abs(x @ end())", 13),
        ("x * on (a) sum(y) by (b)", 18),
        ("-abs(x)", 7),
    ],
)
def test_where_operators_are_said_to_stand(left: str, end: int) -> None:
    """Behind the oldest closing parenthesis that is left: those of matching and of ``@`` count for later calls."""
    with pytest.raises(ParseError) as caught:
        parse(f"{left}/on(a) group_left(a) b", ALL_FEATURES)
    assert str(caught.value).startswith(f"1:{end + 1}: parse error: label")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("a anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
        ("a[5m] smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"),
        ("b + a + fill(1) c", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
        ("a[5m+1m]", "1:3: parse error: experimental duration expression is not enabled"),
        ("a offset step()", "1:10: parse error: experimental duration expression is not enabled"),
        ("a[min_of(1m,2m)]", "1:10: parse error: experimental duration expression is not enabled"),
        ("start()", '1:1: parse error: function "start" is not enabled'),
        ("limitk(1, a)", f"1:1: parse error: limitk() is experimental and must be enabled with {EXPERIMENTAL}"),
    ],
)  # fmt: skip
def test_feature_switches(query: str, wanted: str) -> None:
    """What is not enabled is refused in Prometheus' words, and taken once it is."""
    assert failure(query, ParserOptions()) == wanted
    parse(query, ALL_FEATURES)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("a[5m] anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("a[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
        ("(a) smoothed", "1:1: parse error: smoothed modifier not implemented"),
        ("1 + fill(1) 2", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("a + fill(b) c", '1:10: parse error: unexpected identifier "b"'),
        ("a + fill b", '1:10: parse error: unexpected identifier "b"'),
        ("a[step]", f'1:7: parse error: unexpected "]" {IN_RANGE}'),
        ("a[min_of(1)]", f'1:11: parse error: unexpected ")" {IN_RANGE}'),
        ("a[step():1m]", "1:10: parse error: unexpected colon before duration in duration expression"),
        ("a[5m/0]", "1:5: parse error: division by zero"),
        ("a[5m%0]", "1:5: parse error: modulo by zero"),
        ("a[1e10]", "1:3: parse error: duration out of range"),
        ("a offset NaN", "1:10: parse error: duration out of range"),
        ("a offset -nan", "1:10: parse error: duration out of range"),
        ("a[5m x]", "1:6: parse error: unexpected character: 'x', expected ':'"),
        ("a[x]", "1:3: parse error: unexpected character in duration expression: 'x'"),
        ("a @ start() [5m]", "1:13: parse error: no @ modifiers allowed before range"),
        ("STEP()", '1:1: parse error: unknown function with name "STEP"'),
        ("info(a, 1)", '1:1: parse error: expected type instant vector in call to function "info", got scalar'),
        ("info(a, abs(b))", "1:9: parse error: expected label selectors only"),
        ("sort_by_label()", '1:1: parse error: expected at least 1 argument(s) in call to "sort_by_label", got 0'),
        ('sum by ("") (a)', '1:9: parse error: invalid label name for grouping: ""'),
        ("a + # é\n b c", '2:4: parse error: unexpected identifier "c"'),
        ('{a="é"} b', '1:10: parse error: unexpected identifier "b"'),
    ],
)  # fmt: skip
def test_newest_errors(query: str, wanted: str) -> None:
    """Faults in what came after Prometheus 3.5 have its text and place."""
    assert failure(query) == wanted


def test_places_of_modifiers() -> None:
    """Anchored and smoothed belong to the selector, wherever they stand; other offsets are kept."""
    expr = parse('a{b="c"}[5m] smoothed offset step() @ end()', ALL_FEATURES)
    assert isinstance(expr, MatrixSelector)
    selector = expr.selector
    assert selector.smoothed
    assert not selector.anchored
    assert selector.offset_expr is not None
    assert selector.at == "end"


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (r'"\x41\u00e9\U0001F600\101\n\"\\"', 'Aé😀A\n"\\'),
        (r"'\'\t'", "'\t"),
        (r"`\x41`", r"\x41"),
        (r'"\xc3\xa9"', "é"),
        (r'"\xff"', "\udcff"),
    ],
)  # fmt: skip
def test_strings(query: str, value: str) -> None:
    """Escapes are Go's; bytes that are not UTF-8 are kept as surrogates."""
    expr = parse(query)
    assert isinstance(expr, StringLiteral)
    assert expr.value == value


def test_selectors_alone() -> None:
    """A selector for ``match[]`` may choose everything, and may be nothing else than a selector."""
    assert [str(matcher) for matcher in parse_selector('up{job!=""}')] == ['job!=""', '__name__="up"']
    assert parse_selector("{}") == ()
    with pytest.raises(ParseError, match="1:3: parse error: unexpected <offset>"):
        parse_selector("a offset 5m")
    with pytest.raises(ParseError, match="1:1: parse error: unexpected number"):
        parse_selector("1")


@pytest.mark.parametrize(
    "query",
    [
        "(" * ENDLESS, "-" * ENDLESS + "a", "a" + " + a" * ENDLESS, "a" + " ^ a" * ENDLESS, "abs(" * ENDLESS,
        "a" + "[5m:]" * ENDLESS, "a[1" + "+1" * ENDLESS + "]", "a[" + "(" * ENDLESS, "a[" + "-" * ENDLESS + "1]",
        "a[1" + "^1" * ENDLESS + "]", "sum(" * ENDLESS, "a + on(" + "a," * ENDLESS, '"' + "\\n" * ENDLESS,
        "1" * ENDLESS, "1m" * ENDLESS, "{" * ENDLESS, "#\n" * ENDLESS, "a{" + 'b="c",' * ENDLESS, "_" * ENDLESS + "(",
        "a offset " * ENDLESS,
        "0x" + "f" * ENDLESS, "0" * ENDLESS + "s" + " 1", 'a{b=~"' + "(" * ENDLESS + '"}', "x" * (1 << 20) + "x",
    ],
)  # fmt: skip
def test_no_text_exhausts_the_parser(query: str) -> None:
    """Deep and long texts end in an error of the parser, soon."""
    before = time.process_time()
    failure(query)
    assert time.process_time() - before < 10


def nested(levels: int) -> str:
    return "(" * levels + "a" + ")" * levels


def test_depth() -> None:
    """Trees are as deep as the limits say and no deeper."""
    assert parse(nested(MAX_DEPTH - 1)) is not None
    assert failure(nested(MAX_DEPTH)).endswith(f"nested deeper than {MAX_DEPTH} levels")
    assert height(parse(" + ".join(["a"] * (MAX_HEIGHT + 1)))) == MAX_HEIGHT
    assert failure(" + ".join(["a"] * (MAX_HEIGHT + 2))).endswith(f"nested deeper than {MAX_HEIGHT} levels")


def height(expr: Expr) -> int:
    return sum(isinstance(node, Binary) for node in walk(expr))


def test_speed() -> None:
    """A query of two hundred characters takes well under a millisecond."""
    query = (
        'histogram_quantile(0.99, sum by (le, job) (rate(request_duration_seconds_bucket{job="api",code!~"5.."}[5m]))) '
        "> 0.5 and on (job) (avg by (job) (rate(foo_total[5m] offset 1h)) > bool 10)"
    )
    best = min(seconds(query) for _ in range(20))
    assert best < PARSE_SECONDS


def seconds(query: str) -> float:
    before = time.perf_counter()
    parse.__wrapped__(query)
    return time.perf_counter() - before


def test_positions_count_bytes() -> None:
    """Columns count bytes; nodes count characters."""
    assert failure('{"é"} + {') == "1:11: parse error: unexpected end of input inside braces"
    expr = parse('{a="é"} + b')
    assert isinstance(expr, Binary)
    assert isinstance(expr.rhs, VectorSelector)
    assert expr.rhs.start == 10
