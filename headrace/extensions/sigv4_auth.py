"""Sign the requests that an exporter sends with AWS Signature Version 4.

The Collector's ``sigv4auth``, for clients only. Credentials come from the settings, else from the environment
(``AWS_ACCESS_KEY_ID`` …), else from the shared credentials file; with ``assume_role`` STS is asked with them for those
of a role. Region and service of AMP and of OpenSearch are read from the host where they are not set.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from headrace.extensions.sigv4_auth_role import AssumedRole, AssumeRoleConfig
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.sigv4.credentials import credentials_of_environment
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.pipeline.host import Host

_HOSTS = {
    re.compile(r"aps-workspaces(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|api\.aws)"): "aps",
    re.compile(r"search-[a-z0-9-]+\.([a-z0-9-]+)\.es\.amazonaws\.com"): "es",
}
"""Hosts that tell region and service."""

_SIGNED = frozenset(("content-type", "content-encoding", "x-prometheus-remote-write-version"))


class Sigv4AuthConfig(ComponentConfig):
    """Settings of the ``sigv4_auth`` extension."""

    region: str = ""
    """Region to sign for; without it that of the host."""

    service: str = ""
    """Service to sign for; without it that of the host, else ``aps``."""

    assume_role: AssumeRoleConfig | None = None
    """Sign with the credentials of a role."""

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
        role = self.assume_role
        if role is not None and not (role.sts_region or role.endpoint or self.region):
            raise ValueError("assume_role needs sts_region or region")
        return self


class Sigv4Auth:
    """Adds signatures."""

    def __init__(self, settings: Settings, config: Sigv4AuthConfig) -> None:
        self._settings = settings
        self._config = config
        self._signers: dict[tuple[str, str], Signer] = {}
        self._credentials: Callable[[], Credentials] | None = None
        self._role: AssumedRole | None = None

    async def start(self, host: Host) -> None:
        """Find the credentials; those of a role are asked for in the background.

        Raises:
            ConfigError: There are none.
        """
        del host
        self._credentials = self._found()
        role = self._config.assume_role
        if role is not None:
            self._role = AssumedRole(self._settings, role, self._config.region, self._credentials)
            self._role.start()
            self._credentials = self._role.credentials

    def _found(self) -> Callable[[], Credentials]:
        config = self._config
        if config.access_key_id:
            secret, token = config.secret_access_key.reveal(), config.session_token.reveal()
            fixed = Credentials(config.access_key_id, secret, token)
            return lambda: fixed
        try:
            return credentials_of_environment(config.profile)
        except ConfigError as error:
            raise ConfigError(f"extensions.{self._settings.id}", error.why) from None

    async def shutdown(self) -> None:
        """Ask for no more credentials."""
        if self._role is not None:
            await self._role.shutdown()

    def client_headers(self) -> Mapping[str, str]:
        """Return nothing: all depends on the request; see `sign`."""
        return {}

    def sign(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """Return the headers of the signature; see `RequestSigner`.

        Raises:
            ConnectionError: The host tells no region, or there are no credentials of the role yet.
        """
        if self._credentials is None:
            raise AssertionError("bug: a request before start")
        parts = urlsplit(url)
        signed = {name: value for name, value in headers.items() if name.lower() in _SIGNED}
        default_port = {"http": 80, "https": 443}.get(parts.scheme)
        netloc = parts.netloc.rpartition("@")[2]
        # The host as an HTTP client writes it: without the port that goes without saying.
        signed["host"] = netloc.removesuffix(f":{default_port}") if parts.port == default_port else netloc
        now = datetime.fromtimestamp(self._settings.clock_ns() / 1e9, UTC)
        signer = self._signer(parts.hostname or "")
        return signer.sign(method, parts.path or "/", parts.query, signed, body, self._credentials(), now)

    def _signer(self, host: str) -> Signer:
        region, service = self._config.region, self._config.service
        for pattern, name in _HOSTS.items():
            found = pattern.fullmatch(host)
            if found is not None:
                region, service = region or found.group(1), service or name
        if not region:
            raise ConnectionError(f"extensions.{self._settings.id}.region is not set, and host {host} tells none")
        key = (region, service or "aps")
        signer = self._signers.get(key)
        if signer is None:
            signer = self._signers[key] = Signer(*key)
        return signer


FACTORY = ExtensionFactory(name="sigv4_auth", config=Sigv4AuthConfig, create=Sigv4Auth, aliases=("sigv4auth",))
