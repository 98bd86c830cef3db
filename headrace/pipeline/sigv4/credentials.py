"""Where credentials come from: the environment or a profile of the shared files, as AWS' clients look for them.

A profile that asks for what is not done here, such as running a program, is refused: whoever wrote it does not expect
that other credentials are taken instead.

Source:
    AWS SDKs and Tools Reference Guide, "Static credentials" and "Shared config and credentials files".
"""

from __future__ import annotations

import configparser
import os
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.watched import WatchedFile
from headrace.pipeline.sigv4.sign import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ROLE = "write assume_role in the sigv4_auth extension"
_SIGN_IN = "nobody can sign in here"
_BEFORE_KEYS = {
    "role_arn": _ROLE,
    "source_profile": _ROLE,
    "credential_source": _ROLE,
    "web_identity_token_file": "set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE in the environment",
    "sso_session": _SIGN_IN,
    "sso_start_url": _SIGN_IN,
    "sso_account_id": _SIGN_IN,
    "sso_role_name": _SIGN_IN,
}
"""Options that AWS' clients follow even where a profile has keys."""

_AFTER_KEYS = {"credential_process": "programs are not run for credentials", "login_session": _SIGN_IN}
"""Options that they follow before the keys of the config file, and after those of the credentials file."""


class NoCredentials(ConfigError):  # noqa: N818 -- named for the condition, as those of the pipeline are
    """There are none, and nothing says that there should be any."""


def find_credentials(environment: Mapping[str, str], profile: str = "") -> Callable[[], Credentials]:
    """Return a function that gives the present credentials; the files behind them are read again when they change.

    Args:
        environment: Where ``AWS_ACCESS_KEY_ID`` and the others are looked up.
        profile: Of the credentials file, or of the config file, which comes after it. With one, the keys of the
            environment are not looked at; without, it is ``AWS_PROFILE`` or ``default``.

    Raises:
        NoCredentials: There are none, and no profile was named.
        ConfigError: A file cannot be read, or the profile has no keys or asks for what is not supported.
    """
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret and not profile:
        fixed = Credentials(key, secret, environment.get("AWS_SESSION_TOKEN", ""))
        return lambda: fixed
    if bool(key) != bool(secret) and not profile:
        raise ConfigError("credentials", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set together")
    named = profile or environment.get("AWS_PROFILE", "")
    name = named or "default"
    folder = os.path.expanduser("~/.aws")  # noqa: PTH111 -- stays as it is where there is no home
    shared = environment.get("AWS_SHARED_CREDENTIALS_FILE", "") or f"{folder}/credentials"
    config = environment.get("AWS_CONFIG_FILE", "") or f"{folder}/config"
    files = _watched(shared, lambda text: parse_credentials(text, name))
    before = any(file.value is not None for file in files)
    files += _watched(config, lambda text: parse_config(text, name, has_keys=before))
    for file in files:
        if file.value is not None:
            return _present(files, file.value)
    if named:
        raise ConfigError("credentials", f"neither {shared} nor {config} has keys of the profile {named!r}")
    why = f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and neither {shared} nor {config} has keys"
    raise NoCredentials("credentials", why)


def credentials_of_environment(profile: str = "") -> Callable[[], Credentials]:
    """Return `find_credentials` of this process' environment."""
    return find_credentials(os.environ, profile)


def parse_credentials(text: str, profile: str) -> Credentials | None:
    """Return the keys of a profile in a credentials file, None where it has none or is not there.

    Raises:
        ValueError: The text is none of such a file, or the profile asks for what is not supported; no value is quoted.
    """
    values = _section(text, profile)
    keys = _keys(values, profile)
    _check(values, profile, _BEFORE_KEYS if keys else _BEFORE_KEYS | _AFTER_KEYS)
    return keys


def parse_config(text: str, profile: str, *, has_keys: bool = False) -> Credentials | None:
    """Return the keys of a profile in a config file, None where it has none or is not there.

    Args:
        text: Of the file.
        profile: Its name; the section has ``profile`` before it, which ``default`` may do without.
        has_keys: Whether the credentials file has keys of it.

    Raises:
        ValueError: As for `parse_credentials`.
    """
    section = f"profile {profile}"
    values = _section(text, section)
    if profile == "default":
        section = section if values else profile
        values = values or _section(text, profile)
    _check(values, section, _BEFORE_KEYS if has_keys else _BEFORE_KEYS | _AFTER_KEYS)
    return _keys(values, section)


def _section(text: str, section: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(f"is no file of profiles: {type(error).__name__}{_place(error)}") from None
    return parser[section] if parser.has_section(section) else {}


def _check(values: Mapping[str, str], section: str, refused: Mapping[str, str]) -> None:
    for name, why in refused.items():
        if values.get(name):
            raise ValueError(f"[{section}] {name} is not supported: {why}")


def _keys(values: Mapping[str, str], section: str) -> Credentials | None:
    key, secret = values.get("aws_access_key_id", ""), values.get("aws_secret_access_key", "")
    if not key and not secret:
        return None
    if not key or not secret:
        raise ValueError(f"[{section}] has no {'aws_secret_access_key' if key else 'aws_access_key_id'}")
    return Credentials(key, secret, values.get("aws_session_token", ""))


def _place(error: configparser.Error) -> str:
    """Return where a file is wrong, as far as that is known."""
    lines = [line for line, _ in getattr(error, "errors", ())] or [getattr(error, "lineno", None)]
    return f" in line {lines[0]}" if lines[0] else ""


def _watched(path: str, parse: Callable[[str], Credentials | None]) -> list[WatchedFile[Credentials | None]]:
    """Return a file with what is parsed of it; nothing where there is none, or its folder is closed."""
    return [WatchedFile(path, parse, "credentials")] if os.path.exists(path) else []  # noqa: PTH110 -- Path's raises


def _present(files: Sequence[WatchedFile[Credentials | None]], found: Credentials) -> Callable[[], Credentials]:
    """Return what gives the keys of the first file that has some, and the last ones where they have all gone."""

    def present() -> Credentials:
        nonlocal found
        found = next((value for file in files if (value := file.value) is not None), found)
        return found

    return present
