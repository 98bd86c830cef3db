"""TLS contexts out of settings, and whether the files behind them have changed."""

from __future__ import annotations

import logging
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.tls.suites import CURVES, SUITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.config import Secret
    from headrace.pipeline.tls.config import TlsClientConfig, TlsConfig, TlsServerConfig

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Stamps = tuple[tuple[int, int, int] | None, ...]

_log = logging.getLogger(__name__)


def server_context(config: TlsServerConfig) -> ssl.SSLContext:
    """Build the TLS side of a server.

    Raises:
        OSError: A file is missing, unreadable or not what it should be (``ssl.SSLError`` is one).
        ValueError: The same.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _apply(context, config)
    if config.client_ca_file:
        context.load_verify_locations(cafile=config.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(config: TlsClientConfig) -> ssl.SSLContext:
    """Build the TLS side of a client; raises as `server_context` does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if config.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.include_system_ca_certs_pool or not (config.ca_file or config.ca_pem):
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    _apply(context, config)
    return context


def _apply(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Set what servers and clients have in common."""
    context.minimum_version = _VERSIONS[config.min_version]
    if config.max_version is not None:
        context.maximum_version = _VERSIONS[config.max_version]
    if config.cipher_suites:
        _choose_suites(context, config)
    if config.curve_preferences:
        context.set_ecdh_curve(CURVES[config.curve_preferences[0]])
    if config.ca_file or config.ca_pem:
        context.load_verify_locations(cafile=config.ca_file or None, cadata=config.ca_pem.reveal() or None)
    if config.cert_file or config.cert_pem:
        _load_pair(context, config)


def _choose_suites(context: ssl.SSLContext, config: TlsConfig) -> None:
    chosen = [SUITES[name] for name in config.cipher_suites if name in SUITES]
    if chosen:
        context.set_ciphers(":".join(chosen))
    elif config.max_version == "1.2":
        raise ValueError("cipher_suites names none of TLS 1.2, and max_version is 1.2")
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_pair(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Load certificate and key; OpenSSL takes files only, so texts become files for a moment."""
    with tempfile.TemporaryDirectory(prefix="headrace-tls-") as directory:

        def path(file: str, text: Secret, name: str) -> str:
            if file:
                return file
            made = Path(directory, name)
            made.touch(0o600)
            made.write_text(text.reveal())
            return str(made)

        certificate = path(config.cert_file, config.cert_pem, "certificate")
        context.load_cert_chain(certificate, path(config.key_file, config.key_pem, "key"))


def pem(file: str, text: Secret) -> bytes:
    """Return what a file, or the configuration, holds; nothing where neither is given."""
    return Path(file).read_bytes() if file else text.reveal().encode()


def stamps(config: TlsConfig) -> Stamps:
    """Return what changes when one of the files does."""
    return tuple(_stamp(path) for path in config.files)


def explain(config: TlsConfig, error: Exception) -> str:
    """Return why files do not load, in words."""
    gone = [path for path in config.files if not Path(path).exists()]
    if isinstance(error, FileNotFoundError) and gone:
        return f"cannot read {', '.join(gone)}: no such file"
    where = ", ".join(config.files) or "the certificate and key of the configuration"
    return f"cannot load {where}: {error}"


class ClientTls:
    """The TLS side of a client, built anew when its files have changed.

    Args:
        config: Settings.
        key: Setting that they are, for errors.
        monotonic_s: Clock for ``reload_interval``.

    Raises:
        ConfigError: A file does not load.
    """

    def __init__(self, config: TlsClientConfig, key: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._monotonic_s = monotonic_s
        self._checked_s = monotonic_s()
        self._seen = stamps(config)
        try:
            self.context = client_context(config)
        except (OSError, ValueError) as error:
            raise ConfigError(key, explain(config, error)) from None

    def refresh(self) -> bool:
        """Return whether `context` is another one now; files are looked at every ``reload_interval``."""
        now = self._monotonic_s()
        if not self._config.files or now - self._checked_s < self._config.reload_interval.total_seconds():
            return False
        self._checked_s = now
        seen = stamps(self._config)
        if seen == self._seen:
            return False
        try:
            self.context = client_context(self._config)
        except (OSError, ValueError) as error:
            _log.warning("keeping the previous certificates: %s", explain(self._config, error))
            return False
        self._seen = seen
        _log.info("took over changed certificates from %s", ", ".join(self._config.files))
        return True


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
