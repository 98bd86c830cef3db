"""Change attributes of resources.

A series of a Prometheus source has the attributes ``service.name`` and ``service.instance.id``, which are its labels
``job`` and ``instance``; other attributes that it is given are no labels, and neither the store nor remote write shows
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from headrace.pipeline.attribute_actions import Action, compile_actions
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from headrace.pipeline.identity import Series


class ResourceConfig(ComponentConfig):
    """Settings of the ``resource`` processor."""

    attributes: Annotated[tuple[Action, ...], Field(min_length=1)]
    """Actions, applied in order."""


class ResourceProcessor:
    """Applies the actions once to each new series."""

    def __init__(self, settings: Settings, config: ResourceConfig) -> None:
        del settings
        self._apply = compile_actions(config.attributes)

    def admit(self, series: Series) -> Series | None:
        """Return the series with its resource changed."""
        view = SeriesView.of(series)
        self._apply(view.resource)
        return view.series()


FACTORY = ProcessorFactory(name="resource", config=ResourceConfig, create=ResourceProcessor)
