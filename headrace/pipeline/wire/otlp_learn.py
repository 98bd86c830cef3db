"""Points of OTLP requests that are seen for the first time: from bytes to ids.

Attributes that are all strings go from the request into the series table without becoming Python objects; others are
read by protobuf's classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.series import UNKNOWN, Refusal
from headrace.pipeline.wire import otlp_identity as identity
from headrace.pipeline.wire import otlp_kernels as kernels
from headrace.pipeline.wire import otlp_label_kernels as label_kernels
from headrace.pipeline.wire import otlp_point_kernels as points
from headrace.pipeline.wire.otlp_walk import ATTRIBUTE_TAG, checked
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.identity import Resource, Scope
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.otlp_walk import Points, Walk

_REFUSED = np.array([UNKNOWN, UNKNOWN, Refusal.LABEL_TOO_LONG.id, Refusal.TOO_MANY_LABELS.id], np.int32)
"""Ids by the sort of a point."""


class Learner:
    """Interns points of one request.

    Args:
        table: The workspace's series table.
        found: The request.
        of: Its number points, or its histogram points.
    """

    def __init__(self, table: SeriesTable, found: Walk, of: Points) -> None:
        self._table = table
        self._found = found
        self._of = of
        self._resources: dict[int, Resource | None] = {}
        self._scopes: dict[int, Scope | None] = {}
        self._heads: dict[tuple[int, identity.Attributes], tuple[int, ...]] = {}

    def learn(self, chosen: NDArray[np.intp]) -> NDArray[np.int32]:
        """Intern the points with indices `chosen`.

        Returns:
            (n,) int32: ids, or refusals below UNKNOWN.

        Raises:
            InvalidInput: A resource, a scope or an attribute does not decode.
        """
        metrics = self._of.metric[chosen]
        spans, sorts = self._plain(chosen, metrics)
        ids = _REFUSED[sorts]
        plain = np.flatnonzero(sorts == label_kernels.PLAIN)
        if len(plain):
            distinct, place = np.unique(metrics[plain], return_inverse=True)
            heads = np.array([self._head(metric, ()) for metric in distinct.tolist()], np.int32)
            ids[plain] = self._table.intern_spans(spans, np.ascontiguousarray(heads[place]))
        mixed = np.flatnonzero(sorts == label_kernels.MIXED)
        if len(mixed):
            ids[mixed] = self._mixed(chosen[mixed])
        return ids

    def _plain(self, chosen: NDArray[np.intp], metrics: NDArray[np.int32]) -> tuple[LabelSpans, NDArray[np.int8]]:
        """Return the labels of the points whose attributes are all strings, and the sort of each point."""
        found, limits = self._found, self._table.limits
        place = np.empty((len(chosen), 5), np.int32)
        place[:, 0:2] = self._of.rows[chosen][:, [points.FIRST, points.SIZE]]
        place[:, 2:4] = found.metrics[metrics, kernels.NAME : kernels.NAME + 2]
        place[:, 4] = ATTRIBUTE_TAG[found.metrics[metrics, kernels.FIELD]]
        starts = np.zeros(len(chosen) + 1, np.int32)
        sorts = np.zeros(len(chosen), np.int8)
        where = np.array([0, points.IN_POINT])
        # No value is shorter as text than a quarter of its encoding, but for a few.
        most_bytes = 4 * (limits.max_name_bytes + limits.max_value_bytes)
        spans = np.empty((0, 4), np.int32)
        for _ in range(2):
            labels = label_kernels.point_labels(
                found.buf, place, found.name_at, spans, starts, sorts, limits.max_labels, most_bytes, where
            )
            checked(labels, where)
            if not labels or len(spans):
                break
            spans = np.empty((labels, 4), np.int32)
        kept = np.concatenate([starts[:-1][sorts == label_kernels.PLAIN], starts[-1:]])
        return LabelSpans(found.buf, spans, kept), sorts

    def _mixed(self, chosen: NDArray[np.intp]) -> NDArray[np.int32]:
        found = self._found
        labels = []
        heads = []
        for index in chosen.tolist():
            metric = int(self._of.metric[index])
            row = found.metrics[metric]
            data = found.cut(self._of.rows[index], points.FIRST)
            attributes, types = identity.read_point(int(row[kernels.FIELD]), data)
            name = found.cut(row, kernels.NAME).decode("utf-8", "surrogateescape")
            labels.append(((METRIC_NAME, name), *attributes))
            heads.append(self._head(metric, types))
        return self._table.intern_spans(identity.spans_of(labels), np.array(heads, np.int32).reshape(-1, 6))

    def _head(self, metric: int, types: identity.Attributes) -> tuple[int, ...]:
        key = (metric, types)
        head = self._heads.get(key)
        if head is None:
            row = self._found.metrics[metric]
            field, temporality, monotonic = row[[kernels.FIELD, kernels.TEMPORALITY, kernels.MONOTONIC]].tolist()
            scope = int(row[kernels.SCOPE_OF])
            head = self._heads[key] = self._table.head(
                identity.kind_of(field, temporality, monotonic=bool(monotonic)),
                unit=self._found.cut(row, kernels.UNIT).decode("utf-8", "replace"),
                resource=self._resource(int(self._found.scopes[scope, kernels.RESOURCE_OF])),
                scope=self._scope(scope),
                types=types,
            ).row()
        return head

    def _resource(self, number: int) -> Resource | None:
        if number not in self._resources:
            parts = (
                self._found.cut(self._found.resources[number], column) for column in (kernels.BODY, kernels.SCHEMA)
            )
            self._resources[number] = identity.read_resource(*parts)
        return self._resources[number]

    def _scope(self, number: int) -> Scope | None:
        if number not in self._scopes:
            parts = (self._found.cut(self._found.scopes[number], column) for column in (kernels.BODY, kernels.SCHEMA))
            self._scopes[number] = identity.read_scope(*parts)
        return self._scopes[number]
