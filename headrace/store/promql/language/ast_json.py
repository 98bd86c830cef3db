"""The syntax tree as JSON, as ``/api/v1/parse_query`` gives it.

Source:
    Prometheus 3.14, "Parsing a PromQL expressions into a abstract syntax tree (AST)".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headrace.store.promql.language.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from headrace.store.promql.language.functions_table import FUNCTIONS
from headrace.store.promql.language.numbers import float_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.store.matchers import Matcher

Json = dict[str, Any]

_BROKEN = re.compile("[\udc80-\udcff]")

_TYPES = {
    ValueType.SCALAR: "scalar",
    ValueType.VECTOR: "vector",
    ValueType.MATRIX: "matrix",
    ValueType.STRING: "string",
}


def as_json(expr: Expr) -> Json:
    """Return the tree under `expr` as dictionaries and lists; durations are milliseconds, times too."""
    return _NODES[type(expr)](expr)


def _number(expr: NumberLiteral) -> Json:
    return {"type": "numberLiteral", "val": float_text(expr.value)}


def _string(expr: StringLiteral) -> Json:
    return {"type": "stringLiteral", "val": _text(expr.value)}


def _vector(expr: VectorSelector) -> Json:
    return {"type": "vectorSelector", **_selector(expr)}


def _matrix(expr: MatrixSelector) -> Json:
    return {
        "type": "matrixSelector",
        **_selector(expr.selector),
        "range": expr.range_ms,
        "rangeExpr": _duration(expr.range_expr),
    }


def _selector(expr: VectorSelector) -> Json:
    return {
        "name": expr.name,
        "matchers": [_matcher(matcher) for matcher in expr.matchers],
        **_times(expr),
        "anchored": expr.anchored,
        "smoothed": expr.smoothed,
    }


def _times(expr: VectorSelector | Subquery) -> Json:
    function = isinstance(expr.at, At)
    return {
        "offset": expr.offset_ms,
        "offsetExpr": _duration(expr.offset_expr),
        "timestamp": None if function else expr.at,
        "startOrEnd": str(expr.at) if function else None,
    }


def _subquery(expr: Subquery) -> Json:
    return {
        "type": "subquery",
        "expr": as_json(expr.expr),
        "range": expr.range_ms,
        "rangeExpr": _duration(expr.range_expr),
        "step": expr.step_ms or 0,
        "stepExpr": _duration(expr.step_expr),
        **_times(expr),
    }


def _paren(expr: Paren) -> Json:
    return {"type": "parenExpr", "expr": as_json(expr.expr)}


def _unary(expr: Unary) -> Json:
    return {"type": "unaryExpr", "op": expr.op, "expr": as_json(expr.expr)}


def _binary(expr: Binary) -> Json:
    return {
        "type": "binaryExpr",
        "op": expr.op,
        "lhs": as_json(expr.lhs),
        "rhs": as_json(expr.rhs),
        "matching": None if expr.matching is None else _matching(expr.matching),
        "bool": expr.return_bool,
    }


def _matching(matching: Matching) -> Json:
    return {
        "card": str(matching.card),
        "labels": _texts(matching.labels),
        "on": matching.on,
        "include": _texts(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _aggregate(expr: Aggregate) -> Json:
    return {
        "type": "aggregation",
        "op": expr.op,
        "expr": as_json(expr.expr),
        "param": None if expr.param is None else as_json(expr.param),
        "grouping": _texts(expr.grouping),
        "without": expr.without,
    }


def _call(expr: Call) -> Json:
    signature = FUNCTIONS[expr.function]
    return {
        "type": "call",
        "func": {
            "name": expr.function,
            "argTypes": [_TYPES[kind] for kind in signature.args],
            "variadic": signature.variadic,
            "returnType": _TYPES[signature.returns],
        },
        "args": [as_json(arg) for arg in expr.args],
    }


def _duration(expr: Duration | None) -> Json | None:
    if expr is None:
        return None
    if isinstance(expr, NumberLiteral):
        return {**_number(expr), "duration": expr.is_duration}
    return {
        "type": "durationExpr",
        "op": expr.op,
        "lhs": _duration(expr.lhs),
        "rhs": _duration(expr.rhs),
        "wrapped": expr.wrapped,
    }


def _matcher(matcher: Matcher) -> Json:
    return {"name": _text(matcher.name), "type": str(matcher.type), "value": _text(matcher.value)}


def _texts(texts: Sequence[str]) -> list[str]:
    return [_text(text) for text in texts]


def _text(text: str) -> str:
    """Put U+FFFD for each byte that is not UTF-8, which JSON cannot hold."""
    return _BROKEN.sub("\ufffd", text)


_NODES: dict[type, Callable[..., Json]] = {
    Aggregate: _aggregate,
    Binary: _binary,
    Call: _call,
    MatrixSelector: _matrix,
    NumberLiteral: _number,
    Paren: _paren,
    StringLiteral: _string,
    Subquery: _subquery,
    Unary: _unary,
    VectorSelector: _vector,
}
