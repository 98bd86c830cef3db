"""Label sets as JSON objects: every distinct label is written once, however many series have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.api.envelope import encode_text
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.labels import LabelTable


def label_objects(table: LabelTable) -> Iterator[bytes]:
    """Yield the JSON object of each row, its names in ascending order."""
    if not table.names:
        return iter([b"{}"] * len(table))
    if len(table) == 1:
        return iter([_object(table)])
    columns = [_column(table, number) for number in range(len(table.names))]
    return (b"{" + b",".join(filter(None, row)) + b"}" for row in zip(*columns, strict=True))


def _object(table: LabelTable) -> bytes:
    """Return the object of the only row."""
    pairs = (encode_text(name) + b":" + encode_text(value) for name, value in table.labels(0).items())
    return b"{" + b",".join(pairs) + b"}"


def _column(table: LabelTable, number: int) -> Iterator[bytes]:
    """Return the members of one label, row by row; nothing where a row lacks it."""
    symbols, which = np.unique(table.values[:, number], return_inverse=True)
    name = encode_text(table.names[number]) + b":"
    text = table.symbols.text
    members = [b"" if symbol == ABSENT else name + encode_text(text(symbol)) for symbol in symbols.tolist()]
    return map(members.__getitem__, which.ravel().tolist())
