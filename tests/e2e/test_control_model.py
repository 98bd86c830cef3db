"""The control plane against botocore's own model of the service: inputs made from it, answers checked against it.

Valid inputs have to succeed with the modelled status and an output of the modelled shape; invalid ones have to be
answered with a modelled error that names the field.
"""

from __future__ import annotations

import http.client
import json
import random
import string
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import boto3
import botocore.loaders
import botocore.model
import pytest
import re2
from botocore.config import Config

from headrace.store.workspaces.operations import SUPPORTED
from lab_daemon import ADMIN, REGION, LabDaemon, Reply, Sent, allow, arn, policy
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.slow

MODEL = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("amp", "service-2"))
EACH = 60
"""Valid inputs of an operation."""
PLAIN = string.ascii_letters + string.digits
NOWHERE = "ws-00000000-0000-4000-8000-000000000000"


class Plane:
    """A daemon and requests to it that are made from the model."""

    def __init__(self, lab: LabDaemon) -> None:
        self.lab = lab
        self.random = random.Random(3)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.workspaces = [lab.create_workspace(f"model-{n}", n=str(n)) for n in range(8)]
        signed = lab.sign(Sent("GET", "/workspaces"), ADMIN)
        self.connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=30)
        assert lab.send(signed).status == 200

    def send(self, operation: str, inputs: Mapping[str, Any]) -> Reply:
        """Send an input as the model's rest-json protocol has it."""
        shape = MODEL.operation_model(operation)
        path = shape.http["requestUri"]
        query: list[tuple[str, str]] = []
        body = {}
        for name, value in inputs.items():
            member = shape.input_shape.members.get(name)
            place = member.serialization.get("location") if member is not None else None
            if place == "uri":
                path = path.replace(f"{{{member.serialization['name']}}}", quote(str(value), safe=""))
            elif place == "querystring":
                texts = value if isinstance(value, list) else [value]
                query += [(member.serialization["name"], str(text)) for text in texts]
            else:
                body[name] = value
        data = json.dumps(body).encode() if body else b""
        headers = {"Content-Type": "application/json"} if data else {}
        query_text = urlencode(query, quote_via=quote)
        sent = self.lab.sign(Sent(shape.http["method"], path, query_text, headers, data), ADMIN)
        target = f"{sent.path}?{sent.query}" if sent.query else sent.path
        self.connection.request(sent.method, target, sent.body or None, dict(sent.headers))
        answer = self.connection.getresponse()
        return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())

    # -- inputs that are right -----------------------------------------------------------------------------

    def text(self, least: int, most: int, alphabet: str = PLAIN) -> str:
        return "".join(self.random.choices(alphabet, k=self.random.randint(least, most)))

    def tags(self) -> dict[str, str]:
        count = self.random.randint(1, 12)
        return {self.text(1, 128, f"{PLAIN}_.:/=+-@ ").strip() or "k": self.text(0, 256) for _ in range(count)}

    def valid(self, operation: str) -> dict[str, Any]:
        """Return an input that has to succeed."""
        workspace = self.random.choice(self.workspaces)
        chance = self.random.random
        found: dict[str, Any] = {}
        members = MODEL.operation_model(operation).input_shape.members
        if "workspaceId" in members:
            found["workspaceId"] = workspace
        if "resourceArn" in members:
            found["resourceArn"] = arn(workspace)
        if "clientToken" in members and chance() < 0.5:
            found["clientToken"] = self.text(1, 64, "".join(map(chr, range(33, 127))))
        if "alias" in members and (operation != "ListWorkspaces" or chance() < 0.5):
            found["alias"] = self.text(1, 100, f"{PLAIN} -_é").strip() or "a"
        if "tags" in members and (operation == "TagResource" or chance() < 0.7):
            found["tags"] = (
                {f"k{self.random.randint(0, 9)}": self.text(0, 256)} if operation == "TagResource" else self.tags()
            )
        if "tagKeys" in members:
            found["tagKeys"] = [f"k{self.random.randint(0, 9)}" for _ in range(self.random.randint(1, 3))]
        if "maxResults" in members and chance() < 0.7:
            found["maxResults"] = self.random.randint(1, 1000)
        if "retentionPeriodInDays" in members:
            found["retentionPeriodInDays"] = self.random.randint(1, 1095)
            if chance() < 0.5:
                found["outOfOrderTimeWindowInSeconds"] = self.random.randint(0, 600)
        if "policyDocument" in members:
            statement = allow(
                "aps:QueryMetrics", arn(workspace), Principal={"AWS": f"{self.random.randint(10**11, 10**12 - 1)}"}
            )
            found["policyDocument"] = policy(statement)
        return found


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("model")
    with Programs(folder) as programs:
        made = Plane(LabDaemon(programs, folder, ("extensions.workspaces.max_workspaces=600",)).start())
        yield made
        made.connection.close()
        for kind in ("valid", "invalid", "unsupported"):
            found = {name: count for (which, name), count in sorted(made.counts.items()) if which == kind}
            print(f"{kind}: {sum(found.values())} inputs of {len(found)} operations: {found}")  # noqa: T201


