"""Read protobuf expositions: delimited ``MetricFamily`` messages, the one format with native histograms.

Source:
    Prometheus, "Exposition formats", section "Protobuf format"; ``io/prometheus/client/metrics.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.buffers import padded
from headrace.pipeline.batch import Metadata
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import ResetHint
from headrace.pipeline.wire import exposition_kernels as kernels
from headrace.pipeline.wire import exposition_label_kernels as label_kernels
from headrace.pipeline.wire import exposition_value_kernels as value_kernels
from headrace.pipeline.wire import protobuf_kernels, remote_write_histograms
from headrace.pipeline.wire.exposition import PageHistograms
from headrace.pipeline.wire.remote_write_histogram_kernels import KINDS, OUT_OF_RANGE
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_BYTES = 1 << 30
"""Longest page that is read: its offsets are int32."""

_NORMAL_NAN = np.uint64(0x7FF8000000000001)
_STALE_FLAG = 2

_FAULTS = {
    protobuf_kernels.TRUNCATED: "a field passes the end of its message",
    protobuf_kernels.BAD_WIRE_TYPE: "a field has a wire type that does not exist",
    protobuf_kernels.BAD_VARINT: "a number has more than ten bytes",
    kernels.NO_NAME: "a metric family has no name",
    kernels.BAD_TYPE: "there is no such metric type",
    kernels.NO_VALUE: "a metric has no value of its family's type",
}

_LABEL_FAULTS = {
    **{status: _FAULTS[status] for status in (-1, -2, -3)},
    label_kernels.BAD_METRIC_NAME: "the metric name is not valid UTF-8",
    label_kernels.BAD_LABEL_NAME: "a label name is empty or not valid UTF-8",
    label_kernels.BAD_LABEL_VALUE: "a label value is not valid UTF-8",
}

_TYPES = (
    MetricType.COUNTER, MetricType.GAUGE, MetricType.SUMMARY, MetricType.UNKNOWN, MetricType.HISTOGRAM,
    MetricType.GAUGE_HISTOGRAM,
)  # fmt: skip


def _kinds() -> NDArray[np.int64]:
    """Return, by tag of the client model's histogram, the tag that remote write has for the field."""
    kinds = np.zeros(KINDS, np.int64)
    for theirs, ours in (
        (8, 8), (33, 17), (17, 25), (40, 32), (49, 41), (56, 48), (65, 57), (74, 66), (82, 74), (80, 72), (90, 82),
        (89, 81), (98, 90), (106, 98), (104, 96), (114, 106), (113, 105),
    ):  # fmt: skip
        kinds[theirs] = ours
    return kinds


_KINDS = _kinds()


