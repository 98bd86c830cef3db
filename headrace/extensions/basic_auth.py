"""Authenticate requests by user name and password (HTTP Basic), or add them to requests that are sent.

The Collector's ``basicauth``: ``htpasswd`` turns it into an authenticator for servers, ``client_auth`` into one for
clients. Hashes must be bcrypt. Use it together with TLS: Basic sends the password in the clear.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.pipeline.http.htpasswd import parse_htpasswd
from headrace.pipeline.http.passwords import PasswordChecker
from headrace.pipeline.http.watched import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.host import Host

_CHALLENGE = 'Basic realm="headrace", charset="UTF-8"'


class HtpasswdConfig(ComponentConfig):
    """Users of a server."""

    file: str = ""
    """File of ``user:hash`` lines as ``htpasswd -B`` writes them; read again when it changes."""

    inline: Secret = Secret("")
    """The same lines in the configuration; they win over the file's."""


class ClientCredentials(ComponentConfig):
    """What a client sends."""

    username: str = ""
    """User name."""

    password: Secret = Secret("")
    """Password."""

    username_file: str = ""
    """File with the user name; wins over `username` and is read again when it changes."""

    password_file: str = ""
    """File with the password; wins over `password` and is read again when it changes."""


class BasicAuthConfig(ComponentConfig):
    """Settings of the ``basic_auth`` extension."""

    htpasswd: HtpasswdConfig | None = None
    """Users that servers let in."""

    client_auth: ClientCredentials | None = None
    """Credentials that clients send."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.htpasswd is None) == (self.client_auth is None):
            raise ValueError("set either htpasswd (for servers) or client_auth (for clients)")
        if self.htpasswd is not None:
            inline = self.htpasswd.inline.reveal()
            if not self.htpasswd.file and not inline:
                raise ValueError("htpasswd needs file or inline")
            parse_htpasswd(inline)
        if self.client_auth is not None and not (self.client_auth.username or self.client_auth.username_file):
            raise ValueError("client_auth needs username or username_file")
        return self


class BasicAuth:
    """Checks, or adds, the Authorization header."""

    def __init__(self, settings: Settings, config: BasicAuthConfig) -> None:
        self._settings = settings
        self._config = config
        self._inline: dict[str, bytes] = {}
        self._files: dict[str, WatchedFile[str]] = {}
        self._users: WatchedFile[dict[str, bytes]] | None = None
        self._passwords = PasswordChecker()

    async def start(self, host: Host) -> None:
        """Read the files."""
        del host
        key = f"extensions.{self._settings.id}"
        if self._config.htpasswd is not None:
            self._inline = parse_htpasswd(self._config.htpasswd.inline.reveal())
            if self._config.htpasswd.file:
                self._users = WatchedFile(self._config.htpasswd.file, parse_htpasswd, f"{key}.htpasswd.file")
        if self._config.client_auth is not None:
            for name in ("username_file", "password_file"):
                path = getattr(self._config.client_auth, name)
                if path:
                    self._files[name] = WatchedFile(path, str.strip, f"{key}.client_auth.{name}")

    async def shutdown(self) -> None:
        """Stop checking."""
        self._passwords.close()

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        """Return the user; see `Authenticator`."""
        del peer
        if self._config.htpasswd is None:
            raise ConfigError(f"extensions.{self._settings.id}.htpasswd", "is needed to authenticate requests")
        user, password = _credentials(headers.get("authorization", ""))
        hashed = self._inline.get(user) or (self._users.value.get(user) if self._users else None)
        if not await self._passwords.check(password, hashed):
            raise Unauthenticated("user name or password is wrong", _CHALLENGE)
        return Principal(user, self._settings.id)

    def client_headers(self) -> Mapping[str, str]:
        """Return the Authorization header; see `ClientAuthenticator`."""
        own = self._config.client_auth
        if own is None:
            raise ConfigError(f"extensions.{self._settings.id}.client_auth", "is needed to send requests")
        user = self._files["username_file"].value if own.username_file else own.username
        password = self._files["password_file"].value if own.password_file else own.password.reveal()
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")}


def _credentials(header: str) -> tuple[str, bytes]:
    """Return user name and password of an Authorization header."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("user name and password are needed", _CHALLENGE)
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        name = user.decode("utf-8")
    except (binascii.Error, ValueError):
        colon, name, password = b"", "", b""
    if not colon:
        raise Unauthenticated("the Authorization header is malformed", _CHALLENGE)
    return name, password


FACTORY = ExtensionFactory(name="basic_auth", config=BasicAuthConfig, create=BasicAuth, aliases=("basicauth",))
