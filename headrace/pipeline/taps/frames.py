"""Batches as bytes, complete and exact: what a recording is made of.

Layout: for each batch its length as a little-endian uint32, then a state as `streams.snapshots` describes, of one part
that is called ``batch``. Its value names the edge, the context and metadata; its arrays are the identities of the
distinct series and the columns of the batch, in which ``series`` counts these. A length of 0 stands for nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.batch import BatchContext, ExemplarColumns, HistogramColumns, Metadata, MetricBatch
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.streams.identities import packed, unpacked
from headrace.pipeline.streams.snapshots import Part, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from headrace.pipeline.series import SeriesTable

CONTENT_TYPE = "application/vnd.headrace.batches"
MAX_FRAME_BYTES = 256 << 20
_KIND, _VERSION = "batch", 1
_LENGTH = struct.Struct("<I")
_NUMBERS = ("time_ns", "value", "flags", "start_ns", "integers")
_SIDES: dict[str, type[Any]] = {
    "histograms": HistogramColumns, "native": NativeHistograms, "exemplars": ExemplarColumns,
}  # fmt: skip


def frame(edge: str, batch: MetricBatch, skipped: int = 0) -> bytes:
    """Return a batch that was seen on an edge, with its length in front.

    Args:
        edge: The edge.
        batch: The batch.
        skipped: Points that came before it and are not in the recording.
    """
    sides = {name: getattr(batch, name) for name in _SIDES if getattr(batch, name) is not None}
    every = np.concatenate([batch.series, *(side.series for side in sides.values())])
    distinct, numbers = np.unique(every, return_inverse=True)
    identities, heads = packed(batch.table, distinct.astype(np.int32))
    arrays: dict[str, Any] = {f"identity.{name}": column for name, column in identities.items()}
    arrays["series"] = numbers[: len(batch.series)].astype(np.int32)
    arrays |= {name: getattr(batch, name) for name in _NUMBERS if getattr(batch, name) is not None}
    at = len(batch.series)
    for name, side in sides.items():
        columns = {column: getattr(side, column) for column in type(side).__slots__}
        columns["series"] = numbers[at : at + len(side.series)].astype(np.int32)
        at += len(side.series)
        arrays |= {f"{name}.{column}": array for column, array in columns.items()}
    context = batch.context
    value = {
        "edge": edge,
        "identities": heads,
        "context": [context.workspace, context.source, context.principal, context.received_ns],
        "skipped": skipped,
        "metadata": [[one.family, int(one.type), one.help, one.unit] for one in batch.metadata],
    }
    body = encode(_KIND, _VERSION, {_KIND: Part(value, arrays)})
    return _LENGTH.pack(len(body)) + body


def frames(file: BinaryIO, table: Callable[[str], SeriesTable]) -> Iterator[tuple[str, MetricBatch]]:
    """Yield edge and batch of each frame.

    Args:
        file: Where they are read.
        table: Returns the table of a workspace, in which series are interned.

    Raises:
        ValueError: It is cut off, or no recording.
    """
    while True:
        head = file.read(_LENGTH.size)
        if not head:
            return
        size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else MAX_FRAME_BYTES + 1
        if size > MAX_FRAME_BYTES:
            raise ValueError("it is no recording of batches")
        if not size:
            continue
        body = file.read(size)
        if len(body) < size:
            raise ValueError("the recording is cut off")
        yield _batch(decode(_KIND, _VERSION, body)[_KIND], table)


def _batch(part: Part, table_of: Callable[[str], SeriesTable]) -> tuple[str, MetricBatch]:
    value, arrays = part.value, part.arrays
    context = BatchContext(*value["context"])
    table = table_of(context.workspace)
    identities = {name.partition(".")[2]: one for name, one in arrays.items() if name.startswith("identity.")}
    ids = unpacked(table, identities, value["identities"])
    sides = {}
    for name, made in _SIDES.items():
        columns = {key.partition(".")[2]: one for key, one in arrays.items() if key.startswith(f"{name}.")}
        if columns:
            known = ids[columns["series"]] >= 0
            sides[name] = made(**{**columns, "series": ids[columns["series"]]}).select(known)
    batch = MetricBatch.of(
        table,
        ids[arrays["series"]],
        arrays["time_ns"],
        arrays["value"],
        flags=arrays["flags"],
        start_ns=arrays["start_ns"],
        integers=arrays.get("integers"),
        metadata=tuple(
            Metadata(family, MetricType(type_), help_, unit) for family, type_, help_, unit in value["metadata"]
        ),
        context=context,
        **sides,
    )
    return str(value["edge"]), batch.select(batch.series >= 0)
