"""Keep or drop series by metric name, labels and type.

A series passes where some ``include`` entry fits (or there is none) and no ``exclude`` entry does. An entry fits where
all that it names fits.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import MetricType
from headrace.pipeline.regex import regex
from headrace.pipeline.relabel import Memo

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.identity import Series


class MatchType(StrEnum):
    """How texts are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


_TYPES = {type_.text: type_ for type_ in MetricType}


class Entry(ComponentConfig):
    """Series to include or exclude; everything that is set has to fit."""

    match_type: MatchType = MatchType.STRICT
    """``strict`` compares whole texts, ``regexp`` matches RE2 patterns with whole texts."""

    metric_names: tuple[str, ...] = ()
    """Metric names, one of which has to fit."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Values by label, all of which have to fit; an absent label has the empty value. Attributes of OpenTelemetry
    sources are labels."""

    types: tuple[str, ...] = ()
    """Metric types, one of which has to fit: ``counter``, ``gauge``, ``histogram``, ``summary``, ``unknown``.
    Prometheus sources tell types apart from samples, so their series are ``unknown``."""

    @field_validator("types")
    @classmethod
    def _known(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for one in types:
            if one not in _TYPES:
                raise ValueError(f"there is no metric type {one!r} (there: {', '.join(_TYPES)})")
        return types

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.metric_names or self.labels or self.types):
            raise ValueError("must name metric_names, labels or types")
        if self.match_type is MatchType.REGEXP:
            for pattern in (*self.metric_names, *self.labels.values()):
                try:
                    regex(pattern)
                except InvalidInput as error:
                    raise ValueError(str(error)) from None
        return self


class FilterConfig(ComponentConfig):
    """Settings of the ``filter`` processor."""

    include: tuple[Entry, ...] = ()
    """Series that pass; all, where it is empty."""

    exclude: tuple[Entry, ...] = ()
    """Series that do not pass, even if they are included."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.include or self.exclude):
            raise ValueError("must have include or exclude")
        return self


class FilterProcessor:
    """Decides once about each new series."""

    def __init__(self, settings: Settings, config: FilterConfig) -> None:
        del settings
        self._include = [_test(entry) for entry in config.include]
        self._exclude = [_test(entry) for entry in config.exclude]

    def admit(self, series: Series) -> Series | None:
        """Return the series, or None where it does not pass."""
        if self._include and not any(test(series) for test in self._include):
            return None
        return None if any(test(series) for test in self._exclude) else series


def _test(entry: Entry) -> Callable[[Series], bool]:
    """Compile an entry."""
    types = {_TYPES[one] for one in entry.types}
    name_fits = _any_of(entry.metric_names, entry.match_type)
    labels = [(name, _any_of((value,), entry.match_type)) for name, value in entry.labels.items()]

    def fits(series: Series) -> bool:
        if types and series.kind.type not in types:
            return False
        if entry.metric_names and not name_fits(series.name):
            return False
        return all(value_fits(series[name]) for name, value_fits in labels)

    return fits


def _any_of(texts: tuple[str, ...], match_type: MatchType) -> Callable[[str], bool]:
    if match_type is MatchType.STRICT:
        return frozenset(texts).__contains__
    tests = [regex(text).fullmatch for text in texts]
    return Memo(lambda text: any(test(text) for test in tests)).__getitem__


FACTORY = ProcessorFactory(name="filter", config=FilterConfig, create=FilterProcessor)
