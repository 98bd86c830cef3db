"""Expressions as text: on one line, and laid out over several.

Source:
    Prometheus 3.14, the answers of ``format_query`` and what ``promtool promql format`` prints.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.store.api.quoting import go_quote
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.language.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Card,
    Duration,
    DurationExpression,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from headrace.store.promql.language.numbers import duration_text, float_text

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_LENGTH = 100
"""Bytes beyond which Prometheus lays an expression out over several lines."""

_INDENT = "  "
_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SIDES = {Card.MANY_TO_ONE: "left", Card.ONE_TO_MANY: "right"}
_SMALLEST_PLAIN, _SMALLEST_LARGE = 1e-4, 1e21
"""Between these, numbers of ``fill`` are written without an exponent."""


def printed(expr: Expr | DurationExpression) -> str:
    """Return `expr` on one line, in Prometheus' normal form."""
    return _PRINTERS[type(expr)](expr)


def pretty(expr: Expr, width: int = LINE_LENGTH) -> str:
    """Return `expr` over as many lines as it takes, with parts on one line that need no more than `width` bytes."""
    return _pretty(expr, 0, width)


def brief(expr: Expr) -> str:
    """Return `expr` without the expressions below it: an operator, the name of a function, a whole selector."""
    head = _HEADS.get(type(expr))
    return printed(expr) if head is None else head(expr)


def name_text(name: str, *, colons: bool = False) -> str:
    """Return a label's name, quoted if it is not of the old alphabet; a metric's may have colons."""
    return name if _PLAIN_NAME.fullmatch(name.replace(":", "_") if colons else name) else go_quote(name)


def _pretty(expr: Expr, level: int, width: int) -> str:
    layout = _LAYOUTS.get(type(expr))
    # Prometheus forgets the indentation of a subquery that fits on one line.
    indent = "" if isinstance(expr, Subquery) else _INDENT * level
    if isinstance(expr, Unary):
        return f"{indent}{expr.op}{_pretty(expr.expr, level, width).strip()}"
    if layout is None or len(printed(expr).encode("utf-8", "surrogateescape")) <= width:
        return indent + printed(expr)
    return layout(expr, level, width)


# -- one line ----------------------------------------------------------------------------------------------


