"""Dashboards as Grafana reads them: their queries and variables, with values in the places of the variables."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)", re.DOTALL)


@dataclass(frozen=True)
class Variable:
    """A variable whose values come from a query.

    Attributes:
        name: Without the dollar sign.
        selector: Which series have the values; may refer to other variables.
        label: Whose values they are.
        multiple: Whether several may be chosen; then a matcher takes them as a regular expression.
    """

    name: str
    selector: str
    label: str
    multiple: bool

    def chosen(self, values: Sequence[str]) -> str:
        """Return what stands for the variable once the first of its values is chosen, or all where several may be."""
        if not self.multiple:
            return values[0].replace("\\", r"\\").replace('"', r"\"")
        escaped = [re.sub(r"[\\^$*+?.()|{}\[\]]", r"\\\\\g<0>", value) for value in values]
        return f"({'|'.join(escaped)})"


@dataclass(frozen=True)
class Query:
    """A query of a panel.

    Attributes:
        panel: Title of the panel.
        text: The expression, with its variables.
        legend: Template of the names in the legend.
    """

    panel: str
    text: str
    legend: str


class Dashboard:
    """A dashboard.

    Args:
        path: The JSON that Grafana imports.
    """

    def __init__(self, path: Path) -> None:
        self.model: dict[str, Any] = json.loads(path.read_text())
        self.panels: list[dict[str, Any]] = self.model["panels"]

    def queries(self) -> Iterator[Query]:
        """Yield the queries of all panels."""
        for panel in self.panels:
            for target in panel.get("targets", []):
                yield Query(panel["title"], target["expr"], target["legendFormat"])

    def variables(self) -> Iterator[Variable]:
        """Yield the variables that have a query, in the order in which they are resolved."""
        for one in self.model["templating"]["list"]:
            if one["type"] == "query":
                match = _LABEL_VALUES.fullmatch(one["query"]["query"])
                assert match, one["query"]
                yield Variable(one["name"], match[1], match[2], one["multi"])


def references(text: str) -> set[str]:
    """Return the names of the variables in an expression."""
    return {braced or bare for braced, bare in _REFERENCE.findall(text)}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return an expression with values in the places of its variables; all have to be there."""
    return _REFERENCE.sub(lambda found: values[found[1] or found[2]], text)
