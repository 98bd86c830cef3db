"""What a conversion makes: a configuration, and what is missing in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from headrace.pipeline.config.faults import Fault

NAME = "prometheus"

_DOLLAR = re.compile(r"\$(?=[${])")


@dataclass(slots=True)
class Converted:
    """A configuration in the making.

    Attributes:
        document: The configuration.
        missing: What could not be carried over, with the reason; one line each.
        faults: What is wrong with what was to be converted.
    """

    document: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def miss(self, what: str, why: str) -> None:
        """Note that something could not be carried over, in one line: the configuration has it as a comment."""
        line = f"{what}: {why}"
        self.missing.append("".join(one if one.isprintable() else " " for one in line))

    def put(self, kind: str, name: str, settings: dict[str, Any]) -> str:
        """Add a component; return its id."""
        self.document.setdefault(kind, {})[name] = settings
        if kind == "extensions":
            self.document.setdefault("service", {}).setdefault("extensions", []).append(name)
        return name

    @property
    def receivers(self) -> list[str]:
        """Ids of all receivers."""
        return list(self.document.get("receivers", {}))

    def pipeline(self, name: str, receivers: list[str], processors: list[str], exporters: list[str]) -> None:
        """Add a pipeline."""
        body = {"receivers": receivers, **({"processors": processors} if processors else {}), "exporters": exporters}
        self.document.setdefault("service", {}).setdefault("pipelines", {})[name] = body

    def text(self) -> str:
        """Return the configuration as YAML, with what is missing as comments above it."""
        comments = [f"# not carried over: {line}\n" for line in self.missing]
        order = ("extensions", "receivers", "processors", "exporters", "service")
        document = {key: self.document[key] for key in order if key in self.document}
        return "".join(comments) + yaml.safe_dump(escaped(document), sort_keys=False, width=110)


class Reference(str):
    """A text that holds references as our configurations write them."""

    __slots__ = ()


def escaped(value: Any) -> Any:
    """Write dollar signs so that they are read as such: other programs do not replace references."""
    if isinstance(value, dict):
        return {key: escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [escaped(one) for one in value]
    if isinstance(value, Reference):
        return str(value)
    return _DOLLAR.sub("$$", value) if isinstance(value, str) else value
