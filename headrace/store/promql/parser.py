"""The parser of PromQL: precedence climbing over tokens, with types checked on the way.

Source:
    Prometheus 3.14's grammar and its error texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import regex
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Card,
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
from headrace.store.promql.errors import ParseError
from headrace.store.promql.functions_table import (
    AGGREGATIONS,
    EXPERIMENTAL_AGGREGATIONS,
    FUNCTIONS,
    WITH_PARAMETER,
)
from headrace.store.promql.lexer import MAX_DURATION_MS, Kind, Token, duration_ms, number, tokens, unquote

MAX_LENGTH = 1 << 20
"""Characters of a query."""

MAX_DEPTH = 100
"""Levels of nesting, so that no query overflows the interpreter's stack."""

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SETS = frozenset({"and", "or", "unless"})
_PRECEDENCE = {
    "or": 1, "and": 2, "unless": 2, **dict.fromkeys(_COMPARISONS, 3),
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_POWER = _PRECEDENCE["^"]
_MATCH_TYPES = {"=": MatchType.EQUAL, "!=": MatchType.NOT_EQUAL, "=~": MatchType.REGEX, "!~": MatchType.NOT_REGEX}


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


@lru_cache(maxsize=1024)
def parse(query: str, options: ParserOptions | None = None) -> Expr:
    """Parse an expression.

    Raises:
        ParseError: It is not PromQL; the text has line and column.
    """
    if len(query) > MAX_LENGTH:
        raise ParseError("", 0, f"query of {len(query)} characters is longer than {MAX_LENGTH}")
    return _Parser(query, options or ParserOptions()).whole()


@lru_cache(maxsize=1024)
def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Parse a series selector such as ``up{job="node"}``, as ``match[]`` takes it; it may select everything.

    Raises:
        ParseError: It is none.
    """
    return _Parser(text, ParserOptions()).selector().matchers


class _Parser:
    def __init__(self, query: str, options: ParserOptions) -> None:
        self._query = query
        self._options = options
        self._tokens = tokens(query)
        self._at = 0
        self._depth = 0
        self._bare = False  # whether the next selector only chooses labels, so that it may match anything

    # -- tokens --------------------------------------------------------------------------------------------

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    @property
    def _after(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _is(self, text: str) -> bool:
        return self._next.kind is Kind.OPERATOR and self._next.text == text

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str, context: str) -> Token:
        if not self._is(text):
            raise self._unexpected(context, f'"{text}"')
        return self._take()

    def _is_word(self, *words: str) -> bool:
        return self._next.kind is Kind.IDENTIFIER and self._next.text.lower() in words

    def _end(self) -> int:
        """Offset one past the last token taken."""
        return self._tokens[self._at - 1].end if self._at else 0

    def _error(self, position: int, why: str) -> ParseError:
        return ParseError(self._query, position, why)

    def _unexpected(self, context: str = "", expected: str = "") -> ParseError:
        token = self._next
        why = f"unexpected {_described(token)}"
        why += f" in {context}" if context else ""
        why += f", expected {expected}" if expected else ""
        return self._error(token.start, why)

    # -- expressions ---------------------------------------------------------------------------------------

    def whole(self) -> Expr:
        """Parse everything."""
        if self._next.kind is Kind.END:
            raise self._error(len(self._query), "no expression found in input")
        expr = self._expression(1)
        if self._at < len(self._tokens) - 1:
            raise self._unexpected()
        return expr

    def selector(self) -> VectorSelector:
        """Parse everything as a selector without a range, offset or time."""
        token = self._next
        named = token.kind is Kind.IDENTIFIER and token.text.lower() not in {"inf", "nan"}
        if not named and not self._is("{"):
            raise self._unexpected()
        if named:
            self._take()
        self._bare = True
        found = self._selector(token, token.text if named else "")
        if self._next.kind is not Kind.END:
            raise self._unexpected()
        return found

    def _expression(self, least: int) -> Expr:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(self._next.start, f"expression is nested deeper than {MAX_DEPTH} levels")
        left = self._unary()
        while (op := self._operator()) and _PRECEDENCE[op] >= least:
            token = self._take()
            return_bool, matching = self._modifiers(op, token)
            # The power operator binds to the right, the others to the left.
            right = self._expression(_PRECEDENCE[op] + (op != "^"))
            left = self._binary(op, token, left, right, return_bool, matching)
        self._depth -= 1
        return left

    def _operator(self) -> str:
        token = self._next
        if token.kind is Kind.OPERATOR and token.text in _PRECEDENCE:
            return token.text
        word = token.text.lower()
        return word if token.kind is Kind.IDENTIFIER and word in _PRECEDENCE else ""

    def _unary(self) -> Expr:
        token = self._next
        if token.kind is Kind.OPERATOR and token.text in {"+", "-"}:
            self._take()
            inner = self._expression(_POWER)
            if inner.type not in {ValueType.SCALAR, ValueType.VECTOR}:
                raise self._error(
                    token.start,
                    "unary expression only allowed on expressions of type scalar or instant vector, got "
                    f'"{inner.type}"',
                )
            if isinstance(inner, NumberLiteral):
                value = -inner.value if token.text == "-" else inner.value
                return NumberLiteral(value=value, is_duration=inner.is_duration, start=token.start, end=inner.end)
            return Unary(op=token.text, expr=inner, start=token.start, end=inner.end)
        return self._postfix(self._primary())

    def _primary(self) -> Expr:
        token = self._next
        if token.kind is Kind.NUMBER:
            self._take()
            return NumberLiteral(value=number(token.text), start=token.start, end=token.end)
        if token.kind is Kind.DURATION:
            self._take()
            return NumberLiteral(value=self._duration(token) / 1000, is_duration=True, start=token.start, end=token.end)
        if token.kind is Kind.STRING:
            self._take()
            return StringLiteral(value=unquote(self._query, token), start=token.start, end=token.end)
        if self._is("("):
            self._take()
            inner = self._expression(1)
            self._expect(")", "parentheses")
            return Paren(expr=inner, start=token.start, end=self._end())
        if self._is("{"):
            return self._selector(token, "")
        if token.kind is Kind.IDENTIFIER:
            return self._identifier(token)
        raise self._unexpected()

    def _identifier(self, token: Token) -> Expr:
        word = token.text.lower()
        following = self._after
        opens = following.kind is Kind.OPERATOR and following.text == "("
        if word in AGGREGATIONS and (opens or self._groups_next(following)):
            return self._aggregate(token)
        if opens:
            return self._call(token)
        if word in {"inf", "nan"} and not (following.kind is Kind.OPERATOR and following.text == "{"):
            self._take()
            return NumberLiteral(value=math.inf if word == "inf" else math.nan, start=token.start, end=token.end)
        self._take()
        return self._selector(token, token.text)

    @staticmethod
    def _groups_next(following: Token) -> bool:
        return following.kind is Kind.IDENTIFIER and following.text.lower() in {"by", "without"}

    # -- selectors -----------------------------------------------------------------------------------------

    def _selector(self, token: Token, name: str) -> VectorSelector:
        bare, self._bare = self._bare, False
        matchers: list[Matcher] = []
        quoted = ""
        if self._accept("{"):
            while not self._is("}"):
                quoted = self._matcher(matchers, name or quoted) or quoted
                if not self._accept(","):
                    break
            if not self._is("}"):
                raise self._unexpected("label matching", '"," or "}"')
            self._take()
        if name or quoted:
            if any(m.name == "__name__" for m in matchers):
                raise self._error(
                    token.start, f'metric name must not be set twice: "{name or quoted}" or "{matchers[0].value}"'
                )
            matchers.append(Matcher("__name__", MatchType.EQUAL, name or quoted))
        if not bare and all(matcher.matches_empty for matcher in matchers):
            raise self._error(token.start, "vector selector must contain at least one non-empty matcher")
        return VectorSelector(matchers=tuple(matchers), name=name, start=token.start, end=self._end())

    def _matcher(self, matchers: list[Matcher], name: str) -> str:
        """Parse one matcher, or the quoted metric name, which is returned."""
        label = self._next
        if label.kind not in {Kind.IDENTIFIER, Kind.STRING}:
            raise self._unexpected("label matching", 'identifier or "}"')
        self._take()
        text = unquote(self._query, label) if label.kind is Kind.STRING else label.text
        if label.kind is Kind.STRING and (self._is(",") or self._is("}")):
            if name:
                raise self._error(label.start, f'metric name must not be set twice: "{name}" or "{text}"')
            return text
        operator = self._next
        if operator.kind is not Kind.OPERATOR or operator.text not in _MATCH_TYPES:
            raise self._unexpected("label matching", "label matching operator")
        self._take()
        value = self._next
        if value.kind is not Kind.STRING:
            raise self._unexpected("label matching", "string")
        self._take()
        match_type = _MATCH_TYPES[operator.text]
        literal = unquote(self._query, value)
        if match_type in {MatchType.REGEX, MatchType.NOT_REGEX}:
            try:
                regex(literal)
            except InvalidInput as error:
                raise self._error(label.start, str(error)) from None
        matchers.append(Matcher(text, match_type, literal))
        return ""

    # -- what follows an expression ------------------------------------------------------------------------

    def _postfix(self, expr: Expr) -> Expr:
        while True:
            if self._is("["):
                expr = self._range(expr)
            elif self._is("@"):
                expr = self._pin(expr)
            elif self._is_word("offset"):
                expr = self._shift(expr)
            else:
                return expr

    def _range(self, expr: Expr) -> Expr:
        bracket = self._take()
        length = self._positive(self._duration_expression("subquery or range selector"), bracket)
        if self._accept(":"):
            step = None
            if not self._is("]"):
                step = self._positive(self._duration_expression("subquery selector"), bracket)
            self._expect("]", "subquery selector")
            if expr.type is not ValueType.VECTOR:
                raise self._error(expr.start, f"subquery is only allowed on instant vector, got {expr.type} instead")
            return Subquery(expr=expr, range_ms=length, step_ms=step, start=expr.start, end=self._end())
        self._expect("]", "subquery or range selector")
        if not isinstance(expr, VectorSelector):
            raise self._error(expr.start, "ranges only allowed for vector selectors")
        if expr.offset_ms:
            raise self._error(expr.start, "no offset modifiers allowed before range")
        if expr.at is not None:
            raise self._error(expr.start, "no @ modifiers allowed before range")
        return MatrixSelector(selector=expr, range_ms=length, start=expr.start, end=self._end())

    def _pin(self, expr: Expr) -> Expr:
        self._take()
        token = self._next
        at: int | At
        if token.kind is Kind.IDENTIFIER and token.text.lower() in {"start", "end"}:
            self._take()
            self._expect("(", "@")
            self._expect(")", "@")
            at = At(token.text.lower())
        else:
            sign = -1 if self._accept("-") else 1
            self._accept("+")
            seconds = self._number("@") * sign
            if not math.isfinite(seconds) or abs(seconds) >= (1 << 63) / 1000:
                raise self._error(token.start, f"timestamp out of bounds for @ modifier: {seconds:f}")
            at = round(seconds * 1000)
        return self._modified(expr, "@", at=at)

    def _shift(self, expr: Expr) -> Expr:
        self._take()
        return self._modified(expr, "offset", offset_ms=self._signed_duration())

    def _modified(self, expr: Expr, what: str, *, at: int | At | None = None, offset_ms: int = 0) -> Expr:
        """Put a modifier where it belongs: on a selector or a subquery."""
        end = self._end()
        target = expr.selector if isinstance(expr, MatrixSelector) else expr
        if not isinstance(target, VectorSelector | Subquery):
            raise self._error(
                expr.start,
                f"{what} modifier must be preceded by an instant vector selector or range vector selector "
                "or a subquery",
            )
        if at is not None:
            if target.at is not None:
                raise self._error(expr.start, "@ <timestamp> may not be set multiple times")
            changed = replace(target, at=at)
        else:
            if target.offset_ms:
                raise self._error(expr.start, "offset may not be set multiple times")
            changed = replace(target, offset_ms=offset_ms)
        if isinstance(expr, MatrixSelector):
            assert isinstance(changed, VectorSelector)
            return replace(expr, selector=changed, end=end)
        return replace(changed, end=end)

    # -- durations -----------------------------------------------------------------------------------------

    def _signed_duration(self) -> int:
        if self._is("("):
            return self._to_ms(self._duration_sum("offset"), self._next)
        token = self._next
        sign = 1
        while self._is("-") or self._is("+"):
            sign = -sign if self._take().text == "-" else sign
        return self._to_ms(sign * self._duration_atom("offset"), token)

    def _duration_expression(self, context: str) -> int:
        token = self._next
        return self._to_ms(self._duration_sum(context), token)

    def _to_ms(self, seconds: float, token: Token) -> int:
        if not math.isfinite(seconds) or abs(seconds) * 1000 > MAX_DURATION_MS:
            raise self._error(token.start, "duration out of range")
        return round(seconds * 1000)

    def _positive(self, ms: int, token: Token) -> int:
        if ms <= 0:
            raise self._error(token.end, "duration must be greater than 0")
        return ms

    def _duration_sum(self, context: str) -> float:
        value = self._duration_product(context)
        while self._is("+") or self._is("-"):
            op = self._take().text
            right = self._duration_product(context)
            value = value + right if op == "+" else value - right
        return value

    def _duration_product(self, context: str) -> float:
        value = self._duration_power(context)
        while self._is("*") or self._is("/") or self._is("%"):
            token = self._take()
            right = self._duration_power(context)
            if token.text == "*":
                value *= right
            elif right == 0:
                raise self._error(token.start, "division by zero" if token.text == "/" else "modulo by zero")
            else:
                value = value / right if token.text == "/" else math.fmod(value, right)
        return value

    def _duration_power(self, context: str) -> float:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(self._next.start, f"expression is nested deeper than {MAX_DEPTH} levels")
        value = self._duration_atom(context)
        if self._accept("^"):
            try:
                value = float(value ** self._duration_power(context))
            except (OverflowError, ZeroDivisionError, TypeError):
                value = math.inf
        self._depth -= 1
        return value

    def _duration_atom(self, context: str) -> float:
        if self._accept("-"):
            return -self._duration_power(context)
        if self._accept("+"):
            return self._duration_power(context)
        if self._accept("("):
            value = self._duration_sum(context)
            self._expect(")", context)
            return value
        if self._is_word("step", "range", "min_of", "max_of"):
            raise self._error(self._next.start, f"{self._next.text}() in durations is not supported yet")
        return self._number(context, "number, duration, step(), or range()")

    def _number(self, context: str, expected: str = "") -> float:
        token = self._next
        if token.kind is Kind.NUMBER:
            self._take()
            return number(token.text)
        if token.kind is Kind.DURATION:
            self._take()
            return self._duration(token) / 1000
        if self._is_word("inf", "nan"):
            return math.inf if self._take().text.lower() == "inf" else math.nan
        raise self._unexpected(context, expected)

    def _duration(self, token: Token) -> int:
        try:
            return duration_ms(token.text)
        except ValueError as error:
            raise self._error(token.start, str(error)) from None

    # -- binary expressions --------------------------------------------------------------------------------

    def _modifiers(self, op: str, token: Token) -> tuple[bool, Matching]:
        return_bool = False
        if self._is_word("bool"):
            self._take()
            return_bool = True
            if op not in _COMPARISONS:
                raise self._error(token.start, "bool modifier can only be used on comparison operators")
        card = Card.MANY_TO_MANY if op in _SETS else Card.ONE_TO_ONE
        matching = Matching(card)
        if self._is_word("on", "ignoring") and self._after.text == "(":
            on = self._take().text.lower() == "on"
            matching = replace(matching, on=on, labels=self._label_list())
            if self._is_word("group_left", "group_right"):
                side = self._take()
                include = self._label_list() if self._is("(") else ()
                many = Card.MANY_TO_ONE if side.text.lower() == "group_left" else Card.ONE_TO_MANY
                if op in _SETS:
                    raise self._error(token.start, f'no grouping allowed for "{op}" operation')
                matching = replace(matching, card=many, include=include)
                if on and (both := next((name for name in include if name in matching.labels), None)):
                    raise self._error(token.start, f'label "{both}" must not occur in ON and GROUP clause at once')
        if self._is_word("fill", "fill_left", "fill_right") and self._after.text == "(":
            raise self._error(self._next.start, f"{self._next.text} modifier is not supported yet")
        return return_bool, matching

    def _binary(self, op: str, token: Token, lhs: Expr, rhs: Expr, return_bool: bool, matching: Matching) -> Binary:  # noqa: FBT001
        for side in (lhs, rhs):
            if side.type not in {ValueType.SCALAR, ValueType.VECTOR}:
                raise self._error(side.start, "binary expression must contain only scalar and instant vector types")
        scalars = [side.type is ValueType.SCALAR for side in (lhs, rhs)]
        if op in _COMPARISONS and all(scalars) and not return_bool:
            raise self._error(token.start, "comparisons between scalars must use BOOL modifier")
        if op in _SETS and any(scalars):
            raise self._error(token.start, f'set operator "{op}" not allowed in binary scalar expression')
        if any(scalars) and (matching.labels or matching.on):
            raise self._error(token.start, "vector matching only allowed between instant vectors")
        return Binary(
            op=op,
            lhs=lhs,
            rhs=rhs,
            return_bool=return_bool,
            matching=None if any(scalars) else matching,
            start=lhs.start,
            end=rhs.end,
        )

    def _label_list(self) -> tuple[str, ...]:
        self._expect("(", "grouping opts")
        labels: list[str] = []
        while not self._is(")"):
            token = self._next
            if token.kind is Kind.STRING:
                labels.append(unquote(self._query, token))
            elif token.kind is Kind.IDENTIFIER and ":" not in token.text:
                labels.append(token.text)
            else:
                raise self._unexpected("grouping opts", "label")
            self._take()
            if not self._accept(","):
                break
        if not self._is(")"):
            raise self._unexpected("grouping opts", '"," or ")"')
        self._take()
        return tuple(labels)

    # -- calls ---------------------------------------------------------------------------------------------

    def _arguments(self, function: str = "") -> list[Expr]:
        self._expect("(", "function call")
        args: list[Expr] = []
        while not self._is(")"):
            self._bare = function == "info" and len(args) == 1 and self._is("{")
            args.append(self._expression(1))
            if not self._accept(","):
                break
            if self._is(")"):
                raise self._error(self._next.start, "trailing commas not allowed in function call args")
        if not self._is(")"):
            raise self._unexpected()
        self._take()
        return args

    def _aggregate(self, token: Token) -> Aggregate:
        op = self._take().text.lower()
        if op in EXPERIMENTAL_AGGREGATIONS and not self._options.experimental_functions:
            raise self._error(
                token.start,
                f"{op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            )
        grouping, without = self._grouping()
        args = self._arguments()
        if not grouping and not without and self._is_word("by", "without"):
            grouping, without = self._grouping()
        wanted = 2 if op in WITH_PARAMETER else 1
        if len(args) != wanted:
            if not args:
                raise self._error(token.start, "no arguments for aggregate expression provided")
            raise self._error(
                token.start,
                f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}",
            )
        self._check(args[-1], ValueType.VECTOR, "aggregation expression")
        param = args[0] if wanted == 2 else None
        if param is not None:
            kind = ValueType.STRING if op == "count_values" else ValueType.SCALAR
            self._check(param, kind, "aggregation parameter")
        return Aggregate(
            op=op, expr=args[-1], param=param, grouping=grouping, without=without, start=token.start, end=self._end()
        )

    def _grouping(self) -> tuple[tuple[str, ...], bool]:
        if not self._is_word("by", "without"):
            return (), False
        without = self._take().text.lower() == "without"
        return self._label_list(), without

    def _call(self, token: Token) -> Call:
        name = self._take().text
        signature = FUNCTIONS.get(name)
        if signature is None:
            raise self._error(token.start, f'unknown function with name "{name}"')
        if signature.experimental and not self._options.experimental_functions:
            raise self._error(
                token.start,
                f'function "{name}" is not enabled; it needs --enable-feature=promql-experimental-functions',
            )
        args = self._arguments(name)
        least = len(signature.args) - abs(signature.variadic)
        if signature.variadic == 0 and len(args) != len(signature.args):
            raise self._error(
                token.start,
                f'expected {len(signature.args)} argument(s) in call to "{name}", got {len(args)}',
            )
        if len(args) < least:
            raise self._error(
                token.start, f'expected at least {least} argument(s) in call to "{name}", got {len(args)}'
            )
        if signature.variadic > 0 and len(args) > len(signature.args):
            raise self._error(
                token.start,
                f'expected at most {len(signature.args)} argument(s) in call to "{name}", got {len(args)}',
            )
        for i, arg in enumerate(args):
            self._check(arg, signature.args[min(i, len(signature.args) - 1)], f'call to function "{name}"')
        return Call(function=name, args=tuple(args), returns=signature.returns, start=token.start, end=self._end())

    def _check(self, expr: Expr, wanted: ValueType, context: str) -> None:
        if expr.type is not wanted:
            raise self._error(expr.start, f"expected type {wanted} in {context}, got {expr.type}")


def _described(token: Token) -> str:
    if token.kind is Kind.END:
        return "end of input"
    if token.kind is Kind.OPERATOR:
        names = {
            "=": "=",
            ",": '","',
            ":": '":"',
            "(": '"("',
            ")": '")"',
            "{": '"{"',
            "}": '"}"',
            "[": '"["',
            "]": '"]"',
        }
        return names.get(token.text, f"<op:{token.text}>")
    if token.kind is Kind.IDENTIFIER and token.text.lower() in _PRECEDENCE:
        return f"<op:{token.text.lower()}>"
    text = token.text if token.kind is not Kind.STRING else token.text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{token.kind} "{text}"'
