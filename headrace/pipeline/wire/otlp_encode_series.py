"""What an OTLP encoder remembers about the series of a table: attributes as encoded, and which metric each is of."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.growth import grown
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME, Kind
from headrace.pipeline.otlp_names import metric_name
from headrace.pipeline.series_view import SeriesView
from headrace.pipeline.wire import otlp_encode_attribute_kernels as kernels
from headrace.pipeline.wire import otlp_encode_identity as identity
from headrace.pipeline.wire.otlp_encode_kernels import COLUMNS, HEAD, PARENT, TAIL
from headrace.pipeline.wire.otlp_walk import ATTRIBUTE_TAG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable

_TYPES = {"int": kernels.INT, "bool": kernels.BOOL}
_UNKNOWN = -1
_STEP = 4096
"""Series that are encoded at a time, so that what is made for it stays small."""


class EncodedSeries:
    """Memo of one table.

    Attributes:
        metric_of: Metric by id, -1 where the series is new.
        places: Offset of the encoded attributes in `labels`, by id.
        sizes: Their bytes, by id.
        labels: Encoded attributes.
        metrics: What is known about metrics, see `otlp_encode_kernels`.
        scopes: About scopes.
        resources: About resources.
        heads: Bytes that those point into.
        slots: Three arrays for `otlp_encode_kernels.arrange`.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table = weakref.ref(table)
        self.metric_of = np.full(1024, _UNKNOWN, np.int32)
        self.places = np.zeros(1024, np.int64)
        self.sizes = np.zeros(1024, np.int32)
        self.labels = np.zeros(65_536, np.uint8)
        self.heads = np.zeros(4096, np.uint8)
        self._begin()
        table.register(self)

    def _begin(self) -> None:
        self.metric_of[:] = _UNKNOWN
        self.metrics, self.scopes, self.resources = (np.zeros((64, COLUMNS), np.int64) for _ in range(3))
        self.slots = [np.full(64, _UNKNOWN, np.int32) for _ in range(3)]
        self._numbers: tuple[dict[Any, int], ...] = ({}, {}, {})
        self._families: dict[str, list[tuple[int, str, str]]] = {}
        self._told = 0
        self._used = self._freed = self._heads_used = 0

    @property
    def _owner(self) -> SeriesTable:
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table of a batch is gone")
        return table

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop ids that the table frees; start over when half of what is kept is of no use."""
        ids = ids[ids < len(self.metric_of)]
        ids = ids[self.metric_of[ids] >= 0]
        self._freed += int(self.sizes[ids].sum(dtype=np.int64))
        self.metric_of[ids] = _UNKNOWN
        if 2 * self._freed > self._used or not (self.metric_of >= 0).any():
            self._begin()

    def learn(self, ids: NDArray[np.int32]) -> None:
        """Encode the series that are new, and descriptions that have changed."""
        table = self._owner
        for name in ("metric_of", "places", "sizes"):
            setattr(self, name, grown(getattr(self, name), table.capacity, _UNKNOWN if name == "metric_of" else 0))
        new = ids[self.metric_of[ids] < 0]
        if len(new):
            new = np.unique(new)
            for first in range(0, len(new), _STEP):
                self._learn(table, new[first : first + _STEP])
        if table.families.version != self._told:
            self._describe(table)

    def _learn(self, table: SeriesTable, ids: NDArray[np.int32]) -> None:
        pairs, starts = table.label_symbols(ids)
        types, others = self._types(table, ids, pairs, starts)
        self.metric_of[ids], tags = self._metrics_of(table, ids, pairs, types, starts)
        spans = table.spans_of(pairs, starts)
        sizes = np.zeros(len(ids), np.int32)
        kernels.attribute_sizes(spans.buf, spans.spans, starts, types, sizes)
        encoded = {row: self._encoded(table, int(ids[row]), int(tags[row])) for row in others.tolist()}
        for row, data in encoded.items():
            sizes[row] = len(data)
        self.sizes[ids] = sizes
        ends = self._used + np.cumsum(sizes, dtype=np.int64)
        places = ends - sizes
        self.places[ids] = places
        self._used = int(ends[-1])
        self.labels = grown(self.labels, self._used + PAD)
        kernels.put_attributes(spans.buf, spans.spans, starts, types, tags, places, self.labels)
        for row, data in encoded.items():
            self.labels[places[row] : places[row] + len(data)] = np.frombuffer(data, np.uint8)

    def _types(
        self, table: SeriesTable, ids: NDArray[np.int32], pairs: NDArray[np.int32], starts: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
        """Return the (k,) type of each label, and the rows with a label that the kernels do not encode."""
        types = np.zeros(len(pairs), np.uint8)
        types[pairs[:, 0] == table.symbol(METRIC_NAME)] = kernels.NAME
        owners = np.repeat(np.arange(len(ids)), np.diff(starts))
        variants = table.heads(ids)[:, 5]
        for variant in np.unique(variants[variants >= 0]).tolist():
            of_variant = variants[owners] == variant
            for name, type_ in table.types_of(variant):
                named = of_variant & (pairs[:, 0] == table.symbol(name)) & (types != kernels.NAME)
                types[named] = _TYPES.get(type_, kernels.OTHER)
        others = np.unique(owners[types == kernels.OTHER])
        # The whole series is encoded elsewhere.
        types[np.isin(owners, others)] = kernels.NAME
        return types, others

    def _metrics_of(
        self,
        table: SeriesTable,
        ids: NDArray[np.int32],
        pairs: NDArray[np.int32],
        types: NDArray[np.uint8],
        starts: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Return the metric of each series, and the tag of an attribute in its points."""
        del types
        names = np.full(len(ids), _UNKNOWN, np.int32)
        at = np.flatnonzero(pairs[:, 0] == table.symbol(METRIC_NAME))
        names[np.searchsorted(starts, at, "right") - 1] = pairs[at, 1]
        keys = np.column_stack([table.heads(ids)[:, 1:5], names])
        distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
        found = np.array([self._metric(table, *key) for key in distinct.tolist()], np.int32)
        fields = self.metrics[found, TAIL + 1]
        inverse = inverse.ravel()
        return found[inverse], ATTRIBUTE_TAG[fields].astype(np.uint8)[inverse]

    def _encoded(self, table: SeriesTable, series_id: int, tag: int) -> bytes:
        attributes = SeriesView.of(table.series(series_id)).attributes
        return identity.point_attributes(attributes.items(), tag)

    # -- metrics, scopes, resources ------------------------------------------------------------------------

    def _metric(self, table: SeriesTable, kind: int, unit: int, resource: int, scope: int, name: int) -> int:
        """Return the number of a metric; its symbols are looked up, since they may be renamed."""
        name_text, unit_text = (table.symbol_text(symbol) if symbol >= 0 else "" for symbol in (name, unit))
        key = (kind, resource, scope, name_text, unit_text)
        number = self._numbers[0].get(key)
        if number is not None:
            return number
        number = self._numbers[0][key] = len(self._numbers[0])
        of = Kind.unpack(kind)
        self.metrics = grown(self.metrics, number + 1)
        self.slots[0] = grown(self.slots[0], number + 1, _UNKNOWN)
        row = self.metrics[number]
        row[PARENT] = self._scope(table, resource, scope)
        row[TAIL], row[TAIL + 1] = identity.tail_of(of), identity.field_of(of)
        try:
            family = metric_name(name_text, unit_text, of)
        except InvalidInput:
            family = ""
        self._families.setdefault(family, []).append((number, name_text, unit_text))
        self._write_head(table, family, number, name_text, unit_text)
        return number

    def _write_head(self, table: SeriesTable, family: str, number: int, name: str, unit: str) -> None:
        said = table.families.find(family)
        head = identity.metric_head(name, said.help if said else "", unit, {})
        self.metrics[number, HEAD : HEAD + 2] = self._keep(head)

    def _describe(self, table: SeriesTable) -> None:
        """Encode the heads of metrics again whose descriptions are new."""
        for family in table.families.changed(self._told):
            for number, name, unit in self._families.get(family, ()):
                self._write_head(table, family, number, name, unit)
        self._told = table.families.version

    def _scope(self, table: SeriesTable, resource: int, scope: int) -> int:
        numbers = self._numbers[1]
        number = numbers.get((resource, scope))
        if number is None:
            number = numbers[resource, scope] = len(numbers)
            self.scopes = grown(self.scopes, number + 1)
            self.slots[1] = grown(self.slots[1], number + 1, _UNKNOWN)
            parts = identity.scope_parts(table.scope(scope) if scope >= 0 else None)
            self.scopes[number, PARENT] = self._resource(table, resource)
            self.scopes[number, HEAD:] = [*self._keep(parts[0]), *self._keep(parts[1])]
        return number

    def _resource(self, table: SeriesTable, resource: int) -> int:
        numbers = self._numbers[2]
        number = numbers.get(resource)
        if number is None:
            number = numbers[resource] = len(numbers)
            self.resources = grown(self.resources, number + 1)
            self.slots[2] = grown(self.slots[2], number + 1, _UNKNOWN)
            parts = identity.resource_parts(table.resource(resource) if resource >= 0 else None)
            self.resources[number, HEAD:] = [*self._keep(parts[0]), *self._keep(parts[1])]
        return number

    def _keep(self, data: bytes) -> tuple[int, int]:
        """Keep bytes; return where they are, and how many."""
        at = self._heads_used
        self._heads_used += len(data)
        self.heads = grown(self.heads, self._heads_used + PAD)
        self.heads[at : self._heads_used] = np.frombuffer(data, np.uint8)
        return at, len(data)
