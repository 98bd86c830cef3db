"""Read expositions: Prometheus text 0.0.4, and OpenMetrics 1.0 as strictly as Prometheus reads it.

A page becomes columns in one pass. What a sample belongs to is known by the hash of its raw key, the bytes
``name{labels}`` as written; the labels inside are taken out for keys that the caller has not seen before.

Source:
    Prometheus, "Exposition formats"; OpenMetrics 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.buffers import padded
from headrace.kernels.float_text import parse_float
from headrace.pipeline.batch import Metadata
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import MetricType
from headrace.pipeline.wire import text_kernels as kernels
from headrace.pipeline.wire import text_label_kernels as label_kernels
from headrace.pipeline.wire import text_meta_kernels as meta_kernels
from headrace.pipeline.wire import text_number_kernels as number_kernels
from headrace.pipeline.wire import text_scan_kernels as scan_kernels
from headrace.pipeline.wire.spans import LabelSpans
from headrace.pipeline.wire.text_line_kernels import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_BYTES = 1 << 30
"""Longest page that is read: its offsets are int32."""

SECRETS = 4
"""How many keys a reader is given."""

_SHOWN_BYTES = 80

_FAULTS = {
    scan_kernels.NO_NAME: "there is no metric name",
    scan_kernels.UNCLOSED: "a brace or a quote is not closed",
    number_kernels.BAD_VALUE: "the value is not a number",
    number_kernels.BAD_TIMESTAMP: "the timestamp is not a number in range",
    number_kernels.TRAILING: "something follows the sample",
    meta_kernels.BAD_TYPE: "there is no such metric type in this format",
    meta_kernels.BAD_META: "a comment is not HELP, TYPE, UNIT or EOF with a name and a text",
    kernels.NO_EOF: "the page does not end with # EOF",
    kernels.AFTER_EOF: "something follows # EOF",
    kernels.BLANK_LINE: "blank lines are not allowed",
    number_kernels.BAD_EXEMPLAR: "the exemplar is not # {labels} value [timestamp]",
    number_kernels.BAD_SPACE: "one space has to stand before the value",
}

_KEY_FAULTS = {
    label_kernels.BAD_NAME: "the metric name is not valid",
    label_kernels.TWO_NAMES: "there are two metric names",
    label_kernels.BAD_LABEL_NAME: "a label name is not valid",
    label_kernels.NO_EQUALS: "a label name is not followed by =",
    label_kernels.NO_QUOTE: "a quoted text is missing or does not end",
    label_kernels.NO_COMMA: "labels are not separated by a comma",
    label_kernels.INVALID_UTF8: "a label value is not valid UTF-8",
    label_kernels.NO_METRIC_NAME: "there is no metric name",
    label_kernels.STRAY: "something unexpected stands beside the labels",
}


NO_LINES = Lines(np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0, np.uint8), np.empty(0, np.int32))
"""The lines of no page."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One exposition as columns.

    Attributes:
        buf: The bytes, with PAD more.
        size: How many they are.
        openmetrics: Which of the formats.
        keys: (n, 2) int32 offset and size of the raw key.
        hashes: (n, 2) uint64 hash of the raw key and of what the last TYPE line makes of it.
        values: (n,) float64.
        times: (n,) int64 milliseconds since 1970, meaningful where `timed`.
        flags: (n,) uint8 of `text_kernels`.
        entries: (n,) int32 what the caller knows the sample's line by, negative for a line that is new; those that are
            not have no hash.
        lines: The lines, for reading the next page.
        new_lines: How many of them are not known.
        unchanged: Whether they are those that were known, all of them.
        meta: (m, 6) int32 rows of metadata lines that are new.
        digest: Hash of all metadata lines: what is equal need not be read again.
        exemplars: (e, 4) int32: sample, offset and size of the labels, whether there is a time.
        exemplar_values: (e,) float64.
        exemplar_times: (e,) int64 milliseconds, 0 for none.
    """

    buf: NDArray[np.uint8]
    size: int
    openmetrics: bool
    keys: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    values: NDArray[np.float64]
    times: NDArray[np.int64]
    flags: NDArray[np.uint8]
    entries: NDArray[np.int32]
    lines: Lines
    new_lines: int
    unchanged: bool
    meta: NDArray[np.int32]
    digest: tuple[int, int]
    exemplars: NDArray[np.int32]
    exemplar_values: NDArray[np.float64]
    exemplar_times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def created(self) -> None:
        """No created timestamps: ``_created`` lines are samples, as for Prometheus."""
        return

    @property
    def native(self) -> None:
        """No native histograms: text has none."""
        return

    @property
    def timed(self) -> NDArray[np.bool_]:
        """(n,) bool: the sample has a timestamp of its own."""
        return (self.flags & np.uint8(number_kernels.TIMED)).astype(np.bool_)

    def labels(self, rows: NDArray[np.intp], *, as_written: bool = False) -> LabelSpans:
        """Return the labels of some samples.

        Args:
            rows: Their numbers.
            as_written: Leave ``le`` and ``quantile`` alone, which otherwise get one spelling.

        Raises:
            InvalidInput: A key is not well formed.
        """
        flags = np.zeros(len(rows), np.uint8) if as_written else self.flags[rows]
        return self._split(self.keys[rows], flags, named=True)

    def exemplar_labels(self) -> LabelSpans:
        """Return the labels of all exemplars.

        Raises:
            InvalidInput: They are not well formed.
        """
        return self._split(self.exemplars[:, 1:3], np.zeros(len(self.exemplars), np.uint8), named=False)

    def metadata(self) -> list[Metadata]:
        """Return what the metadata lines say, one entry a family, in order.

        Raises:
            InvalidInput: A name or a text is not valid.
        """
        found: dict[str, Metadata] = {}
        for _ in self.collect_metadata(found):
            pass
        return list(found.values())

    def collect_metadata(self, found: dict[str, Metadata]) -> Iterator[None]:
        """Fill `found` by family, one line a step: who has many of them can do something else in between.

        Raises:
            InvalidInput: A name or a text is not valid.
        """
        meta = self.meta
        if self.new_lines < len(self.lines.sizes):
            # Lines that were known again have not been taken apart.
            meta = read_page(self.buf[: self.size].data, openmetrics=self.openmetrics).meta
        for kind, name, name_size, text, text_size, type_ in meta.tolist():
            family = self._family(name, name_size)
            before = found.get(family) or Metadata(family, MetricType.UNKNOWN)
            content = self._text(text, text_size)
            if kind == meta_kernels.TYPE:
                found[family] = Metadata(family, MetricType(type_), before.help, before.unit)
            elif kind == meta_kernels.HELP:
                content = _unescaped(content, quotes=self.openmetrics)
                found[family] = Metadata(family, before.type, content, before.unit)
            else:
                if content and not family.endswith("_" + content):
                    raise self.fault(name, f"the unit {content!r} does not end the metric name")
                found[family] = Metadata(family, before.type, before.help, content)
            yield

    def line_of(self, pos: int) -> int:
        """Return the number of the line that offset `pos` is in, from 1."""
        return int(np.count_nonzero(self.buf[:pos] == ord("\n"))) + 1

    def fault(self, pos: int, why: str) -> InvalidInput:
        """Return an error about the line that offset `pos` is in."""
        return _fault(self.buf, self.size, pos, why)

    def fault_at(self, row: int, why: str) -> InvalidInput:
        """Return an error about the line of a sample."""
        return self.fault(int(self.keys[row, 0]), why)

    def _split(self, keys: NDArray[np.int32], flags: NDArray[np.uint8], *, named: bool) -> LabelSpans:
        n = len(keys)
        keys = np.ascontiguousarray(keys)
        quotes = int(label_kernels.count_quotes(self.buf, keys))
        room = label_kernels.NAME_BYTES + int(keys[:, 1].sum(dtype=np.int64)) + label_kernels.NUMBER_BYTES * n
        arena = np.zeros(room + PAD, np.uint8)
        spans = np.empty((quotes // 2 + n + 1, 4), np.int32)
        starts = np.empty(n + 1, np.int32)
        where = np.zeros(2, np.int64)
        status = int(label_kernels.split(self.buf, keys, flags, self.openmetrics, named, arena, spans, starts, where))
        if status < 0:
            raise self.fault(int(where[1]), _KEY_FAULTS[status])
        return LabelSpans(arena, spans[: starts[-1]], starts)

    def _family(self, pos: int, size: int) -> str:
        name = self._text(pos, size)
        if name.startswith('"'):
            name = _unescaped(name[1:-1], quotes=True)
            valid = bool(name)
        else:
            valid = name.isascii() and name.replace(":", "_").isidentifier()
        if not valid:
            raise self.fault(pos, "the metric name is not valid")
        return name

    def _text(self, pos: int, size: int) -> str:
        try:
            return self.buf[pos : pos + size].tobytes().decode()
        except UnicodeDecodeError:
            raise self.fault(pos, "metadata is not valid UTF-8") from None


class PageReader:
    """Reads one source's pages; it remembers how long the last one was.

    Args:
        secrets: (SECRETS, 2) uint64 keys, from `SeriesTable.domain_key`: for hashing raw keys below a TYPE line that
            says neither, histogram, summary, and for checksums of lines.
    """

    def __init__(self, secrets: NDArray[np.uint64]) -> None:
        if secrets.shape != (SECRETS, 2):
            raise AssertionError(f"bug: secrets of the shape {secrets.shape}")
        self._secrets = secrets
        self._room = (0, 0, 0)

    def read(self, data: bytes | bytearray | memoryview, *, openmetrics: bool, known: Lines = NO_LINES) -> Page:
        """Read a page; may run on any thread, one call at a time.

        Args:
            data: The page.
            openmetrics: Its format.
            known: Lines of a page of this source before, with what the caller knows their samples by.

        Raises:
            InvalidInput: A line is not well formed; what is inside the keys is not looked at.
            TooLarge: The page is longer than MAX_BYTES.
        """
        if len(data) > MAX_BYTES:
            raise TooLarge("page", len(data), MAX_BYTES)
        buf = padded(data)
        status, page, out = self._fill(buf, len(data), known, openmetrics=openmetrics)
        if status == number_kernels.FULL:
            samples, comments = kernels.count_lines(buf, len(data), openmetrics)
            self._room = (int(samples), int(comments), int(samples) if openmetrics else 0)
            status, page, out = self._fill(buf, len(data), known, openmetrics=openmetrics)
        if status != kernels.OK:
            raise _fault(buf, len(data), int(out[kernels.POSITION]), _FAULTS[status])
        # A little more than now, so that a growing source is not counted every time; # EOF is one of the comments.
        n, comments = len(page), len(page.lines.sizes) - len(page) + 1
        self._room = (n + n // 8, comments, len(page.exemplars) + len(page.exemplars) // 8)
        if out[kernels.SLOW_ROWS]:
            _read_slow_rows(page)
        return page

    def _fill(
        self, buf: NDArray[np.uint8], size: int, known: Lines, *, openmetrics: bool
    ) -> tuple[int, Page, NDArray[np.int64]]:
        n, m, e = self._room
        samples = kernels.Samples(
            np.empty((n, 2), np.int32), np.empty((n, 2), np.uint64), np.empty(n), np.empty(n, np.int64),
            np.empty(n, np.uint8), np.empty(n, np.int32),
        )  # fmt: skip
        lines = _empty_lines(n + m)
        meta = np.empty((m, meta_kernels.META), np.int32)
        exemplars = kernels.Exemplars(np.empty((e, 4), np.int32), np.empty(e), np.empty(e, np.int64))
        digest, out = np.empty(2, np.uint64), np.zeros(kernels.OUT, np.int64)
        status = kernels.parse_page(
            buf, size, openmetrics, self._secrets, known, lines, samples, meta, exemplars, digest, out
        )
        n, m, e, used = (int(out[i]) for i in (kernels.SAMPLES, kernels.METADATA, kernels.EXEMPLARS, kernels.LINES))
        new = int(out[kernels.NEW_LINES])
        unchanged = not new and used == len(known.sizes)
        if unchanged:
            lines = known
        else:
            lines = Lines(lines.sizes[:used], lines.marks[:used], lines.kinds[:used], lines.entries[:used])
        page = Page(
            buf, size, openmetrics, samples.keys[:n], samples.hashes[:n], samples.values[:n], samples.times[:n],
            samples.flags[:n], samples.entries[:n], lines, new, unchanged, meta[:m], (int(digest[0]), int(digest[1])),
            exemplars.places[:e], exemplars.values[:e], exemplars.times[:e],
        )  # fmt: skip
        return int(status), page, out


def _empty_lines(room: int) -> Lines:
    return Lines(
        np.empty(room, np.int32), np.empty(room, np.uint64), np.empty(room, np.uint8), np.empty(room, np.int32)
    )


def read_page(data: bytes | memoryview, *, openmetrics: bool) -> Page:
    """Read a page whose keys need no secret hash; see `PageReader.read`."""
    return PageReader(np.zeros((SECRETS, 2), np.uint64)).read(data, openmetrics=openmetrics)


def _read_slow_rows(page: Page) -> None:
    """Read the few numbers again that the kernel could not decide."""
    tokens = np.zeros((2, 2), np.int32)
    for row in np.flatnonzero(page.flags & number_kernels.SLOW).tolist():
        key = page.keys[row]
        number_kernels.parse_numbers_again(page.buf, int(key[0] + key[1]), page.size, tokens)
        texts = [page.buf[at : at + size].tobytes().decode("ascii", "replace") for at, size in tokens.tolist()]
        try:
            page.values[row] = parse_float(texts[0])
            if page.openmetrics and page.flags[row] & number_kernels.TIMED:
                page.times[row] = int(max(min(parse_float(texts[1]) * 1000, 9.2e18), -9.2e18))
        except ValueError as error:
            raise page.fault(int(key[0]), str(error)) from None


def _unescaped(text: str, *, quotes: bool) -> str:
    r"""Undo ``\\`` and ``\n``, and with `quotes` also ``\"``; other backslashes stay."""
    if "\\" not in text:
        return text
    pieces = text.split("\\\\")
    pieces = [piece.replace("\\n", "\n") for piece in pieces]
    if quotes:
        pieces = [piece.replace('\\"', '"') for piece in pieces]
    return "\\".join(pieces)


def _fault(buf: NDArray[np.uint8], size: int, pos: int, why: str) -> InvalidInput:
    before = buf[:pos].tobytes()
    begin = before.rfind(b"\n") + 1
    shown = buf[begin : min(size, begin + _SHOWN_BYTES)].tobytes().partition(b"\n")[0]
    return InvalidInput(f"line {before.count(10) + 1}: {why}: {shown.decode('utf-8', 'backslashreplace')!r}")
