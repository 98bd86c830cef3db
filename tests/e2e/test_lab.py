"""The lab with the programs of others, an outage by kill -9, and windows of 403 with and without grace.

awscli, awscurl, boto3, vmagent, node-exporter, and Prometheus signing by itself and through the proxy.

The outage lasts ``HEADRACE_LAB_OUTAGE_S`` seconds, 8 without it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.credentials
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from lab_daemon import ACCOUNT, ADMIN, REGION, LabDaemon, Reply, Sent, allow, arn, policy, write_request
from running import HEADRACE, Programs, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.sigv4.sign import Credentials
    from running import Program

pytestmark = [pytest.mark.peer, pytest.mark.slow]

OUTAGE_S = float(os.environ.get("HEADRACE_LAB_OUTAGE_S", "8"))
SCRAPE_S = 1
BIN = Path(sys.executable).parent


def lab_policy(workspace: str) -> str:
    """Return the least-privilege policy of the lab."""
    here = arn(workspace)
    return policy(
        allow(["aps:RemoteWrite"], here, Sid="WriteToWorkspace"),
        allow(
            ["aps:QueryMetrics", "aps:GetSeries", "aps:GetLabels", "aps:GetMetricMetadata"], here, Sid="QueryWorkspace"
        ),
        allow(["aps:DescribeWorkspace"], here, Sid="DescribeWorkspace"),
    )


def environment(credentials: Credentials) -> dict[str, str]:
    """Return what AWS' clients read their credentials from."""
    found = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
    }
    if credentials.session_token:
        found["AWS_SESSION_TOKEN"] = credentials.session_token
    return found


