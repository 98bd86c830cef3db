"""The ``basic_auth`` extension."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
from pydantic import ValidationError

from headrace.extensions.basic_auth import FACTORY, BasicAuth, BasicAuthConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http import passwords, watched
from headrace.pipeline.http.auth import Authenticator, ClientAuthenticator, Peer, Principal, Unauthenticated

if TYPE_CHECKING:
    from pathlib import Path

PEER = Peer("127.0.0.1")


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


ADA = f"ada:{hashed('lovelace')}"


def make(config: dict[str, Any]) -> BasicAuth:
    settings = Settings("extensions", "basic_auth", Counters(), logging.getLogger("test"))
    return BasicAuth(settings, BasicAuthConfig.model_validate(config))


def header(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def started(config: dict[str, Any]) -> BasicAuth:
    auth = make(config)
    await auth.start(Host())
    return auth


async def test_the_right_password_is_let_in() -> None:
    """User name and password are checked against the bcrypt hash; the user is the principal."""
    auth = await started({"htpasswd": {"inline": ADA}})

    assert await auth.authenticate(header("ada", "lovelace"), PEER) == Principal("ada", "basic_auth")
    assert isinstance(auth, Authenticator)
    assert isinstance(auth, ClientAuthenticator)
    await auth.shutdown()
    await auth.shutdown()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer x"},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"nocolon").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        header("ada", "wrong"),
        header("ada", ""),
        header("ada", "l" * 100),
        header("eve", "lovelace"),
        header("", ""),
    ],
)
async def test_everything_else_is_turned_away(headers: dict[str, str]) -> None:
    """Missing, malformed and wrong credentials are refused with a challenge that names no detail."""
    auth = await started({"htpasswd": {"inline": ADA}})

    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate(headers, PEER)

    assert caught.value.challenge.startswith("Basic realm=")
    assert "lovelace" not in str(caught.value)
    await auth.shutdown()


async def test_bcrypt_runs_once_for_each_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right and wrong answers are remembered, within a bound, and what is remembered holds no password."""
    monkeypatch.setattr(passwords, "_CACHED", 2)
    auth = await started({"htpasswd": {"inline": ADA}})
    checker = auth._passwords

    for _ in range(3):
        await auth.authenticate(header("ada", "lovelace"), PEER)
        with pytest.raises(Unauthenticated):
            await auth.authenticate(header("ada", "wrong"), PEER)
    assert checker.checks == 2
    for guess in "abc":
        with pytest.raises(Unauthenticated):
            await auth.authenticate(header("ada", guess), PEER)

    assert len(checker._known) == 2
    assert b"lovelace" not in repr(checker._known).encode()
    await auth.shutdown()


async def test_an_unknown_user_costs_as_much_as_a_known_one() -> None:
    """A user that does not exist is checked against some hash, so that time does not tell names."""
    auth = await started({"htpasswd": {"inline": ADA}})

    with pytest.raises(Unauthenticated):
        await auth.authenticate(header("eve", "x"), PEER)

    assert auth._passwords.checks == 1
    await auth.shutdown()


async def test_a_changed_file_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of the file change with it; inline users win; a broken file leaves the users as they were."""
    monkeypatch.setattr(watched, "_CHECK_EVERY_S", 0)
    file = tmp_path / "users"
    file.write_text(f"# team\n\nbob:{hashed('one')}\nada:{hashed('file')}\n")
    auth = await started({"htpasswd": {"file": str(file), "inline": ADA}})

    await auth.authenticate(header("bob", "one"), PEER)
    await auth.authenticate(header("ada", "lovelace"), PEER)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(header("ada", "file"), PEER)
    file.write_text(f"bob:{hashed('second')}\n")
    await auth.authenticate(header("bob", "second"), PEER)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(header("bob", "one"), PEER)
    file.write_text("broken")
    await auth.authenticate(header("bob", "second"), PEER)
    await auth.shutdown()


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "set either htpasswd"),
        ({"htpasswd": {"inline": ADA}, "client_auth": {"username": "a"}}, "set either htpasswd"),
        ({"htpasswd": {}}, "needs file or inline"),
        ({"htpasswd": {"inline": "ada"}}, "line 1: must be user:hash"),
        ({"htpasswd": {"inline": f"{ADA}\n{ADA}"}}, "line 2: user 'ada' appears twice"),
        ({"htpasswd": {"inline": "ada:$apr1$x$y"}}, "line 1: the hash must be bcrypt"),
        ({"htpasswd": {"inline": ADA.replace("$04$", "$31$")}}, "bcrypt cost must be 4 to 14, got 31"),
        ({"client_auth": {"password": "x"}}, "needs username"),
        ({"htpasswd": {"inline": ADA}, "realm": "x"}, "realm"),
    ],
)
def test_bad_settings_are_named(config: dict[str, Any], why: str) -> None:
    """Wrong settings are refused, and the text holds no hash."""
    with pytest.raises(ValidationError, match=why) as caught:
        BasicAuthConfig.model_validate(config)

    assert not any("$2" in error["msg"] for error in caught.value.errors())


async def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    """A file that is not there keeps the daemon from starting."""
    with pytest.raises(ConfigError, match=r"extensions\.basic_auth\.htpasswd\.file: cannot use .*nosuch: No such file"):
        await started({"htpasswd": {"file": str(tmp_path / "nosuch")}})


async def test_clients_send_the_header(tmp_path: Path) -> None:
    """With client_auth, requests get the Authorization header; files win over values."""
    (tmp_path / "password").write_text("from file\n")
    plain = await started({"client_auth": {"username": "ada", "password": "lovelace"}})
    filed = await started(
        {"client_auth": {"username": "ada", "password": "x", "password_file": str(tmp_path / "password")}}
    )

    assert plain.client_headers() == {"Authorization": "Basic YWRhOmxvdmVsYWNl"}
    assert base64.b64decode(filed.client_headers()["Authorization"][6:]) == b"ada:from file"
    assert "lovelace" not in repr(plain._config)


def test_factory() -> None:
    """The extension goes by the Collector's name as well."""
    assert (FACTORY.name, FACTORY.aliases) == ("basic_auth", ("basicauth",))
