"""Policies are read whole, and every fault is named by its place."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.store.access.evaluate import AccessRequest, Effect, considered, evaluate
from headrace.store.access.policy import parse_policy

ACCOUNT = "123456789012"
ARN = f"arn:aws:aps:us-east-1:{ACCOUNT}:workspace/ws-1"
LAB = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Write", "Effect": "Allow", "Action": ["aps:RemoteWrite"], "Resource": ARN},
        {"Sid": "Query", "Effect": "Allow", "Action": ["aps:QueryMetrics", "aps:GetSeries"], "Resource": ARN},
    ],
}


def statement(**changes: Any) -> dict[str, Any]:
    made = {"Effect": "Allow", "Action": "aps:*", "Resource": "*", **changes}
    return {"Version": "2012-10-17", "Statement": {key: value for key, value in made.items() if value is not None}}


def ask(action: str, resource: str = ARN, **context: Any) -> AccessRequest:
    return AccessRequest(f"arn:aws:iam::{ACCOUNT}:user/writer", ACCOUNT, action, resource, context)


@pytest.mark.parametrize(
    ("action", "resource", "effect", "by"),
    [
        ("aps:RemoteWrite", ARN, Effect.ALLOW, "Write"),
        ("aps:QueryMetrics", ARN, Effect.ALLOW, "Query"),
        ("aps:DeleteWorkspace", ARN, Effect.IMPLICIT_DENY, ""),
        ("aps:RemoteWrite", ARN + "2", Effect.IMPLICIT_DENY, ""),
        ("aps:RemoteWrite", ARN.replace("us-east-1", "us-west-2"), Effect.IMPLICIT_DENY, ""),
    ],
)
def test_the_policy_of_the_lab(action: str, resource: str, effect: Effect, by: str) -> None:
    policy = parse_policy(json.dumps(LAB), "lab")
    verdict = evaluate([policy], None, ask(action, resource), ACCOUNT)
    assert (verdict.effect, verdict.statement) == (effect, by)


def test_denials_are_explained() -> None:
    documents = [
        LAB,
        statement(Sid="Office", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        statement(Sid="Never", Effect="Deny", Action="aps:Delete*"),
    ]
    policies = [parse_policy(one, f"p{n}") for n, one in enumerate(documents)]
    context = {"aws:sourceip": "192.0.2.1"}
    found = list(considered(policies, ask("aps:RemoteWrite", ARN + "2", **context)))
    assert [(one.policy, one.statement, one.why_not) for one in found] == [
        ("p0", "Write", f"resource {ARN}2 does not match {ARN}"),
        ("p1", "Office", "condition IpAddress: aws:SourceIp is '192.0.2.1', and the policy names '10.0.0.0/8'"),
    ]
    verdict = evaluate(policies, None, ask("aps:DeleteWorkspace"), ACCOUNT)
    assert verdict == (Effect.EXPLICIT_DENY, "p2", "Never")


def test_a_resource_policy_alone_is_enough_at_home_and_not_abroad() -> None:
    resource = parse_policy(statement(Principal={"AWS": [ACCOUNT, "210987654321"]}), resource_policy=True)
    allow = parse_policy(statement())
    guest = AccessRequest("arn:aws:iam::210987654321:user/g", "210987654321", "aps:QueryMetrics", ARN, {})
    assert evaluate([], resource, ask("aps:QueryMetrics"), ACCOUNT).allowed
    assert not evaluate([], resource, guest, ACCOUNT).allowed
    assert evaluate([allow], resource, guest, ACCOUNT).allowed
    assert not evaluate([allow], None, guest, ACCOUNT).allowed


def test_a_value_is_no_wildcard() -> None:
    policy = parse_policy(statement(Resource="arn:aws:aps:*:*:workspace/${aws:PrincipalTag/team}"))
    for tag, allowed in (("*", False), ("ws-1", True), ("ws-?", False)):
        request = ask("aps:RemoteWrite", **{"aws:principaltag/team": tag})
        assert evaluate([policy], None, request, ACCOUNT).allowed == allowed
    assert not evaluate([policy], None, ask("aps:RemoteWrite"), ACCOUNT).allowed


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("[]", "must be a JSON object"),
        ("{", "is not JSON: Expecting property name"),
        ('{"Version": "2012-10-17", "Version": "x"}', "Version: stands twice"),
        ({"Statement": []}, "Statement: must be a statement or a list"),
        ({"Statments": []}, "Statments: unknown element, did you mean 'Statement'"),
        ({"Version": "2020-01-01", "Statement": []}, "Version: must be 2012-10-17, got '2020-01-01'"),
        ({"Statement": [1]}, r"Statement\[0\]: must be an object"),
        (statement(Effect="Permit"), r"Statement\[0\]\.Effect: must be Allow or Deny, got 'Permit'"),
        (statement(Action=None), "must have either Action or NotAction"),
        (statement(NotAction="aps:*"), "must have either Action or NotAction"),
        (statement(Action="RemoteWrite"), r"Action: must be \* or service:action such as aps:RemoteWrite"),
        (statement(Action=[]), "Action: must be a text or a list of texts"),
        (statement(Resource="ws-1"), r"Resource: must be an ARN or \*, got 'ws-1'"),
        (statement(Resource="arn:aws:aps:::${aws:PrincipalTag"), "is not closed"),
        (statement(Resource="arn:aws:aps:::${aws:Nosuch}"), "condition key 'aws:Nosuch' is not supported"),
        (statement(Principal="*"), r"Statement\[0\]\.Principal: stands only in policies of resources"),
        (statement(Condition={"StringEqual": {"aws:username": "x"}}), "did you mean 'stringequals'"),
        (statement(Condition={"Some:StringEquals": {"aws:username": "x"}}), "must begin with ForAllValues:"),
        (statement(Condition={"StringEquals": {"aws:Nosuch": "x"}}), "condition key 'aws:Nosuch' is not supported"),
        (statement(Condition={"StringEquals": {"aws:username": []}}), "aws:username: must have a value"),
        (statement(Condition={"StringEquals": {"aws:username": {}}}), "must be a text, a number, a truth value"),
        (statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/40"}}), "must be an address or a range"),
        (statement(Condition={"Bool": {"aws:SecureTransport": "yes"}}), "must be true or false, got 'yes'"),
        (statement(Condition={"NumericEquals": {"aws:EpochTime": "x"}}), "must be a number, got 'x'"),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}}), "must be a date such as"),
        (statement(Condition={"ArnLike": {"aws:PrincipalArn": "user"}}), "must be an ARN of six parts, got 'user'"),
        (statement(Condition={"NullIfExists": {"aws:username": "true"}}), "unknown operator 'NullIfExists'"),
        (statement(Sid="x" * 129), r"Sid: must be a text of at most 128"),
    ],
)
def test_faults(document: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_policy(document if isinstance(document, str) else json.dumps(document))


@pytest.mark.parametrize(
    ("principal", "why"),
    [
        (None, "must have either Principal or NotPrincipal"),
        ({"Service": "x"}, r'Principal: must be "\*" or an object with AWS'),
        ({"AWS": "me"}, r"Principal\.AWS: must be \*, an account or the ARN of a principal, got 'me'"),
        ({"AWS": "arn:aws:iam::123456789012:user/*"}, "wildcards within"),
    ],
)
def test_faults_of_principals(principal: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_policy(statement(Principal=principal), resource_policy=True)


def test_size_and_depth() -> None:
    with pytest.raises(TooLarge, match="policy document of 30"):
        parse_policy(" " * 30_000)
    with pytest.raises(InvalidInput):
        parse_policy("[" * 20_000)


def test_many_wildcards_take_linear_time() -> None:
    """A pattern is bounded by the document's size; what is asked about, by the request's."""
    policy = parse_policy(statement(Resource="arn:aws:aps:::" + "*?" * 20 + "x"))
    assert not evaluate([policy], None, ask("aps:RemoteWrite", "arn:aws:aps:::" + "a" * 60), ACCOUNT).allowed


@pytest.mark.fuzz
def test_noise_is_refused_and_nothing_else() -> None:
    dice = random.Random(5)
    whole = json.dumps({**LAB, "Id": "x"})
    for _ in range(int(os.environ.get("HEADRACE_FUZZ_RUNS", "500"))):
        text = list(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text))
            text[at : at + dice.randrange(3)] = dice.choice(
                ['"', "{", "}", "[", "]", ":", ",", "1", "null", "$", "\ud800"]
            )
        try:
            parse_policy("".join(text))
        except InvalidInput:
            continue