def check(shape: botocore.model.Shape, value: Any, place: str) -> None:
    """Assert that a JSON value has the shape that the model gives it."""
    if shape.type_name == "structure":
        assert isinstance(value, dict), place
        assert not set(value) - set(shape.members), f"{place}: members that are not modelled: {value}"
        assert set(shape.required_members) <= set(value), f"{place}: members are missing: {value}"
        for name, one in value.items():
            check(shape.members[name], one, f"{place}.{name}")
    elif shape.type_name == "map":
        for name, one in value.items():
            check(shape.key, name, f"{place}.{name}")
            check(shape.value, one, f"{place}.{name}")
    elif shape.type_name == "list":
        for n, one in enumerate(value):
            check(shape.member, one, f"{place}[{n}]")
    else:
        scalar(shape, value, place)


def scalar(shape: botocore.model.Shape, value: Any, place: str) -> None:
    kinds = {"string": str, "integer": int, "long": int, "timestamp": float, "boolean": bool, "blob": str}
    assert isinstance(value, kinds[shape.type_name]), f"{place}: {value!r}"
    limits = shape.metadata
    size = len(value) if isinstance(value, str) else value
    if shape.type_name != "timestamp":
        assert limits.get("min", size) <= size <= limits.get("max", size), f"{place}: {value!r}"
    if "enum" in limits:
        assert value in limits["enum"], f"{place}: {value!r}"
    if "pattern" in limits:
        assert re2.search(str(limits["pattern"]), str(value)), f"{place}: {value!r} does not match {limits['pattern']}"


def succeed(plane: Plane, operation: str, inputs: Mapping[str, Any]) -> Any:
    reply = plane.send(operation, inputs)
    model = MODEL.operation_model(operation)
    assert reply.status == model.http["responseCode"], f"{operation} {inputs}: {reply.status} {reply.body!r}"
    plane.counts["valid", operation] += 1
    if model.output_shape is None:
        assert not reply.body
        return None
    found = reply.json if reply.body else {}
    check(model.output_shape, found, operation)
    return found


def fail(plane: Plane, operation: str, inputs: Mapping[str, Any], error: str, field: str = "") -> None:
    reply = plane.send(operation, inputs)
    told = f"{operation} {inputs}: {reply.status} {reply.headers.get('x-amzn-errortype')} {reply.body!r}"
    assert reply.headers.get("x-amzn-errortype") == error, told
    shape = MODEL.shape_for(error)
    assert reply.status == shape.metadata["error"]["httpStatusCode"], told
    check(shape, reply.json, operation)
    if field:
        assert field in {one["name"].partition(".")[0] for one in reply.json["fieldList"]}, told
    plane.counts["unsupported" if operation not in SUPPORTED else "invalid", operation] += 1


