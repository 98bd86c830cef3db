"""Which types of components there are: our own, those of installed packages, and those of plugin files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.pipeline.component import Factory

BUILT_IN = {
    "receivers": ("dead_letter", "hostmetrics", "otlp", "otlp_json_file", "prometheus", "prometheus_remote_write"),
    "processors": (
        "attributes",
        "batch",
        "cardinality_limit",
        "cumulativetodelta",
        "deltatocumulative",
        "filter",
        "groupbyattrs",
        "interval",
        "memory_limiter",
        "metricstarttime",
        "metricstransform",
        "redaction",
        "relabel",
        "resource",
        "resourcedetection",
        "stream_aggregate",
        "transform",
    ),
    "connectors": ("failover", "forward", "routing"),
    "exporters": (
        "dead_letter",
        "debug",
        "file",
        "nop",
        "otlp",
        "otlp_http",
        "prometheus",
        "prometheus_remote_write",
        "store",
    ),
    "extensions": (
        "access",
        "basic_auth",
        "bearer_token_auth",
        "dead_letter",
        "file_storage",
        "headers_setter",
        "health_check",
        "profiler",
        "sigv4_auth",
        "workspaces",
        "zpages",
    ),
}
"""Our own types; each is the module of its name, imported when it is asked for."""

ALIASES = {
    ("receivers", "host_metrics"): "hostmetrics",
    ("receivers", "otlpjsonfile"): "otlp_json_file",
    ("receivers", "prometheusremotewrite"): "prometheus_remote_write",
    ("processors", "cumulative_to_delta"): "cumulativetodelta",
    ("processors", "delta_to_cumulative"): "deltatocumulative",
    ("processors", "metric_start_time"): "metricstarttime",
    ("processors", "metrics_transform"): "metricstransform",
    ("exporters", "otlp_grpc"): "otlp",
    ("exporters", "otlphttp"): "otlp_http",
    ("exporters", "prometheusremotewrite"): "prometheus_remote_write",
    ("extensions", "basicauth"): "basic_auth",
    ("extensions", "bearertokenauth"): "bearer_token_auth",
    ("extensions", "healthcheck"): "health_check",
    ("extensions", "healthcheckv2"): "health_check",
    ("extensions", "pprof"): "profiler",
    ("extensions", "sigv4auth"): "sigv4_auth",
}
"""Other spellings of our own types."""


class ComponentRegistry:
    """Finds factories.

    Args:
        plugins: Python files that define factories.
    """

    def __init__(self, plugins: Sequence[str] = ()) -> None:
        self._added: dict[tuple[str, str], Factory[Any]] = {}
        self._entry_points = {
            (kind, one.name): one for kind in BUILT_IN for one in entry_points(group=f"headrace.{kind}")
        }
        for file in plugins:
            self._load_file(file)

    def find(self, kind: str, type_: str) -> Factory[Any] | None:
        """Return the factory of a type or one of its aliases; None without one.

        Raises:
            ConfigError: A plugin does not import.
        """
        added = self._added.get((kind, type_))
        if added is not None:
            return added
        name = ALIASES.get((kind, type_), type_)
        if name in BUILT_IN.get(kind, ()):
            return _built_in(kind, name)
        point = self._entry_points.get((kind, type_))
        if point is None:
            return None
        try:
            factory: Factory[Any] = point.load()
        except Exception as error:
            raise ConfigError(f"{kind}::{type_}", f"plugin {point.value} does not load: {error}") from error
        return factory

    def types(self, kind: str) -> list[str]:
        """Return the names of all types of a kind."""
        own = [name for name in BUILT_IN[kind] if _exists(kind, name)]
        added = [name for where, name in {**self._added, **self._entry_points} if where == kind]
        return sorted({*own, *added})

    def all(self) -> Iterator[tuple[str, Factory[Any]]]:
        """Yield kind and factory of every type."""
        for kind in BUILT_IN:
            for name in self.types(kind):
                factory = self.find(kind, name)
                if factory is not None:
                    yield kind, factory

    def _load_file(self, file: str) -> None:
        path = Path(file)
        name = f"headrace_plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ConfigError(f"--plugin {file}", "is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"--plugin {file}", f"does not load: {type(error).__name__}: {error}") from error
        found = list(_factories(module))
        if not found:
            raise ConfigError(f"--plugin {file}", _why_nothing(module))
        for kind, factory in found:
            for type_ in (factory.name, *factory.aliases):
                self._added[kind, type_] = factory


def _exists(kind: str, name: str) -> bool:
    return importlib.util.find_spec(f"headrace.{kind}.{name}") is not None


def _built_in(kind: str, name: str) -> Factory[Any] | None:
    if not _exists(kind, name):
        return None
    factory: Factory[Any] = importlib.import_module(f"headrace.{kind}.{name}").FACTORY
    return factory


def _why_nothing(module: object) -> str:
    from headrace.pipeline.discovery import DiscoveryFactory

    if any(isinstance(value, DiscoveryFactory) for value in vars(module).values()):
        return "defines a kind of discovery: a package offers it, by an entry point in the group headrace.discoveries"
    return "defines no factory (ReceiverFactory, ProcessorFactory, ...)"


def _factories(module: object) -> Iterator[tuple[str, Factory[Any]]]:
    from headrace.pipeline.component import (
        ConnectorFactory,
        ExporterFactory,
        ExtensionFactory,
        ProcessorFactory,
        ReceiverFactory,
    )

    kinds = {
        ConnectorFactory: "connectors",
        ReceiverFactory: "receivers",
        ProcessorFactory: "processors",
        ExporterFactory: "exporters",
        ExtensionFactory: "extensions",
    }
    for value in vars(module).values():
        kind = kinds.get(type(value))
        if kind is not None:
            yield kind, value
