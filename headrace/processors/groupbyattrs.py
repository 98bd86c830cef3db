"""Move attributes of points to the resource.

Without keys it changes nothing: equal resources are one here from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from headrace.pipeline.identity import Series


class GroupByAttrsConfig(ComponentConfig):
    """Settings of the ``groupbyattrs`` processor."""

    keys: tuple[str, ...] = ()
    """Attributes to move; one that the resource has already is replaced there."""


class GroupByAttrsProcessor:
    """Moves the attributes once for each new series."""

    def __init__(self, settings: Settings, config: GroupByAttrsConfig) -> None:
        del settings
        self._keys = config.keys

    def admit(self, series: Series) -> Series | None:
        """Return the series with its attributes moved."""
        if not any(key in series for key in self._keys):
            return series
        view = SeriesView.of(series)
        for key in self._keys:
            if key in view.attributes:
                view.resource[key] = view.attributes.pop(key)
        return view.series()


FACTORY = ProcessorFactory(name="groupbyattrs", config=GroupByAttrsConfig, create=GroupByAttrsProcessor)
