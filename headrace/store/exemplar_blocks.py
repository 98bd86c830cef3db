"""Exemplars in blocks: optional sections beside those of the samples. Layout: docs/format/exemplars.md."""

from __future__ import annotations

import logging
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.buffers import padded
from headrace.pipeline.errors import CorruptChunk
from headrace.store.exemplars import Exemplars, checked, chosen
from headrace.store.index import Index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from headrace.store.block import Block
    from headrace.store.tombstones import Tombstone, Tombstones

MAX_PER_BLOCK = 1_000_000
"""Exemplars that a merged block keeps; the oldest go."""

_HEAD = struct.Struct("<Iqq")
_LABELS_HEAD = struct.Struct("<I")
_OLDEST, _NEWEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class ExemplarSection(IntEnum):
    """What a section holds."""

    EXEMPLAR_REFS = 20
    EXEMPLAR_TIMES = 21
    EXEMPLAR_VALUES = 22
    EXEMPLAR_LABELS = 23
    EXEMPLAR_SERIES = 24


KINDS = frozenset(map(int, ExemplarSection))


def encode(rows: Exemplars, named: NDArray[np.int32], index: Index) -> dict[IntEnum, bytes]:
    """Return the sections of some exemplars; none without any.

    Args:
        rows: In any order; those of a series in the order in which they came.
        named: Refs that the block's own series record names.
        index: Knows the labels of all refs.
    """
    if not len(rows.refs):
        return {}
    rows = rows.ordered()
    refs, times = rows.refs, rows.times_ms
    head = _HEAD.pack(len(refs), int(times.min()), int(times.max()))
    others = np.setdiff1d(refs, named).astype(np.int32)
    sections: dict[IntEnum, bytes] = {
        ExemplarSection.EXEMPLAR_REFS: head + np.diff(refs, prepend=np.int32(0)).astype(np.int32).tobytes(),
        ExemplarSection.EXEMPLAR_TIMES: np.diff(times, prepend=np.int64(0)).tobytes(),
        ExemplarSection.EXEMPLAR_VALUES: rows.values.tobytes(),
        ExemplarSection.EXEMPLAR_LABELS: _encode_labels(rows),
    }
    if len(others):
        sections[ExemplarSection.EXEMPLAR_SERIES] = index.encode(others)
    return sections


