"""The parser of PromQL: precedence climbing over tokens; types are checked afterwards.

Of several faults the one is reported that Prometheus' parser finds first, in its words and at its place.

Source:
    Prometheus 3.14, PromQL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from headrace.store.api.quoting import go_quote
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language import parser_modifiers as modifiers
from headrace.store.promql.language.ast import (
    Aggregate,
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
    VectorSelector,
)
from headrace.store.promql.language.cursor import Cursor
from headrace.store.promql.language.functions_table import (
    AGGREGATIONS,
    EXPERIMENTAL_AGGREGATIONS,
    FUNCTIONS,
    WITH_PARAMETER,
)
from headrace.store.promql.language.lexer import (
    DURATION,
    END,
    FUNCTION_WORDS,
    IDENTIFIER,
    NUMBER,
    STRING,
    Token,
)
from headrace.store.promql.language.numbers import unquote
from headrace.store.promql.language.parser_durations import DurationParser, literal
from headrace.store.promql.language.parser_matching import EXPRESSION_STARTS, parse_matching
from headrace.store.promql.language.parser_selectors import METRIC_NAMES, label_names, selector
from headrace.store.promql.language.type_check import check

if TYPE_CHECKING:
    from headrace.store.matchers import Matcher

MAX_LENGTH = 1 << 20
"""Characters of a query."""

MAX_DEPTH = 100
"""Levels of nesting, so that no query overflows the interpreter's stack."""

MAX_HEIGHT = 200
"""Expressions on top of one another, such as a sum of so many terms, which nests to the left."""

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SETS = frozenset({"and", "or", "unless"})
_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(_COMPARISONS | {"</", ">/"}, 3),
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_LOWEST = 1
_POWER = _PRECEDENCE["^"]
_SIGNS = frozenset({"+", "-"})
_GROUPINGS = frozenset({"by", "without"})
_RANGE_CONTEXT = ("subquery or range selector", "number, duration, step(), or range()")
_STEP_CONTEXT = ("subquery selector", 'number, duration, step(), range(), or "]"')


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """What is enabled.

    Attributes:
        experimental_functions: Functions and aggregations that Prometheus calls experimental.
        duration_expressions: Arithmetic where a duration stands.
        extended_range_selectors: ``anchored`` and ``smoothed``.
        fill_modifiers: ``fill``, ``fill_left`` and ``fill_right``.
    """

    experimental_functions: bool = False
    duration_expressions: bool = False
    extended_range_selectors: bool = False
    fill_modifiers: bool = False


ALL_FEATURES = ParserOptions(
    experimental_functions=True, duration_expressions=True, extended_range_selectors=True, fill_modifiers=True
)
"""Everything on, as for formatting a text that some server will evaluate."""


@lru_cache(maxsize=1024)
def parse(query: str, options: ParserOptions | None = None) -> Expr:
    """Parse an expression.

    Raises:
        ParseError: It is not PromQL; the text has line and column.
    """
    parser = _parser(query, options)
    expr = parser.whole()
    check(expr, query)
    return expr


