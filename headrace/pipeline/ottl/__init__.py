"""OTTL for metrics: conditions and statements over series, and over the values of their points.

What depends on the identity of a series is evaluated once for that series; what is left over, conditions on values,
is evaluated on columns (`headrace.pipeline.ottl.columns`).

Source:
    OpenTelemetry Transformation Language of the Collector's contrib distribution: grammar, comparison rules and
    functions for the contexts resource, scope, metric and datapoint.
"""
