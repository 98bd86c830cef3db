"""TLS of a listener: certificates that are read again when their files change, and names from client certificates.

New handshakes see new files without a restart: the context that listens swaps in a fresh one per handshake
(``sni_callback`` runs for every handshake, with or without a server name). A file that does not load keeps the
previous certificates in use.
"""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.http.config import TlsServerConfig

_log = logging.getLogger(__name__)

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


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
        self._seen = self._fingerprint()
        self.reloads = 0
        """How often changed files have been taken over."""
        self.failures = 0
        """How often changed files did not load."""
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            raise ConfigError("tls", _explain(config, error)) from None
        self.context = self._load()
        """The context to listen with."""
        self.context.sni_callback = self._swap

    def _swap(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        now = self._monotonic_s()
        if now - self._checked_s >= self._config.reload_interval.total_seconds():
            self._checked_s = now
            self._reload_changed()
        connection.context = self._current

    def _reload_changed(self) -> None:
        seen = self._fingerprint()
        if seen == self._seen:
            return
        try:
            self._current = self._load()
        except (OSError, ValueError) as error:
            # The fingerprint stays the old one: half-written files are tried again at the next check.
            self.failures += 1
            _log.warning("keeping the previous certificates: %s", _explain(self._config, error))
            return
        self._seen = seen
        self.reloads += 1
        _log.info("took over changed certificates from %s", self._config.cert_file)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self._config.min_version]
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._config.cert_file, self._config.key_file)
        if self._config.client_ca_file:
            context.load_verify_locations(cafile=self._config.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _fingerprint(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files())

    def _files(self) -> list[str]:
        files = [self._config.cert_file, self._config.key_file, self._config.client_ca_file]
        return [path for path in files if path]


def certificate_name(certificate: dict[str, Any] | None) -> str | None:
    """Return the name in a verified client certificate as ``ssl`` decodes it; None without a certificate."""
    if not certificate:
        return None
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    common = [value for part in subject for key, value in part if key == "commonName"]
    alternatives: tuple[tuple[str, str], ...] = certificate.get("subjectAltName", ())
    names = common + [value for _kind, value in alternatives]
    return names[0] if names else str(certificate.get("serialNumber", "unnamed certificate"))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _explain(config: TlsServerConfig, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        missing = [path for path in (config.cert_file, config.key_file, config.client_ca_file or None) if path]
        gone = [path for path in missing if not Path(path).exists()]
        return f"cannot read {', '.join(gone)}: no such file"
    return f"cannot load {config.cert_file} with {config.key_file}: {error}"
