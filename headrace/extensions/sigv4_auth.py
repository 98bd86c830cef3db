"""Sign the requests that an exporter sends with AWS Signature Version 4.

The Collector's ``sigv4auth``, for clients only. Credentials come from the settings, else from the environment
(``AWS_ACCESS_KEY_ID`` …), else from the shared credentials file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.sigv4.credentials import credentials_of_environment
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.host import Host

_SIGNED = frozenset(("content-type", "content-encoding", "x-prometheus-remote-write-version"))


class Sigv4AuthConfig(ComponentConfig):
    """Settings of the ``sigv4_auth`` extension."""

    region: str
    """Region to sign for."""

    service: str = "aps"
    """Service to sign for."""

    access_key_id: str = ""
    """Access key; together with `secret_access_key`."""

    secret_access_key: Secret = Secret("")
    """Its secret."""

    session_token: Secret = Secret("")
    """Token of temporary credentials."""

    profile: str = ""
    """Section of the shared credentials file, instead of the keys of the environment."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.access_key_id) != bool(self.secret_access_key.reveal()):
            raise ValueError("access_key_id and secret_access_key are set together")
        if self.profile and self.access_key_id:
            raise ValueError("set either access_key_id or profile")
        if self.session_token.reveal() and not self.access_key_id:
            raise ValueError("session_token needs access_key_id")
        if not self.region or not self.service:
            raise ValueError("region and service must not be empty")
        return self


class Sigv4Auth:
    """Adds signatures."""

    def __init__(self, settings: Settings, config: Sigv4AuthConfig) -> None:
        self._settings = settings
        self._config = config
        self._signer = Signer(config.region, config.service)
        self._credentials: Callable[[], Credentials] | None = None

    async def start(self, host: Host) -> None:
        """Find the credentials.

        Raises:
            ConfigError: There are none.
        """
        del host
        config = self._config
        if config.access_key_id:
            secret, token = config.secret_access_key.reveal(), config.session_token.reveal()
            fixed = Credentials(config.access_key_id, secret, token)
            self._credentials = lambda: fixed
            return
        try:
            self._credentials = credentials_of_environment(config.profile)
        except ConfigError as error:
            raise ConfigError(f"extensions.{self._settings.id}", error.why) from None

    async def shutdown(self) -> None:
        """Do nothing: nothing runs."""

    def client_headers(self) -> Mapping[str, str]:
        """Return nothing: all depends on the request; see `sign`."""
        return {}

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Return the headers of the signature; see `RequestSigner`."""
        if self._credentials is None:
            raise AssertionError("bug: a request before start")
        parts = urlsplit(url)
        signed = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
        default_port = {"http": 80, "https": 443}.get(parts.scheme)
        netloc = parts.netloc.rpartition("@")[2]
        # The host as an HTTP client writes it: without the port that goes without saying.
        signed["host"] = netloc.removesuffix(f":{default_port}") if parts.port == default_port else netloc
        now = datetime.fromtimestamp(self._settings.clock_ns() / 1e9, UTC)
        return self._signer.sign(method, parts.path or "/", parts.query, signed, body, self._credentials(), now)


FACTORY = ExtensionFactory(name="sigv4_auth", config=Sigv4AuthConfig, create=Sigv4Auth, aliases=("sigv4auth",))
