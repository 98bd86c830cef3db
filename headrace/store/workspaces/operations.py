"""The operations of the control plane: how requests name them, and which of them are served.

A path is matched as it came, percent-encoded, and its parts are decoded one by one afterwards: the ARN in
``/tags/arn%3Aaws%3A...workspace%2Fws-...`` is one part. Some clients send that ARN with its slashes plain, so
``/tags/`` takes the rest of the path whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

MAX_PATH_LENGTH = 4096
"""Longer paths name no operation: the longest part, an ARN, has less than this even with every byte encoded."""

SUPPORTED = frozenset(
    {
        "CreateWorkspace",
        "DeleteResourcePolicy",
        "DeleteWorkspace",
        "DescribeResourcePolicy",
        "DescribeWorkspace",
        "DescribeWorkspaceConfiguration",
        "ListTagsForResource",
        "ListWorkspaces",
        "PutResourcePolicy",
        "TagResource",
        "UntagResource",
        "UpdateWorkspaceAlias",
        "UpdateWorkspaceConfiguration",
    }
)
"""The operations that `ControlPlane` serves; of the others it says that they are not supported."""


@dataclass(frozen=True)
class Operation:
    """One operation of the service model."""

    name: str
    method: str
    uri: str
    """The URI pattern, with parameters in braces."""
    status: int
    """HTTP status of a success."""

    @property
    def action(self) -> str:
        """The IAM action that a policy grants for it."""
        return f"aps:{self.name}"

    @property
    def supported(self) -> bool:
        """Whether it is served."""
        return self.name in SUPPORTED

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a raw path has to match; one group a parameter."""
        part = ".+" if self.uri == "/tags/{resourceArn}" else "[^/]+"
        return re.compile(re.sub(r"\{(\w+)\}", rf"(?P<\1>{part})", self.uri))


OPERATIONS = tuple(
    Operation(*row)
    for row in (
        ("CreateAlertManagerDefinition", "POST", "/workspaces/{workspaceId}/alertmanager/definition", 202),
        ("CreateAnomalyDetector", "POST", "/workspaces/{workspaceId}/anomalydetectors", 202),
        ("CreateLoggingConfiguration", "POST", "/workspaces/{workspaceId}/logging", 202),
        ("CreateQueryLoggingConfiguration", "POST", "/workspaces/{workspaceId}/logging/query", 202),
        ("CreateRuleGroupsNamespace", "POST", "/workspaces/{workspaceId}/rulegroupsnamespaces", 202),
        ("CreateScraper", "POST", "/scrapers", 202),
        ("CreateWorkspace", "POST", "/workspaces", 202),
        ("DeleteAlertManagerDefinition", "DELETE", "/workspaces/{workspaceId}/alertmanager/definition", 202),
        ("DeleteAnomalyDetector", "DELETE", "/workspaces/{workspaceId}/anomalydetectors/{anomalyDetectorId}", 202),
        ("DeleteLoggingConfiguration", "DELETE", "/workspaces/{workspaceId}/logging", 202),
        ("DeleteQueryLoggingConfiguration", "DELETE", "/workspaces/{workspaceId}/logging/query", 202),
        ("DeleteResourcePolicy", "DELETE", "/workspaces/{workspaceId}/policy", 202),
        ("DeleteRuleGroupsNamespace", "DELETE", "/workspaces/{workspaceId}/rulegroupsnamespaces/{name}", 202),
        ("DeleteScraper", "DELETE", "/scrapers/{scraperId}", 202),
        ("DeleteScraperLoggingConfiguration", "DELETE", "/scrapers/{scraperId}/logging-configuration", 202),
        ("DeleteWorkspace", "DELETE", "/workspaces/{workspaceId}", 202),
        ("DescribeAlertManagerDefinition", "GET", "/workspaces/{workspaceId}/alertmanager/definition", 200),
        ("DescribeAnomalyDetector", "GET", "/workspaces/{workspaceId}/anomalydetectors/{anomalyDetectorId}", 200),
        ("DescribeLoggingConfiguration", "GET", "/workspaces/{workspaceId}/logging", 200),
        ("DescribeQueryLoggingConfiguration", "GET", "/workspaces/{workspaceId}/logging/query", 200),
        ("DescribeResourcePolicy", "GET", "/workspaces/{workspaceId}/policy", 200),
        ("DescribeRuleGroupsNamespace", "GET", "/workspaces/{workspaceId}/rulegroupsnamespaces/{name}", 200),
        ("DescribeScraper", "GET", "/scrapers/{scraperId}", 200),
        ("DescribeScraperLoggingConfiguration", "GET", "/scrapers/{scraperId}/logging-configuration", 200),
        ("DescribeWorkspace", "GET", "/workspaces/{workspaceId}", 200),
        ("DescribeWorkspaceConfiguration", "GET", "/workspaces/{workspaceId}/configuration", 200),
        ("GetDefaultScraperConfiguration", "GET", "/scraperconfiguration", 200),
        ("ListAnomalyDetectors", "GET", "/workspaces/{workspaceId}/anomalydetectors", 200),
        ("ListRuleGroupsNamespaces", "GET", "/workspaces/{workspaceId}/rulegroupsnamespaces", 200),
        ("ListScrapers", "GET", "/scrapers", 200),
        ("ListTagsForResource", "GET", "/tags/{resourceArn}", 200),
        ("ListWorkspaces", "GET", "/workspaces", 200),
        ("PutAlertManagerDefinition", "PUT", "/workspaces/{workspaceId}/alertmanager/definition", 202),
        ("PutAnomalyDetector", "PUT", "/workspaces/{workspaceId}/anomalydetectors/{anomalyDetectorId}", 202),
        ("PutResourcePolicy", "PUT", "/workspaces/{workspaceId}/policy", 202),
        ("PutRuleGroupsNamespace", "PUT", "/workspaces/{workspaceId}/rulegroupsnamespaces/{name}", 202),
        ("TagResource", "POST", "/tags/{resourceArn}", 200),
        ("UntagResource", "DELETE", "/tags/{resourceArn}", 200),
        ("UpdateLoggingConfiguration", "PUT", "/workspaces/{workspaceId}/logging", 202),
        ("UpdateQueryLoggingConfiguration", "PUT", "/workspaces/{workspaceId}/logging/query", 202),
        ("UpdateScraper", "PUT", "/scrapers/{scraperId}", 202),
        ("UpdateScraperLoggingConfiguration", "PUT", "/scrapers/{scraperId}/logging-configuration", 202),
        ("UpdateWorkspaceAlias", "POST", "/workspaces/{workspaceId}/alias", 204),
        ("UpdateWorkspaceConfiguration", "PATCH", "/workspaces/{workspaceId}/configuration", 202),
    )
)
"""All operations of the model ``amp/2020-08-01``."""

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def find(method: str, raw_path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation a request names, with its decoded path parameters; None if it names none.

    Args:
        method: In capitals.
        raw_path: The path as sent, percent-encoded, without the query string.
    """
    if len(raw_path) > MAX_PATH_LENGTH:
        return None
    for operation in OPERATIONS:
        match = operation.pattern.fullmatch(raw_path) if operation.method == method else None
        if match is not None:
            return operation, {name: unquote(part) for name, part in match.groupdict().items()}
    return None
