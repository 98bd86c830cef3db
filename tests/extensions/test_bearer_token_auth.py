"""The ``bearer_token_auth`` extension."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from headrace.extensions.bearer_token_auth import FACTORY, BearerTokenAuth, BearerTokenAuthConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http import watched
from headrace.pipeline.http.auth import Authenticator, ClientAuthenticator, Peer, Principal, Unauthenticated

if TYPE_CHECKING:
    from pathlib import Path

PEER = Peer("127.0.0.1")


async def started(config: dict[str, Any]) -> BearerTokenAuth:
    settings = Settings("extensions", "bearer_token_auth/x", Counters(), logging.getLogger("test"))
    auth = BearerTokenAuth(settings, BearerTokenAuthConfig.model_validate(config))
    await auth.start(Host())
    return auth


async def test_a_token_is_let_in() -> None:
    """Each of the tokens is accepted, and the principal says which, not what it is."""
    auth = await started({"tokens": ["one", "two"]})

    assert isinstance(auth, Authenticator)
    assert isinstance(auth, ClientAuthenticator)
    for number, token in enumerate(("one", "two"), 1):
        for scheme in ("Bearer", "bearer"):
            found = await auth.authenticate({"authorization": f"{scheme} {token}"}, PEER)
            assert found == Principal(f"token {number}", "bearer_token_auth/x")
    await auth.shutdown()


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer ", "Bearer on", "Bearer One", "Basic one", "one", "Bearer \udcff"]
)
async def test_everything_else_is_turned_away(sent: str) -> None:
    """A missing or wrong token is refused with a challenge."""
    auth = await started({"token": "one"})

    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate({"authorization": sent} if sent else {}, PEER)

    assert caught.value.challenge == "Bearer"
    assert "one" not in str(caught.value)


async def test_another_header_without_scheme() -> None:
    """The token may be the whole of another header, as for an API key; clients send it the same way."""
    auth = await started({"token": "key", "header": "X-Api-Key", "scheme": ""})

    assert (await auth.authenticate({"x-api-key": "key"}, PEER)).name == "token 1"
    assert auth.client_headers() == {"X-Api-Key": "key"}
    with pytest.raises(Unauthenticated) as caught:
        await auth.authenticate({"authorization": "Bearer key"}, PEER)
    assert not caught.value.challenge


async def test_a_changed_file_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of a file change with it; an empty file leaves them as they were."""
    monkeypatch.setattr(watched, "_CHECK_EVERY_S", 0)
    file = tmp_path / "tokens"
    file.write_text("one\n\ntwo\n")
    auth = await started({"filename": str(file)})

    assert (await auth.authenticate({"authorization": "Bearer two"}, PEER)).name == "token 2"
    file.write_text("three\n")
    assert auth.client_headers() == {"Authorization": "Bearer three"}
    with pytest.raises(Unauthenticated):
        await auth.authenticate({"authorization": "Bearer two"}, PEER)
    file.write_text("\n")
    assert auth.client_headers() == {"Authorization": "Bearer three"}


@pytest.mark.parametrize(
    "config", [{}, {"token": "a", "tokens": ["b"]}, {"token": ""}, {"tokens": ["a", " "]}, {"token": "a", "x": 1}]
)
def test_bad_settings_are_refused(config: dict[str, Any]) -> None:
    """There is exactly one source of tokens, and none is empty."""
    with pytest.raises(ValidationError):
        BearerTokenAuthConfig.model_validate(config)


async def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    """A file that is not there keeps the daemon from starting."""
    with pytest.raises(ConfigError, match=r"extensions\.bearer_token_auth/x\.filename: cannot use "):
        await started({"filename": str(tmp_path / "nosuch")})


def test_secrets_do_not_print() -> None:
    """Neither the configuration nor its JSON shows a token."""
    config = BearerTokenAuthConfig.model_validate({"tokens": ["hush"]})

    assert "hush" not in repr(config)
    assert "hush" not in config.model_dump_json()
    assert FACTORY.aliases == ("bearertokenauth",)
