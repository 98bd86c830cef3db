"""Compare two answers of the HTTP API, number by number."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EXACT = 0.0
SUMS = 1e-12
"""Relative error allowed where numbers are added in another order."""
LIBRARY = 4 * 2.0**-52
"""Four units in the last place: the functions of Go's library and of C's differ by so much."""

_SUMS = re.compile(
    r"\b(sum|avg|stddev|stdvar|rate|increase|delta|deriv|predict_linear|sum_over_time|avg_over_time|stddev_over_time"
    r"|stdvar_over_time|double_exponential_smoothing|histogram_\w+)\b"
)
_LIBRARY = re.compile(r"\b(exp|ln|log2|log10|sin|cos|tan|asin|acos|atan|sinh|cosh|tanh|asinh|acosh|atanh|atan2)\b|\^")
_SORTED = re.compile(r"(sort|sort_desc|sort_by_label|sort_by_label_desc|topk|bottomk|limitk|limit_ratio)\(.*\)$")
_OMITTED = re.compile(r"^(\d+) more (warning|info) annotations omitted$")

Label = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two answers differ.

    Attributes:
        kind: ``status``, ``error``, ``type``, ``labels``, ``points``, ``value``, ``order``, ``warnings``, ``infos`` or
            ``samples``.
        detail: For a person.
    """

    kind: str
    detail: str


def tolerance(query: str) -> float:
    """Return the relative error that the functions in a query may have."""
    if _SUMS.search(query):
        return SUMS
    return LIBRARY if _LIBRARY.search(query) else EXACT


def uses_library(query: str) -> bool:
    """Return whether a query has functions that Go's library and C's compute differently.

    Quantiles of native histograms are powers of two of differences of logarithms.
    """
    return _LIBRARY.search(query) is not None or "histogram_quantile" in query


