"""Targets from the API of Kubernetes: ``kubernetes_sd_configs``."""

from headrace.pipeline.discovery.kubernetes.config import KubernetesSdConfig
from headrace.pipeline.discovery.kubernetes.discovery import FACTORY, KubernetesDiscovery

__all__ = ["FACTORY", "KubernetesDiscovery", "KubernetesSdConfig"]
