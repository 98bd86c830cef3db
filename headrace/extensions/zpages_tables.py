"""Tables of the debug pages."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.pipeline.host import Host
    from headrace.pipeline.topology import Topology

COMPONENT = ("kind", "component", "status", "error", "in", "out", "dropped")
"""Columns of a component."""

_STYLE = (
    "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:3px 8px;text-align:left}"
)
_COUNTS = {
    "receivers": ("receiver", "", "otelcol_receiver_accepted_metric_points"),
    "processors": ("processor", "otelcol_processor_incoming_items", "otelcol_processor_outgoing_items"),
    "exporters": ("exporter", "", "otelcol_exporter_sent_metric_points"),
}
"""By kind: the attribute that names a component, and the counters of what comes in and goes out."""


def page(title: str, body: str) -> str:
    """Return an HTML page."""
    head = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    return f"{head}<h1>{escape(title)}</h1>{body}\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, is_html: bool = False) -> str:
    """Return an HTML table; cells are text unless `is_html`."""

    def cell(text: str) -> str:
        return f"<td>{text if is_html else escape(text)}</td>"

    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def rows_of_pipelines(host: Host, topology: Topology) -> list[tuple[str, ...]]:
    """Return a row for each component of each pipeline."""
    return [row for pipeline in topology.pipelines for row in _rows(host, topology, pipeline)]


def _rows(host: Host, topology: Topology, pipeline: str) -> Iterator[tuple[str, ...]]:
    for kind, names in topology.pipelines[pipeline].items():
        for name in names:
            real = topology.kind_of(name, kind)
            event = host.statuses.of(f"{real}.{name}")
            yield (
                pipeline,
                real,
                name,
                event.status.value.removeprefix("Status"),
                event.error,
                *_counts(host, kind, name, pipeline),
            )


def _counts(host: Host, kind: str, name: str, pipeline: str) -> tuple[str, str, str]:
    attribute, incoming, outgoing = _COUNTS[kind]
    wanted = {attribute: name} | ({"pipeline": pipeline} if kind == "processors" else {})
    value = host.counters.value
    dropped = value("headrace_dropped_points", {"component": f"{kind}.{name}"})
    return (
        f"{value(incoming, wanted):.0f}" if incoming else "", f"{value(outgoing, wanted):.0f}", f"{dropped:.0f}"
    )  # fmt: skip