@pytest.mark.parametrize(
    "operation", sorted(SUPPORTED - {"DeleteWorkspace", "DescribeResourcePolicy", "DeleteResourcePolicy"})
)
def test_valid_inputs(plane: Plane, operation: str) -> None:
    for _ in range(EACH * (1 if operation == "CreateWorkspace" else 2)):
        inputs = plane.valid(operation)
        found = succeed(plane, operation, inputs)
        if operation == "CreateWorkspace":
            assert found["tags"] == inputs.get("tags", {})
            if plane.random.random() < 0.5:
                succeed(plane, "DeleteWorkspace", {"workspaceId": found["workspaceId"]})


def test_policies_come_and_go(plane: Plane) -> None:
    for _ in range(EACH):
        workspace = plane.random.choice(plane.workspaces)
        put = succeed(plane, "PutResourcePolicy", {**plane.valid("PutResourcePolicy"), "workspaceId": workspace})
        told = succeed(plane, "DescribeResourcePolicy", {"workspaceId": workspace})
        assert told["revisionId"] == put["revisionId"]
        wrong = {"workspaceId": workspace, "revisionId": "another"}
        fail(plane, "DeleteResourcePolicy", wrong, "ConflictException")
        succeed(plane, "DeleteResourcePolicy", {"workspaceId": workspace, "revisionId": put["revisionId"]})
        fail(plane, "DescribeResourcePolicy", {"workspaceId": workspace}, "ResourceNotFoundException")


