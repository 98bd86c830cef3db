"""Who may do what: AWS Signature Version 4, IAM policies and an audit log, for listeners that name this extension.

Users, access keys and policies come from the settings and from ``headrace access``. A request without a signature is
looked at by other authenticators, and by its client certificate, where that is configured; whoever they let in is a
user of the same policies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headrace.extensions.access_call import Account
from headrace.extensions.access_config import (
    AccessConfig,
    check_authenticators,
    identities_of,
    loopback_only_keys,
    open_keyring,
)
from headrace.extensions.access_gate import AccessGate
from headrace.extensions.access_trail import Trail
from headrace.pipeline.component import ExtensionFactory, Settings
from headrace.pipeline.errors import ConfigError, HeadraceError
from headrace.pipeline.http.auth import Authenticator, Peer, Principal, Unauthenticated
from headrace.pipeline.workspaces import directory_of
from headrace.store.access.grace import Grace
from headrace.store.access.signatures import SignatureOptions, Signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.pipeline.host import Host
    from headrace.pipeline.http.request import Request
    from headrace.store.access.keyring import Keyring

_REFRESH_S = 1.0


class Access:
    """The extension."""

    needs_restart = "everything that authenticates relies on it"

    def __init__(self, settings: Settings, config: AccessConfig) -> None:
        self._settings = settings
        self._config = config
        self._account = Account(config.account, config.region)
        self._trail = Trail(config.audit, self._account, settings)
        self._keyring: Keyring | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._gate: AccessGate | None = None

    async def start(self, host: Host) -> None:
        """Open keyring and audit log.

        Raises:
            ConfigError: The master key cannot be used, or an authenticator does not exist.
            StoreError: The keyring or the end of the audit log cannot be read.
        """
        config, settings = self._config, self._settings
        setting = f"extensions.{settings.id}"
        check_authenticators(config, setting, settings.id)
        self._keyring = open_keyring(config, setting, settings.clock_ns)
        identities = identities_of(config, self._keyring)
        sigv4 = config.sigv4
        options = SignatureOptions(config.region, config.service, sigv4.clock_skew, sigv4.lenient_query)
        gate = AccessGate(
            self._account,
            identities,
            Signatures(identities.key, options, settings.clock_ns),
            Grace(config.auth_grace.total_seconds(), settings.monotonic_s),
            self._trail,
            loopback_only_keys(config),
            settings.clock_ns,
            settings.monotonic_s,
        )
        gate.directory = lambda: directory_of(host)
        gate.mtls = config.mtls
        gate.authenticators = [
            (host.extension(one.extension, Authenticator, f"{setting}.authenticators[{n}].extension"), one.user)  # type: ignore[type-abstract]
            for n, one in enumerate(config.authenticators)
        ]
        host.services["account"] = (config.account, config.region)
        try:
            self._trail.open()
        except OSError as error:
            raise ConfigError(f"{setting}.audit.directory", f"cannot be written: {error}") from None
        self._gate = gate
        if self._keyring is not None:
            self._refreshing = asyncio.create_task(self._refresh(self._keyring), name="refresh of the keyring")

    async def shutdown(self) -> None:
        """Close keyring and audit log."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
            self._refreshing = None
        await self._trail.close()
        if self._keyring is not None:
            self._keyring.close()
            self._keyring = None

    async def admit(self, request: Request, action: str | None) -> Principal:
        """Let a request pass, or raise; see `Gate`."""
        if self._gate is None:
            raise AssertionError("bug: a request before start")
        return await self._gate.admit(request, action)

    async def authenticate(self, headers: Mapping[str, str], peer: Peer) -> Principal:
        """Turn away what is no HTTP request: there is nothing to check a signature over."""
        del headers, peer
        raise Unauthenticated("the access extension authenticates HTTP requests; gRPC cannot be signed")

    async def _refresh(self, keyring: Keyring) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                if await asyncio.to_thread(keyring.refresh):
                    self._settings.logger.info("users, keys and policies were read again")
            except HeadraceError as error:
                self._settings.logger.error("users, keys and policies stay as they were: %s", error)  # noqa: TRY400


FACTORY = ExtensionFactory(name="access", config=AccessConfig, create=Access)
