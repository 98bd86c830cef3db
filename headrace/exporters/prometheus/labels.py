"""The labels of series as pages have them: read once for each series, written once for each of format and scheme."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus import label_kernels as kernels
from headrace.exporters.prometheus.arena import UNKNOWN, Arena
from headrace.pipeline.identity import METRIC_NAME
from headrace.pipeline.wire.name_escaping import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.spans import LabelSpans

_CLASSIC_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SPECIAL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def quoted(name: str) -> str:
    """Return a label's name as text formats write it."""
    return name if _CLASSIC_LABEL.fullmatch(name) else f'"{name.translate(_SPECIAL)}"'


def text_label(name: str, value: str) -> bytes:
    """Return a whole label as text formats write it."""
    return f'{quoted(name)}="{value.translate(_SPECIAL)}"'.encode("utf-8", "replace")


def varint(value: int) -> bytes:
    """Return a protobuf varint."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(tag: int, data: bytes) -> bytes:
    """Return a protobuf field of bytes."""
    return bytes([tag]) + varint(len(data)) + data


def pair(name: str, value: str) -> bytes:
    """Return a message ``LabelPair``, as a field of ``Metric`` and of ``Exemplar``."""
    return field(0x0A, field(0x0A, name.encode("utf-8", "replace")) + field(0x12, value.encode("utf-8", "replace")))


class LabelNames:
    """Numbers of label names."""

    def __init__(self) -> None:
        self._numbers = {"le": kernels.BOUND, "quantile": kernels.QUANTILE}
        self.all_classic = True
        """Whether every escaping scheme leaves all names as they are."""

    def number(self, name: str) -> int:
        """Return the number of a name; -1 for the metric's."""
        if name == METRIC_NAME:
            return -1
        known = self._numbers.get(name)
        if known is None:
            known = self._numbers[name] = len(self._numbers)
            self.all_classic = self.all_classic and bool(_CLASSIC_LABEL.fullmatch(name))
        return known

    def of_spans(self, labels: LabelSpans) -> NDArray[np.int32]:
        """Return the numbers of the names of labels that lie in the arena of a table, where equal texts are one."""
        places, first, inverse = np.unique(labels.spans[:, 0], return_index=True, return_inverse=True)
        sizes = labels.spans[first, 1].tolist()
        texts = [labels.buf[p : p + size].tobytes() for p, size in zip(places.tolist(), sizes, strict=True)]
        numbers = [self.number(text.decode("utf-8", "replace")) for text in texts]
        return np.array(numbers, np.int32)[inverse.ravel()]

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def texts(self) -> list[str]:
        """All names, by number."""
        return list(self._numbers)


@dataclass(frozen=True, slots=True)
class Read:
    """Labels of some series, as the table has them.

    Attributes:
        ids: (n,) int32.
        spans: Their labels.
        which: Numbers of the labels' names.
    """

    ids: NDArray[np.int32]
    spans: LabelSpans
    which: NDArray[np.int32]

    @classmethod
    def of(cls, table: SeriesTable, names: LabelNames, ids: NDArray[np.int32]) -> Read:
        """Read the labels of live series; valid until the table changes."""
        spans = table.label_spans(ids)
        return cls(ids, spans, names.of_spans(spans))


class LabelTexts:
    """Labels in one format, under one escaping scheme.

    Args:
        names: Numbers of names.
        constant: Labels to add where a series lacks them.
        scheme: See `headrace.pipeline.wire.name_escaping`.
        is_protobuf: As messages, or else as text.
    """

    def __init__(self, names: LabelNames, constant: Mapping[str, str], scheme: str, *, is_protobuf: bool) -> None:
        self._names = names
        self._scheme = scheme
        self._is_protobuf = is_protobuf
        self._rendered = np.zeros(0, np.uint8)
        self._bounds = np.zeros(1, np.int64)
        write = pair if is_protobuf else text_label
        extras = [write(escape(name, scheme), value) for name, value in constant.items()]
        self._extra = (*_joined(extras), np.array([names.number(name) for name in constant], np.int32))
        self.arena = Arena()
        self.cuts = np.zeros(1024, np.int32)
        """By id, of messages: the bytes in front that are ``le`` and ``quantile``."""

    def missing(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of distinct `ids` whose labels are not written."""
        unknown: NDArray[np.bool_] = self.arena.sizes[ids] == UNKNOWN
        return ids[unknown]

    def fit(self, capacity: int) -> None:
        """Make room for all ids below `capacity`."""
        self.arena.fit(capacity)
        if len(self.cuts) < len(self.arena.sizes):
            self.cuts = np.append(self.cuts, np.zeros(len(self.arena.sizes) - len(self.cuts), np.int32))

    def learn(self, read: Read) -> None:
        """Write the labels of some series."""
        self._render()
        n = len(read.ids)
        sizes = np.diff(self._bounds)[read.which[read.which >= 0]]
        room = int(sizes.sum()) + 2 * int(read.spans.spans[:, 3].sum(dtype=np.int64)) + 12 * len(read.which)
        out = np.empty(room + n * (len(self._extra[0]) + len(self._extra[2])), np.uint8)
        ends = np.empty(n, np.int64)
        common = (*read.spans, read.which, self._rendered, self._bounds, *self._extra, out, ends)
        if self._is_protobuf:
            cuts = np.zeros(n, np.int32)
            kernels.write_pairs(*common, cuts)
            self.cuts[read.ids] = cuts
        else:
            kernels.write_texts(*common)
        self.arena.put(read.ids, out, ends)

    def _render(self) -> None:
        """Write the names that are new."""
        known = len(self._bounds) - 1
        texts = self._names.texts[known:]
        if texts:
            new, bounds = _joined([self._name(escape(text, self._scheme)) for text in texts])
            self._bounds = np.concatenate([self._bounds, self._bounds[-1] + bounds[1:]])
            self._rendered = np.concatenate([self._rendered, new])

    def _name(self, name: str) -> bytes:
        if self._is_protobuf:
            return field(0x0A, name.encode("utf-8", "replace"))
        return f'{quoted(name)}="'.encode("utf-8", "replace")


def _joined(parts: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return texts one after the other, and their bounds."""
    bounds = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8).copy(), bounds
