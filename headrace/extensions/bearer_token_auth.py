"""Authenticate requests by a bearer token, or add one to requests that are sent.

The Collector's ``bearertokenauth``. Use it together with TLS: the token is sent in the clear.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.http.auth import Peer, Principal, Unauthenticated
from headrace.pipeline.http.watched import WatchedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.host import Host


class BearerTokenAuthConfig(ComponentConfig):
    """Settings of the ``bearer_token_auth`` extension: `token`, `tokens` or `filename`, which is stronger than both."""

    scheme: str = "Bearer"
    """What stands before the token in the header; empty for the token alone."""

    header: str = "Authorization"
    """Header that carries the token."""

    token: Secret | None = None
    """The token."""

    tokens: tuple[Secret, ...] = ()
    """Tokens that servers accept; clients send the first."""

    filename: str = ""
    """File with one token a line, read again when it changes; clients send the first. It is stronger than `token` and
    `tokens`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given_directly = (self.token is not None) + bool(self.tokens)
        if given_directly > 1 or not (given_directly or self.filename):
            raise ValueError("set token or tokens, or filename")
        given = [self.token, *self.tokens] if self.token is not None else self.tokens
        if any(not token.reveal().strip() for token in given):
            raise ValueError("a token must not be empty")
        return self


class BearerTokenAuth:
    """Checks, or adds, the token."""

    def __init__(self, settings: Settings, config: BearerTokenAuthConfig) -> None:
        self._settings = settings
        self._config = config
        self._file: WatchedFile[_Tokens] | None = None
        given = [config.token] if config.token is not None else config.tokens
        self._fixed = _Tokens(token.reveal() for token in given)
        self._challenge = config.scheme if config.header.lower() == "authorization" else ""

    async def start(self, host: Host) -> None:
        """Read the file."""
        del host
        if self._config.filename:
            key = f"extensions.{self._settings.id}.filename"
            self._file = WatchedFile(self._config.filename, _parse, key)

    async def shutdown(self) -> None:
        """Do nothing: nothing runs."""

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        """Return which token was sent; see `Authenticator`."""
        del peer
        sent = headers.get(self._config.header.lower(), "")
        if self._config.scheme:
            scheme, _, sent = sent.partition(" ")
            if scheme.lower() != self._config.scheme.lower():
                raise Unauthenticated("a token is needed", self._challenge)
        found = self._tokens().find(sent.strip())
        if found is None:
            raise Unauthenticated("the token is wrong", self._challenge)
        return Principal(f"token {found + 1}", self._settings.id)

    def client_headers(self) -> Mapping[str, str]:
        """Return the header with the first token; see `ClientAuthenticator`."""
        token = self._tokens().first
        return {self._config.header: f"{self._config.scheme} {token}" if self._config.scheme else token}

    def _tokens(self) -> _Tokens:
        return self._file.value if self._file is not None else self._fixed


class _Tokens:
    """Accepted tokens, as digests: comparing those takes the same time whatever was sent."""

    def __init__(self, tokens: Iterable[str]) -> None:
        stripped = [token.strip() for token in tokens]
        self.first = stripped[0] if stripped else ""
        self._digests = [hashlib.sha256(token.encode()).digest() for token in stripped]

    def find(self, sent: str) -> int | None:
        """Return the index of the token `sent`; all are compared, wherever the match is."""
        digest = hashlib.sha256(sent.encode("utf-8", "surrogateescape")).digest()
        found = None
        for index, known in enumerate(self._digests):
            if hmac.compare_digest(known, digest):
                found = index
        return found


def _parse(text: str) -> _Tokens:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("it holds no token")
    return _Tokens(lines)


FACTORY = ExtensionFactory(
    name="bearer_token_auth", config=BearerTokenAuthConfig, create=BearerTokenAuth, aliases=("bearertokenauth",)
)
