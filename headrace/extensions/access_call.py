"""One request on its way through the gate: what it asks for, who asks, and what the audit log will say about it.

Source:
    AWS CloudTrail User Guide, "CloudTrail record contents".
"""

from __future__ import annotations

import json
import random
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from headrace.pipeline.http.form import parse_form
from headrace.store.workspaces.arns import parse_arn
from headrace.store.workspaces.operations import find
from headrace.store.workspaces.resources import resource_arn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.http.request import Request
    from headrace.store.access.identities import Identity
    from headrace.store.workspaces.operations import Operation

_KEY_ID = re.compile(r"A[KS]IA[A-Z0-9_]{12,124}", re.ASCII)
_MAX_TEXT = 256
_MAX_PARAMETERS = 4096
_READ_ONLY = ("Describe", "List", "Get", "Query")
STATUS_ACTION = "headrace:ReadStatus"
"""What reading the daemon's own status asks for; ``aps:*`` does not cover it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for.

    Attributes:
        action: Such as ``aps:RemoteWrite``; empty where no route was found.
        resource: ARN.
        workspace: Id in the ARN; empty where it names none.
        account: Whose the resource is.
        operation: Operation of the control plane; None on the data plane.
        params: Parts of the path.
    """

    action: str
    resource: str
    workspace: str
    account: str
    operation: Operation | None
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Account:
    """Whose resources are served.

    Attributes:
        id: Twelve digits.
        region: Such as ``us-east-1``.
    """

    id: str
    region: str

    def target(self, request: Request, action: str | None) -> Target:
        """Return what a request asks for.

        Args:
            request: The request.
            action: `Route.action`, None where no route was found.
        """
        found = find(request.method, request.path) if action in ("", None) else None
        if found is not None:
            operation, params = found
            resource = resource_arn(operation, params, self.region, self.id)
            arn = parse_arn(resource)
            workspace = params.get("workspaceId") or (arn.name if arn is not None and arn.kind == "workspace" else "")
            return Target(operation.action, resource, workspace, arn.account if arn else self.id, operation, params)
        prefix = f"arn:aws:aps:{self.region}:{self.id}:"
        if action:
            workspace = request.params.get("id", "")
            return Target(
                action, f"{prefix}workspace/{workspace}", workspace, self.id, None, {"workspaceId": workspace}
            )
        return Target("" if action is None else STATUS_ACTION, f"{prefix}{request.path}", "", self.id, None, {})


