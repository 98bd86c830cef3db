"""From sources to a checked configuration: read, substitute, merge, validate; all faults at once.

Source:
    OpenTelemetry Collector, "Configuration": component ids, composition, providers, service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Protocol

from headrace.pipeline.config.checking import checked
from headrace.pipeline.config.connectors import connector_faults
from headrace.pipeline.config.elsewhere import why_no_type
from headrace.pipeline.config.faults import ConfigFaults, Fault, Place, hint, joined
from headrace.pipeline.config.service import ServiceConfig, TelemetryConfig
from headrace.pipeline.config.source import Document, merge, read
from headrace.pipeline.config.substitution import Substitution
from headrace.pipeline.graph import GraphPlan, PipelinePlan, Planned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from headrace.pipeline.component import Factory
    from headrace.pipeline.config.faults import Path

KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")

_ID = re.compile(r"(?P<type>[a-zA-Z][0-9a-zA-Z_]{0,62})(?:/(?P<name>[^\s/][^\s]{0,1023}))?")
_SECTIONS = {*KINDS, "service"}
_OTHER_SIGNALS = {"traces", "logs", "profiles"}


class Registry(Protocol):
    """Finds types of components."""

    def find(self, kind: str, type_: str) -> Factory[Any] | None:
        """Return the factory of a type or one of its aliases; None without one."""

    def types(self, kind: str) -> Sequence[str]:
        """Return the names of all types of a kind."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration that is right.

    Attributes:
        components: Factory and configuration by kind and id.
        service: The ``service`` section.
        pipelines: What to wire.
        warnings: What is probably not meant.
    """

    components: Mapping[str, Mapping[str, Planned]]
    service: ServiceConfig
    pipelines: tuple[PipelinePlan, ...]
    warnings: tuple[str, ...] = ()

    @property
    def telemetry(self) -> TelemetryConfig:
        """How the daemon reports on itself."""
        return self.service.telemetry or TelemetryConfig()

    def plan(self) -> GraphPlan:
        """Return what the graph is made of."""
        components = self.components
        return GraphPlan(
            components["receivers"],
            components["processors"],
            components["exporters"],
            self.pipelines,
            components["connectors"],
        )

    def extensions(self) -> dict[str, Planned]:
        """Return the extensions that run, in order."""
        return {name: self.components["extensions"][name] for name in self.service.extensions or ()}

    def resolved(self) -> dict[str, Any]:
        """Return everything with defaults filled in and without secrets, as plain values."""
        out: dict[str, Any] = {
            kind: {name: _dump(planned.config) for name, planned in found.items()}
            for kind, found in self.components.items()
            if found
        }
        out["service"] = _dump(self.service)
        return out


@dataclass(slots=True)
class _Check:
    """One validation under way."""

    document: Document
    registry: Registry
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def fault(self, path: Path, why: str) -> None:
        self.faults.append(Fault(self.document.place(path), joined(path), why))


def load_files(
    files: Sequence[str],
    registry: Registry,
    settings: Sequence[str] = (),
    substitution: Substitution | None = None,
) -> LoadedConfig:
    """Load configuration files, later ones over earlier ones, and single settings over all.

    Args:
        files: Paths; ``yaml:TEXT`` and ``env:NAME`` work as well, as in the Collector.
        registry: Types of components.
        settings: Such as ``processors.batch.timeout=2s``.
        substitution: Replaces references.

    Raises:
        ConfigFaults: All that is wrong.
    """
    substitution = substitution or Substitution()
    document = Document({})
    faults: list[Fault] = []
    for make, sources in ((partial(_source, substitution), files), (_setting, settings)):
        for source in sources:
            try:
                found = substitution.apply(make(source))
            except ConfigFaults as error:
                faults += error.faults
            else:
                document = document if found.value is None else merge(document, found)
    if faults:
        raise ConfigFaults(faults, substitution.warnings)
    return validate(document, registry, substitution.warnings)


def _source(substitution: Substitution, name: str) -> Document:
    """Read what ``--config`` names."""
    scheme, colon, body = name.partition(":")
    if scheme == "yaml":
        return read(body, "yaml")
    if scheme == "env":
        return _variable(substitution, body)
    if scheme in {"http", "https"}:
        raise ConfigFaults([Fault(Place(name), "", "is not supported (there: file, env, yaml)")])
    path = body if colon and scheme == "file" else name
    try:
        return read(FilePath(path).read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigFaults([Fault(Place(path), "", f"cannot be read: {why}")]) from None


def _variable(substitution: Substitution, body: str) -> Document:
    try:
        return read(substitution.variable(body), f"env:{body}")
    except ValueError as error:
        raise ConfigFaults([Fault(Place(f"env:{body}"), "", str(error))]) from None


def _setting(text: str) -> Document:
    """Make a document of one ``a.b.c=value``."""
    key, equals, value = text.partition("=")
    place = Place(f"--set {text}")
    if not equals or not key:
        raise ConfigFaults([Fault(place, "", "must be key=value")])
    keys = tuple(key.split("::") if "::" in key else key.split("."))
    inner = read(value, f"--set {key}")
    document = Document(inner.value, {keys[: i + 1]: place for i in range(len(keys))})
    document.put(keys, replace(inner, places=dict.fromkeys(inner.places, place)))
    for one in reversed(keys):
        document.value = {one: document.value}
    return document


def validate(document: Document, registry: Registry, warnings: Iterable[str] = ()) -> LoadedConfig:
    """Check a document against the types of components.

    Raises:
        ConfigFaults: All that is wrong.
    """
    check = _Check(document, registry, warnings=list(dict.fromkeys(warnings)))
    root = document.value
    if not isinstance(root, dict):
        raise ConfigFaults([Fault(document.place(()), "", "must be a mapping with receivers, exporters and service")])
    if "scrape_configs" in root and "receivers" not in root:
        check.fault(("scrape_configs",), "this is a prometheus.yml; put it under receivers::prometheus::config")
        for name in ("rule_files", "alerting", "remote_write", "remote_read", "storage"):
            if name in root:
                check.fault((name,), f"{name} of a prometheus.yml is not supported here")
        raise ConfigFaults(check.faults)
    for key in root:
        if key not in _SECTIONS:
            check.fault((key,), f"unknown section{hint(key, _SECTIONS)}")
    components = {kind: _components(check, kind, root.get(kind)) for kind in KINDS}
    service, pipelines = _service(check, root.get("service"), components)
    if not check.faults:
        for path, why in connector_faults(components["connectors"], components, pipelines):
            check.fault(path, why)
    if check.faults or service is None:
        raise ConfigFaults(check.faults, check.warnings)
    _warn_of_unused(check, components, service, pipelines)
    return LoadedConfig(
        {kind: {name: one for name, one in found.items() if one is not None} for kind, found in components.items()},
        service,
        pipelines,
        tuple(check.warnings),
    )


def _components(check: _Check, kind: str, section: Any) -> dict[str, Planned | None]:
    """Validate one section; None stands for a component with faults."""
    if section is None:
        return {}
    if not isinstance(section, dict):
        check.fault((kind,), "must be a mapping of ids to settings")
        return {}
    return {name: _component(check, kind, name, body) for name, body in section.items()}


def _component(check: _Check, kind: str, name: str, body: Any) -> Planned | None:
    path: Path = (kind, name)
    match = _ID.fullmatch(name)
    if not match:
        check.fault(path, "must be type or type/name, the type of letters, digits and underscores")
        return None
    type_ = match["type"]
    factory = check.registry.find(kind, type_)
    if factory is None:
        known = check.registry.types(kind)
        why = why_no_type(kind, type_)
        word = kind.removesuffix("s")
        text = f"{word} {type_!r} is not supported: {why}" if why else f"unknown {word} type {type_!r}"
        check.fault(path, text if why else text + (hint(type_, known) or f" (there: {', '.join(known)})"))
        return None
    if body is not None and not isinstance(body, dict):
        check.fault(path, f"must be a mapping of settings, got {body!r}")
        return None
    config = checked(factory.config, body or {}, path, check.document, check.fault)
    return None if config is None else Planned(factory, config)


def _service(
    check: _Check, section: Any, components: Mapping[str, Mapping[str, Planned | None]]
) -> tuple[ServiceConfig | None, tuple[PipelinePlan, ...]]:
    if not isinstance(section, dict):
        check.fault(("service",), "is required: it names the pipelines that run")
        return None, ()
    for pipeline in section["pipelines"] if isinstance(section.get("pipelines"), dict) else ():
        _check_id(check, pipeline)
    service: ServiceConfig | None = checked(ServiceConfig, section, ("service",), check.document, check.fault)
    if service is None:
        return None, ()
    for i, name in enumerate(service.extensions or ()):
        _refer(check, ("service", "extensions", i), "extensions", name, components)
    plans = []
    for pipeline, config in service.pipelines.items():
        parts = {"receivers": config.receivers, "processors": config.processors or (), "exporters": config.exporters}
        for kind, names in parts.items():
            for i, name in enumerate(names):
                path = ("service", "pipelines", pipeline, kind, i)
                if kind == "processors" or name not in components["connectors"]:
                    _refer(check, path, kind, name, components)
                if name in names[:i]:
                    check.fault(path, f"names {name!r} twice")
        plans.append(PipelinePlan(pipeline, parts["receivers"], parts["processors"], parts["exporters"]))
    return service, tuple(plans)


def _check_id(check: _Check, pipeline: str) -> None:
    signal = pipeline.partition("/")[0]
    path = ("service", "pipelines", pipeline)
    if signal in _OTHER_SIGNALS:
        check.fault(path, f"pipelines of {signal} are not supported: Headrace takes metrics only")
    elif signal != "metrics" or not _ID.fullmatch(pipeline):
        check.fault(path, f"must be metrics or metrics/name{hint(signal, ['metrics']) if signal != 'metrics' else ''}")


def _refer(
    check: _Check, path: Path, kind: str, name: str, components: Mapping[str, Mapping[str, Planned | None]]
) -> None:
    if name not in components[kind]:
        word = kind.removesuffix("s")
        check.fault(path, f"{word} {name!r} is not configured{hint(name, components[kind])}")


def _warn_of_unused(
    check: _Check,
    components: Mapping[str, Mapping[str, Planned | None]],
    service: ServiceConfig,
    pipelines: Sequence[PipelinePlan],
) -> None:
    used = {
        "extensions": set(service.extensions or ()),
        **{kind: {name for plan in pipelines for name in getattr(plan, kind)} for kind in KINDS[:3]},
    }
    used["connectors"] = used["receivers"] | used["exporters"]
    for kind, found in components.items():
        for name in found:
            if name not in used[kind]:
                place = check.document.place((kind, name))
                check.warnings.append(f"{place}: {kind}::{name} is configured but not used")


def _dump(config: BaseModel) -> Any:
    return config.model_dump(mode="json", by_alias=True)
