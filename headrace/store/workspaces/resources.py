"""Which resource an operation is about: the ARN that policies are asked about.

Source:
    AWS Service Authorization Reference, "Actions, resources, and condition keys for Amazon Managed Service for
    Prometheus".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.store.workspaces.operations import Operation


def resource_arn(operation: Operation, params: Mapping[str, str], region: str, account: str) -> str:
    """Return the ARN of what an operation is about.

    Args:
        operation: What `operations.find` found.
        params: The parameters that it found.
        region: Such as ``us-east-1``.
        account: Twelve digits.
    """
    if "resourceArn" in params:
        return params["resourceArn"]
    prefix = f"arn:aws:aps:{region}:{account}:"
    workspace = params.get("workspaceId", "")
    if "anomalyDetectorId" in params:
        return f"{prefix}anomalydetector/{workspace}/{params['anomalyDetectorId']}"
    if "name" in params:
        return f"{prefix}rulegroupsnamespace/{workspace}/{params['name']}"
    if workspace:
        return f"{prefix}workspace/{workspace}"
    if "scraperId" in params:
        return f"{prefix}scraper/{params['scraperId']}"
    return f"{prefix}{operation.uri}"