def _uuid() -> str:
    # It has to be unique, not secret.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class Call:
    """A request being decided about.

    Attributes:
        request: The request.
        target: What it asks for.
        now_ns: When it came, Unix time.
        identity: Who asks, once known.
        key_id: Access key it names, as far as it looks like one.
        error: AWS' name of the error, once it is denied.
        message: For the log: why; holds no secret.
        detail: What `headrace access explain` tells.
    """

    request: Request
    target: Target
    now_ns: int
    identity: Identity | None = None
    key_id: str = ""
    error: str = ""
    message: str = ""
    detail: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    _request_id: str = ""

    @property
    def request_id(self) -> str:
        """Id of the request, made when it is first asked for."""
        if not self._request_id:
            self._request_id = _uuid()
        return self._request_id

    def claim_key(self, key_id: str) -> None:
        """Take note of the access key that the request names; people put secrets there by mistake."""
        self.key_id = key_id if _KEY_ID.fullmatch(key_id) else ""

    def context(self, tags: Mapping[str, str], region: str) -> dict[str, str | tuple[str, ...]]:
        """Return the condition keys of the request, lower-case.

        Args:
            tags: Those of the resource.
            region: Of this service.
        """
        request, identity = self.request, self.identity
        seconds = self.now_ns // 1_000_000_000
        found: dict[str, str | tuple[str, ...]] = {
            "aws:sourceip": request.peer.address,
            "aws:currenttime": _iso(seconds),
            "aws:epochtime": str(seconds),
            "aws:securetransport": "true" if request.raw.secure else "false",
            "aws:requestedregion": region,
            "aws:resourceaccount": self.target.account,
        }
        agent = request.headers.get("User-Agent")
        if agent is not None:
            found["aws:useragent"] = agent
        if identity is not None:
            found["aws:principalarn"] = identity.arn
            found["aws:principalaccount"] = identity.arn.split(":")[4]
            found["aws:principaltype"] = "User"
            found["aws:username"] = found["aws:userid"] = identity.user.name
            for key, value in identity.user.tags.items():
                found[f"aws:principaltag/{key.lower()}"] = value
        for key, value in tags.items():
            found[f"aws:resourcetag/{key.lower()}"] = value
        return found

    async def tag_context(self, context: dict[str, str | tuple[str, ...]]) -> None:
        """Add the condition keys about the tags that a request to the control plane carries."""
        operation = self.target.operation
        if operation is None or operation.name not in _TAGGING:
            return
        if operation.name == "UntagResource":
            keys = tuple(value for name, value in parse_form(self.request.query_string).pairs if name == "tagKeys")
            context["aws:tagkeys"] = keys
            return
        tags = _member(await self.request.body(), "tags")
        if isinstance(tags, dict):
            texts = {key: value for key, value in tags.items() if isinstance(value, str)}
            context["aws:tagkeys"] = tuple(texts)
            context.update({f"aws:requesttag/{key.lower()}": value for key, value in texts.items()})

    def record(self, status: int, account: Account, body: bytes | None) -> dict[str, Any]:
        """Return the line for the audit log.

        Args:
            status: HTTP status of the answer.
            account: Whose resources are served.
            body: Body of a request to the control plane; None where it was not read.
        """
        target, request = self.target, self.request
        name = target.action.partition(":")[2] or "UnknownOperation"
        managed = target.operation is not None
        line: dict[str, Any] = {
            "eventVersion": "1.11",
            "userIdentity": self._user(account),
            "eventTime": _iso(self.now_ns // 1_000_000_000),
            "eventSource": "aps.amazonaws.com",
            "eventName": name,
            "awsRegion": account.region,
            "sourceIPAddress": request.peer.address,
            "userAgent": request.headers.get("User-Agent", "")[:_MAX_TEXT],
            "requestParameters": self._parameters(body),
            "responseElements": None,
            "additionalEventData": {"httpStatus": status, "action": target.action, **self.detail},
            "requestID": self.request_id,
            "eventID": _uuid(),
            "readOnly": name.startswith(_READ_ONLY),
            "resources": [{"ARN": target.resource[:_MAX_TEXT], "accountId": target.account}],
            "eventType": "AwsApiCall",
            "managementEvent": managed,
            "eventCategory": "Management" if managed else "Data",
            "recipientAccountId": account.id,
        }
        if self.error or status >= 400:
            code, message = request.failure or (f"HTTP{status}", "")
            line["errorCode"] = self.error or code
            line["errorMessage"] = self.message or message
        return line

    def _user(self, account: Account) -> dict[str, str]:
        named = {"accessKeyId": self.key_id} if self.key_id else {}
        if self.identity is None:
            return {"type": "Unknown", **named}
        name = self.identity.user.name
        return {
            "type": "IAMUser",
            "principalId": name,
            "arn": self.identity.arn,
            "accountId": account.id,
            "userName": name,
            **named,
        }

    def _parameters(self, body: bytes | None) -> dict[str, Any]:
        """Return what is asked; of the data plane the path alone, since queries and samples are the users' data."""
        found: dict[str, Any] = {key: value[:_MAX_TEXT] for key, value in self.target.params.items()}
        if self.target.operation is None:
            found["method"], found["path"] = self.request.method, self.request.path[:_MAX_TEXT]
            return found
        if body and len(body) <= _MAX_PARAMETERS:
            given = _decoded(body)
            if isinstance(given, dict):
                found.update(given)
        return found


_TAGGING = frozenset(("CreateWorkspace", "CreateScraper", "CreateRuleGroupsNamespace", "TagResource", "UntagResource"))


def _decoded(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _member(body: bytes, name: str) -> object:
    decoded = _decoded(body)
    return decoded.get(name) if isinstance(decoded, dict) else None


def _iso(seconds: int) -> str:
    if seconds != _last_iso[0]:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        _last_iso[:] = [seconds, text]
    return str(_last_iso[1])


_last_iso: list[Any] = [-1, ""]
"""The text of the last second that was asked for: it is the same for thousands of requests."""
