"""Every mistake ends in a 403 that explains itself; without the mistake the same request passes.

Each case is a request that is right, and a way to get it wrong. The answer to the wrong one, its line in the audit log
and what ``headrace access explain`` says about it are checked; run with ``-s`` to read them.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.pipeline.sigv4.sign import Credentials
from lab_daemon import ADMIN, REGION, LabDaemon, Reply, Sent, allow, arn, policy, query_request, write_request
from running import HEADRACE, Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

QUERY_ACTIONS = ["aps:QueryMetrics", "aps:GetSeries", "aps:GetLabels", "aps:GetMetricMetadata"]
MISMATCH = "The request signature we calculated does not match the signature you provided."
JSON = {"Content-Type": "application/json"}


class Scene:
    """The daemon with two workspaces and users that may do this and that."""

    def __init__(self, lab: LabDaemon) -> None:
        self.lab = lab
        self.a = lab.create_workspace("a", env="lab")
        self.b = lab.create_workspace("b", env="prod")
        here, other = arn(self.a), arn("ws-00000000-0000-0000-0000-000000000000")
        write, query = "aps:RemoteWrite", "aps:QueryMetrics"
        deny = {**allow(query, "*", Sid="NoQueries"), "Effect": "Deny"}
        documents = {
            "writer": policy(allow(write, here, Sid="WriteToWorkspace")),
            "reader": policy(allow([*QUERY_ACTIONS, "aps:DescribeWorkspace"], here, Sid="QueryWorkspace")),
            "nobody": "",
            "wrongid": policy(allow(write, other, Sid="OtherWorkspace")),
            "wrongregion": policy(allow(write, arn(self.a, "us-west-2"), Sid="OtherRegion")),
            "wrongaccount": policy(allow(write, arn(self.a, account="999999999999"), Sid="OtherAccount")),
            "denied": policy(allow("aps:*", "*"), deny),
            "office": policy(
                allow(write, here, Sid="Office", Condition=_if("IpAddress", "aws:SourceIp", "10.0.0.0/8"))
            ),
            "past": policy(
                allow(write, here, Sid="Past", Condition=_if("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"))
            ),
            "prod": policy(allow(query, "*", Sid="Prod", Condition=_if("StringEquals", "aws:ResourceTag/env", "prod"))),
            "team": policy(
                allow("aps:CreateWorkspace", "*", Sid="Own", Condition=_if("StringEquals", "aws:RequestTag/team", "a"))
            ),
            "tagger": policy(
                allow("aps:TagResource", "*", Condition=_if("ForAllValues:StringEquals", "aws:TagKeys", "team"))
            ),
            "notaction": policy(
                {"Effect": "Allow", "NotAction": "aps:RemoteWrite", "Resource": "*", "Sid": "AllButWriting"}
            ),
        }
        self.users = {name: lab.user(name, text) for name, text in documents.items()}
        self.temporary = lab.user("writer", duration_s=3600)
        self.short = lab.user("writer", duration_s=0.5)
        self.disabled = lab.user("reader")
        lab.keyring.set_active(self.disabled.access_key, active=False)
        self.deleted = lab.user("nobody")
        lab.keyring.delete_key(self.deleted.access_key)
        self.put_resource_policy()
        lab.settle()

    def put_resource_policy(self) -> None:
        statement = allow("aps:GetLabels", arn(self.b), Sid="NoLabels", Principal="*") | {"Effect": "Deny"}
        body = json.dumps({"policyDocument": policy(statement)}).encode()
        assert self.lab.ask(Sent("PUT", f"/workspaces/{self.b}/policy", "", JSON, body)).status == 202

    def write(self, workspace: str = "") -> Sent:
        return write_request(workspace or self.a)

    def query(self, workspace: str = "") -> Sent:
        return query_request(workspace or self.a)

    def post(self) -> Sent:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Sent("POST", f"/workspaces/{self.a}/api/v1/query", "", headers, b"query=lab_sample")

    def by(self, user: str, sent: Sent, **how: Any) -> Sent:
        return self.lab.sign(sent, self.users.get(user, ADMIN), **how)


def _if(operator: str, key: str, value: str) -> dict[str, Any]:
    return {operator: {key: value}}


@dataclass(frozen=True)
class Case:
    """A mistake, and the same without it."""

    name: str
    wrong: Callable[[Scene], Sent]
    right: Callable[[Scene], Sent]
    code: str
    text: str
    explained: str


DENIED, SIGNATURE = "AccessDeniedException", "InvalidSignatureException"
UNKNOWN = "UnrecognizedClientException"
INVALID_TOKEN = "The security token included in the request is invalid."


def _policy_case(name: str, wrong: Callable[[Scene], Sent], right: Callable[[Scene], Sent], explained: str) -> Case:
    return Case(name, wrong, right, DENIED, "is not authorized to perform: ", explained)


def _labels(scene: Scene, workspace: str) -> Sent:
    return Sent("GET", f"/workspaces/{workspace}/api/v1/labels")


def _create(scene: Scene, team: str) -> Sent:
    return Sent("POST", "/workspaces", "", JSON, json.dumps({"tags": {"team": team}}).encode())


def _tag(scene: Scene, key: str) -> Sent:
    path = "/tags/" + arn(scene.a).replace(":", "%3A").replace("/", "%2F")
    return Sent("POST", path, "", JSON, json.dumps({"tags": {key: "x"}}).encode())


def _shaken(credentials: Credentials, **changes: str) -> Credentials:
    parts = {"access_key": credentials.access_key, "secret": credentials.secret, "token": credentials.session_token}
    parts |= changes
    return Credentials(parts["access_key"], parts["secret"], parts["token"])


def _unnamed(sent: Sent) -> Sent:
    return sent.with_header("Authorization", sent.headers["Authorization"].replace("Signature=", "Nonsense="))


def _listed(sent: Sent) -> Sent:
    changed = sent.headers["Authorization"].replace("SignedHeaders=", "SignedHeaders=aaa;")
    return sent.with_header("Authorization", changed)


def writes(scene: Scene) -> Sent:
    return scene.by("writer", scene.write())


def queries(scene: Scene) -> Sent:
    return scene.by("reader", scene.query())


def posts(scene: Scene) -> Sent:
    return scene.by("reader", scene.post())


CASES = [
    Case(
        "an unsigned query", lambda s: s.query(), queries, "MissingAuthenticationTokenException",
        "Missing Authentication Token", "carries no signature",
    ),
    Case(
        "an unsigned write", lambda s: s.write(), writes, "MissingAuthenticationTokenException",
        "Missing Authentication Token", "carries no signature",
    ),
    Case(
        "unsigned, to the control plane", lambda s: Sent("GET", "/workspaces"),
        lambda s: s.by("admin", Sent("GET", "/workspaces")), "MissingAuthenticationTokenException",
        "Missing Authentication Token", "carries no signature",
    ),
    _policy_case("a writer queries", lambda s: s.by("writer", s.query()), queries, "none of them speaks of aps:Query"),
    _policy_case("a reader writes", lambda s: s.by("reader", s.write()), writes, "none of them speaks of aps:Remote"),
    _policy_case(
        "the other workspace", lambda s: s.by("reader", s.query(s.b)), queries,
        "QueryWorkspace allows aps:QueryMetrics,"
    ),
    _policy_case("wrong id in the ARN", lambda s: s.by("wrongid", s.write()), writes, "ws-00000000-0000"),
    _policy_case("wrong region in the ARN", lambda s: s.by("wrongregion", s.write()), writes, "us-west-2"),
    _policy_case("wrong account in the ARN", lambda s: s.by("wrongaccount", s.write()), writes, "999999999999"),
    _policy_case("no policy at all", lambda s: s.by("nobody", s.write()), writes, "policies: none"),
    _policy_case(
        "an explicit deny", lambda s: s.by("denied", s.query()), lambda s: s.by("denied", s.write()),
        "statement NoQueries of policy denied-policy denies it",
    ),
    _policy_case("from another network", lambda s: s.by("office", s.write()), writes, "aws:SourceIp is '127.0.0.1'"),
    _policy_case("after the date", lambda s: s.by("past", s.write()), writes, "aws:CurrentTime is '20"),
    _policy_case(
        "another tag", lambda s: s.by("prod", s.query()), lambda s: s.by("prod", s.query(s.b)),
        "aws:ResourceTag/env is 'lab'",
    ),
    _policy_case(
        "a workspace with another tag", lambda s: s.by("team", _create(s, "b")),
        lambda s: s.by("team", _create(s, "a")), "aws:RequestTag/team is 'b'",
    ),
    _policy_case(
        "a tag that one may not set", lambda s: s.by("tagger", _tag(s, "env")),
        lambda s: s.by("tagger", _tag(s, "team")), "aws:TagKeys is ('env',)",
    ),
    _policy_case(
        "all but this action", lambda s: s.by("notaction", s.write()), lambda s: s.by("notaction", s.query()),
        "none of them speaks of aps:RemoteWrite",
    ),
    _policy_case(
        "a resource policy that denies", lambda s: s.by("admin", _labels(s, s.b)),
        lambda s: s.by("admin", _labels(s, s.a)), "statement NoLabels of policy resource policy denies it",
    ),
    _policy_case(
        "a reader creates", lambda s: s.by("reader", _create(s, "a")), lambda s: s.by("team", _create(s, "a")),
        "none of them speaks of aps:CreateWorkspace",
    ),
    _policy_case(
        "a writer deletes", lambda s: s.by("writer", Sent("DELETE", f"/workspaces/{s.a}")),
        lambda s: s.by("reader", Sent("GET", f"/workspaces/{s.a}")), "none of them speaks of aps:DeleteWorkspace",
    ),
    _policy_case(
        "a reader asks for the configuration", lambda s: s.by("reader", Sent("GET", "/api/v1/status/config")),
        lambda s: s.by("admin", Sent("GET", "/api/v1/status/config")), "none of them speaks of headrace:ReadStatus",
    ),
    Case(
        "wrong region", lambda s: s.by("writer", s.write(), region="us-west-2"), writes, SIGNATURE,
        "Credential should be scoped to a valid region", "sign for the region of this service",
    ),
    Case(
        "wrong service", lambda s: s.by("writer", s.write(), service="es"), writes, SIGNATURE,
        "Credential should be scoped to correct service: 'aps'", "sign for the service aps",
    ),
    Case(
        "wrong secret", lambda s: s.lab.sign(s.write(), _shaken(s.users["writer"], secret="x" * 40)), writes,
        SIGNATURE, MISMATCH, "most likely the secret access key is not the one",
    ),
    Case(
        "secrets mixed up",
        lambda s: s.lab.sign(s.write(), _shaken(s.users["writer"], secret=s.users["reader"].secret)), writes,
        SIGNATURE, MISMATCH, "it was signed with the secret of AKIA",
    ),
    Case(
        "a clock that is fast", lambda s: s.by("writer", s.write(), skew=timedelta(minutes=20)), writes, SIGNATURE,
        "Signature not yet current: ", "set the clock of the client",
    ),
    Case(
        "a clock that is slow", lambda s: s.by("writer", s.write(), skew=-timedelta(minutes=20)), writes, SIGNATURE,
        "Signature expired: ", "set the clock of the client",
    ),
    Case(
        "another body", lambda s: writes(s).with_(body=write_request(s.a, 7).body), writes, SIGNATURE, MISMATCH,
        "unknown:",
    ),
    Case(
        "no body any more", lambda s: s.by("reader", s.post().with_(body=b"")).with_(body=b"query=up"), posts,
        SIGNATURE, MISMATCH, "body: it was signed with an empty body",
    ),
    Case(
        "another workspace in the path",
        lambda s: writes(s).with_(path=f"/workspaces/{s.b}/api/v1/remote_write"), writes, SIGNATURE, MISMATCH,
        "path: it was signed for workspace ws-",
    ),
    Case(
        "a prefix in the path", lambda s: s.by("reader",
        s.query().with_(path="/api/v1/query")).with_(path=s.query().path),
        queries, SIGNATURE, MISMATCH, "path: it was signed for /api/v1/query: a prefix was added",
    ),
    Case(
        "a parameter more", lambda s: queries(s).with_(query="query=lab_sample&time=1"), queries, SIGNATURE, MISMATCH,
        "query: parameter time was added",
    ),
    Case(
        "another query", lambda s: queries(s).with_(query="query=other"), queries, SIGNATURE, MISMATCH, "unknown:",
    ),
    Case(
        "another method", lambda s: queries(s).with_(method="POST"), queries, SIGNATURE, MISMATCH,
        "method: it was signed as GET and came as POST",
    ),
    Case(
        "another host", lambda s: s.by("writer", s.write(), host=f"aps-workspaces.{REGION}.amazonaws.com"), writes,
        SIGNATURE, MISMATCH, f"host: it was signed for host aps-workspaces.{REGION}.amazonaws.com",
    ),
    Case(
        "another content type", lambda s: posts(s).with_header("Content-Type", "text/plain"), posts, SIGNATURE,
        MISMATCH,
        "content-type: header content-type was signed as 'application/x-www-form-urlencoded'",
    ),
    Case(
        "an unknown key", lambda s: s.lab.sign(s.write(), Credentials("AKIAUNKNOWNUNKNOWN12", "x" * 40)), writes,
        UNKNOWN, INVALID_TOKEN, "headrace access key list",
    ),
    Case(
        "a key out of use", lambda s: s.lab.sign(s.query(), s.disabled), queries, UNKNOWN, INVALID_TOKEN,
        "this access key is out of use",
    ),
    Case("a deleted key", lambda s: s.lab.sign(s.query(), s.deleted), queries, UNKNOWN, INVALID_TOKEN, "nobody has"),
    Case(
        "temporary credentials that are over", lambda s: s.lab.sign(s.write(), s.short),
        lambda s: s.lab.sign(s.write(), s.temporary), "ExpiredTokenException",
        "The security token included in the request is expired", "the temporary credentials are over",
    ),
    Case(
        "another session token", lambda s: s.lab.sign(s.write(), _shaken(s.temporary, token="x" * 100)),
        lambda s: s.lab.sign(s.write(), s.temporary), UNKNOWN, INVALID_TOKEN,
        "session token is missing or not that of",
    ),
    Case(
        "no session token", lambda s: s.lab.sign(s.write(), _shaken(s.temporary, token="")),
        lambda s: s.lab.sign(s.write(), s.temporary), UNKNOWN, INVALID_TOKEN,
        "session token is missing or not that of",
    ),
    Case(
        "the demonstration key through a proxy", lambda s: s.by("admin", s.query()).with_header("X-Forwarded-For",
        "10.1.1.1"),
        lambda s: s.by("admin", s.query()), UNKNOWN, INVALID_TOKEN, "good on loopback alone",
    ),
    Case(
        "half a signature", lambda s: _unnamed(writes(s)), writes, "IncompleteSignatureException",
        "Authorization header",
        "authorization:",
    ),
    Case("a signed header that is missing", lambda s: _listed(writes(s)), writes, SIGNATURE, MISMATCH,
        "header aaa was signed and did not arrive"),
    Case(
        "no date", lambda s: writes(s).with_header("X-Amz-Date", None), writes, "IncompleteSignatureException",
        "Date", "authorization:",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("denials")
    with Programs(folder) as programs:
        yield Scene(LabDaemon(programs, folder).start())


def explain(scene: Scene, request_id: str) -> str:
    """Return what the command prints, run in this process: a new one for each case would take most of the time."""
    command = ["access", "explain", *scene.lab.options, request_id]
    done = CliRunner().invoke(main, command, env=scene.lab.env, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def explain_by_itself(scene: Scene, request_id: str) -> str:
    command: list[str | Path] = [HEADRACE, "access", "explain", *scene.lab.options, request_id]
    done = subprocess.run(command, env={**os.environ, **scene.lab.env}, capture_output=True, text=True, check=True)
    return str(done.stdout)


def test_denials_explain_themselves(scene: Scene) -> None:
    """In one run over all cases, so that the audit log is waited for once."""
    time.sleep(0.6)
    replies: list[tuple[Case, Reply]] = []
    for case in CASES:
        if case is not CASES[0]:
            time.sleep(0.11)  # at most ten signatures a second are looked into
        replies.append((case, scene.lab.send(case.wrong(scene))))
        passed = scene.lab.send(case.right(scene))
        assert passed.status in (200, 202, 204), f"the twin of {case.name}: {passed.status} {passed.body!r}"
    records = {record["requestID"]: record for record in scene.lab.audit()}
    secrets = [one.secret for one in (*scene.users.values(), scene.temporary, scene.short, ADMIN)]
    secrets += [scene.temporary.session_token, scene.short.session_token]
    faults = []
    for case, reply in replies:
        assert reply.status == 403, f"{case.name}: {reply.status} {reply.body!r}"
        assert reply.headers["content-type"].startswith("application/json")
        record = records[reply.headers["x-amzn-requestid"]]
        assert record["errorCode"] == reply.headers["x-amzn-errortype"], case.name
        assert reply.text.startswith(record["errorMessage"]), case.name
        text = explain(scene, record["requestID"])
        print(f"--- {case.name}: {reply.status} {record['errorCode']}: {reply.text.splitlines()[0]}\n{text}", end="")  # noqa: T201
        if record["errorCode"] != case.code or case.text not in reply.text or case.explained not in text:
            faults.append(f"{case.name}: {record['errorCode']}: {reply.text[:300]}\n{text}")
        written = json.dumps(record) + text
        assert not [secret for secret in secrets if secret in written], case.name
        if case is CASES[0]:
            assert explain_by_itself(scene, record["requestID"]) == text
    assert not faults, "\n".join(faults)
    print(f"{len(CASES)} denied requests and their twins")  # noqa: T201


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 30


def test_the_log_is_whole_and_one_altered_byte_is_found(scene: Scene) -> None:
    scene.lab.audit()
    directory = scene.lab.data / "audit"
    command: list[str | Path] = [HEADRACE, "audit", "verify", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "are as they were written" in done.stdout
    copy = scene.lab.folder / "altered"
    copy.mkdir()
    for path in directory.iterdir():
        copy.joinpath(path.name).write_bytes(path.read_bytes())
    log = min(copy.glob("*.jsonl"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    failed = subprocess.run([HEADRACE, "audit", "verify", copy], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert f"{log.name}:" in failed.stderr
