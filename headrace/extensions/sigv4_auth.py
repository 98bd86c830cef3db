"""Sign the requests that an exporter sends with AWS Signature Version 4.

The Collector's ``sigv4auth``, for clients only. Credentials come from the settings, else from the environment
(``AWS_ACCESS_KEY_ID`` …), else from the shared credentials file, else from a role that the environment names with a
token (EKS), from the container (ECS, EKS) or from the machine (EC2); with ``assume_role`` STS is asked with them for
those of a role. Region and service of AMP and of OpenSearch are read from the host where they are not set.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from headrace.extensions.sigv4_auth_machine import find_source
from headrace.extensions.sigv4_auth_role import AssumeRoleConfig, Sts
from headrace.extensions.sigv4_auth_temporary import FAULTS, Temporary
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.sigv4.credentials import NoCredentials, credentials_of_environment
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from headrace.extensions.sigv4_auth_temporary import Granted
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
    """Profile of the shared files ``credentials`` and ``config``, instead of the keys of the environment."""

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
        self._temporary: list[Temporary] = []

    async def start(self, host: Host) -> None:
        """Find the credentials; temporary ones are asked for in the background.

        Raises:
            ConfigError: There are none.
        """
        del host
        own = self._credentials = await self._found()
        role = self._config.assume_role
        if role is not None:
            region = role.sts_region or self._config.region or "us-east-1"
            sts = Sts(region, role.endpoint, self._settings.clock_ns)
            keeper = self._keep(f"role {role.arn}", lambda: sts.assume(role.arn, role.session_name, own()))
            self._credentials = keeper.credentials
        for one in self._temporary:
            one.start()

    async def _found(self) -> Callable[[], Credentials]:
        config = self._config
        if config.access_key_id:
            secret, token = config.secret_access_key.reveal(), config.session_token.reveal()
            fixed = Credentials(config.access_key_id, secret, token)
            return lambda: fixed
        try:
            return credentials_of_environment(config.profile)
        except NoCredentials as error:
            return await self._of_machine(error.why)
        except ConfigError as error:
            raise ConfigError(f"extensions.{self._settings.id}", error.why) from None

    async def _of_machine(self, why: str) -> Callable[[], Credentials]:
        """Return what gives the credentials that the machine has; `why` there are no others."""
        key = f"extensions.{self._settings.id}"
        try:
            source = find_source(os.environ, self._config.region, self._settings.clock_ns)
        except ValueError as error:
            raise ConfigError(key, str(error)) from None
        if source is None:
            raise ConfigError(key, why)
        keeper = self._keep(source.whose, source.ask)
        if source.must_answer:
            try:
                await keeper.refresh()
            except FAULTS as error:
                self._temporary.remove(keeper)
                raise ConfigError(key, f"{why}, and the machine has none: {error or type(error).__name__}") from None
        return keeper.credentials

    def _keep(self, whose: str, ask: Callable[[], Awaitable[Granted]]) -> Temporary:
        keeper = Temporary(self._settings, whose, ask)
        self._temporary.append(keeper)
        return keeper

    async def shutdown(self) -> None:
        """Ask for no more credentials."""
        for one in self._temporary:
            await one.shutdown()

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
