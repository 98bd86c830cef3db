"""Limit how many series there are: in total, of a metric, and of values of a label within a metric.

Series are admitted in the order in which they are first seen. One that would pass a limit is dropped, or folded into
the overflow series of its metric, whose sums stay right: a folded counter grows by what its members grow by, through
their resets, and through a restart of the daemon where ``service.state_directory`` is set.

After a restart, the places of the series that were admitted before are theirs for an hour in which the daemon runs;
then others may have them. Series that were dropped are judged anew. What is saved is 16 bytes for each series that was
admitted, 36 for each that is folded, and how many there are of each metric and with each value of a limited label.

Source:
    OpenTelemetry metrics SDK specification, "Cardinality limits", for the overflow attribute.
"""

from __future__ import annotations

from headrace.processors.cardinality_limit.processor import FACTORY

__all__ = ["FACTORY"]
