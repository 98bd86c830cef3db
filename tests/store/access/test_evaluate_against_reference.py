"""Random policies and requests: the evaluator and the plain reading of the rules decide alike."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from typing import Any

import pytest

import reference_policy as reference
from headrace.store.access.evaluate import AccessRequest, Effect, considered, evaluate
from headrace.store.access.policy import parse_policy

ACCOUNT, OTHER = "123456789012", "210987654321"
WORKSPACES = [f"arn:aws:aps:us-east-1:{ACCOUNT}:workspace/ws-{n}" for n in "abc"]
ACTIONS = ["aps:RemoteWrite", "aps:QueryMetrics", "aps:GetLabels", "aps:DeleteWorkspace"]
PRINCIPALS = [
    (f"arn:aws:iam::{ACCOUNT}:user/writer", ACCOUNT),
    (f"arn:aws:sts::{ACCOUNT}:assumed-role/lab/session", ACCOUNT),
    (f"arn:aws:iam::{OTHER}:user/guest", OTHER),
]
ACTION_TEXTS = [*ACTIONS, "aps:*", "*", "APS:remotewrite", "aps:Get*", "aps:?ueryMetrics", "s3:Get*", "aps:*e*r*"]
RESOURCE_TEXTS = [
    *WORKSPACES,
    "*",
    "arn:aws:aps:*:*:workspace/*",
    f"arn:aws:aps:us-east-1:{ACCOUNT}:workspace/ws-?",
    "arn:aws:aps:us-west-2:*:*",
    "arn:aws:aps:us-east-1:${aws:PrincipalAccount}:workspace/ws-${aws:PrincipalTag/team}",
    "arn:aws:aps:us-east-1:${aws:PrincipalAccount, 'x'}:workspace/${aws:RequestTag/env, '*'}",
    "arn:aws:aps:us-east-1:*:workspace/ws-${*}",
]
STRINGS = ["a", "b", "A", "prod", "pro*", "p?od", "*", "${aws:PrincipalTag/team}", "${aws:username, 'prod'}", "${$}"]
TEXT_KEYS = ["aws:ResourceTag/env", "aws:RequestTag/env", "aws:TagKeys", "aws:PrincipalTag/team", "AWS:username"]
TIMES = ["2026-11-24T12:00:00Z", "2026-11-24", "1795521600", "2027-01-01T00:00:00+02:00"]
NUMBERS = ["1795521600", "5", "5.0", "-1"]
ADDRESSES = ["10.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32", "0.0.0.0/0"]
ARNS = [*(arn for arn, _ in PRINCIPALS), "arn:aws:iam::*:user/*", "arn:*:*:*:*:*", "arn:aws:sts::*:assumed-role/lab/*"]
ORDERS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
FAMILIES: list[tuple[list[str], list[str], list[str]]] = [
    (
        [f"String{n}" for n in ("Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike")],
        TEXT_KEYS,
        STRINGS,
    ),
    ([f"Numeric{n}" for n in ORDERS], ["aws:EpochTime"], NUMBERS),
    ([f"Date{n}" for n in ORDERS], ["aws:CurrentTime", "aws:EpochTime"], TIMES),
    (["Bool"], ["aws:SecureTransport"], ["true", "false"]),
    (["IpAddress", "NotIpAddress"], ["aws:SourceIp"], ADDRESSES),
    (["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"], ["aws:PrincipalArn"], ARNS),
]


def some(dice: random.Random, values: list[str], most: int = 3) -> Any:
    chosen = [dice.choice(values) for _ in range(dice.randint(1, most))]
    return chosen[0] if len(chosen) == 1 and dice.random() < 0.5 else chosen


def condition(dice: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(dice.choice([0, 0, 0, 1, 1, 2])):
        operators, keys, values = dice.choice(FAMILIES)
        if dice.random() < 0.1:
            operators, values = ["Null"], ["true", "false"]
        operator = dice.choice(operators)
        if operator != "Null":
            operator = dice.choice(["", "", "", "ForAllValues:", "ForAnyValue:"]) + operator
            operator += dice.choice(["", "", "IfExists"])
        made.setdefault(operator, {})[dice.choice(keys)] = some(dice, values)
    return made


def policy(dice: random.Random, *, resource: bool) -> dict[str, Any]:
    statements = []
    for _ in range(dice.randint(1, 3)):
        statement = {
            "Effect": dice.choice(["Allow", "Allow", "Allow", "Deny"]),
            dice.choice(["Action", "Action", "Action", "NotAction"]): some(dice, ACTION_TEXTS),
            dice.choice(["Resource", "Resource", "Resource", "NotResource"]): some(dice, RESOURCE_TEXTS),
        }
        found = condition(dice)
        if found or dice.random() < 0.2:
            statement["Condition"] = found
        if resource:
            names = [*(arn for arn, _ in PRINCIPALS), ACCOUNT, OTHER, f"arn:aws:iam::{OTHER}:root", "*",
                     f"arn:aws:iam::{ACCOUNT}:role/lab"]  # fmt: skip
            who = "*" if dice.random() < 0.3 else {"AWS": some(dice, names)}
            statement[dice.choice(["Principal", "Principal", "NotPrincipal"])] = who
        statements.append(statement)
    return {"Version": dice.choice(["2012-10-17", "2012-10-17", "2008-10-17"]), "Statement": statements}


def request(dice: random.Random) -> dict[str, Any]:
    arn, account = dice.choice(PRINCIPALS)
    context: dict[str, Any] = {"aws:principalarn": arn, "aws:principalaccount": account}
    offers: dict[str, list[Any]] = {
        "aws:resourcetag/env": ["prod", "a", "*"],
        "aws:requesttag/env": ["prod", "ws-a", "*"],
        "aws:tagkeys": [("a",), ("a", "b"), ("prod", "b"), ()],
        "aws:principaltag/team": ["a", "*", "b"],
        "aws:username": ["writer", "prod"],
        "aws:sourceip": ["10.1.2.3", "::1", "192.0.2.1", "2001:db8::5"],
        "aws:currenttime": TIMES,
        "aws:epochtime": NUMBERS,
        "aws:securetransport": ["true", "false"],
    }
    for key, values in offers.items():
        if dice.random() < 0.7:
            context[key] = dice.choice(values)
    return {
        "principal_arn": arn,
        "account": account,
        "action": dice.choice(ACTIONS),
        "resource": dice.choice(WORKSPACES),
        "resource_account": ACCOUNT,
        "context": context,
    }


@pytest.mark.fuzz
def test_they_decide_alike() -> None:
    runs = int(os.environ.get("HEADRACE_FUZZ_RUNS", "3000"))
    dice = random.Random(11)
    seen: Counter[str] = Counter()
    for _ in range(runs // 5 + 1):
        documents = [policy(dice, resource=False) for _ in range(dice.randint(0, 3))]
        resource_document = policy(dice, resource=True) if dice.random() < 0.5 else None
        identity = [parse_policy(json.dumps(one), f"p{n}") for n, one in enumerate(documents)]
        resource = parse_policy(resource_document, "r", resource_policy=True) if resource_document else None
        for _ in range(5):
            asked = request(dice)
            ours = AccessRequest(
                asked["principal_arn"], asked["account"], asked["action"], asked["resource"], asked["context"]
            )
            verdict = evaluate(identity, resource, ours, asked["resource_account"])
            expected = reference.decide(documents, resource_document, asked)
            assert verdict.effect.value == expected, json.dumps([documents, resource_document, asked], default=str)
            seen[expected] += 1
            _check_explanation(identity, ours, verdict.effect)
    assert min(seen[effect.value] for effect in Effect) > runs / 50, seen


def _check_explanation(identity: list[Any], ours: AccessRequest, effect: Effect) -> None:
    """A statement that is said to apply is one that counts."""
    applying = [one for one in considered(identity, ours) if not one.why_not]
    if any(not one.allow for one in applying):
        assert effect is Effect.EXPLICIT_DENY
    if ours.account == ACCOUNT and any(one.allow for one in applying):
        assert effect is not Effect.IMPLICIT_DENY
