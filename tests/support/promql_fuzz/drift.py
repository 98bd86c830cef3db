"""What changed on purpose between the peer's version, 3.5, and the one that is followed, 3.14.

Each change is a predicate, as narrow as an answer allows; a difference that none of them explains is a fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from promql_fuzz.compare import EXACT, tolerance, uses_library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from promql_fuzz.pair import Answers


def _error(side: Mapping[str, Any]) -> str:
    """Return the error of a side, empty for an answer."""
    return str(side.get("error", ""))


def _alone(seen: Answers, kind: str) -> tuple[set[str], set[str]]:
    """Return the annotations that only they have, and those that only we have but for the one about sorting."""
    one, other = set(seen.theirs.get(kind, [])), set(seen.ours.get(kind, []))
    return one - other, {note for note in other - one if not note.startswith(_SORT)}


def _kind(seen: Answers) -> str:
    return "" if seen.difference is None else seen.difference.kind


_SORT = "PromQL warning: sort is ineffective for range queries"
_METRIC = re.compile(r' for metric name "[^"]*"')
_REPAIR = re.compile(r", from buckets .* to \S+Z")
_PLACE = re.compile(r" \(\d+:\d+\)$")
_NAMED = ("needed to be fixed for monotonicity", "bucket label")
_GROUP = re.compile(r"(?<=match group ){.*?}(?= on the)|(?<=operation: )\[.*\]", re.DOTALL)
_TOKENS = re.compile(r"expected number.*$")
_NOT_A_COUNT = re.compile(
    r"^(Parameter value is NaN|Scalar value \S+ (over|under)flows int64|Ratio value (NaN )?is NaN)$"
)
_QUANTILE = "PromQL warning: quantile value should be between 0 and 1, got "
_DURATION = re.compile(r"(duration (is )?out of range|duration is NaN or infinite)$")
_STRING_IN_PARENTHESES = "unexpected result in StepInvariantExpr evaluation: *parser.StepInvariantExpr"


def _sort_in_ranges(seen: Answers) -> bool:
    theirs, ours = (set(side.get("warnings", [])) for side in (seen.theirs, seen.ours))
    theirs, ours = theirs - ours, ours - theirs
    return _kind(seen) == "warnings" and not theirs and all(note.startswith(_SORT) for note in ours)


def _text_of_notes(seen: Answers) -> bool:
    """The metric is named where its name is known, and what was repaired is told."""
    if _kind(seen) not in {"warnings", "infos"}:
        return False
    theirs, ours = _alone(seen, _kind(seen))
    ours = {note for note in ours if _COLLISION not in note}
    return {_plain(note) for note in theirs} == {_plain(_REPAIR.sub("", note)) for note in ours}


def _plain(note: str) -> str:
    """Return a note without the metric's name; of those that are one without it the last has its place, so no place."""
    unnamed = _METRIC.sub("", note)
    return _PLACE.sub("", unnamed) if any(text in note for text in _NAMED) else unnamed


def _several_notes(seen: Answers) -> bool:
    """Annotations may differ for more than one of these reasons, or follow from a histogram that the peer dropped."""
    if _kind(seen) not in {"warnings", "infos"}:
        return False
    theirs, ours = ({note for note in notes if not note.startswith(_QUANTILE)} for notes in _alone(seen, _kind(seen)))
    ours = {note for note in ours if _COLLISION not in note}
    if any(_RECONCILED in note for note in seen.ours.get("infos", [])):
        ours = {note for note in ours if not any(text in note for text in (_RECONCILED, _IGNORED, _OTHER_TYPES))}
    return {_plain(note) for note in theirs} == {_plain(_REPAIR.sub("", note)) for note in ours}


def _duplicate_group_text(seen: Answers) -> bool:
    """The series named depend on the order in which they are met."""
    return _kind(seen) == "error" and _GROUP.sub("", _error(seen.theirs)) == _GROUP.sub("", _error(seen.ours))


def _expected_tokens(seen: Answers) -> bool:
    """Durations may be made of more, so errors list more of what is expected."""
    one, other = _error(seen.theirs), _error(seen.ours)
    return _kind(seen) == "error" and "parse error" in one and _TOKENS.sub("", one) == _TOKENS.sub("", other)


