"""What changed on purpose between the peer's version, 3.5, and the one that is followed, 3.14.

Each change is a predicate, as narrow as an answer allows; a difference that none of them explains is a fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from promql_fuzz.compare import EXACT, tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from promql_fuzz.pair import Answers


def _error(side: Mapping[str, Any]) -> str:
    """Return the error of a side, empty for an answer."""
    return str(side.get("error", ""))


def _alone(seen: Answers, kind: str) -> tuple[set[str], set[str]]:
    """Return the annotations that only they have, and those that only we have."""
    one, other = set(seen.theirs.get(kind, [])), set(seen.ours.get(kind, []))
    return one - other, other - one


def _kind(seen: Answers) -> str:
    return "" if seen.difference is None else seen.difference.kind


_SORT = "PromQL warning: sort is ineffective for range queries"
_METRIC = re.compile(r' for metric name "[^"]*"')
_REPAIR = re.compile(r", from buckets .* to \S+Z")
_GROUP = re.compile(r"(?<=match group ){.*?}(?= on the)|(?<=operation: )\[.*\]", re.DOTALL)
_TOKENS = re.compile(r"expected number.*$")
_NOT_A_COUNT = re.compile(
    r"^(Parameter value is NaN|Scalar value \S+ (over|under)flows int64|Ratio value (NaN )?is NaN)$"
)
_QUANTILE = "PromQL warning: quantile value should be between 0 and 1, got "
_DURATION = re.compile(r"(duration out of range|duration is NaN or infinite)$")
_STRING_IN_PARENTHESES = "unexpected result in StepInvariantExpr evaluation: *parser.StepInvariantExpr"


def _sort_in_ranges(seen: Answers) -> bool:
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and not theirs and all(note.startswith(_SORT) for note in ours)


def _text_of_notes(seen: Answers) -> bool:
    """The metric is named where its name is known, and what was repaired is told."""
    if _kind(seen) not in {"warnings", "infos"}:
        return False
    theirs, ours = _alone(seen, _kind(seen))
    ours = {note for note in ours if not note.startswith(_SORT) and _COLLISION not in note}
    return {_METRIC.sub("", note) for note in theirs} == {_METRIC.sub("", _REPAIR.sub("", note)) for note in ours}


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


def _first_bucket(seen: Answers) -> bool:
    """The first classic bucket begins at 0 or at its bound, no longer at -Inf, where nothing is known within it."""
    return _kind(seen) in _OF_RESULTS and "histogram_fraction(" in seen.query.text


def _info(seen: Answers) -> bool:
    """Series are matched by other rules."""
    return (_kind(seen) in _OF_RESULTS or _kind(seen) == "status") and "info(" in seen.query.text


def _duration_of_nothing(seen: Answers) -> bool:
    return _kind(seen) == "status" and _DURATION.search(_error(seen.ours)) is not None


def _quantiles_named(seen: Answers) -> bool:
    """Of all that are no quantiles the largest and the smallest are named, whether there is anything at their steps."""
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and all(note.startswith(_QUANTILE) for note in theirs | ours)


def _filtered_many(seen: Answers) -> bool:
    """Several series on the "many" side are an error even where a comparison filters them out."""
    ours = _error(seen.ours)
    filters = re.search(r"[=!]=|[<>]", seen.query.text) is not None
    return _kind(seen) == "status" and not _error(seen.theirs) and filters and ours.startswith(_SEVERAL)


def _mad_with_nan(seen: Answers) -> bool:
    return _kind(seen) in _OF_RESULTS and "mad_over_time(" in seen.query.text


def _name_through_subqueries(seen: Answers) -> bool:
    """A name that has lost its meaning does not come back when the last value of a subquery is taken."""
    return _kind(seen) == "labels" and seen.delayed and "last_over_time(" in seen.query.text


def _absent_labels_sorted(seen: Answers) -> bool:
    """The peer's comparison of an empty text with another one has no order."""
    return _kind(seen) == "order" and seen.query.text.startswith("sort_by_label")


def _digits_in_labels(seen: Answers) -> bool:
    """The last digits of library functions show in labels."""
    if _kind(seen) != "labels" or "count_values" not in seen.query.text or tolerance(seen.query.text) == EXACT:
        return False
    return _short_labels(seen.theirs) == _short_labels(seen.ours)


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
    """A histogram counts by the buckets that its chunk has in the peer's store, so by those that came later, too."""
    return _kind(seen) == "samples" and not seen.alike and _NATIVE.search(seen.query.text) is not None


def _conflicting_resets(seen: Answers) -> bool:
    theirs, ours = _alone(seen, "warnings")
    return _kind(seen) == "warnings" and not theirs and all(_COLLISION in note for note in ours)


