"""The ``headers_setter`` extension: what becomes of the headers of a request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from headrace.extensions.bearer_token_auth import BearerTokenAuth, BearerTokenAuthConfig
from headrace.extensions.headers_setter import HeadersSetter, HeadersSetterConfig
from headrace.extensions.sigv4_auth import Sigv4Auth, Sigv4AuthConfig
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.http.auth import ClientAuthenticator, HeaderEditor, RequestSigner, with_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.component import Component


def settings(name: str) -> Settings:
    return Settings("extensions", name, Counters(), logging.getLogger("test"))


async def started(headers: list[dict[str, Any]], other: Component | None = None) -> HeadersSetter:
    config = HeadersSetterConfig.model_validate({"headers": headers, "additional_auth": "other" if other else ""})
    made = HeadersSetter(settings("headers_setter"), config)
    host = Host(extensions={"other": other} if other else {})
    if other is not None:
        await other.start(host)
    await made.start(host)
    return made


@pytest.mark.parametrize(
    ("action", "there", "absent"),
    [("insert", "old", "new"), ("update", "new", None), ("upsert", "new", "new"), ("delete", None, None)],
)
async def test_actions(action: str, there: str | None, absent: str | None) -> None:
    """Each does what it says to a header that is there, in whatever case, and to one that is not."""
    header = {"key": "X-Team", "action": action} | ({} if action == "delete" else {"value": "new"})
    made = await started([header])
    for before, expected in (({"x-team": "old", "Other": "1"}, there), ({"Other": "1"}, absent)):
        sent = made.edit_headers(before)
        assert {name.lower(): value for name, value in sent.items()} == (
            {"other": "1"} | ({} if expected is None else {"x-team": expected})
        )
        assert len(before) == len({"x-team", "Other"} & set(before))


async def test_several_in_order(tmp_path: Path) -> None:
    """Later ones see what earlier ones did; a value may be in a file."""
    file = tmp_path / "value"
    file.write_text("of a file\n")
    made = await started(
        [
            {"key": "a", "value": "1"},
            {"key": "A", "action": "insert", "value": "2"},
            {"key": "b", "value_file": str(file)},
        ]
    )
    assert dict(made.client_headers()) == {"a": "1", "b": "of a file"}


async def test_beside_another_extension() -> None:
    """The headers of the other come first; what it signs is asked of it."""
    token = BearerTokenAuth(settings("other"), BearerTokenAuthConfig.model_validate({"token": "t"}))
    made = await started([{"key": "X-A", "value": "1"}], token)
    assert isinstance(made, HeaderEditor | ClientAuthenticator)
    assert not hasattr(made, "sign")
    assert with_credentials({"X": "y"}, made) == {"X": "y", "Authorization": "Bearer t", "X-A": "1"}
    assert with_credentials({"X": "y"}, token) == {"X": "y", "Authorization": "Bearer t"}
    assert with_credentials({"X": "y"}, None) == {"X": "y"}
    keys = {"region": "r", "access_key_id": "a", "secret_access_key": "s"}
    signer = await started([{"key": "X-A", "value": "1"}], Sigv4Auth(settings("other"), Sigv4AuthConfig(**keys)))
    assert isinstance(signer, RequestSigner)
    assert "Authorization" in signer.sign("POST", "https://x/", {}, b"")


async def test_faults() -> None:
    """Settings that do not fit each other, or are not supported, are refused by name."""
    for header, why in (
        ({"key": "a"}, "either value or value_file"),
        ({"key": "a", "value": "1", "value_file": "f"}, "either value or value_file"),
        ({"key": "a", "action": "delete", "value": "1"}, "takes no value"),
        ({"key": "a", "from_context": "tenant"}, "from_context"),
        ({"key": "a", "from_attribute": "tenant"}, "from_attribute"),
    ):
        with pytest.raises(ValidationError, match=why):
            HeadersSetterConfig.model_validate({"headers": [header]})
    with pytest.raises(ValidationError, match="at least 1"):
        HeadersSetterConfig.model_validate({"headers": []})
    config = HeadersSetterConfig.model_validate({"headers": [{"key": "a", "value": "1"}], "additional_auth": "gone"})
    made = HeadersSetter(settings("x"), config)
    with pytest.raises(ConfigError, match=r"'gone' is not in service\.extensions"):
        await made.start(Host())
    with pytest.raises(ConfigError, match=r"headers\.0\.value_file"):
        await started([{"key": "a", "value_file": "/nowhere/x"}])
