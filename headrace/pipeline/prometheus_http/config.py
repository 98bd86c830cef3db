"""Settings of an HTTP client, with Prometheus' names, and what they make of a request."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.client import TlsClientConfig
from headrace.pipeline.http.watched import WatchedFile

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


NUMBERS_ARE_TEXTS = ConfigDict(coerce_numbers_to_str=True)
"""Of models that prometheus.yml holds: a number where a text is asked for is the text."""


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SecretText = Annotated[Secret, BeforeValidator(_text)]
"""A secret that YAML may have read as a number."""


class TlsConfig(ComponentConfig):
    """How a target's certificate is checked, and which one is shown to it."""

    model_config = NUMBERS_ARE_TEXTS

    ca_file: str = ""
    """PEM file with the authorities to trust instead of the system's."""

    cert_file: str = ""
    """PEM file with the client's certificate."""

    key_file: str = ""
    """PEM file with its private key."""

    server_name: str = ""
    """Name to expect in the certificate instead of the host."""

    insecure_skip_verify: bool = False
    """Do not check the certificate."""

    min_version: Literal["", "TLS12", "TLS13"] = ""
    """Lowest version spoken; TLS 1.2 by default."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file are set together")
        return self

    def context(self, key: str) -> ssl.SSLContext:
        """Build the TLS side of a client.

        Raises:
            ConfigError: A file does not load; `key` names the setting.
        """
        return TlsClientConfig(
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            insecure_skip_verify=self.insecure_skip_verify,
            min_version="1.3" if self.min_version == "TLS13" else "1.2",
        ).context(key)


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


class HttpConfig(ComponentConfig):
    """Settings of an HTTP client."""

    model_config = NUMBERS_ARE_TEXTS

    basic_auth: BasicAuth | None = None
    """Send name and password."""

    authorization: Authorization | None = None
    """Send an Authorization header."""

    bearer_token: SecretText = Secret("")
    """Older spelling of authorization.credentials."""

    bearer_token_file: str = ""
    """Older spelling of authorization.credentials_file."""

    tls_config: TlsConfig = TlsConfig()
    """TLS of targets with scheme https."""

    follow_redirects: bool = True
    """Follow redirects; credentials are not sent to another host."""

    enable_http2: bool = True
    """Accepted; HTTP/1.1 is spoken either way."""

    proxy_url: str | None = None
    """HTTP proxy to scrape through."""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.bearer_token and self.bearer_token_file:
            raise ValueError("at most one of bearer_token and bearer_token_file may be set")
        chosen = [self.basic_auth is not None, self.authorization is not None,
                  bool(self.bearer_token or self.bearer_token_file)]  # fmt: skip
        if sum(chosen) > 1:
            raise ValueError("at most one of basic_auth, authorization, bearer_token and bearer_token_file may be set")
        return self


class Credentials:
    """Makes the Authorization header of each request.

    Args:
        config: Settings.
        key: The job, for errors.
        monotonic_s: Seconds that never go back: files are looked at once a second at most.

    Raises:
        ConfigError: A file cannot be read.
    """

    def __init__(self, config: HttpConfig, key: str, monotonic_s: Callable[[], float]) -> None:
        def read(path: str, setting: str) -> Callable[[], str]:
            watched = WatchedFile(path, str.strip, f"{key}.{setting}", monotonic_s)
            return lambda: watched.value

        def of(secret: Secret | str, path: str, setting: str) -> Callable[[], str]:
            if path:
                return read(path, setting)
            text = secret.reveal() if isinstance(secret, Secret) else secret
            return lambda: text

        self._make: Callable[[], str] | None = None
        if config.basic_auth is not None:
            basic = config.basic_auth
            user = of(basic.username, basic.username_file, "basic_auth.username_file")
            password = of(basic.password, basic.password_file, "basic_auth.password_file")
            self._make = lambda: "Basic " + base64.b64encode(f"{user()}:{password()}".encode()).decode()
        elif config.authorization is not None:
            bearer = config.authorization
            token = of(bearer.credentials, bearer.credentials_file, "authorization.credentials_file")
            self._make = lambda: f"{bearer.type} {token()}"
        elif config.bearer_token or config.bearer_token_file:
            token = of(config.bearer_token, config.bearer_token_file, "bearer_token_file")
            self._make = lambda: f"Bearer {token()}"

    def headers(self) -> dict[str, str]:
        """Return what to add to a request.

        Raises:
            ConfigError: A credential cannot stand in a header.
        """
        if self._make is None:
            return {}
        value = self._make()
        if "\n" in value or "\r" in value:
            raise ConfigError("authorization", "a credential holds a line feed")
        return {"Authorization": value}
