"""Points of OTLP requests that are seen for the first time: from bytes to ids.

Attributes that are all strings go from the request into the series table without becoming Python objects; others are
read by protobuf's classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
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
        distinct, place = np.unique(metrics, return_inverse=True)
        heads = np.array([self._head(metric, ()) for metric in distinct.tolist()], np.int32).reshape(-1, 6)
        spans, plain = self._plain(chosen, metrics)
        ids = np.empty(len(chosen), np.int32)
        ids[plain] = self._table.intern_spans(spans, np.ascontiguousarray(heads[place[plain]]))
        if not plain.all():
            ids[~plain] = self._mixed(chosen[~plain])
        return ids

    def _plain(self, chosen: NDArray[np.intp], metrics: NDArray[np.int32]) -> tuple[LabelSpans, NDArray[np.bool_]]:
        """Return the labels of the points whose attributes are all strings, and which points those are."""
        found = self._found
        place = np.empty((len(chosen), 5), np.int32)
        place[:, 0:2] = self._of.rows[chosen][:, [points.FIRST, points.SIZE]]
        place[:, 2:4] = found.metrics[metrics, kernels.NAME : kernels.NAME + 2]
        place[:, 4] = ATTRIBUTE_TAG[found.metrics[metrics, kernels.FIELD]]
        starts = np.zeros(len(chosen) + 1, np.int32)
        plain = np.zeros(len(chosen), np.bool_)
        where = np.array([0, points.IN_POINT])
        spans = np.empty((0, 4), np.int32)
        arguments = (starts, plain, where)
        most = checked(label_kernels.point_labels(found.buf, place, found.name_at, spans, *arguments), where)
        # The labels of a point are written before it is known to be plain, and taken back.
        spans = np.empty((most + int(place[:, 1].max(initial=0)) // 2 + 1, 4), np.int32)
        checked(label_kernels.point_labels(found.buf, place, found.name_at, spans, *arguments), where)
        kept = np.concatenate([starts[:-1][plain], starts[-1:]])
        return LabelSpans(found.buf, spans[:most], kept), plain

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