@lru_cache(maxsize=1024)
def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a series selector such as ``up{job="node"}``, as ``match[]`` takes it; it may select everything.

    Raises:
        ParseError: It is none.
    """
    return _parser(text, None).whole_selector().matchers


def _parser(query: str, options: ParserOptions | None) -> _Parser:
    if len(query) > MAX_LENGTH:
        raise ParseError("", 0, f"query of {len(query)} characters is longer than {MAX_LENGTH}")
    return _Parser(query, options or ParserOptions())


class _Parser(Cursor):
    def __init__(self, query: str, options: ParserOptions) -> None:
        super().__init__(query)
        self._options = options
        self._depth = 0
        self._height = 0  # of the expression that was parsed last
        self._durations = DurationParser(self, enabled=options.duration_expressions)

    def whole(self) -> Expr:
        """Parse everything."""
        if self.peek() == END:
            raise self.error(0, "no expression found in input")
        expr = self._expression(_LOWEST)
        if self.peek() != END:
            raise self.unexpected()
        return expr

    def whole_selector(self) -> VectorSelector:
        """Parse everything, as a selector without range and modifiers."""
        kind = self.peek()
        if kind != "{" and kind not in METRIC_NAMES:
            raise self.unexpected()
        expr = selector(self, None if kind == "{" else self.take())
        if self.peek() != END:
            raise self.unexpected()
        return expr

    # -- expressions ---------------------------------------------------------------------------------------

    def _expression(self, least: int) -> Expr:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._too_deep(MAX_DEPTH)
        left = self._operand()
        height = self._height
        while (precedence := _PRECEDENCE.get(self.peek(), 0)) >= least:
            op = self.take()
            return_bool = self.accept("bool")
            matching = parse_matching(self)
            # The power operator binds to the right, the others to the left.
            right = self._expression(precedence + (op.type != "^"))
            height = self._raised(height, self._height)
            left = self._binary(op.type, left, right, return_bool=return_bool, matching=matching)
        self._height = height
        self._depth -= 1
        return left

    def _raised(self, *heights: int) -> int:
        height = max(heights) + 1
        if height > MAX_HEIGHT:
            raise self._too_deep(MAX_HEIGHT)
        return height

    def _too_deep(self, levels: int) -> ParseError:
        return self.error(self.closing, f"expression is nested deeper than {levels} levels")

    def _operand(self) -> Expr:
        if self.peek() not in _SIGNS:
            return self._postfix(self._primary())
        sign = self.take()
        inner = self._expression(_POWER)
        if isinstance(inner, NumberLiteral):
            value = -inner.value if sign.type == "-" else inner.value
            return replace(inner, value=value, start=sign.start)
        self._height = self._raised(self._height)
        return Unary(op=sign.type, expr=inner, start=sign.start, end=inner.end)

    def _primary(self) -> Expr:
        kind = self.peek()
        self._height = 0
        if kind in METRIC_NAMES:
            return self._word(self.take())
        if kind in {NUMBER, DURATION}:
            return literal(self)
        if kind == "(":
            return self._parentheses()
        if kind == "{":
            return selector(self, None)
        if kind == STRING:
            token = self.take()
            return StringLiteral(value=unquote(token.text), start=token.start, end=token.end)
        raise self.unexpected()

    def _word(self, word: Token) -> Expr:
        following = self.peek()
        if word.type in AGGREGATIONS and (following == "(" or following in _GROUPINGS):
            return self._aggregate(word)
        if following == "(" and (word.type == IDENTIFIER or word.type in FUNCTION_WORDS):
            return self._call(word)
        return selector(self, word)

    def _parentheses(self) -> Paren:
        opening = self.take()
        inner = self._expression(_LOWEST)
        closing = self.expect(")")
        self.claim()
        self._height = self._raised(self._height)
        return Paren(expr=inner, start=opening.start, end=closing.end)

    # -- what follows an expression ------------------------------------------------------------------------

    def _postfix(self, expr: Expr) -> Expr:
        while True:
            kind = self.peek()
            if kind == "[":
                expr = self._range(expr)
            elif kind == "offset":
                self.take()
                with self.inside("offset", "number, duration, step(), or range()"):
                    duration = self._durations.offset()
                expr = modifiers.shifted(self, expr, duration)
            elif kind == "@":
                expr = modifiers.pinned(self, expr)
            elif kind in {"anchored", "smoothed"}:
                self.take()
                enabled = self._options.extended_range_selectors
                expr = modifiers.extended(self, expr, kind, enabled=enabled)
            else:
                return expr

    def _range(self, expr: Expr) -> Expr:
        bracket = self.take()
        with self.inside(*_RANGE_CONTEXT):
            length = self._durations.positive()
        if self.accept(":"):
            return self._subquery(expr, length)
        if self.peek() != "]":
            raise self.unexpected("subquery or range", '":" or "]"')
        closing = self.take()
        target = modifiers.range_target(self, expr, bracket)
        ms, computed = modifiers.split(length)
        return MatrixSelector(selector=target, range_ms=ms, range_expr=computed, start=expr.start, end=closing.end)

    def _subquery(self, expr: Expr, length: Duration) -> Subquery:
        step: Duration | None = None
        if self.peek() != "]":
            with self.inside(*_STEP_CONTEXT):
                step = self._durations.positive()
            if self.peek() != "]":
                raise self.unexpected("subquery selector", '"]"')
        closing = self.take()
        self._height = self._raised(self._height)
        range_ms, range_expr = modifiers.split(length)
        step_ms, step_expr = modifiers.split(step) if step else (None, None)
        return Subquery(
            expr=expr,
            range_ms=range_ms,
            range_expr=range_expr,
            step_ms=step_ms,
            step_expr=step_expr,
            start=expr.start,
            end=closing.end,
        )

    # -- binary expressions --------------------------------------------------------------------------------

    def _binary(self, op: str, left: Expr, right: Expr, *, return_bool: bool, matching: Matching) -> Binary:
        if not self._options.fill_modifiers and (matching.fill_left, matching.fill_right) != (None, None):
            raise self.error(left.start, "binop fill modifiers are experimental and not enabled")
        return Binary(
            op=op,
            lhs=left,
            rhs=right,
            return_bool=return_bool,
            matching=modifiers.settled(op, left, right, matching),
            start=left.start,
            end=right.end,
        )

    # -- calls ---------------------------------------------------------------------------------------------

    def _arguments(self) -> list[Expr]:
        self.expect("(")
        args: list[Expr] = []
        height = 0
        if self.accept(")"):
            self._height = 1
            return args
        while True:
            args.append(self._expression(_LOWEST))
            height = max(height, self._height)
            if self.peek() != ",":
                break
            comma = self.take()
            if self.peek() not in EXPRESSION_STARTS:
                raise self.error(comma.start, "trailing commas not allowed in function call args")
        self.expect(")")
        self._height = self._raised(height)
        return args

    def _call(self, name: Token) -> Call:
        args = self._arguments()
        signature = FUNCTIONS.get(name.text)
        if signature is None:
            raise self.error(name.start, f"unknown function with name {go_quote(name.text)}")
        if signature.experimental and not self._options.experimental_functions:
            raise self.error(name.start, f"function {go_quote(name.text)} is not enabled")
        return Call(
            function=name.text,
            args=tuple(args),
            returns=signature.returns,
            start=name.start,
            end=self.closing,
            claimed=self.claim(),
        )

    def _aggregate(self, word: Token) -> Aggregate:
        grouping: tuple[str, ...] = ()
        without = False
        with self.inside("aggregation"):
            first = self.peek() in _GROUPINGS
            if first:
                grouping, without = self._grouping()
            args = self._arguments()
            end = self.closing
            last = not first and self.peek() in _GROUPINGS
            if last:
                grouping, without = self._grouping()
                end = self.closing
        self._check_arguments(word, args)
        return Aggregate(
            op=word.type,
            expr=args[-1],
            param=args[0] if word.type in WITH_PARAMETER else None,
            grouping=grouping,
            without=without,
            start=word.start,
            end=end,
            claimed=self.claim(2 if first or last else 1),
        )

    def _grouping(self) -> tuple[tuple[str, ...], bool]:
        without = self.take().type == "without"
        return label_names(self), without

    def _check_arguments(self, word: Token, args: list[Expr]) -> None:
        if not args:
            raise self.error(word.start, "no arguments for aggregate expression provided")
        if word.type in EXPERIMENTAL_AGGREGATIONS and not self._options.experimental_functions:
            raise self.error(
                word.start,
                f"{word.type}() is experimental and must be enabled with "
                "--enable-feature=promql-experimental-functions",
            )
        wanted = 2 if word.type in WITH_PARAMETER else 1
        if len(args) != wanted:
            raise self.error(
                word.start,
                f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}",
            )
