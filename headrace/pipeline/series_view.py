"""A series taken apart, for whoever edits it: typed attributes, resource, scope and metric as plain mutable values."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headrace.pipeline.identity import METRIC_NAME, Form, Kind, Resource, Scope, Series
from headrace.pipeline.otlp_names import attribute_text

if TYPE_CHECKING:
    from headrace.pipeline.identity import AttributeValue

Attributes = dict[str, "AttributeValue"]

_TARGET = {"service.name": "job", "service.instance.id": "instance"}
"""Attributes of the resource that a scraped series has as labels, as the Collector's ``prometheus`` receiver has it."""


@dataclass(slots=True)
class SeriesView:
    """The parts of a series.

    Attributes:
        original: What it was made of.
        name: Metric name.
        unit: Unit.
        kind: Type and temporality.
        attributes: Of the point, by name, with their types.
        resource: Attributes of the resource; of a Prometheus series, `job` and `instance` are ``service.name`` and
            ``service.instance.id``.
        resource_schema: Schema URL.
        scope: Attributes of the scope.
        scope_name: Name of the scope.
        scope_version: Version of the scope.
        scope_schema: Schema URL.
        cache: Values that statements keep for later ones.
    """

    original: Series
    name: str
    unit: str
    kind: Kind
    attributes: Attributes
    resource: Attributes
    resource_schema: str
    scope: Attributes
    scope_name: str
    scope_version: str
    scope_schema: str
    cache: Attributes = field(default_factory=dict)

    @classmethod
    def of(cls, series: Series) -> SeriesView:
        """Take `series` apart."""
        types = dict(series.types)
        attributes: Attributes = {
            name: _value(text, types.get(name, "")) for name, text in series.labels if name != METRIC_NAME
        }
        resource, scope = series.resource or Resource(), series.scope or Scope()
        return cls(
            series,
            series.name,
            series.unit,
            series.kind,
            attributes,
            {**_target(series), **dict(resource.attributes)},
            resource.schema_url,
            dict(scope.attributes),
            scope.name,
            scope.version,
            scope.schema_url,
        )

    def series(self) -> Series:
        """Put the parts together; the original object where nothing changed."""
        made = self._made()
        parts = _same(made.resource, self.original.resource) and _same(made.scope, self.original.scope)
        return self.original if parts and made == self.original else made

    def _made(self) -> Series:
        labels = [(METRIC_NAME, self.name)]
        types = []
        for name, value in self.attributes.items():
            text = attribute_text(value)
            labels.append((name, text))
            type_ = _type(value)
            if text and type_:
                types.append((name, type_))
        series = replace(
            self.original,
            kind=self.kind,
            unit=self.unit,
            resource=self._resource(),
            scope=self._scope(),
            types=tuple(sorted(types)) if self.original.form is Form.OTLP else self.original.types,
        )
        return self._with_target(series.with_labels(labels))

    def _resource(self) -> Resource | None:
        before = self.original.resource
        if before is None and self.resource == _target(self.original):
            return None
        attributes = tuple(sorted(self.resource.items()))
        made = Resource(attributes, self.resource_schema) if attributes or self.resource_schema else None
        return before if _same(made, before) else made

    def _scope(self) -> Scope | None:
        scope = Scope(self.scope_name, self.scope_version, tuple(sorted(self.scope.items())), self.scope_schema)
        return self.original.scope if _same(scope, self.original.scope or Scope()) else scope

    def _with_target(self, series: Series) -> Series:
        """Move changes of ``service.name`` and ``service.instance.id`` to the labels of a Prometheus series."""
        if series.form is not Form.PROMETHEUS:
            return series
        before = {**_target(self.original), **dict((self.original.resource or Resource()).attributes)}
        changed = {
            label: attribute_text(self.resource.get(name))
            for name, label in _TARGET.items()
            if self.resource.get(name) != before.get(name)
        }
        return series.set(changed) if changed else series


def _same(one: Resource | Scope | None, other: Resource | Scope | None) -> bool:
    """Compare with types: 1, 1.0 and true are equal in Python, and three attributes."""
    return one is other or repr(one) == repr(other)


def _target(series: Series) -> Attributes:
    if series.form is not Form.PROMETHEUS:
        return {}
    return {name: series[label] for name, label in _TARGET.items() if series[label]}


def _type(value: AttributeValue) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {int: "int", float: "double", bytes: "bytes", list: "array", dict: "kvlist"}
    return names.get(type(value), "")


def _value(text: str, type_: str) -> AttributeValue:
    """Invert `attribute_text`."""
    if type_ == "int":
        return int(text)
    if type_ == "double":
        return float(text)
    if type_ == "bool":
        return text == "true"
    if type_ == "bytes":
        return base64.b64decode(text)
    if type_ in {"array", "kvlist"}:
        found: AttributeValue = json.loads(text)
        return found
    return text
