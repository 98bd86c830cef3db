"""What the configuration that runs is made of, for those who show it: components by pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.host import Host


@dataclass(frozen=True, slots=True)
class Topology:
    """A configuration as it runs, without secrets.

    Attributes:
        config: All of it.
        extensions: Ids of the extensions that are started.
        pipelines: By id, the ids of its components by kind: ``receivers``, ``processors`` and ``exporters``. Connectors
            are among receivers and exporters.
    """

    config: Mapping[str, Any]
    extensions: tuple[str, ...]
    pipelines: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def of(cls, host: Host) -> Topology:
        """Read the present configuration; an empty one where nobody tells it."""
        tell = host.services.get("config_yaml")
        config: dict[str, Any] = yaml.safe_load(tell()) if callable(tell) else {}
        service = config.get("service") or {}
        pipelines = {
            name: {kind: tuple(parts.get(kind) or ()) for kind in ("receivers", "processors", "exporters")}
            for name, parts in (service.get("pipelines") or {}).items()
        }
        return cls(config, tuple(service.get("extensions") or ()), pipelines)

    def kind_of(self, component: str, kind: str) -> str:
        """Return the kind of a component that a pipeline names as `kind`: connectors stand in two places."""
        return "connectors" if component in (self.config.get("connectors") or {}) else kind
