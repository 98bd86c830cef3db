"""Change attributes of points, which are the labels of series.

Two series that become one by it stay two points of one series: their values are not added up.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from headrace.pipeline.attribute_actions import Action, compile_actions
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.values import text_of
from headrace.pipeline.regex import unanchored
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.pipeline.identity import Series
    from headrace.pipeline.series_view import Attributes

_OF_OTHERS = dict.fromkeys(
    ("services", "span_names", "span_kinds", "log_bodies", "log_severity_texts", "log_severity_number"),
    "there are metrics alone",
)


class MatchType(StrEnum):
    """How texts are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


class Wanted(ComponentConfig):
    """An attribute that has to fit."""

    key: str
    """Its name."""

    value: str | int | float | bool | None = None
    """Its value, compared as text; any, where it is left out."""


class Library(ComponentConfig):
    """An instrumentation scope that has to fit."""

    name: str
    """Its name."""

    version: str | None = None
    """Its version; any, where it is left out."""


class Match(ComponentConfig):
    """Which series: everything that is set has to fit."""

    match_type: MatchType
    """``strict`` compares whole texts, ``regexp`` finds RE2 patterns anywhere in a text."""

    metric_names: tuple[str, ...] = ()
    """Metric names, one of which has to fit."""

    attributes: tuple[Wanted, ...] = ()
    """Attributes of the point, all of which have to fit."""

    resources: tuple[Wanted, ...] = ()
    """Attributes of the resource, all of which have to fit."""

    libraries: tuple[Library, ...] = ()
    """Instrumentation scopes, one of which has to fit."""

    regexp: dict[str, Any] | None = None
    """In the Collector: how patterns are cached. It is accepted and has no effect: what is decided about a series is
    remembered."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _OF_OTHERS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.metric_names or self.attributes or self.resources or self.libraries):
            raise ValueError("must name metric_names, attributes, resources or libraries")
        for pattern in self._texts() if self.match_type is MatchType.REGEXP else ():
            try:
                unanchored(pattern)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        return self

    def _texts(self) -> Iterator[str]:
        yield from self.metric_names
        yield from (text_of(one.value) for one in (*self.attributes, *self.resources) if one.value is not None)
        for library in self.libraries:
            yield from (library.name, library.version or "")


class AttributesConfig(ComponentConfig):
    """Settings of the ``attributes`` processor."""

    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    """Actions, applied in order."""

    include: Match | None = None
    """Series to change; all, where it is left out."""

    exclude: Match | None = None
    """Series to leave as they are, even if they are included."""


class AttributesProcessor:
    """Applies the actions once to each new series."""

    def __init__(self, settings: Settings, config: AttributesConfig) -> None:
        del settings
        self._apply = compile_actions(config.actions)
        self._include = None if config.include is None else _test(config.include)
        self._exclude = None if config.exclude is None else _test(config.exclude)

    def admit(self, series: Series) -> Series | None:
        """Return the series with its attributes changed."""
        view = SeriesView.of(series)
        if self._include is not None and not self._include(view):
            return series
        if self._exclude is not None and self._exclude(view):
            return series
        self._apply(view.attributes)
        return view.series()


def _test(match: Match) -> Callable[[SeriesView], bool]:
    fits = _equals if match.match_type is MatchType.STRICT else _contains

    def test(view: SeriesView) -> bool:
        if match.metric_names and not any(fits(name, view.name) for name in match.metric_names):
            return False
        if match.libraries and not any(_is_library(fits, one, view) for one in match.libraries):
            return False
        return _have(fits, match.attributes, view.attributes) and _have(fits, match.resources, view.resource)

    return test


def _is_library(fits: Callable[[str, str], bool], library: Library, view: SeriesView) -> bool:
    return fits(library.name, view.scope_name) and (
        library.version is None or fits(library.version, view.scope_version)
    )


def _have(fits: Callable[[str, str], bool], wanted: tuple[Wanted, ...], found: Attributes) -> bool:
    return all(
        one.key in found and (one.value is None or fits(text_of(one.value), text_of(found[one.key]))) for one in wanted
    )


def _equals(wanted: str, text: str) -> bool:
    return wanted == text


def _contains(pattern: str, text: str) -> bool:
    return unanchored(pattern).search(text) is not None


FACTORY = ProcessorFactory(name="attributes", config=AttributesConfig, create=AttributesProcessor)