def _encode_labels(rows: Exemplars) -> bytes:
    """Write the distinct label sets, and which one each row has."""
    hashes = rows.hashes().view("u8,u8").ravel()
    _, firsts, which = np.unique(hashes, return_index=True, return_inverse=True)
    # In the order of the rows, so that neighbours in time stay neighbours.
    order = np.argsort(firsts, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    distinct = rows.take(firsts[order].astype(np.int64))
    sizes = np.diff(distinct.starts).astype(np.uint16)
    numbers = place[which.ravel()]
    text = distinct.labels[: distinct.starts[-1]]
    return _LABELS_HEAD.pack(len(sizes)) + sizes.tobytes() + numbers.tobytes() + text.tobytes()


def _decode_labels(data: bytes, n: int, where: str) -> tuple[Exemplars, NDArray[np.int64]]:
    """Return the distinct label sets, as exemplars of nothing, and the number of that of each of `n` rows."""
    if len(data) < _LABELS_HEAD.size:
        raise CorruptChunk(f"{where}: exemplar labels of {len(data)} bytes")
    (count,) = _LABELS_HEAD.unpack_from(data)
    at = _LABELS_HEAD.size
    if len(data) < at + 2 * count + 4 * n:
        raise CorruptChunk(f"{where}: exemplar labels of {len(data)} bytes do not hold {count} sets for {n} rows")
    sizes = np.frombuffer(data, np.uint16, count, at)
    numbers = np.frombuffer(data, np.int32, n, at + 2 * count).astype(np.int64)
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < count:
        raise CorruptChunk(f"{where}: an exemplar has label set {int(numbers.max())} of {count}")
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    none = np.zeros(count, np.int32)
    text = padded(data[at + 2 * count + 4 * n :])
    return checked(Exemplars(none, none.astype(np.int64), none.astype(float), starts, text), where), numbers


def read(block: Block) -> Exemplars:
    """Return the exemplars of a block, by ref and time; none where it has none, or where they do not decode.

    Exemplars that do not decode are logged and left out: the samples beside them stay.
    """
    try:
        return _read(block)
    except CorruptChunk as error:
        logging.getLogger("headrace.store").error("%s; its exemplars are left out", error)  # noqa: TRY400 -- says all
        return Exemplars.empty()


def _read(block: Block) -> Exemplars:
    refs = block.optional(ExemplarSection.EXEMPLAR_REFS)
    if refs is None:
        return Exemplars.empty()
    where = block.path.name
    # Exemplars of series that cannot be named are as good as none.
    series(block)
    n, _, _ = _head(refs, where)
    parts = [block.optional(kind) or b"" for kind in (ExemplarSection.EXEMPLAR_TIMES, ExemplarSection.EXEMPLAR_VALUES)]
    if any(len(part) != 8 * n for part in parts):
        raise CorruptChunk(f"{where}: the columns of {n} exemplars have {[len(part) for part in parts]} bytes")
    sets, numbers = _decode_labels(block.optional(ExemplarSection.EXEMPLAR_LABELS) or b"", n, where)
    rows = sets.take(numbers)._replace(
        refs=np.cumsum(np.frombuffer(refs, np.int32, n, _HEAD.size), dtype=np.int32),
        times_ms=np.cumsum(np.frombuffer(parts[0], np.int64), dtype=np.int64),
        values=np.frombuffer(parts[1], np.float64).copy(),
    )
    if (np.diff(rows.refs) < 0).any():
        raise CorruptChunk(f"{where}: the refs of exemplars do not ascend")
    return checked(rows, where)


def _head(refs: bytes, where: str) -> tuple[int, int, int]:
    """Return number, oldest and newest time of the exemplars of a block."""
    if len(refs) < _HEAD.size or len(refs) != _HEAD.size + 4 * _HEAD.unpack_from(refs)[0]:
        raise CorruptChunk(f"{where}: the refs of exemplars have {len(refs)} bytes")
    n, oldest, newest = _HEAD.unpack_from(refs)
    return n, oldest, newest


def series(block: Block) -> bytes | None:
    """Return the record of the series that have exemplars and no samples in a block; None without any.

    Raises:
        CorruptChunk: It has another checksum.
    """
    return block.optional(ExemplarSection.EXEMPLAR_SERIES)


def overlaps(block: Block, start_ms: int, end_ms: int) -> bool:
    """Return whether exemplars of a block may lie in a time range."""
    try:
        refs = block.optional(ExemplarSection.EXEMPLAR_REFS)
        if refs is None:
            return False
        _, oldest, newest = _head(refs, block.path.name)
    except CorruptChunk:
        return False
    return oldest <= end_ms and newest >= start_ms


def touched(block: Block, tombstones: Tombstones) -> bool:
    """Return whether some exemplar of a block is deleted."""
    own = tombstones.of_block(block.number)
    if not any(overlaps(block, row.start_ms, row.end_ms) for row in own.rows):
        return False
    rows = read(block)
    return not bool(_left(rows, own.rows).all())


def select(block: Block, tombstones: Tombstones, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Exemplars:
    """Return the exemplars of `refs` in a time range that are not deleted."""
    if not overlaps(block, start_ms, end_ms):
        return Exemplars.empty()
    found = chosen(read(block), refs, start_ms, end_ms)
    own = tombstones.of_block(block.number)
    return found.select(_left(found, own.rows)) if len(own) else found


def merged(blocks: Sequence[Block], tombstones: Tombstones, named: NDArray[np.int32]) -> Mapping[IntEnum, bytes]:
    """Return the sections of the exemplars of several blocks, without the deleted ones.

    Args:
        blocks: Oldest written first.
        tombstones: What was deleted.
        named: Refs that the new block's own series record names.
    """
    index = Index()
    parts = []
    for block in blocks:
        rows = read(block)
        if len(rows.refs):
            if not index.alive(rows.refs).all():
                restore(block, index)
            parts.append(rows.select(_left(rows, tombstones.of_block(block.number).rows)))
    rows = Exemplars.joined(parts)
    if len(rows.refs) > MAX_PER_BLOCK:
        newest = np.sort(np.argsort(rows.times_ms, kind="stable")[-MAX_PER_BLOCK:])
        rows = rows.take(newest.astype(np.int64))
    return encode(rows, named, index)


def restore(block: Block, index: Index) -> None:
    """Take the series of a block into an index, also those that have only exemplars.

    Raises:
        CorruptChunk: A record does not decode.
    """
    index.restore(block.series_records())
    others = series(block)
    if others is not None:
        index.restore(others)


def _left(rows: Exemplars, tombstones: Sequence[Tombstone]) -> NDArray[np.bool_]:
    keep = np.ones(len(rows.refs), np.bool_)
    for row in tombstones:
        inside = (rows.times_ms >= row.start_ms) & (rows.times_ms <= row.end_ms)
        keep &= ~(inside & np.isin(rows.refs, row.refs))
    return keep
