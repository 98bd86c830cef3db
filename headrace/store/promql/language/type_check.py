"""The check of a tree's types, after parsing: what may be an operand, an argument, a selector.

Faults are found in Prometheus' order, so that the first is the one it reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.api.quoting import go_quote
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.ast import (
    Aggregate,
    Binary,
    Call,
    Card,
    Expr,
    Matching,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from headrace.store.promql.language.functions_table import FUNCTIONS, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SETS = frozenset({"and", "or", "unless"})
_OPERANDS = frozenset({ValueType.SCALAR, ValueType.VECTOR})
_GROUPED = frozenset({Card.MANY_TO_ONE, Card.ONE_TO_MANY})
_SPACES = " \t\r\n"
_PLAIN_NAMES = {ValueType.VECTOR: "vector", ValueType.MATRIX: "matrix"}
"""Prometheus' own names of types, where an error has these and not the documented ones."""


def check(expr: Expr, query: str) -> None:
    """Check a whole tree.

    Raises:
        ParseError: A part of it has the wrong type.
    """
    _Checker(query).check(expr)


class _Checker:
    def __init__(self, query: str) -> None:
        self._query = query
        self._checks: dict[type, Callable[..., None]] = {
            Aggregate: self._aggregate,
            Binary: self._binary,
            Call: self._call,
            MatrixSelector: self._matrix,
            Paren: self._paren,
            Subquery: self._subquery,
            Unary: self._unary,
            VectorSelector: self._selector,
        }

    def check(self, expr: Expr) -> None:
        found = self._checks.get(type(expr))
        if found is not None:
            found(expr)

    def _error(self, position: int, why: str) -> ParseError:
        return ParseError(self._query, position, why)

    def _expect(self, expr: Expr, wanted: ValueType, context: str) -> None:
        self.check(expr)
        if expr.type is not wanted:
            raise self._error(expr.start, f"expected type {wanted} in {context}, got {expr.type}")

    def _aggregate(self, expr: Aggregate) -> None:
        self._expect(expr.expr, ValueType.VECTOR, "aggregation expression")
        if expr.param is not None:
            wanted = ValueType.STRING if expr.op == "count_values" else ValueType.SCALAR
            self._expect(expr.param, wanted, "aggregation parameter")

    def _paren(self, expr: Paren) -> None:
        self.check(expr.expr)

    def _unary(self, expr: Unary) -> None:
        self.check(expr.expr)
        if expr.expr.type not in _OPERANDS:
            raise self._error(
                expr.start,
                "unary expression only allowed on expressions of type scalar or instant vector, got "
                f"{go_quote(expr.expr.type)}",
            )

    def _subquery(self, expr: Subquery) -> None:
        self.check(expr.expr)
        kind = expr.expr.type
        if kind is not ValueType.VECTOR:
            name = _PLAIN_NAMES.get(kind, kind)
            raise self._error(expr.start, f"subquery is only allowed on instant vector, got {name} instead")

    def _matrix(self, expr: MatrixSelector) -> None:
        self._selector(expr.selector)

    def _selector(self, expr: VectorSelector, *, bare: bool = False) -> None:
        """Check matchers; a `bare` selector only chooses labels, so that it may match anything."""
        if expr.name:
            for matcher in expr.matchers[:-1]:
                if matcher.name == "__name__":
                    names = f"{go_quote(expr.name)} or {go_quote(matcher.value)}"
                    raise self._error(expr.start, f"metric name must not be set twice: {names}")
        elif not bare and all(matcher.matches_empty for matcher in expr.matchers):
            raise self._error(expr.start, "vector selector must contain at least one non-empty matcher")

    # -- binary expressions --------------------------------------------------------------------------------

    def _binary(self, expr: Binary) -> None:
        self.check(expr.lhs)
        self.check(expr.rhs)
        self._check_operator(expr)
        for side in (expr.lhs, expr.rhs):
            if side.type not in _OPERANDS:
                raise self._error(side.start, "binary expression must contain only scalar and instant vector types")
        if expr.lhs.type is ValueType.VECTOR and expr.rhs.type is ValueType.VECTOR:
            if expr.op in _SETS:
                self._check_set(expr, expr.matching or Matching())
            return
        if expr.matching is not None and expr.matching.labels:
            raise self._error(expr.start, "vector matching only allowed between instant vectors")
        if expr.matching is not None:
            raise self._error(expr.start, "filling in missing series only allowed between instant vectors")
        if expr.op in _SETS:
            raise self._error(expr.start, f'set operator "{expr.op}" not allowed in binary scalar expression')

    def _check_operator(self, expr: Binary) -> None:
        if expr.return_bool and expr.op not in _COMPARISONS:
            raise self._error(self._operator(expr), "bool modifier can only be used on comparison operators")
        scalars = expr.lhs.type is ValueType.SCALAR and expr.rhs.type is ValueType.SCALAR
        if scalars and expr.op in _COMPARISONS and not expr.return_bool:
            raise self._error(self._operator(expr), "comparisons between scalars must use BOOL modifier")
        matching = expr.matching
        if matching is None or not matching.on:
            return
        twice = next((name for name in matching.labels if name in matching.include), None)
        if twice is not None:
            label = go_quote(twice)
            raise self._error(self._operator(expr), f"label {label} must not occur in ON and GROUP clause at once")

    def _check_set(self, expr: Binary, matching: Matching) -> None:
        if matching.card in _GROUPED:
            raise self._error(expr.start, f'no grouping allowed for "{expr.op}" operation')
        if (matching.fill_left, matching.fill_right) != (None, None):
            raise self._error(expr.start, "filling in missing series not allowed for set operators")

    def _operator(self, expr: Binary) -> int:
        """Return where the operator stands: at the first character after the left side that is no space."""
        position = _claimed_end(expr.lhs)
        while self._query[position] in _SPACES:
            position += 1
        return position

    # -- calls ---------------------------------------------------------------------------------------------

    def _call(self, expr: Call) -> None:
        signature = FUNCTIONS[expr.function]
        self._check_count(expr, signature)
        context = f'call to function "{expr.function}"'
        bare = expr.args[1] if expr.function == "info" and len(expr.args) > 1 else None
        if bare is not None:
            self._check_labels(expr, bare, context)
        for i, arg in enumerate(expr.args):
            wanted = signature.args[min(i, len(signature.args) - 1)]
            if arg is bare:
                assert isinstance(arg, VectorSelector)
                self._selector(arg, bare=True)
            else:
                self._expect(arg, wanted, context)

    def _check_count(self, expr: Call, signature: Signature) -> None:
        given, known = len(expr.args), len(signature.args)
        what = f'argument(s) in call to "{expr.function}", got {given}'
        if signature.variadic == 0:
            if given != known:
                raise self._error(expr.start, f"expected {known} {what}")
            return
        if given < known - 1:
            raise self._error(expr.start, f"expected at least {known - 1} {what}")
        most = known - 1 + signature.variadic
        if signature.variadic > 0 and given > most:
            raise self._error(expr.start, f"expected at most {most} {what}")

    def _check_labels(self, call: Call, arg: Expr, context: str) -> None:
        """Check the second argument of ``info``: matchers without a metric."""
        if arg.type is not ValueType.VECTOR:
            raise self._error(call.start, f"expected type {ValueType.VECTOR} in {context}, got {arg.type}")
        if not isinstance(arg, VectorSelector):
            raise self._error(arg.start, "expected label selectors only")
        if arg.name:
            raise self._error(arg.start, "expected label selectors only, got vector selector instead")


def _claimed_end(expr: Expr) -> int:
    """Return where Prometheus has an expression end; see `Cursor.claim`."""
    match expr:
        case Binary():
            return _claimed_end(expr.rhs)
        case Unary():
            return _claimed_end(expr.expr)
        case Aggregate() | Call():
            return expr.claimed
    return expr.end
