"""Credentials are found where AWS' clients find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.sigv4.credentials import find_credentials, parse_credentials
from headrace.pipeline.sigv4.sign import Credentials

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = 100%secret/+
[lab]
aws_access_key_id=ASIALAB
aws_secret_access_key=other
aws_session_token=token==
"""


def test_the_environment_comes_first() -> None:
    environment = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    assert find_credentials(environment)() == Credentials("AKIA", "s", "t")
    assert "s'" not in repr(find_credentials(environment)())


@pytest.mark.parametrize(
    ("extra", "profile", "key"),
    [({}, "", "AKIADEFAULT"), ({"AWS_PROFILE": "lab"}, "", "ASIALAB"), ({"AWS_ACCESS_KEY_ID": "A"}, "lab", "ASIALAB")],
)
def test_the_shared_file(tmp_path: Path, extra: dict[str, str], profile: str, key: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(FILE)
    found = find_credentials({"AWS_SHARED_CREDENTIALS_FILE": str(path), **extra}, profile)()
    assert found.access_key == key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[other]\n", r"has no section \[default\]"),
        ("[default]\naws_access_key_id = x\n", r"\[default\] has no aws_secret_access_key"),
        ("aws_secret_access_key = hunter2\n", "is no credentials file: MissingSectionHeaderError"),
    ],
)
def test_faults_do_not_quote_secrets(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_credentials(text, "default")
    assert "hunter2" not in str(caught.value)


def test_none_at_all(tmp_path: Path) -> None:
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and there is no"):
        find_credentials(environment)
