"""Belonging to a series table without keeping it alive: a workspace that is gone takes its table along."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.series import SeriesTable


class OfTable:
    """What is known about the series of one table.

    Processors keep such objects by table, in mappings with weak keys, whose values must not refer to their keys.

    Args:
        table: Lives as long as anybody calls the methods of this object.
    """

    def __init__(self, table: SeriesTable) -> None:
        self._table_reference = weakref.ref(table)

    @property
    def table(self) -> SeriesTable:
        """The table."""
        table = self._table_reference()
        if table is None:
            raise AssertionError("bug: the table is gone")
        return table