def _not_a_count(seen: Answers) -> bool:
    """NaN has an error of its own, and such parameters are refused even where there is nothing to choose from.

    So the error comes before others that the peer meets later.
    """
    return bool(_NOT_A_COUNT.match(_error(seen.ours)))


def _strings(seen: Answers) -> bool:
    return _STRING_IN_PARENTHESES in _error(seen.theirs)


def _info(seen: Answers) -> bool:
    """Series are matched by other rules."""
    return _kind(seen) in {*_OF_RESULTS, "status", "infos", "warnings"} and "info(" in seen.query.text


def _gauges(seen: Answers) -> bool:
    """What is left of a histogram after a subtraction is a gauge, and so is its negative."""
    theirs, ours = _alone(seen, "warnings")
    negated = re.search(r"-(?! *\d)|[*/] *-", seen.query.text) is not None
    as_told = all(_NOT_A_GAUGE in note for note in theirs) and all(_NOT_A_COUNTER in note for note in ours)
    return _kind(seen) == "warnings" and negated and as_told


def _duration_of_nothing(seen: Answers) -> bool:
    return _kind(seen) in {"status", "error"} and _DURATION.search(_error(seen.ours)) is not None


def _quantiles_named(seen: Answers) -> bool:
    """Of all that are no quantiles the largest and the smallest are named, whether there is anything at their steps."""
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and all(note.startswith(_QUANTILE) for note in theirs | ours)


def _filtered_many(seen: Answers) -> bool:
    """Several series on the "many" side are an error even where a comparison, or what they are, leaves nothing."""
    ours = _error(seen.ours)
    left_out = any("incompatible" in note for kind in ("warnings", "infos") for note in seen.theirs.get(kind) or ())
    filters = left_out or re.search(r"[=!]=|[<>]", seen.query.text) is not None
    theirs = _error(seen.theirs)
    later = _kind(seen) == "error" and not theirs.startswith(_SEVERAL)  # At a step, or in a part, that comes after.
    return (later or (_kind(seen) == "status" and not theirs)) and filters and ours.startswith(_SEVERAL)


def _mad_with_nan(seen: Answers) -> bool:
    return _kind(seen) in _OF_NUMBERS and "mad_over_time(" in seen.query.text


def _name_through_subqueries(seen: Answers) -> bool:
    """A name that has lost its meaning does not come back when the last value of a subquery is taken.

    Series that differ in nothing else are then an error.
    """
    refused = _kind(seen) == "status" and _error(seen.ours) == _SAME_LABELS and not _error(seen.theirs)
    return (_kind(seen) == "labels" or refused) and seen.delayed and "last_over_time(" in seen.query.text


def _absent_labels_sorted(seen: Answers) -> bool:
    """The peer's comparison of an empty text with another one has no order."""
    return _kind(seen) == "order" and "sort_by_label" in seen.query.text


def _ties_of_choices(seen: Answers) -> bool:
    """Which of equal ones a choice takes from what was chosen or sorted depends on the order that these have there."""
    if _kind(seen) != "labels" or seen.query.step_ms or len(_CHOICE.findall(seen.query.text)) < _NESTED:
        return False
    theirs, ours = (sorted(row["value"][1] for row in side["data"]["result"]) for side in (seen.theirs, seen.ours))
    return bool(theirs == ours)


def _digits_in_labels(seen: Answers) -> bool:
    """The last digits of library functions show in labels."""
    if _kind(seen) != "labels" or "count_values" not in seen.query.text or tolerance(seen.query.text) == EXACT:
        return False
    return _short_labels(seen.theirs) == _short_labels(seen.ours)


def _digits_in_notes(seen: Answers) -> bool:
    """The last digits of library functions show in what is said about parameters."""
    if _kind(seen) not in {"warnings", "infos"} or not uses_library(seen.query.text):
        return False
    theirs, ours = _alone(seen, _kind(seen))
    return {_short(note) for note in theirs} == {_short(note) for note in ours}


def _short_labels(answer: Mapping[str, Any]) -> set[tuple[tuple[str, str], ...]]:
    return {
        tuple(sorted((name, _short(value)) for name, value in row["metric"].items()))
        for row in answer["data"]["result"]
    }


