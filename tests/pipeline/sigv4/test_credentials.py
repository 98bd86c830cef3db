"""Credentials are found where AWS' clients find them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.sigv4.credentials import NoCredentials, find_credentials, parse_credentials
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


def files(tmp_path: Path, credentials: str | None = None, config: str | None = None) -> dict[str, str]:
    """Write shared files; return the environment that names them."""
    found = {}
    for name, variable, text in (
        ("credentials", "AWS_SHARED_CREDENTIALS_FILE", credentials),
        ("config", "AWS_CONFIG_FILE", config),
    ):
        tmp_path.mkdir(exist_ok=True)
        found[variable] = str(tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    return found


def keys(name: str, more: str = "") -> str:
    return f"[{name}]\naws_access_key_id = K\naws_secret_access_key = hunter2\n{more}\n"


@pytest.mark.parametrize(
    ("extra", "profile", "key"),
    [({}, "", "AKIADEFAULT"), ({"AWS_PROFILE": "lab"}, "", "ASIALAB"), ({"AWS_ACCESS_KEY_ID": "A"}, "lab", "ASIALAB")],
)
def test_the_shared_file(tmp_path: Path, extra: dict[str, str], profile: str, key: str) -> None:
    assert find_credentials({**files(tmp_path, FILE), **extra}, profile)().access_key == key


def test_the_config_file_comes_after_it(tmp_path: Path) -> None:
    """Its sections have `profile` before their names, and other options of its own."""
    environment = files(tmp_path, FILE, keys("default") + keys("profile more", "region = x\ns3 =\n  a = b"))
    assert find_credentials(environment)().access_key == "AKIADEFAULT"
    assert find_credentials(environment, "more")().access_key == "K"
    with pytest.raises(ConfigError, match=r"neither .* nor .* has keys of the profile 'none'"):
        find_credentials({**environment, "AWS_PROFILE": "none"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[default]\naws_access_key_id = x\n", r"\[default\] has no aws_secret_access_key"),
        ("[default]\naws_secret_access_key = hunter2\n", r"\[default\] has no aws_access_key_id"),
        ("aws_secret_access_key = hunter2\n", "is no file of profiles: MissingSectionHeaderError in line 1"),
        ("[default]\naws_secret_access_key\n", "is no file of profiles: ParsingError in line 2"),
        (keys("default") + keys("default"), "is no file of profiles: DuplicateSectionError in line 5"),
        (
            "[default]\ncredential_process = /bin/hunter2\n",
            r"\[default\] credential_process is not supported: programs",
        ),
        (keys("default", "role_arn = arn:x\nsource_profile = hunter2"), r"\[default\] role_arn .* write assume_role"),
        ("[default]\nsso_session = x\n", "sso_session is not supported"),
    ],
)
def test_faults_do_not_quote_secrets(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_credentials(text, "default")
    assert "hunter2" not in str(caught.value)


def test_keys_come_before_a_program(tmp_path: Path) -> None:
    """In the credentials file; those of a config file come after it, and roles before all."""
    program, role = "credential_process = /bin/x", "role_arn = arn:x"
    environment = files(tmp_path, keys("default", program), f"[default]\n{program}\n")
    assert find_credentials(environment)().access_key == "K"
    for credentials, config in ((None, keys("default", program)), (keys("default"), f"[default]\n{role}\n")):
        with pytest.raises(ConfigError, match="is not supported") as caught:
            find_credentials(files(tmp_path / ("a" if credentials else "b"), credentials, config))
        assert not isinstance(caught.value, NoCredentials)


def test_files_are_read_again(tmp_path: Path) -> None:
    """What they hold then is used; where they hold nothing, what they held before."""
    environment = files(tmp_path, keys("default"))
    found = find_credentials(environment)
    for text, key in ((FILE, "AKIADEFAULT"), ("[other]\n", "AKIADEFAULT"), ("[default]\nsso_session=x", "AKIADEFAULT")):
        (tmp_path / "credentials").write_text(text)
        time.sleep(1.1)
        assert found().access_key == key


def test_keys_of_the_environment_are_set_together() -> None:
    """Half of them are a mistake, unless a profile is named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(ConfigError, match="are set together") as caught:
            find_credentials({name: "hunter2"})
        assert "hunter2" not in str(caught.value)


def test_default_may_be_called_a_profile(tmp_path: Path) -> None:
    """In a config file; what it asks for counts as well."""
    assert find_credentials(files(tmp_path, config=keys("profile default")))().access_key == "K"
    with pytest.raises(ConfigError, match=r"\[profile default\] credential_process is not supported"):
        find_credentials(files(tmp_path, config="[profile default]\ncredential_process = x\n"))


def test_a_home_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or that may not be looked into is one without files."""
    monkeypatch.setattr("os.path.exists", lambda _: False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(NoCredentials, match=r"neither ~/.aws/credentials nor ~/.aws/config has keys"):
        find_credentials({})


def test_none_at_all(tmp_path: Path) -> None:
    """Also where a file is there, but says nothing about keys."""
    for config in (None, "[default]\nregion = eu-west-1\n"):
        with pytest.raises(NoCredentials, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and neither"):
            find_credentials(files(tmp_path, config=config))
