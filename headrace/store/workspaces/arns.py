"""Amazon Resource Names of the service ``aps``.

``arn:aws:aps:REGION:ACCOUNT:workspace/ws-...``; the other kinds (``rulegroupsnamespace/ws-.../NAME``,
``scraper/s-...``, ``anomalydetector/ws-.../ad-...``) are read as well, so that they are told from what is no ARN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ARN = re.compile(
    r"(?P<partition>arn:aws[-a-z]*):aps:(?P<region>[-a-z0-9]+):(?P<account>[0-9]{12}):"
    r"(?P<kind>workspace|rulegroupsnamespace|scraper|anomalydetector)/(?P<name>[^\s\x00-\x1f]+)"
)
MAX_LENGTH = 1024
"""No ARN of this service is near as long; longer text is not looked at."""


@dataclass(frozen=True)
class Arn:
    """One ARN of the service."""

    region: str
    account: str
    """Twelve digits."""
    kind: str
    """Such as ``workspace``."""
    name: str
    """What follows the kind, such as ``ws-...``."""
    partition: str = "aws"

    def __str__(self) -> str:
        return f"arn:{self.partition}:aps:{self.region}:{self.account}:{self.kind}/{self.name}"


def workspace_arn(region: str, account: str, workspace_id: str) -> str:
    """Return the ARN of a workspace."""
    return str(Arn(region, account, "workspace", workspace_id))


def parse_arn(text: str) -> Arn | None:
    """Return the parts of an ARN of this service; None if `text` is none."""
    match = _ARN.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        return None
    partition = match["partition"].removeprefix("arn:")
    return Arn(match["region"], match["account"], match["kind"], match["name"], partition)