def _custom_bounds(seen: Answers) -> bool:
    """Histograms with other bounds are brought to the common ones; they were dropped."""
    if any(_INCOMPATIBLE in note for note in seen.theirs.get("warnings", [])):
        return True
    theirs, ours = _alone(seen, "infos")
    return _kind(seen) == "infos" and not theirs and all(_RECONCILED in note for note in ours)


def _statistics_alone(seen: Answers) -> bool:
    """Where only sums and counts are asked for, they are read alone; of what kind their buckets are is kept now.

    They were not at the top of a query, but within subqueries, where resets have to be seen. Of a gauge taken for a
    counter the peer then does not see which buckets shrank.
    """
    if _STATISTICS.search(seen.query.text) is None:
        return False
    if _kind(seen) in _OF_RESULTS and any(_NOT_A_COUNTER in note for note in seen.theirs.get("warnings", [])):
        return True
    return _kind(seen) == "samples" or any(_MIXED_SCHEMAS in note for note in _alone(seen, "warnings")[1])


def _nan_observations(seen: Answers) -> bool:
    """Whether a histogram counts more than its buckets hold may depend on the last digits."""
    theirs, ours = _alone(seen, "infos")
    return _kind(seen) == "infos" and all("NaN observations" in note for note in theirs | ours)


def _crashed(seen: Answers) -> bool:
    return "runtime error: index out of range" in _error(seen.theirs)


def _nan_quantiles(seen: Answers) -> bool:
    """Where the sum is NaN, the peer looks for skew, and goes on with the last bucket that it has met then."""
    return _kind(seen) in _OF_RESULTS and seen.nan_sums and "histogram_quantile(" in seen.query.text


def _merged_at_the_end(seen: Answers) -> bool:
    """Series that are one without their names, and never there at the same step, are merged."""
    alike = "vector cannot contain metrics with the same labelset"
    of_range = seen.delayed and seen.query.step_ms > 0
    return _kind(seen) == "status" and of_range and _error(seen.theirs) == alike and not _error(seen.ours)


def _zero_bucket_alone(seen: Answers) -> bool:
    """Whether a zero bucket reaches below zero depends on whether the chunk has other buckets, be they empty."""
    if _kind(seen) != "value" or seen.alike or seen.difference is None or "histogram_quantile(" not in seen.query.text:
        return False
    return re.search(r"(theirs|ours) -?0\b(?!\.)", seen.difference.detail) is not None


def _nan_of_nothing(seen: Answers) -> bool:
    """Empty buckets times NaN or Inf are NaN, and the peer has those of the whole chunk."""
    if _kind(seen) != "value" or seen.alike or seen.difference is None:
        return False
    return '"NaN"]' in seen.difference.detail


_STATISTICS = re.compile(r"histogram_(count|sum|avg)\b")
_NOT_A_COUNTER = "this native histogram metric is not a counter"
_MIXED_SCHEMAS = "mix of histograms with exponential and custom buckets"
_INCOMPATIBLE = "vector contains histograms with incompatible custom buckets"
_RECONCILED = "mismatched custom buckets were reconciled during"
_COLLISION = "conflicting counter resets during histogram"
_SEVERAL = "multiple matches for labels: "
_OF_RESULTS = {"labels", "points", "value", "order", "samples"}

KINDS: dict[str, Callable[[Answers], bool]] = {
    "sort warns in range queries": _sort_in_ranges,
    "annotations tell more": _text_of_notes,
    "series named in errors of duplicates": _duplicate_group_text,
    "tokens expected in durations": _expected_tokens,
    "NaN as a parameter of topk and its like": _not_a_count,
    "strings in parentheses": _strings,
    "first bucket of histogram_fraction": _first_bucket,
    "matching of info()": _info,
    "durations out of range": _duration_of_nothing,
    "quantiles named in warnings": _quantiles_named,
    "filtered duplicates of the many side": _filtered_many,
    "absent labels in sort_by_label": _absent_labels_sorted,
    "digits of library functions in labels": _digits_in_labels,
    "sizes of stored histograms": _sizes_of_histograms,
    "histograms with other custom bounds": _custom_bounds,
    "sums and counts of histograms read alone": _statistics_alone,
    "NaN observations by the last digits": _nan_observations,
    "quantiles of histograms with NaN": _nan_quantiles,
    "the peer fails": _crashed,
    "series merged at the end": _merged_at_the_end,
    "zero buckets alone": _zero_bucket_alone,
    "NaN in empty buckets": _nan_of_nothing,
    "conflicting counter resets": _conflicting_resets,
    "mad_over_time with NaN": _mad_with_nan,
    "names that come back through subqueries": _name_through_subqueries,
}


def kind(seen: Answers) -> str | None:
    """Return which change explains a difference."""
    return next((name for name, explains in KINDS.items() if explains(seen)), None)
