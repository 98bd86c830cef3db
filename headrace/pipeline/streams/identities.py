"""Identities of series as arrays, for snapshots: what a table knows of some ids, in terms another table understands.

Texts are stored once however many series use them, so that a snapshot costs array operations and no Python for each
series.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.buffers import padded
from headrace.pipeline.identity import Form, Kind, Resource, Scope
from headrace.pipeline.series import Head
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.identity import AttributeValue
    from headrace.pipeline.series import SeriesTable

_BYTES, _MAP, _FLOAT = "bytes", "map", "float"

Columns = dict[str, "NDArray[Any]"]


def packed(table: SeriesTable, ids: NDArray[np.int32]) -> tuple[Columns, dict[str, Any]]:
    """Return the identities of (n,) int32 live `ids`: columns, and a value for JSON."""
    labels = table.label_spans(ids)
    offsets, sizes = labels.spans[:, 0::2].ravel(), labels.spans[:, 1::2].ravel()
    _, firsts, which = np.unique(offsets, return_index=True, return_inverse=True)
    sizes = sizes[firsts].astype(np.int64)
    ends = np.cumsum(sizes)
    places = np.repeat(offsets[firsts] - (ends - sizes), sizes) + np.arange(int(ends[-1]) if len(ends) else 0)
    kinds, row = _distinct([table.head_column(ids, name) for name in Head.__slots__])
    columns: Columns = {
        "text": labels.buf[places],
        "sizes": sizes.astype(np.int32),
        "symbols": which.astype(np.int32).reshape(-1),
        "starts": labels.starts,
        "head": row.astype(np.int32).reshape(-1),
    }
    return columns, {"heads": [_head_to_json(table, Head(*one)) for one in kinds.tolist()]}


def _distinct(columns: list[NDArray[np.int32]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the distinct rows of some columns, (k, columns), and which of them each row is, (n,)."""
    n = len(columns[0])
    which = np.zeros(n, np.int64)
    for column in columns:
        # Most are the same throughout; to sort whole rows would take twenty times as long.
        if n and (column != column[0]).any():
            values, numbers = np.unique(column, return_inverse=True)
            which = np.unique(which * len(values) + numbers, return_inverse=True)[1]
    firsts = np.unique(which, return_index=True)[1]
    return np.stack(columns, axis=1)[firsts], which


def unpacked(table: SeriesTable, columns: Columns, heads: dict[str, Any]) -> NDArray[np.int32]:
    """Intern what `packed` returned; (n,) int32 ids, or refusals below 0.

    Raises:
        ValueError: It does not hold together.
    """
    text, sizes, symbols = columns["text"], columns["sizes"], columns["symbols"]
    starts, head = columns["starts"], columns["head"]
    made = [_head_from_json(table, one).row() for one in heads["heads"]]
    n = len(head)
    sound = (
        len(starts) == n + 1
        and len(symbols) == 2 * int(starts[-1] if len(starts) else -1)
        and int(sizes.sum()) == len(text)
        and not (sizes < 0).any()
        and not (np.diff(starts) < 0).any()
        and _within(symbols, len(sizes))
        and _within(head, len(made))
    )
    if not sound:
        raise ValueError("the identities do not hold together")
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    spans = np.stack([offsets[symbols], sizes[symbols]], axis=1).astype(np.int32).reshape(-1, 4)
    rows = np.array(made, np.int32).reshape(-1, 6)[head]
    labels = LabelSpans(padded(text.tobytes()), np.ascontiguousarray(spans), starts.astype(np.int32))
    return table.intern_spans(labels, np.ascontiguousarray(rows)) if n else np.empty(0, np.int32)


def _within(numbers: NDArray[np.int32], end: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= 0 and int(numbers.max()) < end)


def _head_to_json(table: SeriesTable, head: Head) -> list[Any]:
    resource = None if head.resource < 0 else table.resource(head.resource)
    scope = None if head.scope < 0 else table.scope(head.scope)
    return [
        head.form,
        head.kind,
        table.symbol_text(head.unit) if head.unit >= 0 else None,
        resource and [_pairs_to_json(resource.attributes), resource.schema_url],
        scope and [scope.name, scope.version, _pairs_to_json(scope.attributes), scope.schema_url],
        table.symbol_text(head.variant) if head.variant >= 0 else None,
    ]


def _head_from_json(table: SeriesTable, value: list[Any]) -> Head:
    form, kind, unit, resource, scope, variant = value
    types = variant.split("\0") if variant is not None else []
    return table.head(
        Kind.unpack(int(kind)),
        unit=unit or "",
        resource=resource and Resource(_pairs_from_json(resource[0]), str(resource[1])),
        scope=scope and Scope(str(scope[0]), str(scope[1]), _pairs_from_json(scope[2]), str(scope[3])),
        types=zip(types[::2], types[1::2], strict=True),
        form=Form(int(form)),
    )


def _pairs_to_json(pairs: tuple[tuple[str, AttributeValue], ...]) -> list[Any]:
    return [[name, value_to_json(value)] for name, value in pairs]


def _pairs_from_json(pairs: list[Any]) -> tuple[tuple[str, AttributeValue], ...]:
    return tuple((str(name), value_from_json(value)) for name, value in pairs)


def value_to_json(value: AttributeValue) -> Any:
    """Return an attribute's value in JSON's terms; what JSON lacks becomes an object with one member."""
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {_MAP: [[name, value_to_json(one)] for name, one in value.items()]}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if isinstance(value, list | tuple):
        return [value_to_json(one) for one in value]
    return value


def value_from_json(value: Any) -> AttributeValue:
    """Invert `value_to_json`."""
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == _BYTES:
            return base64.b64decode(inner)
        return float(inner) if kind == _FLOAT else {name: value_from_json(one) for name, one in inner}
    if isinstance(value, list):
        return [value_from_json(one) for one in value]
    return value  # type: ignore[no-any-return]  # the rest of JSON is what attributes are
