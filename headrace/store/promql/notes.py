"""Annotations of a query: warnings and lesser remarks, in Prometheus' words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from headrace.store.promql.errors import place

if TYPE_CHECKING:
    from headrace.store.promql.ast import Expr

_COUNTER_ENDINGS = ("_total", "_sum", "_count", "_bucket")


class Notes:
    """Collects the annotations of one query.

    Args:
        query: Its text, for positions.
    """

    def __init__(self, query: str) -> None:
        self._query = query
        self.warnings: list[str] = []
        self.infos: list[str] = []

    def warn(self, text: str, node: Expr) -> None:
        """Note a warning, once."""
        self._note(self.warnings, f"PromQL warning: {text}", node)

    def info(self, text: str, node: Expr) -> None:
        """Note a remark, once."""
        self._note(self.infos, f"PromQL info: {text}", node)

    def check_quantile(self, q: float, node: Expr) -> None:
        """Warn about a quantile that is none."""
        if math.isnan(q) or not 0 <= q <= 1:
            shown = "NaN" if math.isnan(q) else f"{q:g}".replace("inf", "+Inf").replace("-+", "-")
            self.warn(f"quantile value should be between 0 and 1, got {shown}", node)

    def check_counter(self, name: str, node: Expr) -> None:
        """Remark on a name that no counter has."""
        if name and not name.endswith(_COUNTER_ENDINGS):
            text = f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"'
            self.info(text, node)

    def _note(self, notes: list[str], text: str, node: Expr) -> None:
        full = f"{text} ({place(self._query, node.start)})"
        if full not in notes:
            notes.append(full)
