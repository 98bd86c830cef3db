"""Say in words why a request was denied, from its line in the audit log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FORBIDDEN = frozenset((401, 403, 503))

_CURES = {
    "date": "set the clock of the client (chrony, NTP): it may differ by five minutes",
    "region": "sign for the region of this service: --region of the proxy, region in the sigv4 settings of the client",
    "service": "sign for the service aps: --name aps of the proxy, service: aps in the sigv4 settings of the client",
    "access key": "use an access key of this daemon: headrace access key list",
    "session token": "get new temporary credentials: headrace access key create USER --duration 12h",
    "authorization": "sign the request, or send it through headrace sigv4-proxy",
    "host": "have the proxy in between keep the Host header, or sign for the name that it sends (--sign-host)",
    "body": "find what changes the body between client and daemon",
    "query": "post the parameters as a form, or set extensions.access.sigv4.lenient_query",
}


def is_denied(record: Mapping[str, Any]) -> bool:
    """Return whether a line of the audit log is about a request that was turned away."""
    data = record.get("additionalEventData") or {}
    return bool({"diagnosis", "decision"} & set(data)) and data.get("httpStatus") in _FORBIDDEN


def explain(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines that say what was asked, by whom, and what turned it away.

    Args:
        record: A line of the audit log for which `is_denied` holds.
    """
    data = record.get("additionalEventData") or {}
    code = f"{data.get('httpStatus')} {record.get('errorCode', '')}".strip()
    yield f"{record.get('eventTime')} {record.get('eventName')}: {code}, request {record.get('requestID')}"
    agent = record.get("userAgent") or "no user agent"
    yield f"  who:    {_who(record)}, from {record.get('sourceIPAddress')}, {agent}"
    yield f"  asked:  {data.get('action') or 'a path that does not exist'} on {_resource(record)}"
    if "diagnosis" in data:
        yield from _signature(data["diagnosis"])
    if "decision" in data:
        yield from _policies(data["decision"], str(data.get("action")), _resource(record))
    if data.get("grace"):
        yield "  grace:  it was allowed a moment ago, so the answer is 503 and senders keep what they have"


def _who(record: Mapping[str, Any]) -> str:
    user = record.get("userIdentity") or {}
    key = f" by access key {user['accessKeyId']}" if user.get("accessKeyId") else ""
    claimed = (record.get("additionalEventData") or {}).get("claimedUser")
    name = user.get("arn") or (f"someone who claims to be {claimed}" if claimed else "nobody known")
    return f"{name}{key}"


def _resource(record: Mapping[str, Any]) -> str:
    resources = record.get("resources") or [{}]
    return str(resources[0].get("ARN", "nothing"))


def _signature(diagnosis: Mapping[str, Any]) -> Iterator[str]:
    field = str(diagnosis.get("field"))
    yield f"  why:    {field}: {diagnosis.get('why')}"
    if field in _CURES:
        yield f"  cure:   {_CURES[field]}"


def _policies(decision: Mapping[str, Any], action: str, resource: str) -> Iterator[str]:
    considered = decision.get("considered") or []
    if decision.get("effect") == "explicitDeny":
        yield f"  why:    statement {decision.get('statement')} of policy {decision.get('policy')} denies it"
        yield "  cure:   change that statement; no other statement can allow what one denies"
        return
    names = ", ".join(decision.get("policies") or []) or "none"
    yield f"  why:    no statement allows it (policies: {names})"
    if not considered:
        yield f"          none of them speaks of {action}"
    for one in considered:
        kind = "allows" if one.get("allow") else "denies"
        if one.get("whyNot"):
            yield f"          {one.get('policy')}, {one.get('statement')} {kind} {action}, but {one['whyNot']}"
        else:
            yield f"          {one.get('policy')}, {one.get('statement')} {kind} it, not enough across accounts"
    statement = {"Effect": "Allow", "Action": [action], "Resource": resource}
    yield f"  cure:   {json.dumps(statement)}"
