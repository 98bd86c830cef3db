"""Functions of instant vectors."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cmp_to_key
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.regex import Regex, regex
from headrace.store.labels import LabelTable
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.language.numbers import valid_label
from headrace.store.promql.values import Vector
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from headrace.store.matchers import Matcher


def _sign(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(x > 0, 1.0, np.where(x < 0, -1.0, x))


ELEMENTWISE: dict[str, Callable[..., NDArray[np.float64]]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda x: x * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda x: x * np.pi / 180,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
"""Functions of a value alone."""


def least(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lesser value as Go does: -Inf before NaN before numbers, -0 before 0."""
    zeros = (one == 0) & (other == 0) & (np.signbit(one) | np.signbit(other))
    out = np.where(zeros, -0.0, np.minimum(one, other))
    return np.where(np.isneginf(one) | np.isneginf(other), -np.inf, out)


def greatest(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the greater value as Go does; see `least`."""
    return -least(-one, -other)


def clamped(vector: Vector, low: NDArray[np.float64] | None, high: NDArray[np.float64] | None) -> Vector:
    """Bound the values; where the bounds contradict each other, nothing is left."""
    values, present = vector.values, vector.present
    if high is not None:
        values = least(values, high)
    if low is not None:
        values = greatest(values, low)
    if low is not None and high is not None:
        present = present & ~(high < low)
    return vector.with_values(values, present)


def rounded(vector: Vector, to: NDArray[np.float64]) -> Vector:
    """Round to multiples."""
    inverse = 1.0 / to
    return vector.with_values(np.floor(vector.values * inverse + 0.5) / inverse)


# -- time ------------------------------------------------------------------------------------------------------


_OVERFLOW = (1 << 63) - 1
"""Unix seconds of which the calendar is that of all times which are no int64, NaN among them, as in Prometheus."""


def _calendar(x: NDArray[np.float64]) -> NDArray[np.datetime64]:
    valid = np.abs(x) < 2.0**63
    seconds = np.where(valid, x, 0.0).astype(np.int64)
    return np.where(valid, seconds, np.int64(_OVERFLOW)).astype("datetime64[s]")


def _year(t: NDArray[np.datetime64]) -> NDArray[np.int64]:
    year: NDArray[np.int64] = t.astype("datetime64[Y]").astype(np.int64) + 1970
    return year


def _month(t: NDArray[np.datetime64]) -> NDArray[np.int64]:
    month: NDArray[np.int64] = t.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return month


def _day(t: NDArray[np.datetime64]) -> NDArray[np.int64]:
    days: NDArray[np.int64] = (t.astype("datetime64[D]") - t.astype("datetime64[M]").astype("datetime64[D]")).astype(
        np.int64
    ) + 1
    return days


def _day_of_year(t: NDArray[np.datetime64]) -> NDArray[np.int64]:
    days: NDArray[np.int64] = (t.astype("datetime64[D]") - t.astype("datetime64[Y]").astype("datetime64[D]")).astype(
        np.int64
    ) + 1
    return days


def _days_in_month(t: NDArray[np.datetime64]) -> NDArray[np.int64]:
    month = t.astype("datetime64[M]")
    days: NDArray[np.int64] = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return days


_PARTS: dict[str, Callable[[NDArray[np.datetime64]], NDArray[np.int64]]] = {
    "year": _year,
    "month": _month,
    "day_of_month": _day,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "day_of_week": lambda t: (t.astype("datetime64[D]").astype(np.int64) + 4) % 7,
    "hour": lambda t: t.astype(np.int64) // 3600 % 24,
    "minute": lambda t: t.astype(np.int64) // 60 % 60,
}

DATES = frozenset(_PARTS)
"""Functions of the calendar, in UTC."""


def date_part(function: str, vector: Vector) -> Vector:
    """Apply one of DATES to Unix seconds."""
    return vector.with_values(_PARTS[function](_calendar(vector.values)).astype(np.float64))


# -- labels ----------------------------------------------------------------------------------------------------


def label_pattern(pattern: str, destination: str) -> Regex:
    """Compile the expression that ``label_replace`` looks for.

    Raises:
        ExecutionError: It is none, or `destination` is no name of a label.
    """
    try:
        compiled = regex(pattern)
    except InvalidInput:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from None
    if not valid_label(destination):
        raise ExecutionError(f"invalid destination label name in label_replace(): {destination}")
    return compiled


MAX_LABEL_CHARACTERS = 1 << 20
"""No value of a label that a query makes is longer: nested, the functions double what they are given each time."""

MAX_MADE_CHARACTERS = 1 << 28
"""All values that one of the functions makes together are not longer."""


def _refuse_long(function: str, longest: int, total: int) -> None:
    if longest > MAX_LABEL_CHARACTERS or total > MAX_MADE_CHARACTERS:
        raise ExecutionError(f"label values are too long in {function}()")


def label_replace(vector: Vector, destination: str, replacement: str, source: str, compiled: Regex) -> Vector:
    """Set a label from the match of another; rows that do not match stay as they are.

    Raises:
        ExecutionError: Values would be too long.
    """
    table = vector.labels
    sources = table.column(source)
    column = table.column(destination).copy()
    matched = np.zeros(len(table), np.bool_)
    references, total = replacement.count("$"), 0
    for symbol in np.unique(sources).tolist():
        _refuse_long("label_replace", len(replacement) + references * len(table.text(symbol)), total)
        text = compiled.expand(replacement, table.text(symbol))
        if text is not None:
            total += len(text)
            matched |= sources == symbol
            column[sources == symbol] = table.symbols.intern(text) if text else ABSENT
    return _renamed(vector, destination, matched).with_labels(table.with_column(destination, column))


def _renamed(vector: Vector, label: str, rows: NDArray[np.bool_]) -> Vector:
    """Take the marks of dropped names off `rows` where `label` is the metric name: they have a new one."""
    if label != METRIC_NAME or vector.drop_name is None:
        return vector
    return replace(vector, drop_name=vector.drop_name & ~rows)


def label_join(vector: Vector, destination: str, separator: str, sources: Sequence[str]) -> Vector:
    """Set a label to the values of others.

    Raises:
        ExecutionError: A name is none of a label, or values would be too long.
    """
    if not valid_label(destination):
        raise ExecutionError(f"invalid destination label name in label_join(): {destination}")
    for source in sources:
        if not valid_label(source):
            raise ExecutionError(f"invalid source label name in label_join(): {source}")
    table = vector.labels
    columns = [table.column(source).tolist() for source in sources]
    lengths = _joined_lengths(table, len(separator), sources)
    _refuse_long("label_join", int(lengths.max(initial=0)), int(lengths.sum()))
    texts = [separator.join(table.text(symbol) for symbol in row) for row in zip(*columns, strict=True)]
    if not columns:
        texts = [""] * len(table)
    column = np.array([table.symbols.intern(text) if text else ABSENT for text in texts], np.int32)
    renamed = _renamed(vector, destination, np.ones(len(table), np.bool_))
    return renamed.with_labels(table.with_column(destination, column))


def absent(present: NDArray[np.bool_], matchers: Sequence[Matcher], like: LabelTable) -> Vector:
    """Return 1 at the steps without any row, with the labels that `matchers` fix.

    Args:
        present: (n, steps).
        matchers: Of the selector; none for other expressions.
        like: Whose symbols are used.
    """
    fixed: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in _as_looked_up(matchers):
        if matcher.name == METRIC_NAME:
            continue
        if matcher.type == "=" and matcher.name not in seen:
            fixed[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            fixed.pop(matcher.name, None)
    there: NDArray[np.bool_] = np.logical_not(np.any(present, axis=0, keepdims=True))
    return Vector(LabelTable.of([fixed], like.symbols), np.ones(there.shape), there)


def _as_looked_up(matchers: Sequence[Matcher]) -> list[Matcher]:
    """Return the matchers in the order in which Prometheus' index leaves them: what takes series away comes last."""
    needed = {matcher.name for matcher in matchers if not matcher.matches_empty}
    return sorted(matchers, key=lambda one: one.name not in needed or (one.type in {"!=", "!~"} and one.matches_empty))


# -- order -----------------------------------------------------------------------------------------------------


def ordered(vector: Vector, *, descending: bool) -> Vector:
    """Sort the rows of the only step by value; NaN comes last either way."""
    vector = replace(vector, natives=None)
    if vector.steps > 1:
        return vector
    vector = vector.compact()
    value = vector.values[:, 0]
    key = -value if descending else value
    order = np.lexsort((key, np.isnan(key)))
    return replace(vector.take(order), ordered=True)


def ordered_by_label(vector: Vector, names: Sequence[str], *, descending: bool) -> Vector:
    """Sort the rows of the only step by labels, numbers in them as numbers; then by all labels."""
    if vector.steps > 1:
        return vector
    vector = vector.compact()
    table = vector.labels
    columns = [table.column(name).tolist() for name in names]
    rank = np.empty(len(table), np.int64)
    rank[table.order()] = np.arange(len(table))
    natural = cmp_to_key(_natural_order)
    keys = [
        ([natural(table.text(column[row])) for column in columns], place) for row, place in enumerate(rank.tolist())
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=descending)
    return replace(vector.take(np.array(order, np.intp)), ordered=True)


_CHUNKS = re.compile(r"[0-9]+|[^0-9]+")


def _natural_order(one: str, other: str) -> int:
    """Compare texts by their runs of digits and of other characters: digits as numbers among each other."""
    chunks, others = _CHUNKS.findall(one), _CHUNKS.findall(other)
    for a, b in zip(chunks, others, strict=False):
        pair: tuple[int, int] | tuple[str, str] = (int(a), int(b)) if a.isdigit() and b.isdigit() else (a, b)
        if pair[0] != pair[1]:
            return -1 if pair[0] < pair[1] else 1  # type: ignore[operator]  # both are of one type
    return len(chunks) - len(others)


def _joined_lengths(table: LabelTable, separator: int, sources: Sequence[str]) -> NDArray[np.int64]:
    """Return (n,) int64, how many characters the values of some labels have together."""
    lengths = np.full(len(table), separator * max(0, len(sources) - 1), np.int64)
    for source, times in Counter(sources).items():
        symbols, which = np.unique(table.column(source), return_inverse=True)
        sizes = np.array([len(table.text(symbol)) for symbol in symbols.tolist()], np.int64)
        lengths += times * sizes[which.ravel()]
    return lengths
