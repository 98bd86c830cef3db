"""Pages, written from a layout and the samples of a moment; all of it runs on a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus import page_kernels, protobuf_kernels
from headrace.exporters.prometheus.exemplars import ExemplarView
from headrace.exporters.prometheus.native_pages import native_messages, native_text
from headrace.exporters.prometheus.negotiation import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.exporters.prometheus.layout import Layout
    from headrace.exporters.prometheus.negotiation import Format
    from headrace.exporters.prometheus.snapshot import Snapshot


def write_page(layout: Layout, snapshot: Snapshot, form: Format, *, timed: bool) -> memoryview:
    """Return a page.

    Args:
        layout: Of the same format.
        snapshot: Samples of the same board.
        form: Format.
        timed: With times.
    """
    exemplars = snapshot.exemplars or ExemplarView.none()
    write = _messages if form.is_protobuf else _text
    numbers = write(layout, snapshot, exemplars, form, timed=timed)
    more = native_messages if form.is_protobuf else native_text
    histograms = more(layout, snapshot, form, timed=timed) if len(snapshot.natives) else b""
    if not (histograms or form.end):
        return numbers.data
    return memoryview(b"".join((numbers.data, histograms, form.end)))


def _text(
    layout: Layout, snapshot: Snapshot, exemplars: ExemplarView, form: Format, *, timed: bool
) -> NDArray[np.uint8]:  # fmt: skip
    names = layout.names
    openmetrics = form.kind is Kind.OPENMETRICS
    room = _room(layout, np.diff(names.head_bounds), page_kernels.LINE)
    out = np.empty(room + _exemplar_bytes(layout, exemplars), np.uint8)
    size = page_kernels.write_lines(
        layout.order, layout.rows, layout.places, layout.sizes, layout.labels, snapshot.values, snapshot.times_ms,
        openmetrics, timed, names.heads, names.head_bounds, names.quoted, names.family_of, names.headers,
        names.header_bounds, names.exemplified, exemplars.places, exemplars.sizes, exemplars.labels, exemplars.values,
        exemplars.times_ms, out,
    )  # fmt: skip
    return out[:size]


def _messages(
    layout: Layout, snapshot: Snapshot, exemplars: ExemplarView, form: Format, *, timed: bool
) -> NDArray[np.uint8]:  # fmt: skip
    del form
    names = layout.names
    room = _room(layout, np.zeros(len(names.texts), np.int64), protobuf_kernels.LINE)
    out = np.empty(room + _exemplar_bytes(layout, exemplars), np.uint8)
    size = protobuf_kernels.write_families(
        layout.order, layout.rows, layout.groups, layout.ranks, layout.places, layout.sizes, layout.cuts,
        layout.labels, snapshot.values, snapshot.times_ms, snapshot.starts_ms, timed, names.family_of, names.parts,
        names.types, names.headers, names.header_bounds, exemplars.places, exemplars.sizes, exemplars.labels,
        exemplars.values, exemplars.times_ms, out,
    )  # fmt: skip
    return out[:size]


def _room(layout: Layout, heads: NDArray[np.int64], line: int) -> int:
    """Return the most bytes that the numbers can take, without exemplars."""
    per_name = np.bincount(layout.rows, minlength=len(heads))
    return int(layout.sizes.sum(dtype=np.int64) + (per_name * heads).sum() + len(layout.names.headers)) + line * (
        len(layout.order) + 1
    )


def _exemplar_bytes(layout: Layout, exemplars: ExemplarView) -> int:
    shown = layout.order[layout.order < len(exemplars.sizes)]
    return int(np.maximum(exemplars.sizes[shown], 0).sum(dtype=np.int64))
