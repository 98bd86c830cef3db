"""The control plane driven by boto3: requests are serialised and answers parsed by AWS' own model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from headrace.store.access.policy import parse_policy
from headrace.store.workspaces.control import ControlPlane
from headrace.store.workspaces.errors import AmpError
from headrace.store.workspaces.operations import find
from headrace.store.workspaces.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT, REGION = "123456789012", "us-east-1"
POLICY = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": "*", "Action": "aps:*", "Resource": "*"},
}


class DataPlane:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def create(self, workspace_id: str) -> None:
        self.told.append(("create", workspace_id))

    def configure(self, workspace_id: str, retention_days: int, out_of_order_s: int) -> None:
        self.told.append(("configure", workspace_id, retention_days, out_of_order_s))

    def delete(self, workspace_id: str) -> None:
        self.told.append(("delete", workspace_id))


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> list[bytes]:
        return [self._body]


class Amp:
    """A boto3 client whose requests go straight to a `ControlPlane`."""

    def __init__(self, path: Path) -> None:
        self.plane = DataPlane()
        self.control = ControlPlane(
            Registry(path / "workspaces.db"),
            ACCOUNT,
            REGION,
            lambda workspace: f"http://127.0.0.1:9009/workspaces/{workspace}/",
            lambda: 1_800_000_000_000_000_000,
            self.plane,
            parse_policy=lambda text: parse_policy(text, resource_policy=True),
        )
        self.client = boto3.client(
            "amp", region_name=REGION, aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x"
        )
        self.client.meta.events.register("before-send.amp", self._send)

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        path, _, query = request.url.partition("://")[2].partition("/")[2].partition("?")
        found = find(request.method, f"/{path}")
        assert found is not None, request.url
        operation, params = found
        body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        pairs = parse_qsl(query, keep_blank_values=True)
        headers = {"Content-Type": "application/json"}
        try:
            status, answer = self.control.call(operation, params, pairs, body, "arn:aws:iam::123456789012:user/admin")
        except AmpError as error:
            status, answer = error.status, error.body()
            headers["x-amzn-ErrorType"] = error.name
        text = json.dumps(answer).encode() if answer is not None else b""
        return AWSResponse(request.url, status, headers, Raw(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@pytest.fixture
def amp(tmp_path: Path) -> Amp:
    return Amp(tmp_path)


def fault(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_life_of_a_workspace(amp: Amp) -> None:
    made = amp.create_workspace(alias="lab-workspace", tags={"env": "lab"})
    workspace = made["workspaceId"]
    assert made["status"] == {"statusCode": "CREATING"}
    assert made["arn"] == f"arn:aws:aps:{REGION}:{ACCOUNT}:workspace/{workspace}"
    amp.get_waiter("workspace_active").wait(workspaceId=workspace)
    found = amp.describe_workspace(workspaceId=workspace)["workspace"]
    assert found["prometheusEndpoint"].endswith(f"/workspaces/{workspace}/")
    assert (found["alias"], found["tags"], found["createdAt"].year) == ("lab-workspace", {"env": "lab"}, 2027)

    amp.update_workspace_alias(workspaceId=workspace, alias="other")
    amp.tag_resource(resourceArn=made["arn"], tags={"team": "sre", "env": "prod"})
    amp.untag_resource(resourceArn=made["arn"], tagKeys=["env"])
    assert amp.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"team": "sre"}
    assert [one["alias"] for one in amp.list_workspaces(alias="ot")["workspaces"]] == ["other"]
    assert amp.list_workspaces(alias="lab")["workspaces"] == []

    amp.delete_workspace(workspaceId=workspace)
    assert amp.describe_workspace(workspaceId=workspace)["workspace"]["status"]["statusCode"] == "DELETING"
    assert amp.control.pending_deletions() == [workspace]
    assert fault(amp.update_workspace_alias, workspaceId=workspace, alias="x")[0] == "ConflictException"
    amp.control.deleted(workspace)
    amp.get_waiter("workspace_deleted").wait(workspaceId=workspace)
    assert [told[0] for told in amp.plane.told] == ["create", "delete"]


def test_configuration(amp: Amp) -> None:
    workspace = amp.create_workspace()["workspaceId"]
    before = amp.describe_workspace_configuration(workspaceId=workspace)["workspaceConfiguration"]
    assert (before["retentionPeriodInDays"], before["outOfOrderTimeWindowInSeconds"]) == (150, 60)
    amp.update_workspace_configuration(
        workspaceId=workspace, retentionPeriodInDays=30, outOfOrderTimeWindowInSeconds=600
    )
    after = amp.describe_workspace_configuration(workspaceId=workspace)["workspaceConfiguration"]
    assert (after["retentionPeriodInDays"], after["outOfOrderTimeWindowInSeconds"]) == (30, 600)
    assert ("configure", workspace, 30, 600) in amp.plane.told
    code, text = fault(amp.update_workspace_configuration, workspaceId=workspace, ruleQueryOffsetInSeconds=5)
    assert code == "ValidationException"
    assert "ruleQueryOffsetInSeconds" in text


def test_resource_policies(amp: Amp) -> None:
    workspace = amp.create_workspace()["workspaceId"]
    assert fault(amp.describe_resource_policy, workspaceId=workspace)[0] == "ResourceNotFoundException"
    first = amp.put_resource_policy(workspaceId=workspace, policyDocument=json.dumps(POLICY), revisionId="NO_POLICY")
    found = amp.describe_resource_policy(workspaceId=workspace)
    assert json.loads(found["policyDocument"]) == POLICY
    assert found["revisionId"] == first["revisionId"]
    again = {"workspaceId": workspace, "policyDocument": json.dumps(POLICY)}
    assert fault(amp.put_resource_policy, **again, revisionId="NO_POLICY")[0] == "ConflictException"
    broken = json.dumps({**POLICY, "Statement": {"Effect": "Permit"}})
    code, text = fault(amp.put_resource_policy, workspaceId=workspace, policyDocument=broken)
    assert (code, "Statement[0].Effect: must be Allow or Deny, got 'Permit'" in text) == ("ValidationException", True)
    amp.delete_resource_policy(workspaceId=workspace, revisionId=first["revisionId"])
    assert fault(amp.describe_resource_policy, workspaceId=workspace)[0] == "ResourceNotFoundException"


def test_the_same_token_is_the_same_workspace(amp: Amp) -> None:
    one = amp.create_workspace(alias="a", clientToken="token-1")
    two = amp.create_workspace(alias="a", clientToken="token-1")
    assert one["workspaceId"] == two["workspaceId"]
    assert fault(amp.create_workspace, alias="b", clientToken="token-1")[0] == "ConflictException"
    assert len(amp.list_workspaces()["workspaces"]) == 1


def test_pages(amp: Amp) -> None:
    made = [amp.create_workspace(alias=f"w{n}")["workspaceId"] for n in range(7)]
    pages = list(amp.get_paginator("list_workspaces").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["workspaces"]) for page in pages] == [3, 3, 1]
    assert [one["workspaceId"] for page in pages for one in page["workspaces"]] == made
    assert fault(amp.list_workspaces, nextToken="nonsense")[0] == "ValidationException"


def test_errors(amp: Amp) -> None:
    assert fault(amp.describe_workspace, workspaceId="ws-nosuch")[0] == "ResourceNotFoundException"
    code, text = fault(amp.create_workspace, kmsKeyArn="arn:aws:kms:us-east-1:123456789012:key/x")
    assert (code, "kmsKeyArn" in text) == ("ValidationException", True)
    code, _ = fault(amp.list_scrapers)
    assert code == "ValidationException"
    for _ in range(25):
        amp.create_workspace()
    code, text = fault(amp.create_workspace)
    assert (code, text) == ("ServiceQuotaExceededException", "Limit exceeded. Maximum workspaces per account.")


def test_every_operation_of_the_model_is_known(amp: Amp) -> None:
    model = amp.client.meta.service_model
    assert len(model.operation_names) == 44
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].replace("{", "").replace("}", "")
        found = find(http["method"], path)
        assert found is not None, name
        assert (found[0].name, found[0].status) == (name, http["responseCode"])


def test_answers_have_the_models_shape(amp: Amp) -> None:
    workspace = amp.create_workspace(alias="a", tags={"a": "b"})["workspaceId"]
    model, validator = amp.client.meta.service_model, ParamValidator()
    for name, call in (("DescribeWorkspace", amp.describe_workspace), ("ListWorkspaces", amp.list_workspaces),
                       ("DescribeWorkspaceConfiguration", amp.describe_workspace_configuration)):  # fmt: skip
        answer = call(**({} if name == "ListWorkspaces" else {"workspaceId": workspace}))
        answer.pop("ResponseMetadata")
        report = validator.validate(answer, model.operation_model(name).output_shape)
        assert not report.has_errors(), report.generate_report()
