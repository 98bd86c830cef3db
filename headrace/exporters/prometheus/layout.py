"""The order of a page, and what stands above its families: made when series come or go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus.labels import field
from headrace.exporters.prometheus.negotiation import Kind
from headrace.pipeline.identity import MetricType
from headrace.pipeline.otlp_names import unit_text
from headrace.pipeline.wire.name_escaping import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.exporters.prometheus.families import Families, Family
    from headrace.exporters.prometheus.negotiation import Format
    from headrace.exporters.prometheus.snapshot import Shape, Snapshot

_CLASSIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPECIAL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})

BUCKET, SUM, COUNT = 0, 1, 2
"""What a line of a histogram or summary is; of other families all are BUCKET."""

_PARTS = {"_sum": SUM, "_gsum": SUM, "_count": COUNT, "_gcount": COUNT}
_GROUPED = frozenset({MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM, MetricType.SUMMARY})

_TEXT_TYPES = {
    MetricType.UNKNOWN: "untyped",
    MetricType.INFO: "gauge",
    MetricType.STATESET: "gauge",
    MetricType.GAUGE_HISTOGRAM: "histogram",
}
"""Types that text 0.0.4 has other words for."""

NUMBERS = {
    MetricType.COUNTER: 0,
    MetricType.GAUGE: 1,
    MetricType.SUMMARY: 2,
    MetricType.UNKNOWN: 3,
    MetricType.HISTOGRAM: 4,
    MetricType.GAUGE_HISTOGRAM: 5,
    MetricType.INFO: 1,
    MetricType.STATESET: 1,
}
"""``io.prometheus.client.MetricType``."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a page, by number.

    Attributes:
        texts: As the samples are called.
        families: The family of each.
        family_of: (m,) int32 number of the family, in the order of the page.
        parts: (m,) int8: BUCKET, SUM or COUNT.
        types: (m,) int8: number of the family's type in protobuf.
        exemplified: (m,) bool: whether exemplars are allowed.
        heads: Names as they begin a line.
        head_bounds: (m + 1,) int64.
        quoted: (m,) bool: whether a name stands within the braces.
        headers: What stands above a family; of messages, its fields but the metrics.
        header_bounds: By family.
    """

    texts: Sequence[str]
    families: Sequence[Family]
    family_of: NDArray[np.int32]
    parts: NDArray[np.int8]
    types: NDArray[np.int8]
    exemplified: NDArray[np.bool_]
    heads: NDArray[np.uint8]
    head_bounds: NDArray[np.int64]
    quoted: NDArray[np.bool_]
    headers: NDArray[np.uint8]
    header_bounds: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], families: Families, form: Format) -> Names:
        """Find the families of some names, and write them as `form` has them."""
        found = [families.find(text) for text in texts]
        ordered = {name: number for number, name in enumerate(sorted({_key(one) for one in found}))}
        family_of = [ordered[_key(one)] for one in found]
        members = dict(zip(family_of, found, strict=True))
        headers = [header(members[number], form) for number in range(len(ordered))]
        shown = [escape(_shown(text, one, form), form.scheme) for text, one in zip(texts, found, strict=True)]
        is_quoted = [not _CLASSIC.fullmatch(name) for name in shown]
        heads = [_quoted(name) if odd else name for name, odd in zip(shown, is_quoted, strict=True)]
        head_bytes, head_bounds = _joined([("{" + head if odd else head).encode("utf-8", "replace")
                                           for head, odd in zip(heads, is_quoted, strict=True)])  # fmt: skip
        header_bytes, header_bounds = _joined(headers)
        return cls(
            texts, found, np.array(family_of, np.int32),
            np.array([_PARTS.get(one.suffix, BUCKET) if one.type in _GROUPED else BUCKET for one in found], np.int8),
            np.array([NUMBERS[one.type] for one in found], np.int8),
            np.array([one.suffix == "_bucket" or one.type is MetricType.COUNTER for one in found], np.bool_),
            head_bytes, head_bounds, np.array(is_quoted, np.bool_), header_bytes, header_bounds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """A page without its numbers.

    Attributes:
        version: Of board and families.
        order: (n,) int32 ids.
        rows: (n,) int32 number of each line's name.
        groups: (n,) uint64, equal for the lines of one histogram or summary, and different for others.
        ranks: (n,) float64 bounds and quantiles.
        places: (n,) where the labels are in `labels`.
        sizes: (n,) their bytes.
        cuts: (n,) how many of these are a bound.
        labels: Written labels.
        by_id: What histograms need: names, places and sizes by id.
        names: The names.
    """

    version: tuple[int, int]
    order: NDArray[np.int32]
    rows: NDArray[np.int32]
    groups: NDArray[np.uint64]
    ranks: NDArray[np.float64]
    places: NDArray[np.int64]
    sizes: NDArray[np.int32]
    cuts: NDArray[np.int32]
    labels: NDArray[np.uint8]
    by_id: Shape
    names: Names

    @classmethod
    def of(cls, snapshot: Snapshot, version: tuple[int, int], families: Families, form: Format) -> Layout:
        """Lay a page out: families by name, the lines of a histogram together and by bound, others by id."""
        shape = snapshot.shape
        if shape is None:
            raise AssertionError("bug: a page cannot be laid out without its shape")
        names = Names.of(shape.name_texts, families, form)
        ids = shape.ids
        rows = shape.names[ids]
        grouped = np.array([one.type in _GROUPED for one in names.families], np.bool_)[rows]
        groups = np.where(grouped, shape.groups[ids], ids.astype(np.uint64))
        parts = names.parts[rows]
        order = np.lexsort((shape.ranks[ids], parts, groups, names.family_of[rows]))
        ids, rows = ids[order], rows[order]
        return cls(
            version, ids, rows, groups[order], shape.ranks[ids], shape.places[ids], shape.sizes[ids], shape.cuts[ids],
            shape.labels, shape, names,
        )  # fmt: skip


def header(family: Family, form: Format) -> bytes:
    """Return what stands above a family."""
    if form.is_protobuf:
        return _message_header(family, form)
    if form.kind is Kind.OPENMETRICS:
        return _openmetrics_header(family, form)
    name = _quoted(escape(text_name(family), form.scheme))
    kind = _TEXT_TYPES.get(family.type, family.type.text)
    told = f"# HELP {name} {family.help.translate(_HELP)}\n" if family.help else ""
    return f"{told}# TYPE {name} {kind}\n".encode("utf-8", "replace")


def text_name(family: Family) -> str:
    """Return the name of a family in text 0.0.4 and protobuf, where it ends in ``_total`` if its samples do."""
    return family.name + (family.suffix if family.type in {MetricType.COUNTER, MetricType.INFO} else "")


def _openmetrics_header(family: Family, form: Format) -> bytes:
    name = _quoted(escape(family.name, form.scheme))
    lines = [f"# TYPE {name} {family.type.text}\n"]
    unit = unit_text(family.unit) if not family.name.endswith(f"_{family.unit}") else family.unit
    if unit and family.name.endswith(f"_{unit}"):
        lines.append(f"# UNIT {name} {unit}\n")
    if family.help:
        lines.append(f"# HELP {name} {family.help.translate(_SPECIAL)}\n")
    return "".join(lines).encode("utf-8", "replace")


def _message_header(family: Family, form: Format) -> bytes:
    name = escape(text_name(family), form.scheme).encode("utf-8", "replace")
    told = field(0x12, family.help.encode("utf-8", "replace")) if family.help else b""
    return field(0x0A, name) + told + bytes([0x18, NUMBERS[family.type]])


def _key(family: Family) -> tuple[str, str]:
    # Of one name there may be a counter ``x_total`` and a gauge ``x``.
    return family.name, family.suffix if family.type in {MetricType.COUNTER, MetricType.INFO} else ""


def _shown(text: str, family: Family, form: Format) -> str:
    """Return a sample's name; OpenMetrics wants counters and infos to end as such."""
    if form.kind is not Kind.OPENMETRICS or family.suffix:
        return text
    return text + {MetricType.COUNTER: "_total", MetricType.INFO: "_info"}.get(family.type, "")


def _quoted(name: str) -> str:
    return name if _CLASSIC.fullmatch(name) else f'"{name.translate(_SPECIAL)}"'


def _joined(parts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    bounds = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8).copy(), bounds
