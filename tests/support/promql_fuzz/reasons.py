"""Why a difference is no fault, by the name that is counted: only what stands here excuses one.

Source:
    Release notes of Prometheus 3.6 to 3.14 and its source; its answers in version 3.5.
"""

from __future__ import annotations

VERSION = "changed between the peer's version and the one followed"
PEER = "the peer answers by chance, by faults of its own, or by its way to store"
DIGITS = "the last digits of numbers"

REASONS: dict[str, tuple[str, str]] = {
    "sort warns in range queries": (VERSION, "a warning that 3.5 does not have"),
    "annotations tell more": (VERSION, "the metric is named only where its name is known; what was repaired is told"),
    "annotations for several reasons": (VERSION, "each of them has a reason that stands here, too"),
    "series named in errors of duplicates": (VERSION, "another text; which two series it names depends on their order"),
    "tokens expected in durations": (VERSION, "more may stand in a duration, so errors list more"),
    "NaN as a parameter of topk and its like": (VERSION, "refused with errors of its own, even without any series"),
    "strings in parentheses": (VERSION, "3.5 fails with an error of its inside"),
    "first bucket of histogram_fraction": (VERSION, "the first classic bucket has a beginning"),
    "matching of info()": (VERSION, "other rules for what is matched and for ties"),
    "durations out of range": (VERSION, "3.5 converts what is too long to some other number"),
    "quantiles named in warnings": (VERSION, "the parameter of an aggregation is looked at once for all steps"),
    "filtered duplicates of the many side": (VERSION, "an error even where a comparison filters them out"),
    "differences and negatives of histograms": (VERSION, "a histogram less another one is a gauge, and so is -h"),
    "parts of a query that differ": (VERSION, "an error that hides annotations; a part, asked alone, has the reason"),
    "histograms with other custom bounds": (VERSION, "brought to the bounds they share; 3.5 drops them"),
    "sums and counts of histograms read alone": (VERSION, "decided for each selector, no longer for the whole query"),
    "quantiles of histograms with NaN": (VERSION, "no search for skew where the sum is NaN"),
    "conflicting counter resets": (VERSION, "a warning that 3.5 gives at fewer places"),
    "mad_over_time with NaN": (VERSION, "NaN has its place in the order"),
    "names that come back through subqueries": (VERSION, "a dropped name stays dropped"),
    "rates of histograms do not go below zero any more, other custom bounds are no reset": (
        VERSION,
        "limited by the zero point as rates of numbers are; bounds are brought to those they share",
    ),
    "series merged at the end": (VERSION, "series that are one without their names, and never there at the same step"),
    "sums of histograms": (VERSION, "compensated; differences are below 1e-9"),
    "averages of histograms are sums divided by how many there are": (VERSION, "with the rest of each sum kept"),
    "sizes of computed histograms": (PEER, "where a subquery counts them they may have kept empty buckets"),
    "empty buckets of other histograms": (PEER, "it gives a histogram the buckets that others of its chunk have"),
    "logarithms of the smallest numbers": (PEER, "Go on x86 takes subnormal numbers for larger ones"),
    "the peer fails": (PEER, "an index out of range inside it, or a check that its own product does not pass"),
    "the largest powers of e": (PEER, "Go on x86 takes them for infinite"),
    "absent labels in sort_by_label": (PEER, "its comparison of an absent label has no order"),
    "sizes of histograms in subqueries": (PEER, "it counts them after it has overwritten some; each alone is equal"),
    "@ in subqueries that begin with what is around": (
        PEER,
        "the subquery's offset moves what @ says, but at that time",
    ),
    "ties of chosen series": (PEER, "equal numbers: its sort is not stable, and another choice goes by their order"),
    "the peer's answer depends on chance": (PEER, "asked again it answers otherwise: hash tables, memory used again"),
    "the peer answers as ours where it is asked for each step alone": (PEER, "it overwrites histograms it still needs"),
    "digits of library functions in labels": (DIGITS, "equal in twelve digits"),
    "digits of library functions are all there is of labels": (DIGITS, "the sum of what was counted is the same"),
    "digits of library functions in annotations": (DIGITS, "equal in twelve digits"),
    "NaN observations by the last digits": (DIGITS, "buckets and counts differ by less than a count"),
    "it depends on the last digits of library functions": (DIGITS, "errors of four ulp put in give the peer's answer"),
}


def group(reason: str) -> str:
    """Return what kind of reason it is."""
    return REASONS[reason][0]
