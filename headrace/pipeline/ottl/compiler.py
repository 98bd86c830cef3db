"""Expressions as closures over series: parsed and checked once, evaluated once for each new series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.arguments import arranged, glob
from headrace.pipeline.ottl.columns import Column, converted, lifted, negated, truth
from headrace.pipeline.ottl.converters import CONVERTERS, TIMES
from headrace.pipeline.ottl.lexer import fault
from headrace.pipeline.ottl.nodes import Binary, Call, Listed, Literal, Mapped, Node, Path, Unary
from headrace.pipeline.ottl.parser import parse_condition
from headrace.pipeline.ottl.paths import PREFIXES, Access, Context, access, index
from headrace.pipeline.ottl.values import calculate, need_text
from headrace.pipeline.regex import unanchored

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.series_view import SeriesView

_CASTS: dict[str, type[np.int64 | np.float64]] = {"Int": np.int64, "Double": np.float64}
_ON_POINTS = frozenset({"HasAttrKeyOnDatapoint", "HasAttrOnDatapoint"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression.

    Attributes:
        value: Its value for a series: a plain one, or a `Column` where points differ in it. Raises `InvalidInput`
            where it has none.
        valued: Whether it may be a column.
        context: The innermost context that it names.
        constant: Whether it is the same for all series.
    """

    value: Callable[[SeriesView], Any]
    valued: bool = False
    context: Context = Context.RESOURCE
    constant: bool = False


def compile_condition(text: str, context: Context | None = None) -> Compiled:
    """Compile a condition; `Column` values of it are conditions on points.

    Args:
        text: In OTTL.
        context: Of paths without a prefix; None where all have one.

    Raises:
        InvalidInput: It is wrong, or something in it is not supported; the message names the place.
    """
    return Compiler(text, context).condition(parse_condition(text))


