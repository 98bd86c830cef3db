"""Where credentials come from: the environment or the shared credentials file, as AWS' clients look for them.

Source:
    AWS SDKs and Tools Reference Guide, "Static credentials" and "Shared config and credentials files".
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.watched import WatchedFile
from headrace.pipeline.sigv4.sign import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def find_credentials(environment: Mapping[str, str], profile: str = "") -> Callable[[], Credentials]:
    """Return a function that gives the present credentials; a file behind them is read again when it changes.

    Args:
        environment: Where ``AWS_ACCESS_KEY_ID`` and the others are looked up.
        profile: Section of the credentials file. With one, the keys of the environment are not looked at; without,
            it is ``AWS_PROFILE`` or ``default``.

    Raises:
        ConfigError: There are none.
    """
    key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret and not profile:
        fixed = Credentials(key, secret, environment.get("AWS_SESSION_TOKEN", ""))
        return lambda: fixed
    section = profile or environment.get("AWS_PROFILE", "") or "default"
    path = environment.get("AWS_SHARED_CREDENTIALS_FILE", "") or str(Path.home() / ".aws" / "credentials")
    if not profile and not Path(path).exists():
        why = f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and there is no file {path}"
        raise ConfigError("credentials", why)
    watched = WatchedFile(path, lambda text: parse_credentials(text, section), "credentials")
    return lambda: watched.value


def credentials_of_environment(profile: str = "") -> Callable[[], Credentials]:
    """Return `find_credentials` of this process' environment."""
    return find_credentials(os.environ, profile)


def parse_credentials(text: str, section: str) -> Credentials:
    """Return the credentials of a section of a shared credentials file.

    Raises:
        ValueError: It has none; the text is not quoted.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(f"is no credentials file: {type(error).__name__}") from None
    if section not in parser:
        raise ValueError(f"has no section [{section}]")
    values = parser[section]
    for name in ("aws_access_key_id", "aws_secret_access_key"):
        if not values.get(name):
            raise ValueError(f"[{section}] has no {name}")
    return Credentials(
        values["aws_access_key_id"], values["aws_secret_access_key"], values.get("aws_session_token", "")
    )
