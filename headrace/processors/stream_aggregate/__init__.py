"""Aggregate samples over series and over time, as they come, and pass on the aggregates instead.

Modelled on vmagent's stream aggregation. A rule takes the samples of the series that its `match` selects, groups them
by what `by` or `without` leaves of their labels, and passes on each of its `outputs` once in an `interval`, under the
names ``METRIC:INTERVAL_by_LABELS_OUTPUT`` or ``METRIC:INTERVAL_without_LABELS_OUTPUT``. A sample belongs to the
interval in which it comes, whatever its own time says; aggregates have the time of the interval's end. Series that no
rule matches pass as they are.

``total`` is a counter that has grown by what all counters of its group have grown by, through their resets and while
they come and go; ``increase`` is its growth in an interval, ``rate_sum`` and ``rate_avg`` sum and mean of the growth of
its counters in a second. A counter that is new has grown from 0, save in the beginning
(`ignore_first_sample_interval`); for ``total_prometheus`` and ``increase_prometheus`` a first sample never says
anything. OpenTelemetry's delta sums are added as they are. ``count_series`` counts series with samples; ``quantiles``
are of all samples of the interval. ``histogram_bucket`` counts samples into buckets with ``le``, for ever growing.
Stale markers and NaN are not samples, and a stale marker ends nothing: a target that is back after a failed scrape
goes on where it was, within `staleness_interval`.

Histograms of OpenTelemetry and native histograms are not aggregated: where a rule matches their series they are dropped
and counted as ``histogram_not_aggregated``. Of OpenTelemetry sources, aggregates are of no scope, and with `by` of no
resource. All state, also that of the interval that runs, survives reload and restart where ``service.state_directory``
is set, for rules that are written as they were.

Source:
    VictoriaMetrics, "Streaming aggregation".
"""

from __future__ import annotations

from headrace.processors.stream_aggregate.processor import FACTORY

__all__ = ["FACTORY"]
