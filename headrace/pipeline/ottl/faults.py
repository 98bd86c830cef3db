"""What happens to expressions that have no value for some series: they are counted, and told about a few times."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.component import Settings
    from headrace.pipeline.errors import InvalidInput
    from headrace.pipeline.identity import Series

_TOLD = 10
"""Log lines of one component, so that a wrong rule over many series does not fill the log."""


class ErrorMode(StrEnum):
    """What an expression does that has no value."""

    IGNORE = "ignore"
    SILENT = "silent"
    PROPAGATE = "propagate"


class Faults:
    """Counts faults of one component as ``headrace_expression_errors``."""

    def __init__(self, settings: Settings) -> None:
        self._logger = settings.logger
        self._count = settings.counters.counter(
            "headrace_expression_errors",
            "Series for which an expression had no value.",
            {"processor": settings.id},
            "{series}",
        )
        self._left = _TOLD

    def note(self, error: InvalidInput, series: Series | str, mode: ErrorMode) -> None:
        """Count a fault; tell about it unless the mode is silent, or there were many."""
        self._count.add()
        if mode is not ErrorMode.SILENT and self._left:
            self._left -= 1
            self._logger.warning("an expression has no value for %s: %s", series, error)