def broken(plane: Plane, operation: str) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield inputs with one fault, the error and the field that it has to name."""
    invalid = "ValidationException"
    members = MODEL.operation_model(operation).input_shape.members
    right = plane.valid(operation)
    if "workspaceId" in members:
        yield {**right, "workspaceId": "x" * 65}, invalid, "workspaceId"
        yield {**right, "workspaceId": "..-.."}, invalid, "workspaceId"
        yield {**right, "workspaceId": NOWHERE}, "ResourceNotFoundException", ""
        yield {**right, "workspaceId": plane.text(1, 64)}, "ResourceNotFoundException", ""
    if "resourceArn" in members:
        yield {**right, "resourceArn": "arn:aws:s3:::bucket"}, invalid, "resourceArn"
        yield {**right, "resourceArn": plane.text(1, 50)}, invalid, "resourceArn"
        for other in (arn(NOWHERE), arn(plane.workspaces[0], "eu-west-1")):
            yield {**right, "resourceArn": other}, "ResourceNotFoundException", ""
        # Across accounts the other account has to grant it as well, even to an administrator.
        yield {**right, "resourceArn": arn(plane.workspaces[0], account="9" * 12)}, "AccessDeniedException", ""
    if "clientToken" in members:
        yield {**right, "clientToken": plane.text(65, 90)}, invalid, "clientToken"
        yield {**right, "clientToken": f"{plane.text(1, 9)} {plane.text(1, 9)}"}, invalid, "clientToken"
    if "alias" in members:
        yield {**right, "alias": plane.text(101, 300)}, invalid, "alias"
        if operation != "ListWorkspaces":
            for wrong in (7, ["a"], {"a": 1}, True):
                yield {**right, "alias": wrong}, invalid, "alias"
    if "tags" in members:
        yield {**right, "tags": {"": "empty"}}, invalid, "tags"
        yield {**right, "tags": {"k": plane.text(257, 400)}}, invalid, "tags"
        yield {**right, "tags": {plane.text(129, 300): "v"}}, invalid, "tags"
        yield {**right, "tags": {"aws:mine": "v"}}, invalid, "tags"
        yield {**right, "tags": {f"k{n}": "v" for n in range(51)}}, invalid, "tags"
        for value in (7, ["a"], None, {"a": "b"}):
            yield {**right, "tags": {"k": value}}, invalid, "tags"
        yield {**right, "tags": plane.text(1, 9)}, invalid, "tags"
    for name, values in _OUT_OF_RANGE.items():
        if name in members:
            for wrong in values:
                yield {**right, name: wrong}, invalid, name
    if "kmsKeyArn" in members:
        yield {**right, "kmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/a"}, invalid, "kmsKeyArn"
    if "limitsPerLabelSet" in members:
        one = {"limits": {"maxSeries": 10}, "labelSet": {"job": "bad"}}
        yield {**right, "limitsPerLabelSet": [one]}, invalid, "limitsPerLabelSet"
    if "policyDocument" in members:
        for document in ("", "{", "[]", "{}", '{"Version":"2012-10-17"}', policy(allow("aps:*", "*")), "x" * 30_000):
            yield {**right, "policyDocument": document}, invalid, "policyDocument"
        yield {**right, "revisionId": "another"}, "ConflictException", ""
        yield {name: value for name, value in right.items() if name != "policyDocument"}, invalid, "policyDocument"
    if operation == "TagResource":
        yield {"resourceArn": right["resourceArn"]}, invalid, "tags"
    if operation == "UntagResource":
        yield {"resourceArn": right["resourceArn"]}, invalid, "tagKeys"
    if operation == "ListWorkspaces":
        yield {"nextToken": plane.text(5, 40)}, invalid, "nextToken"


_OUT_OF_RANGE: dict[str, list[Any]] = {
    "maxResults": [0, -1, 1001, 10**9, "many"],
    "retentionPeriodInDays": [0, -1, 1096, 10**9, "many", 1.5, True, []],
    "outOfOrderTimeWindowInSeconds": [-1, 601, 10**9, "many", 1.5, True],
}


@pytest.mark.parametrize("operation", sorted(SUPPORTED))
def test_invalid_inputs(plane: Plane, operation: str) -> None:
    rounds = 0
    while plane.counts["invalid", operation] < 80 and rounds < 80:
        rounds += 1
        for inputs, error, field in broken(plane, operation):
            fail(plane, operation, inputs, error, field)
    assert plane.counts["invalid", operation] >= 80


def minimal(shape: botocore.model.Shape) -> Any:
    """Return the smallest value of a shape."""
    if shape.type_name == "structure":
        names = shape.required_members or list(shape.members)[:1]
        return {name: minimal(shape.members[name]) for name in names}
    if shape.type_name == "map":
        return {}
    if shape.type_name == "list":
        return [minimal(shape.member)]
    if shape.type_name == "string":
        return (shape.metadata.get("enum") or [f"a{'b' * shape.metadata.get('min', 0)}"])[0]
    return {"integer": 60, "long": 60, "blob": "YQ==", "boolean": True}.get(shape.type_name, 1)


@pytest.mark.parametrize("operation", sorted(set(MODEL.operation_names) - SUPPORTED))
def test_what_is_not_supported_says_so(plane: Plane, operation: str) -> None:
    shape = MODEL.operation_model(operation).input_shape
    names = [] if shape is None else list(shape.required_members)
    inputs = {name: minimal(shape.members[name]) for name in names} if shape is not None else {}
    fail(plane, operation, inputs, "ValidationException")
    reply = plane.send(operation, inputs)
    assert (reply.json["reason"], operation in reply.json["message"]) == ("UNKNOWN_OPERATION", True)


def test_waiters_pages_and_tokens(plane: Plane) -> None:
    client = boto3.client(
        "amp", REGION, endpoint_url=plane.lab.url, aws_access_key_id=ADMIN.access_key,
        aws_secret_access_key=ADMIN.secret, config=Config(retries={"max_attempts": 0}),
    )  # fmt: skip
    made = [client.create_workspace(alias=f"page-{n}")["workspaceId"] for n in range(7)]
    pages = list(client.get_paginator("list_workspaces").paginate(alias="page-", PaginationConfig={"PageSize": 3}))
    assert [len(page["workspaces"]) for page in pages] == [3, 3, 1]
    assert [one["workspaceId"] for page in pages for one in page["workspaces"]] == made
    twice = [client.create_workspace(alias="twice", clientToken="token")["workspaceId"] for _ in range(2)]
    assert twice[0] == twice[1]
    with pytest.raises(client.exceptions.ConflictException):
        client.create_workspace(alias="other", clientToken="token")
    client.get_waiter("workspace_active").wait(workspaceId=twice[0])
    client.delete_workspace(workspaceId=twice[0])
    client.get_waiter("workspace_deleted").wait(workspaceId=twice[0], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
