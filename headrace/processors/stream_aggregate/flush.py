"""From the sums of an interval to the points of its aggregates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.batch import MetricBatch
from headrace.processors.stream_aggregate import sample_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.processors.stream_aggregate.outputs import Output
    from headrace.processors.stream_aggregate.state import RuleState

_NS_PER_S = 1e9
_COLUMNS = {
    "total": kernels.TOTAL,
    "total_prometheus": kernels.TOTAL_PROMETHEUS,
    "increase": kernels.INCREASE,
    "increase_prometheus": kernels.INCREASE_PROMETHEUS,
    "sum_samples": kernels.SUM,
    "count_samples": kernels.COUNT,
    "min": kernels.MIN,
    "max": kernels.MAX,
    "last": kernels.LAST,
}


def points(state: RuleState, outputs: tuple[Output, ...], time_ns: int) -> MetricBatch | None:
    """Return the points of an interval that ends at `time_ns`; None without any."""
    groups = state.groups.slots.live()
    if not len(groups):
        return None
    ids = state.outputs_of(groups)
    has_samples = state.groups.slots.columns["aggregates"][groups, kernels.COUNT] > 0
    since = state.groups.slots.columns["since"][groups]
    series, values, starts = [], [], []
    column = 0
    for output in outputs:
        found = _values(state, groups, output)
        for i in range(found.shape[1]):
            made = ids[:, column] >= 0
            if not output.outlasts_interval:
                made &= has_samples
            series.append(ids[made, column])
            values.append(found[made, i])
            starts.append(since[made] if output.counts_up else np.zeros(int(made.sum()), np.int64))
            column += 1
    every = np.concatenate(series)
    if not len(every):
        return None
    times = np.full(len(every), time_ns, np.int64)
    return MetricBatch.of(
        state.table, every, times, np.concatenate(values), start_ns=np.concatenate(starts), context=state.context
    )


def clear(state: RuleState) -> None:
    """Begin a new interval."""
    aggregates = state.groups.slots.columns["aggregates"]
    for column in range(kernels.AGGREGATES):
        if column not in {kernels.TOTAL, kernels.TOTAL_PROMETHEUS}:
            aggregates[:, column] = 0.0
    inputs = state.inputs.slots.columns
    inputs["marks"][:, kernels.RATE_TIME] = inputs["marks"][:, kernels.TIME]
    inputs["marks"][:, kernels.HIT] = 0
    inputs["floats"][:, kernels.GROWTH] = 0.0
    state.sample_groups, state.sample_values = [], []
    state.sampled, state.keep_one_in = 0, 1


def _values(state: RuleState, groups: NDArray[np.int64], output: Output) -> NDArray[np.float64]:
    """Return the values of an output, (k, series of the output) float64."""
    columns = state.groups.slots.columns
    aggregates = columns["aggregates"][groups]
    match output.kind:
        case "avg":
            found = aggregates[:, kernels.MEAN]
        case "stdvar" | "stddev":
            found = aggregates[:, kernels.SQUARES] / np.maximum(aggregates[:, kernels.COUNT], 1)
            found = np.sqrt(found) if output.kind == "stddev" else found
        case "count_series":
            hit = state.inputs.slots.columns["marks"][:, kernels.HIT] == 1
            found = _by_group(state, hit, None)[groups]
        case "rate_sum" | "rate_avg":
            found = _rates(state, groups, output)
        case "quantiles":
            return _quantiles(state, groups, output.numbers)
        case "histogram_bucket":
            return np.cumsum(columns["buckets"][groups], axis=1)
        case kind:
            found = aggregates[:, _COLUMNS[kind]]
    return np.asarray(found, np.float64).reshape(-1, 1)


def _by_group(state: RuleState, which: NDArray[np.bool_], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return sums over inputs, by group."""
    groups = state.inputs.slots.columns["group"][which]
    size = len(state.groups.slots.ids)
    return np.bincount(groups, weights, size).astype(np.float64)


def _rates(state: RuleState, groups: NDArray[np.int64], output: Output) -> NDArray[np.float64]:
    """Return what counters grew by in a second, from each one's last sample before the interval to its last in it."""
    marks = state.inputs.slots.columns["marks"]
    spent = (marks[:, kernels.TIME] - marks[:, kernels.RATE_TIME]) / _NS_PER_S
    moved = (marks[:, kernels.HIT] == 1) & (spent > 0)
    rates = state.inputs.slots.columns["floats"][moved, kernels.GROWTH] / spent[moved]
    total = _by_group(state, moved, rates)[groups]
    if output.kind == "rate_sum":
        return total
    return total / np.maximum(_by_group(state, moved, None)[groups], 1)


def _quantiles(state: RuleState, groups: NDArray[np.int64], numbers: tuple[float, ...]) -> NDArray[np.float64]:
    """Return quantiles of samples, interpolated between the nearest two."""
    out = np.full((len(groups), len(numbers)), np.nan)
    of = np.concatenate([np.empty(0, np.int32), *state.sample_groups])
    values = np.concatenate([np.empty(0), *state.sample_values])
    order = np.lexsort((values, of))
    of, values = of[order], values[order]
    first, end = np.searchsorted(of, groups), np.searchsorted(of, groups, "right")
    some = end > first
    for i, number in enumerate(numbers):
        place = first[some] + (end[some] - first[some] - 1) * number
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, end[some] - 1)
        share = place - low
        # Not low + share * (high - low): that is NaN between infinities of one sign.
        weighed = values[low] * (1 - share) + np.where(share > 0, values[high] * share, 0.0)
        out[some, i] = np.where(values[low] == values[high], values[low], weighed)
    return out
