"""The headers by which a client says who it is."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.watched import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.config import Secret
    from headrace.pipeline.prometheus_http.config import HttpConfig


class Credentials:
    """Makes the Authorization header, and those of ``http_headers``, of each request.

    Tokens of ``oauth2`` are not among them: they have to be waited for.

    Args:
        config: Settings.
        key: The setting that they are, for errors.
        monotonic_s: Seconds that never go back: files are looked at once a second at most.

    Raises:
        ConfigError: A file cannot be read.
    """

    def __init__(self, config: HttpConfig, key: str, monotonic_s: Callable[[], float]) -> None:
        self._key = key
        self._monotonic_s = monotonic_s
        self._authorization = self._of(config)
        self._headers = [
            (name, part)
            for name, header in config.http_headers.items()
            for part in (
                *map(_constant, header.values),
                *map(_constant, header.secrets),
                *(self._file(path, f"http_headers.{name}.files") for path in header.files),
            )
        ]

    def headers(self) -> dict[str, str]:
        """Return what to add to a request.

        Raises:
            ConfigError: A credential cannot stand in a header.
        """
        found = _joined(self._headers)
        if self._authorization is not None:
            found["Authorization"] = self._authorization()
        for name, value in found.items():
            if "\n" in value or "\r" in value or "\0" in value:
                raise ConfigError(f"{self._key}.{name}", "a credential holds a line feed")
        return found

    def secret(self, value: Secret | str, path: str, setting: str) -> Callable[[], str]:
        """Return what reads a text that is set, or lies in a file."""
        return self._file(path, setting) if path else _constant(value)

    def _file(self, path: str, setting: str) -> Callable[[], str]:
        watched = WatchedFile(path, str.strip, f"{self._key}.{setting}", self._monotonic_s)
        return lambda: watched.value

    def _of(self, config: HttpConfig) -> Callable[[], str] | None:
        if config.basic_auth is not None:
            basic = config.basic_auth
            user = self.secret(basic.username, basic.username_file, "basic_auth.username_file")
            password = self.secret(basic.password, basic.password_file, "basic_auth.password_file")
            return lambda: "Basic " + base64.b64encode(f"{user()}:{password()}".encode()).decode()
        if config.authorization is not None:
            type_, own = config.authorization.type, config.authorization
            token = self.secret(own.credentials, own.credentials_file, "authorization.credentials_file")
            return lambda: f"{type_} {token()}"
        if config.bearer_token or config.bearer_token_file:
            token = self.secret(config.bearer_token, config.bearer_token_file, "bearer_token_file")
            return lambda: f"Bearer {token()}"
        return None


def _constant(value: Secret | str) -> Callable[[], str]:
    text = value if isinstance(value, str) else value.reveal()
    return lambda: text


def _joined(parts: Iterable[tuple[str, Callable[[], str]]]) -> dict[str, str]:
    """Return each header once; further values follow the first after a comma, which means the same."""
    found: dict[str, str] = {}
    for name, part in parts:
        found[name] = f"{found[name]}, {part()}" if name in found else part()
    return found