def _short(text: str) -> str:
    return _DIGITS.sub(lambda number: f"{float(number[0]):.12g}", text)


_DIGITS = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
_NATIVE = re.compile(r"\b(h|hg|hc|mix)\b|h\.\*|\{job=")


def _sizes_of_histograms(seen: Answers) -> bool:
    """A histogram that was computed, which a subquery counts, may have kept empty buckets."""
    return (
        _kind(seen) == "samples"
        and of_histograms(seen.query.text)
        and _COMPUTED_RANGE.search(seen.query.text) is not None
    )


def _conflicting_resets(seen: Answers) -> bool:
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and not theirs and all(_COLLISION in note for note in ours)


def _custom_bounds(seen: Answers) -> bool:
    """Histograms with other bounds are brought to the common ones; they were dropped."""
    if any(_INCOMPATIBLE in note for note in seen.theirs.get("warnings", [])):
        return True
    if _kind(seen) in _OF_RESULTS and any(_OTHER_LAYOUT in note for note in seen.theirs.get("warnings", [])):
        return True
    theirs, ours = _alone(seen, "warnings")
    reported = all(_OTHER_LAYOUT in note for note in theirs)
    if _kind(seen) == "warnings" and reported and all(_OTHER_LAYOUT in note or _COLLISION in note for note in ours):
        return True
    theirs, ours = _alone(seen, "infos")
    reconciled = {note for note in ours if _RECONCILED in note}
    return _kind(seen) == "infos" and not theirs and bool(reconciled) and all(_IGNORED in n for n in ours - reconciled)


def _statistics_alone(seen: Answers) -> bool:
    """Where only sums and counts are asked for, they are read alone; of what kind their buckets are is kept now.

    They were not at the top of a query, but within subqueries, where resets have to be seen. Of a gauge taken for a
    counter the peer then does not see which buckets shrank.
    """
    if _STATISTICS.search(seen.query.text) is None:
        return False
    if _kind(seen) in _OF_RESULTS and any(_NOT_A_COUNTER in note for note in seen.theirs.get("warnings", [])):
        return True
    theirs, ours = _alone(seen, "warnings")
    mixed = any(_MIXED_SCHEMAS in note for note in seen.ours.get("warnings", []))
    unmixed = mixed and bool(theirs) and not ours and all(_NOT_A_GAUGE in note for note in theirs)
    return _kind(seen) == "samples" or unmixed or any(_MIXED_SCHEMAS in note for note in ours)


def _nan_observations(seen: Answers) -> bool:
    """Whether a histogram counts more than its buckets hold may depend on the last digits."""
    theirs, ours = _alone(seen, "infos")
    return _kind(seen) == "infos" and all("NaN observations" in note for note in theirs | ours)


def _crashed(seen: Answers) -> bool:
    return any(fault in _error(seen.theirs) for fault in _FAULTS)


def _largest_powers(seen: Answers) -> bool:
    """Go's assembly for x86 takes the largest powers of e for infinite, and their halves in hyperbolic functions."""
    function = re.search(r"\b(exp|sinh|cosh)\(", seen.query.text)
    if _kind(seen) != "value" or function is None or seen.difference is None:
        return False
    found = re.search(r"theirs [+-]?Inf; ours (\S+)$", seen.difference.detail)
    least = _LARGEST_POWER if function[1] == "exp" else _LARGEST_POWER / 2.0
    return found is not None and abs(float(found[1])) >= least


def _sums_of_histograms(seen: Answers) -> bool:
    """Sums of histograms keep what is lost in each addition."""
    if _kind(seen) != "value" or _NATIVE.search(seen.query.text) is None:
        return False
    theirs, ours = (_numbers_of_histograms(side) for side in (seen.theirs, seen.ours))
    return bool(theirs) and len(theirs) == len(ours) and bool(np.allclose(theirs, ours, rtol=1e-9, atol=1e-12))


def _numbers_of_histograms(answer: Mapping[str, Any]) -> list[float]:
    rows = answer["data"]["result"]
    points = [point for row in rows for point in (*row.get("histograms", ()), row.get("histogram")) if point]
    return [float(one) for _, found in points for one in (found["count"], found["sum"], *_buckets(found))]