@dataclass(frozen=True, slots=True, eq=False)
class ProtoPage:
    """One exposition as columns, see `headrace.pipeline.wire.exposition.Exposition`.

    Attributes:
        buf: The bytes, with PAD more.
        families: (f, FAMILY) int32, see `exposition_kernels`.
        metrics: (m, METRIC) int32.
        rows: (n, ROW) int32.
        numbers: (n, 2) float64: value, bound.
        stamps: (n, 2) int64: time, created.
        hashes: (n, 2) uint64.
        digest: Hash of what is said about families.
        exemplars: (e, PLACE) int32.
        exemplar_values: (e,) float64.
        exemplar_times: (e,) int64.
        exemplar_counts: (e,) int32 labels.
        native: Native histograms.
    """

    buf: NDArray[np.uint8]
    families: NDArray[np.int32]
    metrics: NDArray[np.int32]
    rows: NDArray[np.int32]
    numbers: NDArray[np.float64]
    stamps: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    digest: tuple[int, int]
    exemplars: NDArray[np.int32]
    exemplar_values: NDArray[np.float64]
    exemplar_times: NDArray[np.int64]
    exemplar_counts: NDArray[np.int32]
    native: PageHistograms | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def entries(self) -> NDArray[np.int32]:
        """(n,) int32, all of them new: messages have no lines to be known again."""
        return np.full(len(self), -1, np.int32)

    @property
    def lines(self) -> None:
        """No lines."""
        return

    @property
    def unchanged(self) -> bool:
        """False: every row is looked up by its hash."""
        return False

    @property
    def values(self) -> NDArray[np.float64]:
        """(n,) float64; no stale markers, which are not for targets to set."""
        values = self.numbers[:, 0].copy()
        values.view(np.uint64)[np.isnan(values)] = _NORMAL_NAN
        return values

    @property
    def timed(self) -> NDArray[np.bool_]:
        """(n,) bool: the sample has a timestamp of its own."""
        return self.rows[:, value_kernels.TIMED].astype(np.bool_)

    @property
    def times(self) -> NDArray[np.int64]:
        """(n,) int64 milliseconds, 0 where there is none."""
        return self.stamps[:, 0]

    @property
    def created(self) -> NDArray[np.int64] | None:
        """(n,) int64 milliseconds, 0 for unknown; None where all are."""
        created = self.stamps[:, 1]
        return created if created.any() else None

    def labels(self, rows: NDArray[np.intp]) -> LabelSpans:
        """Return the labels of some samples.

        Raises:
            InvalidInput: They are not well formed.
        """
        n = len(rows)
        metrics = self.metrics[self.rows[rows, value_kernels.METRIC_OF]]
        names = self.families[metrics[:, kernels.OWNER], kernels.NAME_SIZE]
        room = int(metrics[:, kernels.LABELS_SIZE].sum(dtype=np.int64) + names.sum(dtype=np.int64))
        arena = np.zeros(len(label_kernels.NAMES) + room + n * label_kernels.MORE_BYTES + PAD, np.uint8)
        spans = np.empty((int(metrics[:, kernels.LABELS_COUNT].sum(dtype=np.int64)) + 2 * n, 4), np.int32)
        starts, where = np.empty(n + 1, np.int32), np.zeros(1, np.int64)
        status = label_kernels.spell(
            self.buf, rows.astype(np.int64), self.rows, self.numbers[:, 1].copy(), self.metrics, self.families, arena,
            spans, starts, where,
        )  # fmt: skip
        if status < 0:
            raise self.fault_at(int(where[0]), _LABEL_FAULTS[int(status)])
        return LabelSpans(arena, spans[: starts[-1]], starts)

    def exemplar_labels(self) -> LabelSpans:
        """Return the labels of all exemplars.

        Raises:
            InvalidInput: They are not well formed.
        """
        arena = np.zeros(int(self.exemplars[:, 2].sum(dtype=np.int64)) + PAD, np.uint8)
        spans = np.empty((int(self.exemplar_counts.sum(dtype=np.int64)), 4), np.int32)
        starts, where = np.empty(len(self.exemplars) + 1, np.int32), np.zeros(1, np.int64)
        status = label_kernels.spell_exemplars(self.buf, self.exemplars, arena, spans, starts, where)
        if status < 0:
            raise self.fault_at(int(where[0]), "an exemplar: " + _LABEL_FAULTS[int(status)])
        return LabelSpans(arena, spans, starts)

    def collect_metadata(self, found: dict[str, Metadata]) -> Iterator[None]:
        """Fill `found` by family, one a step.

        Raises:
            InvalidInput: A name or a text is not valid UTF-8.
        """
        for family in self.families.tolist():
            name, help_, unit = (self._text(*family[at : at + 2]) for at in (0, 2, 4))
            found[name] = Metadata(name, _TYPES[family[kernels.TYPE]], help_, unit)
            yield

    def fault_at(self, row: int, why: str) -> InvalidInput:
        """Return an error about a sample."""
        family = self.families[self.metrics[self.rows[row, value_kernels.METRIC_OF], kernels.OWNER]]
        return _fault(self.buf, family, why)

    def _text(self, pos: int, size: int) -> str:
        try:
            return self.buf[pos : pos + size].tobytes().decode()
        except UnicodeDecodeError:
            raise InvalidInput("metadata is not valid UTF-8") from None