def _number(expr: NumberLiteral) -> str:
    if not expr.is_duration:
        return float_text(expr.value)
    sign = "-" if expr.value < 0 else ""
    return sign + duration_text(int(abs(expr.value) * 1e9) // 1_000_000)


def _string(expr: StringLiteral) -> str:
    return go_quote(expr.value)


def _duration(expr: DurationExpression) -> str:
    text = _bare_duration(expr)
    return f"({text})" if expr.wrapped else text


def _bare_duration(expr: DurationExpression) -> str:
    if expr.op in {"step", "range"}:
        return f"{expr.op}()"
    assert expr.rhs is not None
    right = printed(expr.rhs)
    if expr.lhs is None:
        return f"-{right}" if expr.op == "-" else right
    left = printed(expr.lhs)
    if expr.op in {"min_of", "max_of"}:
        return f"{expr.op}({left}, {right})"
    return f"{left} {expr.op} {right}"


def _vector(expr: VectorSelector) -> str:
    kind = _kind(expr)
    return f"{_series(expr)}{_at(expr.at)}{kind}{_offset(expr.offset_ms, expr.offset_expr)}"


def _matrix(expr: MatrixSelector) -> str:
    inner = expr.selector
    length = _length(expr.range_ms, expr.range_expr)
    offset = _offset(inner.offset_ms, inner.offset_expr)
    return f"{_series(inner)}[{length}]{_kind(inner)}{_at(inner.at)}{offset}"


def _subquery(expr: Subquery) -> str:
    return printed(expr.expr) + _subquery_suffix(expr)


def _subquery_suffix(expr: Subquery) -> str:
    length = _length(expr.range_ms, expr.range_expr)
    step = "" if expr.step_ms is None else _length(expr.step_ms, expr.step_expr)
    return f"[{length}:{step}]{_at(expr.at)}{_offset(expr.offset_ms, expr.offset_expr)}"


def _paren(expr: Paren) -> str:
    return f"({printed(expr.expr)})"


def _unary(expr: Unary) -> str:
    return expr.op + printed(expr.expr)


def _binary(expr: Binary) -> str:
    return f"{printed(expr.lhs)} {_operator(expr)} {printed(expr.rhs)}"


def _operator(expr: Binary) -> str:
    return_bool = " bool" if expr.return_bool else ""
    return f"{expr.op}{return_bool}{_matching(expr.matching) if expr.matching else ''}"


def _matching(matching: Matching) -> str:
    side = _SIDES.get(matching.card)
    text = ""
    if matching.labels or matching.on or side:
        text = f" {'on' if matching.on else 'ignoring'} ({_names(matching.labels)})"
    if side:
        text += f" group_{side} ({_names(matching.include)})"
    left, right = matching.fill_left, matching.fill_right
    if left is not None and left == right:
        return f"{text} fill ({_fill(left)})"
    text += f" fill_left ({_fill(left)})" if left is not None else ""
    return text + (f" fill_right ({_fill(right)})" if right is not None else "")


def _fill(value: float) -> str:
    if value != 0 and not _SMALLEST_PLAIN <= abs(value) < _SMALLEST_LARGE and abs(value) != float("inf"):
        return repr(value)
    return float_text(value)


def _aggregate(expr: Aggregate) -> str:
    param = "" if expr.param is None else f"{printed(expr.param)}, "
    return f"{_aggregate_head(expr)}({param}{printed(expr.expr)})"


def _aggregate_head(expr: Aggregate) -> str:
    if expr.without:
        return f"{expr.op} without ({_names(expr.grouping)}) "
    return f"{expr.op} by ({_names(expr.grouping)}) " if expr.grouping else expr.op


def _call(expr: Call) -> str:
    return f"{expr.function}({', '.join(map(printed, expr.args))})"


# -- parts -------------------------------------------------------------------------------------------------


def _series(expr: VectorSelector) -> str:
    matchers = sorted(_matcher(m) for m in expr.matchers if not (expr.name and _names_metric(m, expr.name)))
    return f"{expr.name}{{{','.join(matchers)}}}" if matchers else expr.name


def _names_metric(matcher: Matcher, name: str) -> bool:
    return matcher == Matcher("__name__", MatchType.EQUAL, name)


def _matcher(matcher: Matcher) -> str:
    return f"{name_text(matcher.name)}{matcher.type}{go_quote(matcher.value)}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(map(name_text, names))


def _kind(expr: VectorSelector) -> str:
    return " anchored" if expr.anchored else " smoothed" if expr.smoothed else ""


def _at(at: int | At | None) -> str:
    if at is None:
        return ""
    return f" @ {at}()" if isinstance(at, At) else f" @ {at / 1000:.3f}"


def _offset(ms: int, computed: Duration | None) -> str:
    if computed is not None:
        return f" offset {printed(computed)}"
    if not ms:
        return ""
    return f" offset {'-' if ms < 0 else ''}{duration_text(abs(ms))}"


def _length(ms: int, computed: DurationExpression | None) -> str:
    return duration_text(ms) if computed is None else printed(computed)


# -- several lines -----------------------------------------------------------------------------------------


def _layout_aggregate(expr: Aggregate, level: int, width: int) -> str:
    indent = _INDENT * level
    param = "" if expr.param is None else f"{_pretty(expr.param, level + 1, width)},\n"
    return f"{indent}{_aggregate_head(expr)}(\n{param}{_pretty(expr.expr, level + 1, width)}\n{indent})"


def _layout_binary(expr: Binary, level: int, width: int) -> str:
    left, right = _pretty(expr.lhs, level + 1, width), _pretty(expr.rhs, level + 1, width)
    return f"{left}\n{_INDENT * level}{_operator(expr)}\n{right}"


def _layout_call(expr: Call, level: int, width: int) -> str:
    indent = _INDENT * level
    args = ",\n".join(_pretty(arg, level + 1, width) for arg in expr.args)
    return f"{indent}{expr.function}(\n{args}\n{indent})"


def _layout_paren(expr: Paren, level: int, width: int) -> str:
    indent = _INDENT * level
    return f"{indent}(\n{_pretty(expr.expr, level + 1, width)}\n{indent})"


def _layout_subquery(expr: Subquery, level: int, width: int) -> str:
    return _pretty(expr.expr, level, width) + _subquery_suffix(expr)


_PRINTERS: dict[type, Callable[..., str]] = {
    Aggregate: _aggregate,
    Binary: _binary,
    Call: _call,
    DurationExpression: _duration,
    MatrixSelector: _matrix,
    NumberLiteral: _number,
    Paren: _paren,
    StringLiteral: _string,
    Subquery: _subquery,
    Unary: _unary,
    VectorSelector: _vector,
}
_HEADS: dict[type, Callable[..., str]] = {
    Aggregate: lambda expr: _aggregate_head(expr).strip(),
    Binary: _operator,
    Call: lambda expr: f"{expr.function}()",
    Paren: lambda _expr: "()",
    Subquery: _subquery_suffix,
    Unary: lambda expr: str(expr.op),
}
_LAYOUTS: dict[type, Callable[..., str]] = {
    Aggregate: _layout_aggregate,
    Binary: _layout_binary,
    Call: _layout_call,
    Paren: _layout_paren,
    Subquery: _layout_subquery,
}
