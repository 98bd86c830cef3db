"""Settings of ``kubernetes_sd_configs``.

Source:
    Prometheus 3.14, "Configuration", section kubernetes_sd_config.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.discovery.kubernetes.selectors import check_field_selector, check_label_selector
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS, HttpConfig, check_url

Role = Literal["node", "pod", "service", "endpoints", "endpointslice", "ingress"]

_SELECTORS: dict[Role, tuple[Role, ...]] = {
    "pod": ("pod", "node"),
    "service": ("service",),
    "endpointslice": ("pod", "service", "endpointslice"),
    "endpoints": ("pod", "service", "endpoints"),
    "node": ("node",),
    "ingress": ("ingress",),
}
"""Which objects each role may choose among."""


class NamespacesConfig(ComponentConfig):
    """Which namespaces are looked at; all of them where none is named."""

    model_config = NUMBERS_ARE_TEXTS

    own_namespace: bool = False
    """Look at the namespace that the daemon runs in."""

    names: tuple[str, ...] = ()
    """Look at these."""

    @field_validator("names", mode="before")
    @classmethod
    def _take_nothing(cls, names: Any) -> Any:
        return () if names is None else names


class SelectorConfig(ComponentConfig):
    """Choose among objects of one role; the API server does it."""

    role: Role
    """Kind of the objects."""

    label: str = ""
    """Label selector, such as ``app=web,tier in (a, b)``."""

    field: str = ""
    """Field selector, such as ``spec.nodeName=here``."""

    @field_validator("label")
    @classmethod
    def _check_label(cls, selector: str) -> str:
        return check_label_selector(selector)

    @field_validator("field")
    @classmethod
    def _check_field(cls, selector: str) -> str:
        return check_field_selector(selector)


class AttachMetadataConfig(ComponentConfig):
    """What other objects add labels; the daemon has to be allowed to list and watch them."""

    node: bool = False
    """Labels and annotations of the node, for the roles pod, endpoints and endpointslice."""

    namespace: bool = False
    """Labels and annotations of the namespace, for all roles but node."""

    deployment: bool = False
    """Name of the deployment of a pod, from its ReplicaSet."""

    job: bool = False
    """Name of the job of a pod."""

    cronjob: bool = False
    """Name of the cron job of a pod, from its job."""


class KubernetesSdConfig(HttpConfig):
    """Objects of a Kubernetes cluster that are targets."""

    api_server: str = ""
    """URL of the API server. Without it, and without kubeconfig_file, the daemon runs in the cluster and uses the
    account of its pod."""

    role: Role
    """Kind of the objects."""

    kubeconfig_file: str = ""
    """File as kubectl uses it."""

    namespaces: NamespacesConfig = NamespacesConfig()
    """Which namespaces are looked at."""

    selectors: tuple[SelectorConfig, ...] = ()
    """Which objects, by their labels and fields."""

    attach_metadata: AttachMetadataConfig = AttachMetadataConfig()
    """What else adds labels."""

    @field_validator("api_server", "kubeconfig_file", mode="before")
    @classmethod
    def _take_no_text(cls, text: Any) -> Any:
        return "" if text is None else text

    @field_validator("api_server")
    @classmethod
    def _check_server(cls, url: str) -> str:
        return check_url(url) if url else url

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.api_server and self.kubeconfig_file:
            raise ValueError("cannot use 'kubeconfig_file' and 'api_server' simultaneously")
        if self.kubeconfig_file and self._has_client():
            raise ValueError("cannot use a custom HTTP client configuration together with 'kubeconfig_file'")
        if not self.api_server and self._has_client():
            raise ValueError("to use custom HTTP client configuration please provide the 'api_server' URL explicitly")
        if self.namespaces.own_namespace and (self.api_server or self.kubeconfig_file):
            given = "api_server" if self.api_server else "kubeconfig_file"
            raise ValueError(f"cannot use '{given}' and 'namespaces.own_namespace' simultaneously")
        return self

    @model_validator(mode="after")
    def _check_selectors(self) -> Self:
        seen = set()
        for selector in self.selectors:
            if selector.role in seen:
                raise ValueError(f"duplicated selector role: {selector.role}")
            seen.add(selector.role)
            if selector.role not in _SELECTORS[self.role]:
                raise ValueError(f"{self.role} role supports only {', '.join(_SELECTORS[self.role])} selectors")
        return self

    def client(self) -> HttpConfig:
        """Return the settings of the HTTP client alone."""
        return HttpConfig.model_construct(**{name: getattr(self, name) for name in HttpConfig.model_fields})

    def _has_client(self) -> bool:
        return self.client() != HttpConfig()
