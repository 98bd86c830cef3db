"""Statements: an editor with its condition, compiled into an edit of a series or of a column of its points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Kind, MetricType, Temporality
from headrace.pipeline.ottl.arguments import Function
from headrace.pipeline.ottl.columns import field, lifted
from headrace.pipeline.ottl.compiler import Compiled, Compiler
from headrace.pipeline.ottl.editors import EDITORS
from headrace.pipeline.ottl.nodes import Call, Path
from headrace.pipeline.ottl.parser import parse_statement
from headrace.pipeline.ottl.paths import Access, Context, is_sum
from headrace.pipeline.ottl.values import need_text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.ottl.nodes import Node
    from headrace.pipeline.series_view import SeriesView

SETTABLE = ("value_double", "value_int", "time_unix_nano", "start_time_unix_nano")
"""Columns that ``set`` may change."""

_MAKERS = {
    "copy_metric": "it makes points",
    "extract_count_metric": "it makes points",
    "extract_sum_metric": "it makes points",
    "extract_percentile_metric": "it makes points",
    "convert_summary_count_val_to_sum": "it makes points",
    "convert_summary_sum_val_to_sum": "it makes points",
    "convert_summary_quantile_val_to_gauge": "it makes points",
    "convert_exponential_histogram_to_histogram": "the exporters do it",
    "aggregate_on_attributes": "points are not added up here: see cardinality_limit and aggregations in PromQL",
    "aggregate_on_attribute_value": "points are not added up here: see cardinality_limit and aggregations in PromQL",
    "merge_histogram_buckets": "buckets are not edited",
    "delete_index": "rebuild the list with set",
}
"""Editors of the Collector that are refused, with the reason."""


@dataclass(frozen=True, slots=True)
class Step:
    """A compiled statement.

    Attributes:
        text: As written.
        where: Its condition; None without one.
        edit: Changes a series; None where the statement changes a column alone.
        column: Column that it changes; empty for none.
        value: What the column is set to.
        context: The innermost context that it names.
    """

    text: str
    where: Compiled | None
    edit: Callable[[SeriesView], None] | None
    column: str = ""
    value: Callable[[SeriesView], Any] | None = None
    context: Context = Context.RESOURCE


def compile_statement(text: str, context: Context | None = None) -> Step:
    """Compile a statement.

    Args:
        text: In OTTL.
        context: Of paths without a prefix; None where all have one.

    Raises:
        InvalidInput: It is wrong, or something in it is not supported; the message names the place.
    """
    statement = parse_statement(text)
    compiler = _StatementCompiler(text, context)
    where = None if statement.where is None else compiler.condition(statement.where)
    step = compiler.editor(statement.editor)
    if step.edit is not None and where is not None and where.valued:
        raise compiler.fault(
            statement.editor, f"{statement.editor.name} changes series: its where may not be on values"
        )
    innermost = max(step.context, Context.RESOURCE if where is None else where.context)
    return replace(step, where=where, context=innermost)


class _StatementCompiler(Compiler):
    def editor(self, node: Call) -> Step:
        """Compile the function of a statement."""
        if node.name in _MAKERS:
            raise self.fault(node, f"{node.name} is not supported: {_MAKERS[node.name]}")
        if node.keys:
            raise self.fault(node, f"{node.name} answers nothing that has keys")
        if node.name == "set":
            return self._set(node)
        if node.name in EDITORS:
            return self._edited(node, EDITORS[node.name])
        if node.name in _OF_METRICS:
            return self._of_metric(node)
        raise self.fault(node, f"there is no editor {node.name!r}")

    def _target(self, node: Call) -> Access:
        names = [name for name, _ in node.arguments]
        target: Node | None = node.arguments[0][1] if names and names[0] in {None, "target"} else None
        if not isinstance(target, Path):
            raise self.fault(node, f"{node.name} needs a path first")
        return self.path(target)

    def _set(self, node: Call) -> Step:
        target = self._target(node)
        if len(node.arguments) != 2:
            raise self.fault(node, f"set takes 2 arguments, not {len(node.arguments)}")
        argument = node.arguments[1][1]
        if target.column:
            return self._set_column(node, target, self.expression(argument))
        write = target.write
        if write is None:
            raise self.fault(node, "this path cannot be set")
        value = self.plain(argument)

        def edit(view: SeriesView) -> None:
            found = value.value(view)
            # As in the Collector, nothing is set to nil.
            if found is not None:
                write(view, found)

        return Step(self._text, None, edit, context=max(target.context, value.context))

    def _set_column(self, node: Call, target: Access, value: Compiled) -> Step:
        if target.column not in SETTABLE:
            raise self.fault(node, f"datapoint.{target.column} cannot be set (there: {', '.join(SETTABLE)})")
        return Step(self._text, None, None, target.column, value.value, Context.DATAPOINT)

    def _edited(self, node: Call, function: Function) -> Step:
        target = self._target(node)
        write = target.write
        if write is None:
            raise self.fault(node, "this path cannot be set")
        given = [(name, self.expression(argument)) for name, argument in node.arguments]
        arguments = self.arguments(node, function, given)
        values = [argument.value for argument in arguments]

        def edit(view: SeriesView) -> None:
            changed = function.run(*(value(view) for value in values))
            if changed is not None:
                write(view, changed)

        return Step(self._text, None, edit, context=max(argument.context for argument in arguments))

    def _of_metric(self, node: Call) -> Step:
        function = _OF_METRICS[node.name]
        given = [(name, self.expression(argument)) for name, argument in node.arguments]
        values = [argument.value for argument in self.arguments(node, function, given)]

        def edit(view: SeriesView) -> None:
            function.run(view, *(value(view) for value in values))

        if node.name != "scale_metric":
            return Step(self._text, None, edit, context=Context.METRIC)
        return Step(self._text, None, edit, "value", lambda view: _scaled(view, values[0](view)), Context.METRIC)


def _scaled(view: SeriesView, factor: Any) -> Any:
    if view.kind.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}:
        raise InvalidInput("scale_metric is for sums and gauges")
    return lifted("*", field("value_double"), factor)


# -- functions of metrics: they get the series first ----------------------------------------------------------------


def _sum_to_gauge(view: SeriesView) -> None:
    if is_sum(view.kind):
        view.kind = Kind(MetricType.GAUGE)


def _gauge_to_sum(view: SeriesView, temporality: Any, monotonic: Any) -> None:
    names = {"delta": Temporality.DELTA, "cumulative": Temporality.CUMULATIVE}
    name = need_text(temporality, "convert_gauge_to_sum")
    if name not in names or not isinstance(monotonic, bool):
        raise InvalidInput("convert_gauge_to_sum takes delta or cumulative, and whether it is monotonic")
    if view.kind.type is MetricType.GAUGE and not is_sum(view.kind):
        view.kind = Kind(MetricType.COUNTER if monotonic else MetricType.GAUGE, names[name], is_sum=not monotonic)


def _scale(view: SeriesView, factor: Any, unit: Any) -> None:
    if not isinstance(factor, int | float) or isinstance(factor, bool):
        raise InvalidInput(f"scale_metric takes a number, not {type_name(factor)}")
    if unit is not None:
        view.unit = need_text(unit, "scale_metric")


_OF_METRICS = {
    "convert_sum_to_gauge": Function(_sum_to_gauge, (), 0),
    "convert_gauge_to_sum": Function(_gauge_to_sum, ("aggregation_temporality", "is_monotonic"), 2),
    "scale_metric": Function(_scale, ("factor", "unit"), 1),
}