class ProtoReader:
    """Reads one source's pages; it remembers how much the last one held.

    Args:
        secret: (2,) uint64 key for hashing what tells series apart.
        native: Take native histograms.
        classic: Take the classic buckets of native histograms as well.
    """

    def __init__(self, secret: NDArray[np.uint64], *, native: bool, classic: bool) -> None:
        self._secret = np.ascontiguousarray(secret)
        self._native = native
        self._classic = classic
        self._scratch = np.zeros(value_kernels.SCRATCH, np.uint8)
        self._room = [64, 64, 64, 16, 16]

    def read(self, data: bytes | bytearray | memoryview) -> ProtoPage:
        """Read a page; may run on any thread, one call at a time.

        Raises:
            InvalidInput: A message is not well formed; what is inside the labels is not looked at.
            TooLarge: The page, or what its native histograms would take, is too large.
        """
        if len(data) > MAX_BYTES:
            raise TooLarge("page", len(data), MAX_BYTES)
        buf = padded(data)
        while True:
            status, page, out = self._fill(buf, len(data))
            if status != value_kernels.FULL:
                break
            # Whatever is full holds twice as much the next time: no output has more rows than the page has bytes.
            self._room = [2 * room if int(n) >= room else room for n, room in zip(out, self._room, strict=False)]
        if status < 0:
            owner = page.families[-1] if len(page.families) else None
            raise _fault(buf, owner, _FAULTS[status])
        return page

    def _fill(self, buf: NDArray[np.uint8], size: int) -> tuple[int, ProtoPage, NDArray[np.int64]]:
        f, m, n, e, h = self._room
        families, metrics = np.empty((f, kernels.FAMILY), np.int32), np.empty((m, kernels.METRIC), np.int32)
        rows, numbers = np.empty((n, value_kernels.ROW), np.int32), np.empty((n, 2))
        stamps, hashes = np.empty((n, 2), np.int64), np.empty((n, 2), np.uint64)
        exemplars, natives = (np.empty((room, value_kernels.PLACE), np.int32) for room in (e, h))
        digest, out = np.empty(2, np.uint64), np.zeros(value_kernels.OUT, np.int64)
        status = int(kernels.parse(
            buf, size, self._native, self._classic, self._secret, self._scratch, families, metrics, rows, numbers,
            stamps, hashes, exemplars, natives, digest, out,
        ))  # fmt: skip
        f, m, n, e, h = (int(count) for count in out[: value_kernels.POSITION])
        exemplars = exemplars[:e]
        values, times, counts = np.empty(e), np.empty(e, np.int64), np.empty(e, np.int32)
        status = status or int(value_kernels.read_exemplars(buf, exemplars, values, times, counts))
        page = ProtoPage(
            buf, families[:f], metrics[:m], rows[:n], numbers[:n], stamps[:n], hashes[:n],
            (int(digest[0]), int(digest[1])), exemplars, values, times, counts, None,
        )  # fmt: skip
        if status == value_kernels.OK and h:
            status, page = _with_histograms(page, natives[:h])
        return status, page, out


def _with_histograms(page: ProtoPage, places: NDArray[np.int32]) -> tuple[int, ProtoPage]:
    """Return a page with its native histograms read, and 0 or a fault."""
    sizes, status = remote_write_histograms.measured(page.buf, places, _KINDS)
    if status < 0:
        return int(status), page
    rows = np.ascontiguousarray(places[:, 0])
    created = np.ascontiguousarray(page.stamps[rows, 1])
    read, status = remote_write_histograms.read(page.buf, places, sizes, created, _KINDS)
    columns, faults = read.rows, read.faults
    types = page.families[page.metrics[page.rows[rows, value_kernels.METRIC_OF], kernels.OWNER], kernels.TYPE]
    columns.hint[types == kernels.GAUGE_HISTOGRAM] = ResetHint.GAUGE
    # A sum that looks like a stale marker is not one: these are not for targets to set.
    faults[columns.flags & _STALE_FLAG != 0] = OUT_OF_RANGE
    return int(status), replace(page, native=PageHistograms(rows, columns, faults))


def _fault(buf: NDArray[np.uint8], family: NDArray[np.int32] | None, why: str) -> InvalidInput:
    if family is None or not family[kernels.NAME_SIZE]:
        return InvalidInput(f"protobuf: {why}")
    name = buf[family[kernels.NAME] :][: min(int(family[kernels.NAME_SIZE]), 80)].tobytes()
    return InvalidInput(f"protobuf: {why}: {name.decode('utf-8', 'backslashreplace')!r}")
