"""Paths: which part of a series or a point a name in an expression means, how to read it and how to write it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.ottl import columns
from headrace.pipeline.ottl.values import need_int, need_text, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.identity import Kind
    from headrace.pipeline.ottl.columns import Column
    from headrace.pipeline.series_view import SeriesView


class Context(IntEnum):
    """What a statement is about, from the outermost to the innermost."""

    RESOURCE = 0
    SCOPE = 1
    METRIC = 2
    DATAPOINT = 3


PREFIXES = {
    "resource": Context.RESOURCE,
    "scope": Context.SCOPE,
    "instrumentation_scope": Context.SCOPE,
    "metric": Context.METRIC,
    "datapoint": Context.DATAPOINT,
}
"""First names of paths."""

_APART = {
    (Context.METRIC, "description"): "descriptions travel apart from series",
    (Context.METRIC, "metadata"): "it is not kept",
    (Context.METRIC, "data_points"): "points are columns: use the context datapoint",
    (Context.DATAPOINT, "bucket_counts"): "buckets are not edited",
    (Context.DATAPOINT, "explicit_bounds"): "buckets are not edited",
    (Context.DATAPOINT, "positive"): "buckets are not edited",
    (Context.DATAPOINT, "negative"): "buckets are not edited",
    (Context.DATAPOINT, "quantile_values"): "quantiles are not edited",
    (Context.DATAPOINT, "exemplars"): "exemplars are not edited",
    (Context.RESOURCE, "dropped_attributes_count"): "it is not kept",
    (Context.SCOPE, "dropped_attributes_count"): "it is not kept",
}
_MAPS = {
    (Context.RESOURCE, "attributes"): "resource",
    (Context.SCOPE, "attributes"): "scope",
    (Context.DATAPOINT, "attributes"): "attributes",
    **{(context, "cache"): "cache" for context in Context},
}
_TEXTS = {
    (Context.RESOURCE, "schema_url"): "resource_schema",
    (Context.SCOPE, "schema_url"): "scope_schema",
    (Context.SCOPE, "name"): "scope_name",
    (Context.SCOPE, "version"): "scope_version",
    (Context.METRIC, "name"): "name",
    (Context.METRIC, "unit"): "unit",
}


@dataclass(frozen=True, slots=True)
class Access:
    """A resolved path.

    Attributes:
        read: Its value in a series; a `Column` where points differ in it.
        write: Sets it; None where it cannot be set.
        column: Name of the field, where it is one of points.
        context: Where it belongs.
    """

    read: Callable[[SeriesView], Any]
    write: Callable[[SeriesView, Any], None] | None
    context: Context
    column: str = ""


def access(context: Context, name: str, keys: Sequence[Callable[[SeriesView], Any]]) -> Access:
    """Resolve a name of a context.

    Raises:
        InvalidInput: There is none, or it is not supported.
    """
    place = (context, name)
    if place in _MAPS:
        return _in_map(context, _MAPS[place], tuple(keys))
    shown = f"{context.name.lower()}.{name}"
    if place in _APART:
        raise InvalidInput(f"{shown} is not supported: {_APART[place]}")
    if keys:
        raise InvalidInput(f"{shown} has no keys")
    if place in _TEXTS:
        return _text(context, shown, _TEXTS[place])
    if context is Context.METRIC and name in _METRIC:
        read, write = _METRIC[name]
        return Access(lambda view: read(view.kind), write, context)
    if context is Context.DATAPOINT and name in columns.NAMES:
        return _column(columns.field(name), name)
    raise InvalidInput(f"there is no path {shown}")


def _column(column: Column, name: str) -> Access:
    return Access(lambda _view: column, None, Context.DATAPOINT, name)


def _text(context: Context, shown: str, slot: str) -> Access:
    def write(view: SeriesView, value: Any) -> None:
        setattr(view, slot, need_text(value, shown))

    return Access(lambda view: getattr(view, slot), write, context)


# -- maps ------------------------------------------------------------------------------------------------------


def _in_map(context: Context, slot: str, keys: tuple[Callable[[SeriesView], Any], ...]) -> Access:
    def read(view: SeriesView) -> Any:
        value = getattr(view, slot)
        for key in keys:
            value = index(value, key(view))
        return value

    def write(view: SeriesView, value: Any) -> None:
        setattr(view, slot, _placed(getattr(view, slot), [key(view) for key in keys], value))

    return Access(read, write, context)


def index(value: Any, key: Any) -> Any:
    """Return an item of a map (nil where there is none) or of a list.

    Raises:
        InvalidInput: It is neither, the key does not fit, or it is beyond the list.
    """
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        if not 0 <= key < len(value):
            raise InvalidInput(f"index {key} is beyond a list of {len(value)}")
        return value[key]
    if value is None:
        return None
    raise InvalidInput(f"a {type_name(value)} has no key of type {type_name(key)}")


def _placed(root: Any, keys: list[Any], value: Any) -> Any:
    """Return `root` with `value` at `keys`; what is shared with other series is copied, never changed."""
    if not keys:
        if not isinstance(value, dict):
            raise InvalidInput(f"attributes are a map, not {type_name(value)}")
        return dict(value)
    key = keys[0]
    inner = value if len(keys) == 1 else _placed(_child(root, key), keys[1:], value)
    if isinstance(root, list) and isinstance(key, int) and 0 <= key < len(root):
        return [*root[:key], inner, *root[key + 1 :]]
    if isinstance(root, dict) and isinstance(key, str):
        return {**root, key: inner}
    raise InvalidInput(f"a {type_name(root)} has no place {key!r}")


def _child(root: Any, key: Any) -> Any:
    found = index(root, key)
    return {} if found is None else found


# -- the metric --------------------------------------------------------------------------------------------------


def _type(kind: Kind) -> int:
    if kind.type is MetricType.GAUGE:
        return 2 if kind.is_sum else 1
    if kind.type is MetricType.HISTOGRAM:
        return 4 if kind.is_exponential else 3
    return {MetricType.COUNTER: 2, MetricType.SUMMARY: 5}.get(kind.type, 0)


def is_sum(kind: Kind) -> bool:
    """Tell whether OTLP has a sum."""
    return _type(kind) == 2


def _monotonic(kind: Kind) -> bool | None:
    return kind.type is MetricType.COUNTER if is_sum(kind) else None


def _temporality(kind: Kind) -> int | None:
    return int(kind.temporality) if is_sum(kind) or kind.type is MetricType.HISTOGRAM else None


def _set_monotonic(view: SeriesView, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidInput(f"metric.is_monotonic takes a bool, not {type_name(value)}")
    if is_sum(view.kind):
        view.kind = replace(view.kind, type=MetricType.COUNTER if value else MetricType.GAUGE, is_sum=not value)


def _set_temporality(view: SeriesView, value: Any) -> None:
    number = need_int(value, "metric.aggregation_temporality")
    if number not in list(Temporality):
        raise InvalidInput(f"there is no aggregation temporality {number}")
    if _temporality(view.kind) is not None:
        view.kind = replace(view.kind, temporality=Temporality(number))


_METRIC: dict[str, tuple[Callable[[Kind], Any], Callable[[SeriesView, Any], None] | None]] = {
    "type": (_type, None),
    "is_monotonic": (_monotonic, _set_monotonic),
    "aggregation_temporality": (_temporality, _set_temporality),
}
