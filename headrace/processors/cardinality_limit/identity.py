"""What follows from the identity of a series alone: its digest, and the overflow series that it is folded into."""

from __future__ import annotations

import hashlib

from headrace.pipeline.identity import METRIC_NAME, Form, MetricType, Series, Temporality

OVERFLOW = {Form.OTLP: "otel.metric.overflow", Form.PROMETHEUS: "otel_metric_overflow"}
"""Label of overflow series; its value is ``true``. The second is the first in Prometheus' characters."""

DIGEST = 16
"""Bytes of a digest."""

_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_KEPT_LABELS = ("le", "quantile")


def digest(series: Series) -> bytes:
    """Return what stands for an identity in saved states: BLAKE2b of all of it, DIGEST bytes."""
    resource, scope = series.resource, series.scope
    text = repr(
        (
            series.labels,
            int(series.form),
            series.kind.pack(),
            series.unit,
            resource and (resource.attributes, resource.schema_url),
            scope and (scope.name, scope.version, scope.attributes, scope.schema_url),
            series.types,
        )
    )
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


def overflow(series: Series) -> Series:
    """Return the overflow series that `series` is folded into."""
    labels = [(METRIC_NAME, series.name), (OVERFLOW[series.form], "true")]
    labels += [(name, series[name]) for name in _KEPT_LABELS if name in series]
    return Series(tuple(sorted(labels)), series.form, series.kind, series.unit)


def counts_up(series: Series) -> bool:
    """Return whether values of the series are those of a cumulative counter."""
    if series.form is Form.OTLP:
        return series.kind.type is MetricType.COUNTER and series.kind.temporality is Temporality.CUMULATIVE
    return series.name.endswith(_COUNTER_ENDINGS)
