"""The factory of the ``prometheus`` exporter, and what compiles its kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.exporters.prometheus.config import PrometheusExporterConfig
from headrace.exporters.prometheus.exporter import PrometheusExporter
from headrace.pipeline.component import ExporterFactory

if TYPE_CHECKING:
    from collections.abc import Iterator


def warm_up() -> None:
    """Compile the kernels by a small page in each format, and by a sum of deltas."""
    from headrace.exporters.prometheus.board import Board
    from headrace.exporters.prometheus.families import Families
    from headrace.exporters.prometheus.layout import Layout
    from headrace.exporters.prometheus.negotiation import Format, Kind
    from headrace.exporters.prometheus.page import write_page
    from headrace.pipeline.batch import BatchContext
    from headrace.pipeline.counters import Counters, Drops
    from headrace.pipeline.naming import Naming
    from headrace.pipeline.prometheus_edge import PrometheusEdge
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.streams.warm import warm_up as warm_up_streams
    from headrace.pipeline.wire.otlp import OtlpDecoder
    from headrace.pipeline.wire.otlp_sample import sample_request

    warm_up_streams()
    table = SeriesTable()
    batch = OtlpDecoder(table).decode(sample_request(), BatchContext()).batch
    flat = PrometheusEdge(Drops(Counters(), "warm-up")).flatten(batch).batch
    board, families = Board(table, {"warm": "up"}), Families(Naming())
    _run(board.learn(flat))
    board.take(flat, 1.0)
    for kind in Kind:
        form = Format(kind)
        _run(board.write_labels(form))
        snapshot = board.snapshot(form, with_shape=True)
        write_page(Layout.of(snapshot, (0, 0), families, form), snapshot, form, timed=True)


def _run(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


FACTORY = ExporterFactory(
    name="prometheus", config=PrometheusExporterConfig, create=PrometheusExporter, warm_up=warm_up
)