class Compiler:
    """Compiles the nodes of one text.

    Args:
        text: For messages.
        context: Of paths without a prefix; None where all have one.
    """

    def __init__(self, text: str, context: Context | None = None) -> None:
        self._text = text
        self._context = context

    def condition(self, node: Node) -> Compiled:
        """Compile a node that answers yes or no."""
        found = self.expression(node)
        value = found.value

        def run(view: SeriesView) -> Any:
            answer = value(view)
            return answer if isinstance(answer, Column) else truth(answer)

        return Compiled(run, found.valued, found.context, found.constant)

    def expression(self, node: Node) -> Compiled:
        """Compile any node."""
        if isinstance(node, Literal):
            value = node.value
            return Compiled(lambda _view: value, constant=True)
        if isinstance(node, Path):
            found = self.path(node)
            return Compiled(found.read, bool(found.column), found.context)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Binary):
            return self._binary(node)
        return self._unary(node) if isinstance(node, Unary) else self._collection(node)

    def path(self, node: Path) -> Access:
        """Resolve a path."""
        segments = list(node.segments)
        context = PREFIXES.get(segments[0].name) if len(segments) > 1 else None
        if context is not None and not segments[0].keys:
            segments = segments[1:]
        elif self._context is not None:
            context = self._context
        else:
            prefixes = ", ".join(f"{name}." for name in PREFIXES)
            raise self.fault(node, f"a path begins with its context ({prefixes}), not with {segments[0].name!r},")
        if self._context is not None and context > self._context:
            raise self.fault(node, f"{context.name.lower()} cannot be reached from {self._context.name.lower()}")
        if len(segments) != 1:
            raise self.fault(node, f"there is no path {'.'.join(one.name for one in node.segments)}")
        keys = [self.plain(key) for key in segments[0].keys]
        try:
            return access(context, segments[0].name, [key.value for key in keys])
        except InvalidInput as error:
            raise self.fault(node, str(error)) from None

    def plain(self, node: Node) -> Compiled:
        """Compile a node that may not differ from point to point."""
        found = self.expression(node)
        if found.valued:
            raise self.fault(node, "the values of points cannot be used here: each would make a series of its own")
        return found

    def fault(self, node: Node, why: str) -> InvalidInput:
        """Return an error that names the place of a node."""
        return fault(self._text, node.position, why)

    # -- parts -----------------------------------------------------------------------------------------------

    def _binary(self, node: Binary) -> Compiled:
        left, right, op = self.expression(node.left), self.expression(node.right), node.operator
        if op == "/" and right.valued:
            raise self.fault(node, "the values of points cannot be divisors")
        one, other = left.value, right.value

        def run(view: SeriesView) -> Any:
            first = one(view)
            # A plain answer settles it: what is to the right may have no value then.
            if op in {"and", "or"} and not isinstance(first, Column) and truth(first) == (op == "or"):
                return first
            return lifted(op, first, other(view))

        return Compiled(
            run, left.valued or right.valued, max(left.context, right.context), left.constant and right.constant
        )

    def _unary(self, node: Unary) -> Compiled:
        found = self.expression(node.operand)
        value = found.value
        if node.operator == "not":
            return Compiled(lambda view: negated(value(view)), found.valued, found.context)
        if found.valued:
            return Compiled(lambda view: lifted("-", 0, value(view)), valued=True, context=found.context)
        return Compiled(lambda view: calculate("*", value(view), -1), context=found.context)

    def _collection(self, node: Listed | Mapped) -> Compiled:
        if isinstance(node, Listed):
            items = [self.plain(item) for item in node.items]
            values = [item.value for item in items]

            def run(view: SeriesView) -> Any:
                return [value(view) for value in values]
        else:
            items = [self.plain(item) for _, item in node.items]
            pairs = [(key, item.value) for (key, _), item in zip(node.items, items, strict=True)]

            def run(view: SeriesView) -> Any:
                return {key: value(view) for key, value in pairs}

        context = max((item.context for item in items), default=Context.RESOURCE)
        return Compiled(run, context=context, constant=all(item.constant for item in items))

    # -- functions -------------------------------------------------------------------------------------------

    def _call(self, node: Call) -> Compiled:
        if node.name in _ON_POINTS:
            return self._on_points(node)
        function = CONVERTERS.get(node.name)
        if function is None:
            raise self.fault(node, _unknown(node.name))
        given = [(name, self.expression(argument)) for name, argument in node.arguments]
        if node.name in _CASTS and len(given) == 1 and given[0][1].valued:
            value, to = given[0][1], _CASTS[node.name]
            return Compiled(lambda view: converted(value.value(view), to), valued=True, context=value.context)
        arguments = self.arguments(node, function, given)
        return self._keyed(node, self._applied(function.run, arguments))

    def arguments(self, node: Call, function: Any, given: list[tuple[str | None, Compiled]]) -> list[Compiled]:
        """Put arguments into order and check them; those left out are nil."""
        for (_, argument), (_, found) in zip(node.arguments, given, strict=True):
            if found.valued:
                raise self.fault(argument, f"{node.name} does not take the values of points")
        try:
            ordered = arranged(function, given, node.name)
        except InvalidInput as error:
            raise self.fault(node, str(error)) from None
        nothing = Compiled(lambda _view: None, constant=True)
        arguments = [nothing if one is None else one for one in ordered]
        for places, read in ((function.patterns, unanchored), (function.globs, glob)):
            for place in places:
                self._check_pattern(node, arguments[place], read)
        return arguments

    def _check_pattern(self, node: Call, pattern: Compiled, read: Callable[[str], object]) -> None:
        if pattern.constant:
            try:
                read(need_text(pattern.value(None), node.name))  # type: ignore[arg-type]  # it asks no series
            except InvalidInput as error:
                raise self.fault(node, str(error)) from None

    def _applied(self, run: Callable[..., Any], arguments: list[Compiled]) -> Compiled:
        values = [argument.value for argument in arguments]
        context = max(argument.context for argument in arguments)
        return Compiled(lambda view: run(*(value(view) for value in values)), context=context)

    def _keyed(self, node: Call, found: Compiled) -> Compiled:
        for key_node in node.keys:
            found = self._applied(index, [found, self.plain(key_node)])
        return found

    def _on_points(self, node: Call) -> Compiled:
        wanted = 1 if node.name == "HasAttrKeyOnDatapoint" else 2
        if len(node.arguments) != wanted:
            raise self.fault(
                node, f"{node.name} takes {wanted} argument{'s' * (wanted > 1)}, not {len(node.arguments)}"
            )
        values = [self.plain(argument).value for _, argument in node.arguments]

        def run(view: SeriesView) -> bool:
            key, *value = [one(view) for one in values]
            name = need_text(key, node.name)
            return name in view.attributes and (not value or view.attributes[name] == value[0])

        return Compiled(run, context=Context.METRIC)


def _unknown(name: str) -> str:
    if name in TIMES:
        return f"{name} is not supported: what is decided about a series holds for as long as it lives"
    return f"there is no function {name!r} here that makes a value"
