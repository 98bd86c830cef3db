"""What the control plane says holds on the data plane: windows, isolation, ids, other ways to sign in."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from lab_daemon import LabDaemon, Reply, Sent, allow, arn, policy, query_request
from remote_write_messages import packed, request_v1
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
PASSWORDS = {"grafana": "a password", "stranger": "another one"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabDaemon]:
    folder = tmp_path_factory.mktemp("managed")
    users = folder / "htpasswd"
    rows = [f"{name}:{bcrypt.hashpw(text.encode(), bcrypt.gensalt(4)).decode()}" for name, text in PASSWORDS.items()]
    users.write_text("\n".join(rows))
    settings = (
        f"extensions.basic_auth.htpasswd.file={users}",
        "service.extensions=[basic_auth, access, workspaces]",
        "extensions.access.authenticators=[{extension: basic_auth}]",
        "extensions.access.users.grafana.policies=[AmazonPrometheusQueryAccess]",
    )
    with Programs(folder) as programs:
        yield LabDaemon(programs, folder, settings).start()


def write(lab: LabDaemon, workspace: str, age_s: float, value: float, name: str = "m") -> Reply:
    row = [({"__name__": name}, [(int((time.time() - age_s) * 1000), value)])]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    return lab.ask(Sent("POST", f"/workspaces/{workspace}/api/v1/remote_write", "", headers, packed(request_v1(row))))


def configure(lab: LabDaemon, workspace: str, **members: int) -> None:
    path = f"/workspaces/{workspace}/configuration"
    assert lab.ask(Sent("PATCH", path, "", JSON, json.dumps(members).encode())).status == 202
    described = lab.ask(Sent("GET", path)).json["workspaceConfiguration"]
    assert described["status"]["statusCode"] == "ACTIVE"


def values(lab: LabDaemon, workspace: str, query: str = "m") -> list[Any]:
    reply = lab.ask(query_request(workspace, query))
    assert reply.status == 200, reply.body
    return list(reply.json["data"]["result"])


def test_the_out_of_order_window_is_applied_and_outlives_a_restart(lab: LabDaemon) -> None:
    workspace, other = lab.create_workspace("late"), lab.create_workspace("other")
    for one in (workspace, other):
        assert write(lab, one, 0, 1).status == 204
        assert write(lab, one, 30, 1).status == 204  # the default: 60 seconds
        assert write(lab, one, 90, 1).status == 400
    configure(lab, workspace, outOfOrderTimeWindowInSeconds=600)
    assert write(lab, workspace, 90, 1).status == 204
    assert write(lab, other, 90, 1).status == 400
    assert lab.program is not None
    lab.program.stop()
    lab.start()
    assert write(lab, workspace, 100, 1).status == 204
    assert write(lab, other, 100, 1).status == 400
    configure(lab, workspace, outOfOrderTimeWindowInSeconds=0, retentionPeriodInDays=1)
    assert write(lab, workspace, 20, 1).status == 400


def test_workspaces_are_apart(lab: LabDaemon) -> None:
    one, two = lab.create_workspace("one"), lab.create_workspace("two")
    assert write(lab, one, 0, 1.0, "only_in_one").status == 204
    assert write(lab, two, 0, 2.0).status == 204
    assert values(lab, two, "only_in_one") == []
    names = lab.ask(Sent("GET", f"/workspaces/{two}/api/v1/label/__name__/values")).json["data"]
    assert names == ["m"]


def test_an_id_that_does_not_exist_is_404(lab: LabDaemon) -> None:
    for workspace in ("ws-nothing", "default", "..", "a b"):
        path = workspace.replace(" ", "%20")
        assert write(lab, path, 0, 1).status == 404
        assert lab.ask(query_request(path)).status == 404
    for path in ("/api/v1/query", "/api/v1/write"):
        method = "POST" if path.endswith("write") else "GET"
        headers = {"Content-Type": "application/x-protobuf"} if method == "POST" else {}
        assert lab.ask(Sent(method, path, "query=up" if method == "GET" else "", headers)).status == 404
    assert not (lab.data / "workspaces" / "ws-nothing").exists()


def test_basic_authentication_is_the_user_of_the_same_name(lab: LabDaemon) -> None:
    workspace = lab.create_workspace("grafana")
    assert write(lab, workspace, 0, 1).status == 204

    def ask(user: str, password: str, sent: Sent) -> Reply:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        return lab.send(sent.with_header("Authorization", f"Basic {credentials}"))

    query = query_request(workspace, "m")
    assert ask("grafana", PASSWORDS["grafana"], query).json["data"]["result"][0]["value"][1] == "1"
    assert ask("grafana", "wrong", query).status == 401
    assert ask("stranger", PASSWORDS["stranger"], query).status == 401
    assert lab.send(query).status == 401
    denied = ask("grafana", PASSWORDS["grafana"], Sent("DELETE", f"/workspaces/{workspace}"))
    assert (denied.status, denied.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    last = [one for one in lab.audit() if one["eventName"] == "DeleteWorkspace"][-1]
    assert last["userIdentity"]["arn"].endswith(":user/grafana")


def test_a_workspace_that_is_removed_takes_nothing_more(lab: LabDaemon) -> None:
    workspace = lab.create_workspace("gone")
    assert write(lab, workspace, 0, 1, "secret_of_gone").status == 204
    assert lab.ask(Sent("DELETE", f"/workspaces/{workspace}")).status == 202
    assert write(lab, workspace, 0, 1).status == 404
    assert lab.ask(query_request(workspace)).status == 404
    deadline = time.monotonic() + 20
    while lab.ask(Sent("GET", f"/workspaces/{workspace}")).status != 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert lab.ask(Sent("GET", f"/workspaces/{workspace}")).status == 404
    left = [path for path in lab.data.rglob("*") if path.is_file() and b"secret_of_gone" in path.read_bytes()]
    assert left == []


def test_paths_without_an_id_are_about_the_first_workspace(tmp_path: Path, programs: Programs) -> None:
    """Policies are asked about that workspace, whatever it is called."""
    settings = (
        "exporters.store.workspaces=[team, other]",
        "receivers.prometheus_remote_write.workspaces=[team, other]",
    )
    lab = LabDaemon(programs, tmp_path, settings).start()
    reader = lab.user("reader", policy(allow("aps:QueryMetrics", arn("team"))))
    stranger = lab.user("stranger", policy(allow("aps:QueryMetrics", [arn("other"), arn("default")])))
    lab.settle()
    query = Sent("GET", "/api/v1/query", "query=1")
    assert lab.ask(query, reader).status == 200
    assert lab.ask(query, stranger).status == 403
    assert lab.ask(query_request("other", "1"), stranger).status == 200
