"""The settings of the access extension: what is wrong is said, and what is there by itself is there."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError

from headrace.extensions.access import FACTORY
from headrace.extensions.access_config import AccessConfig, identities_of, loopback_only_keys, open_keyring
from headrace.extensions.workspaces import WorkspacesConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import Authenticator, Denied, Gate, Peer, Principal, Unauthenticated
from headrace.store.access.explain import explain, is_denied
from headrace.store.access.keyring import Keyring
from headrace.store.access.lint import lint
from headrace.store.access.sealing import MasterKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BASE: dict[str, Any] = {"account": "123456789012", "region": "us-east-1"}
KEY = {"id": "AKIA0000000000000001", "secret": "s" * 40}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "aps:RemoteWrite", "Resource": "*"}]}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"account": "12"}, "account"),
        ({"region": "US East"}, "region"),
        ({"users": {"a b": {}}}, "user name 'a b'"),
        ({"users": {"a": {"policies": ["nosuch"]}}}, "there is no policy 'nosuch'"),
        ({"users": {"a": {"access_keys": [{"id": "short", "secret": "x"}]}}}, "access key id 'short'"),
        ({"users": {"a": {"access_keys": [KEY]}, "b": {"access_keys": [KEY]}}}, "AKIA0000000000000001 stands twice"),
        ({"policies": {"p": {"Statement": []}}}, "p: Statement: must be"),
        ({"policies": {"p": 7}}, "must be a policy document"),
        ({"policies": {"AdministratorAccess": ALLOW}}, "is the name of a managed policy"),
        ({"database": "x.db"}, "database needs either master_key or master_key_file"),
        ({"database": "x.db", "master_key": "k", "master_key_file": "f"}, "either master_key or master_key_file"),
        ({"auth_grace": "-1s"}, "must not be negative"),
        ({"nosuch": 1}, "nosuch"),
    ],
)
def test_faults(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AccessConfig.model_validate({**BASE, **settings})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"retention": "36h"}, {"retention": "1096d"}, {"out_of_order_time_window": "11m"}, {"account": "x"}]
)
def test_faults_of_workspaces(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WorkspacesConfig.model_validate({**BASE, **settings})


def test_keys_of_documents_are_good_on_loopback_alone() -> None:
    users = {"a": {"access_keys": [{**KEY, "loopback_only": True}]}, "b": {"access_keys": [{**KEY, "id": "A" * 20}]}}
    config = AccessConfig.model_validate({**BASE, "users": users})
    assert loopback_only_keys(config) == {"AKIAHEADRACEDEMOLAB1", KEY["id"]}


def test_users_of_both_places(tmp_path: Path) -> None:
    settings = {
        "users": {"a": {"policies": ["p"], "access_keys": [KEY]}},
        "policies": {"p": ALLOW},
        "database": str(tmp_path / "data" / "keyring.db"),
        "master_key_file": str(tmp_path / "key"),
    }
    config = AccessConfig.model_validate({**BASE, **settings})
    keyring = open_keyring(config, "extensions.access", lambda: 0)
    assert keyring is not None
    keyring.create_user("b")
    made = keyring.create_key("b")
    identities = identities_of(config, keyring)
    assert [one.user.name for one in identities.all()] == ["a", "b"]
    assert {key for key, _ in identities.secrets()} == {KEY["id"], made.id}
    assert identities.find("nobody") is None
    keyring.put_policy("q", "{}")  # as an earlier release may have taken it
    keyring.attach("b", "q")
    found = identities.find("b")
    assert found is not None
    assert [statement.label for policy in found.policies for statement in policy.statements] == ["PolicyCannotBeRead"]
    keyring.close()


def test_the_master_key_is_not_among_the_data(tmp_path: Path) -> None:
    settings = {"database": str(tmp_path / "keyring.db"), "master_key_file": str(tmp_path / "key")}
    config = AccessConfig.model_validate({**BASE, **settings})
    with pytest.raises(ConfigError, match=r"extensions.access.master_key_file: .* lies in the data directory"):
        open_keyring(config, "extensions.access", lambda: 0)


async def test_grpc_cannot_be_signed(tmp_path: Path) -> None:
    settings = Settings("extensions", "access", Counters(), logging.getLogger("test"))
    made = FACTORY.create(settings, AccessConfig.model_validate(BASE))
    assert isinstance(made, Gate)
    assert isinstance(made, Authenticator)
    with pytest.raises(Unauthenticated, match="gRPC cannot be signed"):
        await made.authenticate({}, Peer("127.0.0.1"))


class Tokens:
    """Lets in whoever sends the token."""

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        del peer
        if headers.get("authorization") != "Bearer good":
            raise Unauthenticated("the token is wrong", "Bearer")
        return Principal("token 1", "bearer_token_auth")

    async def start(self, host: Host) -> None:
        del host

    async def shutdown(self) -> None:
        pass


def request(peer: Peer, **headers: str) -> Any:
    """Return what the gate reads of a query."""
    return SimpleNamespace(
        method="GET", path="/workspaces/ws-1/api/v1/query", query_string="query=up", params={"id": "ws-1"}, peer=peer,
        headers=CIMultiDictProxy(CIMultiDict(headers)), raw=SimpleNamespace(secure=True), on_answer=lambda _: None,
    )  # fmt: skip


async def test_certificates_and_tokens_are_users() -> None:
    settings = {
        "users": {"agent": {"policies": ["AmazonPrometheusQueryAccess"]}, "writer": {}},
        "authenticators": [{"extension": "bearer_token_auth", "user": "agent"}],
        "mtls": True,
    }
    made = FACTORY.create(
        Settings("extensions", "access", Counters(), logging.getLogger("test")),
        AccessConfig.model_validate({**BASE, **settings}),
    )
    host = Host(extensions={"bearer_token_auth": Tokens()})
    await made.start(host)
    assert isinstance(made, Gate)
    nobody = Peer("10.0.0.1")

    async def admitted(peer: Peer, **headers: str) -> str:
        return (await made.admit(request(peer, **headers), "aps:QueryMetrics")).name

    assert await admitted(Peer("10.0.0.1", "agent")) == "agent"
    assert await admitted(nobody, Authorization="Bearer good") == "agent"
    for peer in (nobody, Peer("10.0.0.1", "stranger")):
        with pytest.raises(Unauthenticated):
            await admitted(peer, Authorization="Bearer bad")
    with pytest.raises(Denied) as caught:
        await admitted(Peer("10.0.0.1", "writer"))
    assert (caught.value.status, caught.value.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    await made.shutdown()


def test_lint(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "k.db", MasterKey(b"k" * 32))
    keyring.open()
    policies = ["AdministratorAccess"], ["AmazonPrometheusRemoteWriteAccess"], ["AmazonPrometheusQueryAccess"]
    users = {name: {"policies": found} for name, found in zip("abc", policies, strict=True)}
    identities = identities_of(AccessConfig.model_validate({**BASE, "users": users}), keyring).all()
    used = {("b", "aps:RemoteWrite"), ("c", "aps:QueryMetrics"), ("c", "aps:GetSeries")}
    found = [(one.rule, one.user) for one in lint(identities, used, audited=True)]
    assert found == [("wide-grant", "a"), ("reads-and-writes", "a"), ("unused-grant", "a"), ("unused-grant", "c")]
    assert [one.rule for one in lint(identities, set(), audited=False)] == ["wide-grant", "reads-and-writes"]
    keyring.close()


def test_explain_takes_any_line() -> None:
    assert not is_denied({})
    record = {"additionalEventData": {"httpStatus": 503, "decision": {}, "grace": True}}
    assert is_denied(record)
    text = "\n".join(explain(record))
    assert "none of them speaks of" in text
    assert "allowed a moment ago" in text
