"""Targets from the API of Kubernetes: ``kubernetes_sd_configs``."""

from headrace.pipeline.discovery.contract import DiscoveryFactory
from headrace.pipeline.discovery.kubernetes.config import KubernetesSdConfig
from headrace.pipeline.discovery.kubernetes.discovery import KubernetesDiscovery

FACTORY = DiscoveryFactory(name="kubernetes", config=KubernetesSdConfig, create=KubernetesDiscovery)

__all__ = ["FACTORY", "KubernetesDiscovery", "KubernetesSdConfig"]
