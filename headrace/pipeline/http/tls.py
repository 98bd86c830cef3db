"""TLS of a listener: certificates that are read again when their files change, and names from client certificates.

New handshakes see new files without a restart: the context that listens swaps in a fresh one per handshake
(``sni_callback`` runs for every handshake, with or without a server name). A file that does not load keeps the
previous certificates in use.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.tls.contexts import explain, server_context, stamps

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from headrace.pipeline.tls import TlsServerConfig

_log = logging.getLogger(__name__)


class ServerTls:
    """The TLS side of one listener.

    Args:
        config: Files and versions.
        monotonic_s: Clock for `TlsServerConfig.reload_interval`.

    Raises:
        ConfigError: A file is missing, unreadable or not what it should be.
    """

    def __init__(self, config: TlsServerConfig, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._monotonic_s = monotonic_s
        self._checked_s = monotonic_s()
        self._seen = stamps(self._config)
        self.reloads = 0
        """How often changed files have been taken over."""
        self.failures = 0
        """How often changed files did not load."""
        try:
            self._current = server_context(self._config)
        except (OSError, ValueError) as error:
            raise ConfigError("tls", explain(config, error)) from None
        self.context = server_context(self._config)
        """The context to listen with."""
        self.context.sni_callback = self._swap

    def _swap(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        now = self._monotonic_s()
        if now - self._checked_s >= self._config.reload_interval.total_seconds():
            self._checked_s = now
            self._reload_changed()
        connection.context = self._current

    def _reload_changed(self) -> None:
        seen = stamps(self._config)
        if seen == self._seen:
            return
        try:
            self._current = server_context(self._config)
        except (OSError, ValueError) as error:
            # The fingerprint stays the old one: half-written files are tried again at the next check.
            self.failures += 1
            _log.warning("keeping the previous certificates: %s", explain(self._config, error))
            return
        self._seen = seen
        self.reloads += 1
        _log.info("took over changed certificates from %s", self._config.cert_file)


def certificate_name(certificate: dict[str, Any] | None) -> str | None:
    """Return the name in a verified client certificate as ``ssl`` decodes it; None without a certificate."""
    if not certificate:
        return None
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    common = [value for part in subject for key, value in part if key == "commonName"]
    alternatives: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    names = common + [value for _kind, value in alternatives]
    return names[0] if names else str(certificate.get("serialNumber", "unnamed certificate"))
