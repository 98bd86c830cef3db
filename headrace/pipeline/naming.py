"""What becomes of OpenTelemetry's names, resources and scopes in Prometheus: the choices that exporters offer.

The rules themselves are in `headrace.pipeline.otlp_names`.

Source:
    OpenTelemetry Collector, settings of its exporters ``prometheus`` and ``prometheusremotewrite``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Self

from pydantic import model_validator

from headrace.pipeline.config import ComponentConfig

_SERVICE = frozenset({"service.namespace", "service.name", "service.instance.id"})


class Strategy(StrEnum):
    """How names of metrics and attributes are translated."""

    ESCAPE_AND_SUFFIX = "UnderscoreEscapingWithSuffixes"
    """Other characters than those of Prometheus' classic alphabet become ``_``; unit and type are appended."""

    ESCAPE = "UnderscoreEscapingWithoutSuffixes"
    """Characters are replaced, and nothing is appended."""

    SUFFIX = "NoUTF8EscapingWithSuffixes"
    """Names stay as they are but for unit and type, which are appended."""

    NOTHING = "NoTranslation"
    """Names stay as they are."""

    @property
    def escapes(self) -> bool:
        """Whether characters are replaced."""
        return self in {Strategy.ESCAPE_AND_SUFFIX, Strategy.ESCAPE}

    @property
    def adds_suffixes(self) -> bool:
        """Whether unit and type are appended."""
        return self in {Strategy.ESCAPE_AND_SUFFIX, Strategy.SUFFIX}


class ResourceConversionConfig(ComponentConfig):
    """Resource attributes as labels of every series."""

    enabled: bool = False
    """Add all attributes of the resource."""

    exclude_service_attributes: bool = False
    """Leave out ``service.name``, ``service.namespace`` and ``service.instance.id``, which ``job`` and ``instance``
    say."""


class ResourceLabelsConfig(ComponentConfig):
    """Which resource attributes become labels of every series; ``*`` and ``?`` stand for any text and any character."""

    included: tuple[str, ...] = ()
    """Attributes to add; none named means all."""

    excluded: tuple[str, ...] = ()
    """Attributes to leave out of those."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.included or self.excluded):
            raise ValueError("must name included or excluded attributes")
        return self


@dataclass(frozen=True, slots=True)
class ResourceLabels:
    """Which resource attributes become labels.

    Attributes:
        included: Patterns of names; ``*`` for all, none for no labels at all.
        excluded: Patterns of names that are left out.
    """

    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @classmethod
    def of(cls, conversion: ResourceConversionConfig, chosen: ResourceLabelsConfig | None = None) -> Self:
        """Return the choice that settings make; `chosen` is the newer of the two."""
        if chosen is not None:
            return cls(chosen.included or ("*",), chosen.excluded)
        if not conversion.enabled:
            return cls()
        return cls(("*",), tuple(sorted(_SERVICE)) if conversion.exclude_service_attributes else ())

    def __contains__(self, name: str) -> bool:
        return _fits(name, self.included) and not _fits(name, self.excluded)


@dataclass(frozen=True, slots=True)
class Naming:
    """All choices; the default is what Prometheus' own OTLP endpoint does.

    Attributes:
        strategy: Of names.
        namespace: What every metric name begins with, followed by ``_``; also those of Prometheus sources.
        resource: Which resource attributes become labels.
        scope: Whether scopes become labels ``otel_scope_…``.
        target_info: Whether resources become ``target_info``.
    """

    strategy: Strategy = Strategy.ESCAPE_AND_SUFFIX
    namespace: str = ""
    resource: ResourceLabels = ResourceLabels()
    scope: bool = False
    target_info: bool = True


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
