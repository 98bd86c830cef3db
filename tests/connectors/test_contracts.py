"""The contract of connectors, run by every one of ours."""

from __future__ import annotations

from typing import Any, ClassVar

from headrace.connectors import failover, forward, routing
from headrace.testing.connectors import ConnectorContract


class TestForward(ConnectorContract):
    factory = forward.FACTORY


class TestFailover(ConnectorContract):
    factory = failover.FACTORY
    config: ClassVar[dict[str, Any]] = {"priority_levels": [["metrics/a"], ["metrics/b"]]}


class TestRouting(ConnectorContract):
    factory = routing.FACTORY
    config: ClassVar[dict[str, Any]] = {
        "table": [
            {"context": "datapoint", "condition": 'attributes["code"] == "500"', "pipelines": ["metrics/a"]},
        ],
        "default_pipelines": ["metrics/b"],
    }
