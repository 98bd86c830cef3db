"""Which format a scraper gets.

Source:
    Prometheus, "Content negotiation" and "Escaping schemes"; OpenMetrics 1.0, "Content type"; client_golang's
    ``expfmt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from headrace.pipeline.wire.name_escaping import SCHEMES, UNDERSCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOBUF = "application/vnd.google.protobuf"
_FAMILY = "io.prometheus.client.MetricFamily"
_OPENMETRICS = "application/openmetrics-text"
_PLAIN = "text/plain"
_VERSIONS = {_OPENMETRICS: ("1.0.0", "0.0.1"), _PLAIN: ("0.0.4", "1.0.0")}


class Kind(StrEnum):
    """The three families of formats."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"
    PROTOBUF = "protobuf"


@dataclass(frozen=True, slots=True)
class Format:
    """What a page looks like.

    Attributes:
        kind: Family of formats.
        version: Of the text formats.
        scheme: How names beyond the classic alphabet are written.
    """

    kind: Kind = Kind.TEXT
    version: str = "0.0.4"
    scheme: str = UNDERSCORES

    @property
    def is_protobuf(self) -> bool:
        """Whether pages are messages."""
        return self.kind is Kind.PROTOBUF

    @property
    def has_exemplars(self) -> bool:
        """Whether pages have room for exemplars."""
        return self.kind is not Kind.TEXT

    @property
    def end(self) -> bytes:
        """What a page ends with."""
        return b"# EOF\n" if self.kind is Kind.OPENMETRICS else b""

    @property
    def content_type(self) -> str:
        """The header of the answer."""
        if self.is_protobuf:
            return f"{_PROTOBUF}; proto={_FAMILY}; encoding=delimited; escaping={self.scheme}"
        media = _OPENMETRICS if self.kind is Kind.OPENMETRICS else _PLAIN
        return f"{media}; version={self.version}; charset=utf-8; escaping={self.scheme}"


def negotiate(accept: str, *, openmetrics: bool) -> Format:
    """Return the format that a scraper likes most of those there are.

    Args:
        accept: Value of the Accept header.
        openmetrics: Whether OpenMetrics may be answered.
    """
    for media, parameters in _by_weight(accept):
        scheme = parameters.get("escaping", "")
        scheme = scheme if scheme in SCHEMES else UNDERSCORES
        if media == _PROTOBUF:
            if parameters.get("proto") == _FAMILY and parameters.get("encoding", "delimited") == "delimited":
                return Format(Kind.PROTOBUF, "", scheme)
        elif media == _PLAIN or (media == _OPENMETRICS and openmetrics):
            versions = _VERSIONS[media]
            version = parameters.get("version", versions[0])
            if version in versions:
                return Format(Kind.TEXT if media == _PLAIN else Kind.OPENMETRICS, version, scheme)
    return Format()


def _by_weight(accept: str) -> list[tuple[str, Mapping[str, str]]]:
    """Return media types with their parameters, the heaviest first."""
    found = []
    for item in accept.split(","):
        media, *parts = (part.strip() for part in item.split(";"))
        parameters = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parts)}
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 0.0
        if weight > 0:
            found.append((weight, media.lower(), parameters))
    return [(media, parameters) for _, media, parameters in sorted(found, key=lambda one: -one[0])]