def spread(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the largest relative difference of numbers that two answers have in common; 0 for errors."""
    if "error" in one or "error" in other or one["data"]["resultType"] == "string":
        return 0.0
    rows, others = (_numbers(answer["data"]) for answer in (one, other))
    pairs = [
        (float(value), float(others[key][time]))
        for key, points in rows.items()
        for time, value in points.items()
        if isinstance(value, str) and isinstance(others.get(key, {}).get(time), str)
    ]
    return max((abs(a - b) / max(abs(a), abs(b)) for a, b in pairs if a != b and math.isfinite(a - b)), default=0.0)


def _numbers(data: Mapping[str, Any]) -> Mapping[Label, Mapping[float, Any]]:
    return {(): {0.0: data["result"][1]}} if data["resultType"] == "scalar" else _by_labels(data["result"])


def read(theirs: bytes, result: bytes) -> tuple[dict[str, Any], bool]:
    """Read the peer's answer; the result is left out where it has the very bytes of `result`."""
    at = theirs.find(b'"result":', 0, 80)
    if result and at > 0 and theirs.startswith(result, at + 9):
        return json.loads(theirs[: at + 9] + b"null" + theirs[at + 9 + len(result) :]), True
    return json.loads(theirs), False


def difference(
    query: str,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    *,
    same: bool = False,
    relative: float | None = None,
) -> Difference | None:
    """Say how two answers differ; None where they do not.

    Args:
        query: What was asked.
        theirs: The peer's answer.
        ours: Our answer.
        same: Whether the results are known to be equal.
        relative: Error that numbers may have, if not what the functions in the query may have.
    """
    if theirs["status"] != ours["status"]:
        told = [side.get("error", "an answer") for side in (theirs, ours)]
        return Difference("status", f"theirs: {told[0]}; ours: {told[1]}")
    if theirs["status"] == "error":
        return _errors(theirs, ours)
    one, other = theirs["data"], ours["data"]
    if one["resultType"] != other["resultType"]:
        return Difference("type", f"theirs: {one['resultType']}; ours: {other['resultType']}")
    found = None if same else _results(query, one, other, relative)
    return found or _notes("warnings", theirs, ours) or _notes("infos", theirs, ours) or _samples(one, other)


def _errors(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Difference | None:
    pair = [(side["errorType"], side["error"]) for side in (theirs, ours)]
    return None if pair[0] == pair[1] else Difference("error", f"theirs: {pair[0]}; ours: {pair[1]}")


def _notes(kind: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Difference | None:
    """Compare annotations as sets; the peer shows ten of them."""
    one, other = list(theirs.get(kind, [])), {*ours.get(kind, [])}
    omitted = [int(match[1]) for match in map(_OMITTED.match, one) if match]
    if omitted:
        shown = {note for note in one if not _OMITTED.match(note)}
        if shown <= other and len(other) == len(shown) + omitted[0]:
            return None
    elif set(one) == other:
        return None
    return Difference(kind, f"theirs alone: {sorted(set(one) - other)}; ours alone: {sorted(other - set(one))}")


def _samples(one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    names = ("totalQueryableSamples", "totalQueryableSamplesPerStep")
    for name in names:
        pair = [side["stats"]["samples"].get(name) for side in (one, other)]
        if pair[0] != pair[1] and pair[1] is not None:
            return Difference("samples", f"{name}: theirs {pair[0]}; ours {pair[1]}")
    return None


# -- results ---------------------------------------------------------------------------------------------------


def _results(query: str, one: Mapping[str, Any], other: Mapping[str, Any], relative: float | None) -> Difference | None:
    if one["resultType"] == "string":
        return None if one["result"] == other["result"] else Difference("value", f"{one['result']} {other['result']}")
    close = closeness(tolerance(query) if relative is None else relative)
    if one["resultType"] == "scalar":
        times = [side["result"][0] for side in (one, other)]
        if times[0] == times[1] and close(one["result"][1], other["result"][1]):
            return None
        return Difference("value", f"theirs: {one['result']}; ours: {other['result']}")
    return _rows(_ordered(query, one["resultType"]), one["result"], other["result"], close)


def _ordered(query: str, kind: str) -> bool:
    return kind == "matrix" or (_SORTED.match(query) is not None and _is_call(query))


def _is_call(query: str) -> bool:
    """Return whether the first parenthesis is closed at the end alone, those in texts aside."""
    depth = 0
    for i, letter in enumerate(query):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth <= 0:
            return i == len(query) - 1
    return False


def _rows(
    ordered: bool,
    one: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
    close: Callable[[str, str], bool],
) -> Difference | None:
    theirs, ours = _by_labels(one), _by_labels(other)
    if theirs.keys() != ours.keys():
        missing, extra = [
            sorted(map(dict, side), key=str) for side in (theirs.keys() - ours.keys(), ours.keys() - theirs.keys())
        ]
        return Difference("labels", f"theirs alone: {missing[:3]}; ours alone: {extra[:3]}")
    for key, points in theirs.items():
        if found := _points(points, ours[key], close):
            return Difference(found.kind, f"{dict(key)}: {found.detail}")
    if ordered and not _same_order(list(theirs.items()), list(ours.items()), close):
        return Difference("order", f"theirs: {list(theirs)[:4]}; ours: {list(ours)[:4]}")
    return None


def _same_order(
    theirs: Sequence[tuple[Label, Mapping[float, Any]]],
    ours: Sequence[tuple[Label, Mapping[float, Any]]],
    close: Callable[[str, str], bool],
) -> bool:
    """Compare the order of rows; equal numbers have none: the peer's way to sort is not stable."""
    return all(
        one == other or _points(points, other_points, close) is None
        for (one, points), (other, other_points) in zip(theirs, ours, strict=True)
    )


def _by_labels(rows: Sequence[Mapping[str, Any]]) -> dict[Label, dict[float, Any]]:
    return {tuple(sorted(row["metric"].items())): _of_row(row) for row in rows}


def _of_row(row: Mapping[str, Any]) -> dict[float, Any]:
    points = [*row.get("values", []), *row.get("histograms", [])]
    points += [row[name] for name in ("value", "histogram") if name in row]
    return dict(points)


def _points(
    theirs: Mapping[float, Any], ours: Mapping[float, Any], close: Callable[[str, str], bool]
) -> Difference | None:
    if theirs.keys() != ours.keys():
        alone = [sorted(side) for side in (theirs.keys() - ours.keys(), ours.keys() - theirs.keys())]
        return Difference("points", f"theirs alone at {alone[0][:5]}; ours alone at {alone[1][:5]}")
    for time, value in theirs.items():
        if value != ours[time] and not _same(value, ours[time], close):
            return Difference("value", f"at {time}: theirs {_told(value)}; ours {_told(ours[time])}")
    return None


def _same(theirs: Any, ours: Any, close: Callable[[str, str], bool]) -> bool:
    if isinstance(theirs, str) and isinstance(ours, str):
        return close(theirs, ours)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        numbers = [[side["count"], side["sum"]] for side in (theirs, ours)]
        buckets = [side.get("buckets", []) for side in (theirs, ours)]
        same_rules = [[(b[0], b[1], b[2]) for b in side] for side in buckets]
        if same_rules[0] != same_rules[1]:
            return False
        pairs = zip([*numbers[0], *(b[3] for b in buckets[0])], [*numbers[1], *(b[3] for b in buckets[1])], strict=True)
        return all(close(a, b) for a, b in pairs)
    return False


def closeness(relative: float) -> Callable[[str, str], bool]:
    """Return a comparison of printed numbers; what is absent, NaN, infinite or of another sign is never close."""

    def close(one: str, other: str) -> bool:
        if one == other:
            return True
        a, b = float(one), float(other)
        if not (math.isfinite(a) and math.isfinite(b)):
            return False
        return abs(a - b) <= relative * max(abs(a), abs(b))

    return close


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)[:300]
