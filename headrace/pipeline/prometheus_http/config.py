"""Settings of an HTTP client, with Prometheus' names.

Source:
    Prometheus, "Configuration", sections http_config, oauth2, tls_config; ``prometheus/common/config``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.prometheus_http.proxy import ProxyConfig
from headrace.pipeline.prometheus_http.texts import NO_SECRET_MANAGER, NUMBERS_ARE_TEXTS, SecretText
from headrace.pipeline.prometheus_http.tls import TlsConfig

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_RESERVED = {
    "authorization", "host", "content-encoding", "content-length", "content-type", "user-agent", "connection",
    "keep-alive", "proxy-authenticate", "proxy-authorization", "www-authenticate", "accept-encoding",
    "x-prometheus-remote-write-version", "x-prometheus-remote-read-version", "x-prometheus-scrape-timeout-seconds",
    "x-amz-date", "x-amz-security-token", "x-amz-content-sha256",
}  # fmt: skip
"""Headers that the client, or a part of it, sets."""

_NO_JWT = "signed assertions are not supported: set client_secret or client_secret_file"
_JWT = (
    "grant_type", "client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref",
    "client_certificate_key_id", "signature_algorithm", "iss", "audience", "claims",
)  # fmt: skip


class BasicAuth(ComponentConfig):
    """Name and password."""

    model_config = NUMBERS_ARE_TEXTS

    username: str = ""
    """Name of the user."""

    username_file: str = ""
    """File that holds it."""

    password: SecretText = Secret("")
    """Password."""

    password_file: str = ""
    """File that holds it; read again when it changes."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, dict.fromkeys(("username_ref", "password_ref"), NO_SECRET_MANAGER))

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.username and self.username_file:
            raise ValueError("at most one of username and username_file may be set")
        if self.password and self.password_file:
            raise ValueError("at most one of password and password_file may be set")
        return self


class Authorization(ComponentConfig):
    """The Authorization header."""

    model_config = NUMBERS_ARE_TEXTS

    type: Annotated[str, Field(min_length=1)] = "Bearer"
    """Scheme; for ``Basic`` there is basic_auth."""

    credentials: SecretText = Secret("")
    """What follows the scheme."""

    credentials_file: str = ""
    """File that holds it; read again when it changes."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, dict.fromkeys(("credentials_ref",), NO_SECRET_MANAGER))

    @field_validator("type")
    @classmethod
    def _check_type(cls, type_: str) -> str:
        if type_.strip().lower() == "basic":
            raise ValueError('authorization type cannot be set to "basic", use "basic_auth" instead')
        return type_.strip()

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.credentials and self.credentials_file:
            raise ValueError("at most one of credentials and credentials_file may be set")
        return self


class OAuth2(ProxyConfig):
    """Ask an authorization server for a token, by the client credentials grant."""

    client_id: Annotated[str, Field(min_length=1)]
    """Who asks."""

    client_secret: SecretText = Secret("")
    """Its secret."""

    client_secret_file: str = ""
    """File that holds it; read again when it changes."""

    scopes: tuple[str, ...] = ()
    """What the token is to allow."""

    token_url: Annotated[str, Field(min_length=1)]
    """Where tokens are given out."""

    endpoint_params: dict[str, str] = Field(default_factory=dict)
    """More parameters of the request for a token."""

    tls_config: TlsConfig = TlsConfig()
    """TLS of the authorization server."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, {"client_secret_ref": NO_SECRET_MANAGER, **dict.fromkeys(_JWT, _NO_JWT)})

    @field_validator("token_url")
    @classmethod
    def _check_token_url(cls, url: str) -> str:
        return check_url(url)

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if bool(self.client_secret) == bool(self.client_secret_file):
            raise ValueError("either client_secret or client_secret_file must be configured")
        return self


class HeaderValues(ComponentConfig):
    """Values of one header."""

    model_config = NUMBERS_ARE_TEXTS

    values: tuple[str, ...] = ()
    """Values."""

    secrets: tuple[SecretText, ...] = ()
    """Values that are not shown."""

    files: tuple[str, ...] = ()
    """Files that hold one each; read again when they change."""


class HttpConfig(ProxyConfig):
    """Settings of an HTTP client."""

    basic_auth: BasicAuth | None = None
    """Send name and password."""

    authorization: Authorization | None = None
    """Send an Authorization header."""

    oauth2: OAuth2 | None = None
    """Send a token from an authorization server."""

    bearer_token: SecretText = Secret("")
    """Older spelling of authorization.credentials."""

    bearer_token_file: str = ""
    """Older spelling of authorization.credentials_file."""

    tls_config: TlsConfig = TlsConfig()
    """TLS of servers with scheme https."""

    follow_redirects: bool = True
    """Follow redirects; credentials are not sent to another host."""

    enable_http2: bool = True
    """Accepted; HTTP/1.1 is spoken either way."""

    http_headers: dict[str, HeaderValues] = Field(default_factory=dict)
    """More headers; they are not sent to the host of a redirect."""

    @field_validator("http_headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, HeaderValues]) -> dict[str, HeaderValues]:
        for name in headers:
            check_header(name)
        return headers

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.bearer_token and self.bearer_token_file:
            raise ValueError("at most one of bearer_token and bearer_token_file may be set")
        chosen = [self.basic_auth is not None, self.authorization is not None, self.oauth2 is not None,
                  bool(self.bearer_token or self.bearer_token_file)]  # fmt: skip
        if sum(chosen) > 1:
            raise ValueError(
                "at most one of basic_auth, authorization, oauth2, bearer_token and bearer_token_file may be set"
            )
        return self


def check_header(name: str) -> None:
    """Raise ValueError for a name that no header has, or that the client sets itself."""
    if name.lower() in _RESERVED:
        raise ValueError(f'setting header "{name}" is not allowed')
    if not _HEADER.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")


def check_url(url: str) -> str:
    """Return the URL of a server.

    Raises:
        ValueError: It is none, or not of HTTP.
    """
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in {"http", "https"} or not separator:
        raise ValueError("URL scheme must be 'http' or 'https'")
    if not rest.partition("/")[0]:
        raise ValueError("host is missing in URL")
    return url
