"""Add to resources what is known about the host: from the environment and from the system.

Detection is done once, when the pipeline is made. Detectors of clouds and orchestrators are refused by name.
"""

from __future__ import annotations

import os
import platform
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.identity import Series
    from headrace.pipeline.series_view import Attributes

_OTHERS = (
    "akamai", "aks", "alibaba_ecs", "azure", "consul", "digitalocean", "docker", "dynatrace", "ec2", "ecs", "eks",
    "elasticbeanstalk", "gcp", "gke", "heroku", "hetzner", "k8snode", "kubeadm", "kubernetes_node", "lambda", "nova",
    "openshift", "openstack", "oraclecloud", "scaleway", "tencent_cvm", "upcloud", "vultr",
)  # fmt: skip
_REFUSED = {
    **dict.fromkeys(_OTHERS, "the detectors are env and system"),
    "fail_on_missing_metadata": "env and system always answer",
    "refresh_interval": "what is detected holds until a reload",
    "attributes": "use resource_attributes of the detector",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm32", "i686": "x86", "ppc64le": "ppc64"}


class Enabled(ComponentConfig):
    """Whether an attribute is added."""

    enabled: bool
    """Add it, or not."""


class SystemDetectorConfig(ComponentConfig):
    """Settings of the detector ``system``."""

    hostname_sources: tuple[str, ...] = ("os",)
    """Where ``host.name`` comes from: ``os``. Names that a resolver would have to be asked for are refused."""

    resource_attributes: dict[str, Enabled] = Field(default_factory=dict)
    """By name of the attribute: ``host.name`` and ``os.type`` are added unless they are disabled; ``host.arch``,
    ``os.description`` and ``os.version`` are added where they are enabled."""

    @field_validator("hostname_sources")
    @classmethod
    def _known_sources(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [one for one in sources if one != "os"]
        if wrong or not sources:
            raise ValueError(f"hostname_sources is [os]; {', '.join(wrong) or 'nothing'} is not supported")
        return sources

    @field_validator("resource_attributes")
    @classmethod
    def _known(cls, attributes: dict[str, Enabled]) -> dict[str, Enabled]:
        wrong = [name for name, one in attributes.items() if name not in _SYSTEM and one.enabled]
        if wrong:
            raise ValueError(f"not supported: {', '.join(wrong)} (there: {', '.join(_SYSTEM)})")
        return attributes


class ResourceDetectionConfig(ComponentConfig):
    """Settings of the ``resourcedetection`` processor."""

    detectors: tuple[str, ...] = ("env",)
    """``env`` reads ``OTEL_RESOURCE_ATTRIBUTES`` (``key=value,key=value``, percent-encoded), ``system`` asks the
    operating system. Of two that know an attribute, the first in the list has its way."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """How long detection may take in the Collector; neither detector waits for anything."""

    override: bool = True
    """Replace attributes that resources have already."""

    system: SystemDetectorConfig = SystemDetectorConfig()
    """Of the detector ``system``."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _REFUSED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        wrong = [one for one in self.detectors if one not in {"env", "system"}]
        if wrong:
            raise ValueError(f"detectors are env and system; not supported: {', '.join(wrong)}")
        if not self.detectors:
            raise ValueError("detectors must name one")
        return self


class ResourceDetectionProcessor:
    """Adds what was detected once to each new series.

    Args:
        settings: Of the component.
        config: Which detectors.
        environment: Variables that ``env`` reads; those of the process by default.
    """

    def __init__(
        self, settings: Settings, config: ResourceDetectionConfig, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._override = config.override
        self.detected: Attributes = {}
        """What was detected."""
        for name in config.detectors:
            found = _of_environment(environment) if name == "env" else _of_system(config.system)
            self.detected = {**found, **self.detected}
        settings.logger.info("detected resource: %s", self.detected)

    def admit(self, series: Series) -> Series | None:
        """Return the series with its resource extended."""
        view = SeriesView.of(series)
        view.resource = {**view.resource, **self.detected} if self._override else {**self.detected, **view.resource}
        return view.series()


def _of_environment(environment: Mapping[str, str]) -> Attributes:
    """Read the variable; parts that are no ``key=value`` say nothing."""
    text = environment.get("OTEL_RESOURCE_ATTRIBUTES", "") or environment.get("OTEL_RESOURCE", "")
    pairs = [part.partition("=") for part in text.split(",")]
    return {key.strip(): unquote(value.strip()) for key, sign, value in pairs if sign and key.strip()}


def _of_system(config: SystemDetectorConfig) -> Attributes:
    wanted = {"host.name": True, "os.type": True, **{k: v.enabled for k, v in config.resource_attributes.items()}}
    return {name: _SYSTEM[name]() for name, is_wanted in wanted.items() if is_wanted}


def _architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


_SYSTEM: dict[str, Callable[[], str]] = {
    "host.name": socket.gethostname,
    "os.type": lambda: platform.system().lower(),
    "host.arch": _architecture,
    "os.description": lambda: " ".join(platform.uname()),
    "os.version": platform.release,
}


FACTORY = ProcessorFactory(name="resourcedetection", config=ResourceDetectionConfig, create=ResourceDetectionProcessor)