class Stage:
    """The daemon and all that writes to it."""

    def __init__(self, folder: Path, peers: Path, programs: Programs) -> None:
        self.folder, self.peers, self.programs = folder, peers, programs
        self.lab = LabDaemon(programs, folder).start()
        self.node = free_port()
        programs.start("node", [peers / "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.node}"])
        self.ids: dict[str, str] = {}
        self.roles: dict[str, Credentials] = {}

    def aws(self, *command: str, fails: bool = False) -> Any:
        """Run awscli as the admin; return its output, or its error text where it is to fail."""
        env = {**os.environ, **environment(ADMIN), "AWS_ENDPOINT_URL_AMP": self.lab.url}
        done = subprocess.run([BIN / "aws", "amp", *command], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else (json.loads(done.stdout) if done.stdout.strip() else None)

    def role(self, name: str, workspace: str, document: str = "") -> Credentials:
        """Make a user with the lab's policy and temporary credentials."""
        credentials = self.lab.user(name, document or lab_policy(workspace), 12 * 3600)
        self.lab.settle()
        return credentials

    def prometheus(self, name: str, remote_write: str, env: dict[str, str] | None = None) -> Prometheus:
        """Start a Prometheus that scrapes itself and node-exporter."""
        return Prometheus(self, name, remote_write, env or {})


class Prometheus:
    """A real Prometheus with a remote_write section."""

    def __init__(self, stage: Stage, name: str, remote_write: str, env: dict[str, str]) -> None:
        self.port = free_port()
        folder = stage.folder / name
        folder.mkdir()
        config = folder / "prometheus.yml"
        config.write_text(
            f"global: {{scrape_interval: {SCRAPE_S}s}}\n"
            "scrape_configs:\n"
            f"  - job_name: prometheus\n    static_configs: [{{targets: ['127.0.0.1:{self.port}']}}]\n"
            f"  - job_name: node\n    static_configs: [{{targets: ['127.0.0.1:{stage.node}']}}]\n"
            f"remote_write:\n{remote_write}"
        )
        command: list[str | Path] = [
            stage.peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--storage.remote.flush-deadline=20s",
        ]  # fmt: skip
        self.program: Program = stage.programs.start(name, command, env=env)
        self.program.wait_http(f"http://127.0.0.1:{self.port}/-/ready")

    def get(self, what: str, **form: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(form)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def metric(self, name: str) -> float:
        """Return the sum of one of its own metrics, as it is now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def failed(self) -> float:
        """Return the samples that it gave up."""
        return self.metric("prometheus_remote_storage_samples_failed_total") + self.metric(
            "prometheus_remote_storage_samples_dropped_total"
        )

    def pending(self) -> float:
        """Return the samples that wait."""
        return self.metric("prometheus_remote_storage_samples_pending")

    def samples(self, start: float, end: float) -> dict[str, Any]:
        """Return all samples that it has of a time, by series."""
        return listed(self.get("query", query=_samples_of(start, end), time=f"{end:.3f}")["result"])


def _samples_of(start: float, end: float) -> str:
    return f'{{job=~"node|prometheus"}}[{round((end - start) * 1000)}ms]'


def listed(result: list[dict[str, Any]]) -> dict[str, Any]:
    return {json.dumps(one["metric"], sort_keys=True): one["values"] for one in result}


def total(samples: dict[str, Any]) -> int:
    return sum(map(len, samples.values()))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, peers: Path) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("lab")
    with Programs(folder) as programs:
        yield Stage(folder, peers, programs)


def ask(stage: Stage, workspace: str, credentials: Credentials, what: str, **form: str) -> Any:
    """Query the workspace, signed, by a form."""
    body = urllib.parse.urlencode(form).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    path = f"/workspaces/{workspace}/api/v1/{what}"
    reply = stage.lab.ask(Sent("POST", path, "", headers, body), credentials)
    assert reply.status == 200, reply.body
    return reply.json["data"]


def test_the_lab(stage: Stage) -> None:
    """One test, since each step stands on those before it."""
    for step in (
        a_workspace_by_awscli,
        a_bad_alias_by_boto3,
        least_privilege,
        vmagent_signs,
        botocore_signs,
        prometheus_by_itself_and_through_the_proxy,
        cleanup,
    ):
        step(stage)


def a_workspace_by_awscli(stage: Stage) -> None:
    made = stage.aws("create-workspace", "--alias", "lab-workspace", "--tags", "env=lab")
    workspace = made["workspaceId"]
    stage.ids["lab"] = workspace
    stage.aws("wait", "workspace-active", "--workspace-id", workspace)
    described = stage.aws("describe-workspace", "--workspace-id", workspace)["workspace"]
    assert described["status"]["statusCode"] == "ACTIVE"
    assert described["prometheusEndpoint"] == f"{stage.lab.url}/workspaces/{workspace}/"
    assert described["arn"] == f"arn:aws:aps:{REGION}:{ACCOUNT}:workspace/{workspace}"
    assert [one["workspaceId"] for one in stage.aws("list-workspaces", "--alias", "lab-")["workspaces"]] == [workspace]
    stage.aws("update-workspace-alias", "--workspace-id", workspace, "--alias", "lab-renamed")
    assert stage.aws("list-workspaces", "--alias", "lab-workspace")["workspaces"] == []
    stage.aws("update-workspace-alias", "--workspace-id", workspace, "--alias", "lab-workspace")
    name = ("--resource-arn", described["arn"])
    stage.aws("tag-resource", *name, "--tags", "team=a,cost=b")
    stage.aws("untag-resource", *name, "--tag-keys", "cost")
    assert stage.aws("list-tags-for-resource", *name)["tags"] == {"env": "lab", "team": "a"}
    twice = [stage.aws("create-workspace", "--client-token", "the-same")["workspaceId"] for _ in range(2)]
    assert twice[0] == twice[1]
    stage.aws("delete-workspace", "--workspace-id", twice[0])
    stage.aws("wait", "workspace-deleted", "--workspace-id", twice[0])


def a_bad_alias_by_boto3(stage: Stage) -> None:
    """Awscli checks lengths itself, so boto3 without its checks sends what is wrong."""
    config = boto3.session.Config(parameter_validation=False, retries={"max_attempts": 0})
    client = boto3.client(
        "amp", REGION, endpoint_url=stage.lab.url, aws_access_key_id=ADMIN.access_key,
        aws_secret_access_key=ADMIN.secret, config=config,
    )  # fmt: skip
    with pytest.raises(client.exceptions.ValidationException) as caught:
        client.create_workspace(alias="x" * 101)
    assert caught.value.response["fieldList"][0]["name"] == "alias"


def least_privilege(stage: Stage) -> None:
    workspace = stage.ids["lab"]
    stage.roles["role"] = stage.role("lab-role", workspace)
    here = arn(workspace)
    stage.roles["writer"] = stage.role("writer", workspace, policy(allow("aps:RemoteWrite", here)))
    stage.roles["reader"] = stage.role("reader", workspace, policy(allow("aps:QueryMetrics", here)))
    command: list[str | Path] = [HEADRACE, "access", "simulate", *stage.lab.options, "--json", "--resource", here]
    for user in ("writer", "reader"):
        command += ["--user", user]
    for action in ("aps:RemoteWrite", "aps:QueryMetrics"):
        command += ["--action", action]
    done = subprocess.run(command, env={**os.environ, **stage.lab.env}, capture_output=True, text=True, check=True)
    decisions = {(row["user"], row["action"]): row["decision"] for row in json.loads(done.stdout)}
    assert decisions == {
        ("writer", "aps:RemoteWrite"): "allowed",
        ("writer", "aps:QueryMetrics"): "implicitDeny",
        ("reader", "aps:RemoteWrite"): "implicitDeny",
        ("reader", "aps:QueryMetrics"): "allowed",
    }


def vmagent_signs(stage: Stage) -> None:
    workspace = stage.ids["lab"]
    config = stage.folder / "vmagent.yml"
    config.write_text(
        f"scrape_configs:\n- job_name: by-vmagent\n  scrape_interval: {SCRAPE_S}s\n"
        f"  static_configs:\n  - targets: ['127.0.0.1:{stage.node}']\n"
    )
    url = f"{stage.lab.url}/workspaces/{workspace}/api/v1/remote_write"
    command: list[str | Path] = [
        stage.peers / "vmagent", f"-promscrape.config={config}", f"-remoteWrite.tmpDataPath={stage.folder / 'vmagent'}",
        f"-httpListenAddr=127.0.0.1:{free_port()}", f"-remoteWrite.url={url}",
        "-remoteWrite.aws.useSigv4", "-remoteWrite.aws.service=aps", f"-remoteWrite.aws.region={REGION}",
        "-remoteWrite.forcePromProto",
    ]  # fmt: skip
    writer = stage.lab.user("vmagent", policy(allow("aps:RemoteWrite", arn(workspace))))
    stage.lab.settle()
    agent = stage.programs.start("vmagent", command, env=environment(writer))
    role = stage.roles["role"]

    def up() -> bool:
        found = ask(stage, workspace, role, "query", query='up{job="by-vmagent"}')["result"]
        return [one["value"][1] for one in found] == ["1"]

    wait_until(up, "vmagent's samples", 40)
    agent.stop()


def botocore_signs(stage: Stage) -> None:
    """A write made by hand, and queries by GET and by POST, signed by botocore."""
    workspace, role = stage.ids["lab"], stage.roles["role"]
    keys = botocore.credentials.Credentials(role.access_key, role.secret, role.session_token)

    def ask(sent: Sent, params: dict[str, str] | None = None) -> Reply:
        target = f"{stage.lab.url}{sent.path}" + (f"?{sent.query}" if sent.query else "")
        request = AWSRequest(sent.method, target, dict(sent.headers), sent.body or None, params)
        SigV4Auth(keys, "aps", REGION).add_auth(request)
        # What it sends is not what it signs: blanks of parameters go as plus signs and are signed as %20.
        query = urllib.parse.urlsplit(request.prepare().url).query
        return stage.lab.send(sent.with_(headers=dict(request.headers.items()), query=query))

    assert ask(write_request(workspace, 7)).status == 204
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    path = f"/workspaces/{workspace}/api/v1/query"
    form = {"query": "max(lab_sample{i=~'.+'}) + 1"}
    for reply in (
        ask(Sent("GET", path, urllib.parse.urlencode(form, quote_via=urllib.parse.quote))),
        ask(Sent("GET", path), form),
        ask(Sent("POST", path, "", headers, urllib.parse.urlencode(form).encode())),
    ):
        assert reply.status == 200, reply.body
        assert reply.json["data"]["result"][0]["value"][1] == "8"


def prometheus_by_itself_and_through_the_proxy(stage: Stage) -> None:
    """One Prometheus writes to two workspaces, so that both ways have the same samples; both equal its own."""
    direct = stage.ids["lab"]
    proxied = stage.ids["proxied"] = stage.lab.create_workspace("proxied")
    role = stage.roles["role"]
    proxy_role = stage.role("proxy-role", proxied)
    proxy_port = free_port()
    stage.programs.start(
        "proxy",
        [HEADRACE, "sigv4-proxy", "--port", str(proxy_port), "--region", REGION, "--service", "aps",
         "--host", f"127.0.0.1:{stage.lab.port}"],
        env=environment(proxy_role),
    ).wait_http(f"http://127.0.0.1:{proxy_port}/health")  # fmt: skip
    proxy = f"http://127.0.0.1:{proxy_port}/workspaces/{proxied}"
    unsigned = stage.lab.send(Sent("GET", f"/workspaces/{proxied}/api/v1/query", "query=up"))
    assert (unsigned.status, unsigned.text) == (403, "Missing Authentication Token")
    assert through(f"{proxy}/api/v1/query?query=up")["resultType"] == "vector"

    queue = "queue_config: {max_samples_per_send: 1000, max_shards: 5, capacity: 5000, batch_send_deadline: 1s}"
    remote_write = (
        f"  - url: {stage.lab.url}/workspaces/{direct}/api/v1/remote_write\n    {queue}\n"
        f"    sigv4: {{region: {REGION}}}\n"  # for the service aps: Prometheus signs for no other
        f"  - url: {proxy}/api/v1/remote_write\n    {queue}\n"
    )
    prometheus = stage.prometheus("prometheus", remote_write, environment(role))
    started = time.time()

    def all_up() -> bool:
        return [one["health"] for one in prometheus.get("targets")["activeTargets"]] == ["up", "up"]

    wait_until(all_up, "both targets up", 30)
    first = prometheus.metric("prometheus_remote_storage_samples_total")
    wait_until(lambda: prometheus.metric("prometheus_remote_storage_samples_total") > first, "samples are sent", 30)
    time.sleep(15)

    # 8: the lab's queries, as it writes them.
    up = through(f"{proxy}/api/v1/query?query=up")["result"]
    assert {(one["metric"]["job"], one["value"][1]) for one in up} == {("prometheus", "1"), ("node", "1")}
    end = math.floor(time.time()) - 4
    form = {"start": f"{end - 8}", "end": f"{end}", "step": "1"}
    query = 'rate(node_cpu_seconds_total{mode="idle"}[5s])'
    escaped = "rate(node_cpu_seconds_total%7Bmode%3D%22idle%22%7D%5B5s%5D)"
    ranged = f"{proxy}/api/v1/query_range?query={escaped}&start={end - 8}&end={end}&step=1"
    expected = points(prometheus.get("query_range", query=query, **form)["result"])
    assert expected
    compared = 0
    for got in (
        through(ranged),
        ask(stage, direct, role, "query_range", query=query, **form),
        by_awscurl(stage, proxied, proxy_role, f"query={urllib.parse.quote(query)}&{urllib.parse.urlencode(form)}"),
    ):
        assert points(got["result"]) == pytest.approx(expected, rel=1e-9)
        compared += len(expected)
    for query in ("node_cpu_seconds_total", "up", "node_load1", "sum by (mode) (rate(node_cpu_seconds_total[5s]))"):
        expected = points(prometheus.get("query_range", query=query, **form)["result"])
        for workspace, who in ((direct, role), (proxied, proxy_role)):
            got = points(ask(stage, workspace, who, "query_range", query=query, **form)["result"])
            # The workspace that vmagent wrote to as well has its series beside these.
            assert {key: got[key] for key in expected} == pytest.approx(expected, rel=1e-9)
            compared += len(expected)
    names = set(ask(stage, proxied, proxy_role, "labels"))
    assert set(prometheus.get("labels")) == names
    for what in ("label/job/values", "metadata"):
        path = f"/workspaces/{proxied}/api/v1/{what}"
        assert stage.lab.ask(Sent("GET", path), proxy_role).status == 200
    print(f"{compared} points equal to 1e-9 in {time.time() - started:.0f} s")  # noqa: T201
    outage(stage, prometheus, {direct: role, proxied: proxy_role})


def outage(stage: Stage, prometheus: Prometheus, workspaces: dict[str, Credentials]) -> None:
    """T3 and T4: kill -9, a pause, a new start; nothing is missing and nothing is there twice."""
    start = math.floor(time.time()) - 10.5
    stage.lab.kill()
    time.sleep(OUTAGE_S)
    pending = prometheus.pending()
    stage.lab.start()
    wait_until(lambda: prometheus.pending() < 1000, "what waited is sent", 120)
    time.sleep(6)
    end = math.floor(time.time()) - 4.5
    expected = prometheus.samples(start, end)
    lost = 0
    for workspace, role in workspaces.items():
        form = {"query": _samples_of(start, end), "time": f"{end:.3f}"}
        got = listed(ask(stage, workspace, role, "query", **form)["result"])
        lost += sum(max(0, len(values) - len(got.get(key, ()))) for key, values in expected.items())
        assert lost == 0
        # As equal texts: the numbers are the same to the last bit, and none is there twice.
        assert {key: got[key] for key in expected} == expected
    assert prometheus.failed() == 0
    print(  # noqa: T201
        f"outage of {OUTAGE_S:g} s and kill -9: {total(expected)} samples of {len(expected)} series a workspace, "
        f"{pending:.0f} waited, {lost} lost, {prometheus.failed():.0f} failed"
    )


@pytest.mark.parametrize("grace", [True, False], ids=["with grace", "without"])
def test_a_window_of_403(stage: Stage, grace: bool) -> None:
    """A policy loses its grant for a while: with ``auth_grace`` nothing is lost, without it exactly what is counted."""
    folder = stage.folder / f"window-{grace}"
    folder.mkdir()
    settings = ("extensions.access.auth_grace=5m",) if grace else ()
    lab = LabDaemon(stage.programs, folder, settings).start()
    workspace = lab.create_workspace("window")
    writer = lab.user("writer", lab_policy(workspace))
    lab.settle()
    remote_write = (
        f"  - url: {lab.url}/workspaces/{workspace}/api/v1/remote_write\n    sigv4: {{region: {REGION}}}\n"
        "    queue_config: {batch_send_deadline: 1s, max_shards: 1, max_samples_per_send: 500}\n"
    )
    prometheus = stage.prometheus(f"prometheus-{grace}", remote_write, environment(writer))
    wait_until(lambda: prometheus.metric("prometheus_remote_storage_samples_total") > 2000, "samples are sent", 60)
    start = math.floor(time.time()) - 2.5
    lab.keyring.detach("writer", "writer-policy")
    time.sleep(7)
    lab.keyring.attach("writer", "writer-policy")
    wait_until(lambda: prometheus.pending() < 1000, "what waited is sent", 60)
    time.sleep(8)
    end = math.floor(time.time()) - 4.5
    expected = prometheus.samples(start, end)
    form = {"query": _samples_of(start, end), "time": f"{end:.3f}"}
    query = urllib.parse.urlencode(form, quote_via=urllib.parse.quote)
    reply = lab.ask(Sent("GET", f"/workspaces/{workspace}/api/v1/query", query))
    got = listed(reply.json["data"]["result"])
    lost = sum(len(values) - len(got.get(key, ())) for key, values in expected.items())
    failed = prometheus.failed()
    codes = [one["additionalEventData"]["httpStatus"] for one in lab.audit() if one.get("errorCode")]
    print(f"grace {grace}: {lost} of {total(expected)} samples lost, Prometheus gave up {failed:.0f}")  # noqa: T201
    assert set(codes) == ({503} if grace else {403})
    assert lost == failed
    assert (lost == 0) is grace
    prometheus.program.stop()
    assert lab.program is not None
    lab.program.stop()


def cleanup(stage: Stage) -> None:
    for name in ("lab", "proxied"):
        workspace = stage.ids[name]
        stage.aws("delete-workspace", "--workspace-id", workspace)
        stage.aws("wait", "workspace-deleted", "--workspace-id", workspace)
        assert "ResourceNotFoundException" in stage.aws("describe-workspace", "--workspace-id", workspace, fails=True)
        path = f"/workspaces/{workspace}/api/v1/query"
        assert stage.lab.ask(Sent("GET", path, "query=up")).status == 404
        assert not (stage.lab.data / "workspaces" / workspace).exists()
    records = stage.lab.audit()
    assert {"CreateWorkspace", "DeleteWorkspace", "RemoteWrite", "QueryMetrics"} <= {
        one["eventName"] for one in records
    }
    command: list[str | Path] = [HEADRACE, "audit", "verify", stage.lab.data / "audit"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(done.stdout, end="")  # noqa: T201


def through(url: str) -> Any:
    """Ask the proxy, as curl would."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def by_awscurl(stage: Stage, workspace: str, role: Credentials, form: str) -> Any:
    url = f"{stage.lab.url}/workspaces/{workspace}/api/v1/query_range"
    command: list[str | Path] = [
        BIN / "awscurl", "--service", "aps", "--region", REGION, "-X", "POST", "-d", form,
        "-H", "Content-Type: application/x-www-form-urlencoded", url,
    ]  # fmt: skip
    env = {**os.environ, **environment(role)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["data"]


def points(result: list[dict[str, Any]]) -> dict[tuple[str, float], float]:
    """Return value by labels and time."""
    return {
        (json.dumps(one["metric"], sort_keys=True), float(at)): float(value)
        for one in result
        for at, value in one["values"]
    }
