"""Rename metrics and labels, scale values, and aggregate points of one batch, with the Collector's settings.

Points are aggregated where they come to be of one series and time within a batch, so that scrapes of several targets,
which come in batches of their own, are not put together: that is what ``stream_aggregate`` does. ``combine`` makes one
metric only of such that have the same type and unit; others of the same new name stay beside it.

Histograms are summed, whatever the aggregation type; explicit ones with different bounds stay apart, and so do
summaries. Native histograms of Prometheus sources can be renamed but not summed: those that would have to be are
dropped, all but the first, and counted as ``native_histogram_not_aggregated``. Scaling multiplies bounds, sums, minima
and maxima; histograms with exponential buckets, and any by a factor below 0, cannot be scaled and are dropped
(``histogram_not_scaled``). ``delete_label_value`` counts what it drops under its name. A metric that ``insert`` makes
has no exemplars. Sums of integers are exact up to 2^53.

Source:
    OpenTelemetry Collector contrib, "Metrics Transform Processor".
"""

from __future__ import annotations

from headrace.processors.metricstransform.processor import FACTORY

__all__ = ["FACTORY"]
