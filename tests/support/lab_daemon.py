"""The lab's daemon as a program, with users beside its admin, and clients that sign whatever they are told to."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.pipeline.sigv4.sign import Credentials, Signer
from headrace.store.access.keyring import Keyring
from headrace.store.access.sealing import load_master_key
from remote_write_messages import packed, request_v1
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from running import Program, Programs

ACCOUNT = "123456789012"
REGION = "us-east-1"
CONFIG = Path(__file__).parents[2] / "configs" / "lab.yaml"
ADMIN = Credentials("AKIAHEADRACEDEMOLAB1", "headrace/demonstration/secret/loopback/1")


def arn(workspace: str, region: str = REGION, account: str = ACCOUNT) -> str:
    """Return the ARN of a workspace."""
    return f"arn:aws:aps:{region}:{account}:workspace/{workspace}"


def allow(actions: str | Sequence[str], resource: str | Sequence[str], **more: Any) -> dict[str, Any]:
    """Return a statement that allows; `more` are further elements, which may also deny."""
    listed = [actions] if isinstance(actions, str) else list(actions)
    return {"Effect": "Allow", "Action": listed, "Resource": resource, **more}


def policy(*statements: Mapping[str, Any]) -> str:
    """Return a document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass(frozen=True)
class Sent:
    """A request as it goes on the wire; change it with `with_` before or after it is signed."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def with_(self, **changes: Any) -> Sent:
        """Return the request with other parts."""
        return replace(self, **changes)

    def with_header(self, name: str, value: str | None) -> Sent:
        """Return the request with a header more, another, or (None) without it."""
        kept = {key: text for key, text in self.headers.items() if key.lower() != name.lower()}
        return replace(self, headers=kept if value is None else {**kept, name: value})


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The message of an error."""
        body = self.json
        return str(body.get("message") or body.get("Message"))


class LabDaemon:
    """``headrace run --config configs/lab.yaml`` on a free port.

    Args:
        programs: Starts and ends it.
        folder: For data and master key.
        settings: Further ``--set`` options.
    """

    def __init__(self, programs: Programs, folder: Path, settings: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.folder = folder
        self.data = folder / "data"
        self.env = {
            "HEADRACE_DATA_DIR": str(self.data),
            "HEADRACE_MASTER_KEY_FILE": str(folder / "master.key"),
        }
        self._settings = settings
        self._programs = programs
        self._keyring: Keyring | None = None
        self.program: Program | None = None

    # -- life ----------------------------------------------------------------------------------------------

    @property
    def options(self) -> list[str]:
        """What every command about this daemon names."""
        endpoints = ("extensions.workspaces", "receivers.prometheus_remote_write", "exporters.store")
        own = [f"{key}.endpoint=127.0.0.1:{self.port}" for key in endpoints]
        sets = [*own, "service.telemetry.metrics.level=none", *self._settings]
        return ["--config", str(CONFIG), *(part for one in sets for part in ("--set", one))]

    def start(self) -> LabDaemon:
        """Start it; return once it is ready."""
        self.program = self._programs.start("headrace", [HEADRACE, "run", *self.options], env=self.env)
        self.program.wait_http(f"{self.url}/-/ready", 120)
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.program is not None
        self.program.kill()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    # -- users ---------------------------------------------------------------------------------------------

    @property
    def keyring(self) -> Keyring:
        """The users, as ``headrace access`` sees them."""
        if self._keyring is None:
            path = self.data / "access" / "keyring.db"
            key = load_master_key(self.folder / "master.key", "test", path.parent)
            self._keyring = Keyring(path, key)
            self._keyring.open()
        return self._keyring

    def user(self, name: str, document: str = "", duration_s: float = 0) -> Credentials:
        """Make a user with a policy of its own and an access key."""
        keyring = self.keyring
        if name not in keyring.users:
            keyring.create_user(name)
        if document:
            keyring.put_policy(f"{name}-policy", document)
            keyring.attach(name, f"{name}-policy")
        key = keyring.create_key(name, duration_s)
        return Credentials(key.id, key.secret, key.session_token)

    def settle(self) -> None:
        """Wait until the daemon has noticed changes of the keyring."""
        time.sleep(1.5)

    # -- requests ------------------------------------------------------------------------------------------

    def sign(
        self,
        sent: Sent,
        credentials: Credentials,
        *,
        region: str = REGION,
        service: str = "aps",
        skew: timedelta = timedelta(),
        host: str = "",
    ) -> Sent:
        """Return a request with the headers of its signature."""
        headers = {**sent.headers, "host": host or f"127.0.0.1:{self.port}"}
        signer = Signer(region, service)
        now = datetime.now(UTC) + skew
        added = signer.sign(sent.method, sent.path, sent.query, headers, sent.body, credentials, now)
        return replace(sent, headers={**sent.headers, **added})

    def send(self, sent: Sent) -> Reply:
        """Send a request as it stands."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            target = f"{sent.path}?{sent.query}" if sent.query else sent.path
            connection.request(sent.method, target, sent.body or None, dict(sent.headers))
            answer = connection.getresponse()
            return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def ask(self, sent: Sent, credentials: Credentials = ADMIN) -> Reply:
        """Sign a request and send it."""
        return self.send(self.sign(sent, credentials))

    def create_workspace(self, alias: str, **tags: str) -> str:
        """Make a workspace; return its id."""
        body = json.dumps({"alias": alias, "tags": tags}).encode()
        reply = self.ask(Sent("POST", "/workspaces", "", {"Content-Type": "application/json"}, body))
        assert reply.status == 202, reply.body
        return str(reply.json["workspaceId"])

    # -- the audit log -------------------------------------------------------------------------------------

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of the audit log, once they are on the disk."""
        time.sleep(1.3)
        files = sorted((self.data / "audit").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def write_request(workspace: str, number: int = 0, series: int = 2) -> Sent:
    """Return an unsigned remote write request of one sample for each of `series` series."""
    now = int(time.time() * 1000)
    rows = [({"__name__": "lab_sample", "i": str(i)}, [(now, float(number))]) for i in range(series)]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    return Sent("POST", f"/workspaces/{workspace}/api/v1/remote_write", "", headers, packed(request_v1(rows)))


def query_request(workspace: str, query: str = "lab_sample") -> Sent:
    """Return an unsigned instant query."""
    return Sent("GET", f"/workspaces/{workspace}/api/v1/query", f"query={query}")
