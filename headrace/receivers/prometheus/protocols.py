"""The formats of pages: how they are asked for, and how an answer tells which it is in.

Source:
    Prometheus, "Exposition formats" and "Scrape protocol content negotiation".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from headrace.receivers.prometheus.errors import ScrapeFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

Protocol = Literal[
    "PrometheusProto", "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"
]  # fmt: skip

_TEXTS: tuple[Protocol, ...] = (
    "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4",
)  # fmt: skip

_FIRST_WEIGHT = 6

_MEDIA_TYPES: dict[Protocol, str] = {
    "PrometheusProto": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
}

_MESSAGE = "io.prometheus.client.MetricFamily"


class Format(Enum):
    """What a page is in."""

    TEXT = "text"
    OPENMETRICS = "OpenMetrics"
    PROTO = "protobuf"


def default_protocols(*, native: bool) -> tuple[Protocol, ...]:
    """Return the formats to ask for where the configuration names none; `native` asks for native histograms first."""
    return ("PrometheusProto", *_TEXTS) if native else _TEXTS


def accept(protocols: Iterable[Protocol], escaping: str) -> str:
    """Return the Accept header that asks for `protocols`, the first most."""
    parts = []
    weight = _FIRST_WEIGHT
    for protocol in protocols:
        media_type = _MEDIA_TYPES[protocol]
        if media_type.endswith("version=1.0.0"):
            media_type += f";escaping={escaping}"
        parts.append(f"{media_type};q=0.{weight}")
        weight -= 1
    return ",".join([*parts, f"*/*;q=0.{weight}"])


def format_of(content_type: str, fallback: Protocol | None) -> Format:
    """Tell which format a page is in.

    Raises:
        ScrapeFailed: Its Content-Type does not say, and there is no fallback.
    """
    media_type, *parameters = (part.strip() for part in content_type.split(";"))
    media_type = media_type.lower()
    if media_type == "application/openmetrics-text":
        return Format.OPENMETRICS
    if media_type == "text/plain":
        return Format.TEXT
    if media_type == "application/vnd.google.protobuf":
        return _proto(content_type, parameters)
    if fallback is not None:
        return _format(fallback)
    what = f"Content-Type {content_type!r}" if content_type else "no Content-Type"
    raise ScrapeFailed("content_type", f"the target answered with {what}; fallback_scrape_protocol names a format")


def _proto(content_type: str, parameters: Iterable[str]) -> Format:
    """Check that protobuf is of the one message, in the one encoding, that is read."""
    given = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parameters)}
    if given.get("proto", _MESSAGE) != _MESSAGE or given.get("encoding", "delimited") != "delimited":
        raise ScrapeFailed("content_type", f"the target answered with Content-Type {content_type!r}")
    return Format.PROTO


def _format(protocol: Protocol) -> Format:
    if protocol == "PrometheusProto":
        return Format.PROTO
    return Format.OPENMETRICS if protocol.startswith("OpenMetrics") else Format.TEXT
