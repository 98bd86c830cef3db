"""Service discovery: kinds that find targets, and what runs them for a scrape job."""

from headrace.pipeline.discovery.contract import ADDRESS, Discovery, DiscoveryFactory, DiscoverySettings, TargetGroup
from headrace.pipeline.discovery.groups import TargetGroupConfig, check_labels
from headrace.pipeline.discovery.polling import DiscoveryFailed, poll
from headrace.pipeline.discovery.runner import Discoverer

__all__ = [
    "ADDRESS",
    "Discoverer",
    "Discovery",
    "DiscoveryFactory",
    "DiscoveryFailed",
    "DiscoverySettings",
    "TargetGroup",
    "TargetGroupConfig",
    "check_labels",
    "poll",
]
