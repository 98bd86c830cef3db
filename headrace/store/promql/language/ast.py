"""The syntax tree of PromQL.

Every node knows where it stands in the text (character offsets, end exclusive), for annotations and errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.matchers import Matcher


class ValueType(StrEnum):
    """What an expression yields, in Prometheus' words."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


class Card(StrEnum):
    """How many samples of each side may match."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"


class At(StrEnum):
    """The ``@`` modifier's functions."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Base of all expressions.

    Attributes:
        start: Offset of the first character.
        end: Offset one past the last one.
    """

    type: ClassVar[ValueType] = ValueType.VECTOR
    start: int = 0
    end: int = 0

    def children(self) -> Iterator[Expr]:
        """Yield the expressions right below."""
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberLiteral(Node):
    """A number, or a duration in seconds.

    Attributes:
        value: The number.
        is_duration: Whether it was written as a duration.
    """

    type: ClassVar[ValueType] = ValueType.SCALAR
    value: float
    is_duration: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StringLiteral(Node):
    """A string."""

    type: ClassVar[ValueType] = ValueType.STRING
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationExpression(Node):
    """A duration that is computed, such as ``5m + step()``.

    It stands where a duration does and is no expression of its own: `children` of selectors do not yield it.

    Attributes:
        op: ``+ - * / % ^ min_of max_of``, or ``step`` and ``range``, which have no operands.
        lhs: Left operand in seconds; None for a sign.
        rhs: Right operand, or what the sign belongs to.
        wrapped: Whether it was written in parentheses.
    """

    type: ClassVar[ValueType] = ValueType.SCALAR
    op: str
    lhs: Duration | None = None
    rhs: Duration | None = None
    wrapped: bool = False


Duration = NumberLiteral | DurationExpression


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSelector(Node):
    """Selects series.

    Attributes:
        matchers: All of them, the metric name's too.
        name: Metric name where it was written before the braces, for printing; else empty.
        offset_ms: How far back.
        at: Fixed time in milliseconds, start or end of the query, or None.
        offset_expr: Computed offset, which `durations.resolve` turns into `offset_ms`.
        anchored: Whether a range starts with the last sample before it and ends with its own last one.
        smoothed: Whether values at the ends of a range are interpolated.
    """

    matchers: tuple[Matcher, ...]
    name: str = ""
    offset_ms: int = 0
    at: int | At | None = None
    offset_expr: DurationExpression | None = None
    anchored: bool = False
    smoothed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixSelector(Node):
    """Selects ranges of samples.

    Attributes:
        selector: What; it carries offset and ``@``.
        range_ms: How long.
        range_expr: Computed length, which `durations.resolve` turns into `range_ms`.
    """

    type: ClassVar[ValueType] = ValueType.MATRIX
    selector: VectorSelector
    range_ms: int
    range_expr: DurationExpression | None = None

    def children(self) -> Iterator[Expr]:
        """Yield the selector."""
        yield self.selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Subquery(Node):
    """Evaluates an expression at steps over a range.

    Attributes:
        expr: What.
        range_ms: How long.
        step_ms: Steps, None for the default interval.
        offset_ms: How far back.
        at: As in `VectorSelector`.
        range_expr: Computed length, which `durations.resolve` turns into `range_ms`.
        step_expr: Computed step, likewise.
        offset_expr: Computed offset, likewise.
    """

    type: ClassVar[ValueType] = ValueType.MATRIX
    expr: Expr
    range_ms: int
    step_ms: int | None = None
    offset_ms: int = 0
    at: int | At | None = None
    range_expr: DurationExpression | None = None
    step_expr: DurationExpression | None = None
    offset_expr: DurationExpression | None = None

    def children(self) -> Iterator[Expr]:
        """Yield the inner expression."""
        yield self.expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Paren(Node):
    """An expression in parentheses."""

    expr: Expr

    @property
    def type(self) -> ValueType:  # type: ignore[override]  # an instance attribute here
        """What the inner expression yields."""
        return self.expr.type

    def children(self) -> Iterator[Expr]:
        """Yield the inner expression."""
        yield self.expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Node):
    """Plus or minus.

    Attributes:
        op: ``+`` or ``-``.
        expr: Scalar or instant vector.
    """

    op: str
    expr: Expr

    @property
    def type(self) -> ValueType:  # type: ignore[override]  # an instance attribute here
        """What the inner expression yields."""
        return self.expr.type

    def children(self) -> Iterator[Expr]:
        """Yield the inner expression."""
        yield self.expr


@dataclass(frozen=True, slots=True)
class Matching:
    """How the vectors of a binary expression match.

    Attributes:
        card: Cardinality.
        on: Whether `labels` are the ones that count, or else the ones that do not.
        labels: Label names.
        include: Labels taken over from the "one" side.
        fill_left: What stands for a missing sample of the left side, or None.
        fill_right: The same for the right side.
    """

    card: Card = Card.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Node):
    """Two operands.

    Attributes:
        op: Operator as written, lower case.
        lhs: Left operand.
        rhs: Right operand.
        return_bool: Whether a comparison yields 0 and 1.
        matching: How vectors match; None unless both are vectors.
    """

    op: str
    lhs: Expr
    rhs: Expr
    return_bool: bool = False
    matching: Matching | None = None

    @property
    def type(self) -> ValueType:  # type: ignore[override]  # an instance attribute here
        """Scalar where both operands are."""
        both = self.lhs.type is ValueType.SCALAR and self.rhs.type is ValueType.SCALAR
        return ValueType.SCALAR if both else ValueType.VECTOR

    def children(self) -> Iterator[Expr]:
        """Yield both operands."""
        yield self.lhs
        yield self.rhs


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Node):
    """An aggregation.

    Attributes:
        op: Name, lower case.
        expr: Instant vector.
        param: First argument of ``topk`` and its like.
        grouping: Label names.
        without: Whether they are the ones to leave out.
        claimed: Where it ends as far as errors tell; see `Cursor.claim`.
    """

    op: str
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False
    claimed: int = 0

    def children(self) -> Iterator[Expr]:
        """Yield the vector, then the parameter."""
        yield self.expr
        if self.param is not None:
            yield self.param


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    """A function call.

    Attributes:
        function: Name.
        args: Arguments.
        returns: What the function yields.
        claimed: Where it ends as far as errors tell; see `Cursor.claim`.
    """

    function: str
    args: tuple[Expr, ...] = field(default=())
    returns: ValueType = ValueType.VECTOR
    claimed: int = 0

    @property
    def type(self) -> ValueType:  # type: ignore[override]  # an instance attribute here
        """What the function yields."""
        return self.returns

    def children(self) -> Iterator[Expr]:
        """Yield the arguments."""
        return iter(self.args)


Expr = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Paren
    | Unary
    | Binary
    | Aggregate
    | Call
)


def bare(expr: Expr) -> Expr:
    """Return `expr` without the parentheses around it."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def walk(expr: Expr) -> Iterator[Expr]:
    """Yield `expr` and all expressions below it, parents first."""
    yield expr
    for child in expr.children():
        yield from walk(child)
