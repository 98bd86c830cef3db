"""Policies that are there without being written: AWS' managed policies for this service, by their names.

Source:
    AWS Managed Policy Reference Guide.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

QUERY_ACTIONS = ("aps:GetLabels", "aps:GetMetricMetadata", "aps:GetSeries", "aps:QueryMetrics")
"""Those that read samples."""

WRITE_ACTIONS = ("aps:RemoteWrite",)
"""Those that write samples."""


def _allow(*actions: str) -> Mapping[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


MANAGED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "AdministratorAccess": _allow("*"),
        "AmazonPrometheusFullAccess": _allow("aps:*"),
        "AmazonPrometheusQueryAccess": _allow(*QUERY_ACTIONS),
        "AmazonPrometheusRemoteWriteAccess": _allow(*WRITE_ACTIONS),
    }
)
"""Documents by name."""