def _buckets(found: Mapping[str, Any]) -> list[str]:
    return [text for bucket in found.get("buckets", ()) for text in bucket[1:]]


def _nan_quantiles(seen: Answers) -> bool:
    """Where the sum is NaN, the peer looks for skew, and goes on with the last bucket that it has met then."""
    return _kind(seen) in _OF_NUMBERS and seen.nan_sums and "histogram_quantile(" in seen.query.text


def _merged_at_the_end(seen: Answers) -> bool:
    """Series that are one without their names, or with other labels, and never there at the same step, are merged."""
    of_range = seen.query.step_ms > 0 and (
        seen.delayed or re.search(r"label_(replace|join)\(", seen.query.text) is not None
    )
    return _kind(seen) == "status" and of_range and _error(seen.theirs) == _SAME_LABELS and not _error(seen.ours)


_FAULTS = ("runtime error: index out of range", "histograms with custom buckets have no zero bucket")
_COMPUTED_RANGE = re.compile(r"\)\s*\[[^\]]*:")
_STATISTICS = re.compile(r"histogram_(count|sum|avg)\b")
_NOT_A_GAUGE = "this native histogram metric is not a gauge"
_NOT_A_COUNTER = "this native histogram metric is not a counter"
_MIXED_SCHEMAS = "mix of histograms with exponential and custom buckets"
_INCOMPATIBLE = "vector contains histograms with incompatible custom buckets"
_OTHER_LAYOUT = "incompatible bucket layout encountered for binary operator"
_RECONCILED = "mismatched custom buckets were reconciled during"
_CHOICE = re.compile(r"\b(topk|bottomk|limitk|limit_ratio|sort|sort_desc)\b")
_NESTED = 2
_LARGEST_POWER = 2.0**1023 * 2.0**0.5
_OTHER_TYPES = "incompatible sample types encountered for binary operator"
_IGNORED = "ignored histogram"
_COLLISION = "conflicting counter resets during histogram"
_SAME_LABELS = "vector cannot contain metrics with the same labelset"
_SEVERAL = "multiple matches for labels: "
_OF_NUMBERS = {"labels", "points", "value", "order"}
_OF_RESULTS = _OF_NUMBERS | {"samples"}

KINDS: dict[str, Callable[[Answers], bool]] = {
    "sort warns in range queries": _sort_in_ranges,
    "annotations tell more": _text_of_notes,
    "series named in errors of duplicates": _duplicate_group_text,
    "tokens expected in durations": _expected_tokens,
    "NaN as a parameter of topk and its like": _not_a_count,
    "strings in parentheses": _strings,
    "matching of info()": _info,
    "differences and negatives of histograms": _gauges,
    "durations out of range": _duration_of_nothing,
    "quantiles named in warnings": _quantiles_named,
    "filtered duplicates of the many side": _filtered_many,
    "absent labels in sort_by_label": _absent_labels_sorted,
    "ties of chosen series": _ties_of_choices,
    "digits of library functions in labels": _digits_in_labels,
    "digits of library functions in annotations": _digits_in_notes,
    "sizes of computed histograms": _sizes_of_histograms,
    "histograms with other custom bounds": _custom_bounds,
    "sums and counts of histograms read alone": _statistics_alone,
    "NaN observations by the last digits": _nan_observations,
    "quantiles of histograms with NaN": _nan_quantiles,
    "the peer fails": _crashed,
    "the largest powers of e": _largest_powers,
    "sums of histograms": _sums_of_histograms,
    "series merged at the end": _merged_at_the_end,
    "conflicting counter resets": _conflicting_resets,
    "annotations for several reasons": _several_notes,
    "mad_over_time with NaN": _mad_with_nan,
    "names that come back through subqueries": _name_through_subqueries,
}


def of_histograms(text: str) -> bool:
    """Return whether a query asks for series that have native histograms."""
    return _NATIVE.search(text) is not None


def kind(seen: Answers) -> str | None:
    """Return which change explains a difference."""
    return next((name for name, explains in KINDS.items() if explains(seen)), None)
