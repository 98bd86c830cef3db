"""TLS of the gRPC server: certificates that are read again when their files change."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.tls import ServerTls
from headrace.pipeline.tls.contexts import pem

if TYPE_CHECKING:
    from headrace.pipeline.tls import TlsServerConfig

_log = logging.getLogger(__name__)


class GrpcServerTls:
    """The certificates of a server, looked at anew at handshakes.

    Args:
        config: Files.
        key: Setting that holds them, for errors.

    Raises:
        ConfigError: A file is missing, unreadable or not what it should be.
    """

    def __init__(self, config: TlsServerConfig, key: str) -> None:
        try:
            # gRPC would listen with files that do not fit and fail each handshake.
            ServerTls(config)
            self._config = config
            self._checked_s = time.monotonic()
            self._seen = self._contents()
        except ConfigError as error:
            raise ConfigError(f"{key}.tls", error.why) from None

    def credentials(self) -> Any:
        """Return what gRPC listens with."""
        mutual = bool(self._config.client_ca_file)
        return grpc.dynamic_ssl_server_credentials(self.read(), self.changed, require_client_authentication=mutual)

    def take(self, config: TlsServerConfig) -> None:
        """Use other files from the next handshake on; whether clients are asked for certificates stays as it is."""
        self._config, self._checked_s = config, -math.inf

    def read(self) -> Any:
        """Return them as gRPC takes them."""
        certificate, private_key, authorities = self._seen
        return grpc.ssl_server_certificate_configuration([(private_key, certificate)], authorities)

    def changed(self) -> Any:
        """Return them where they changed, None where they did not or do not load; called at each handshake."""
        now = time.monotonic()
        if now - self._checked_s < self._config.reload_interval.total_seconds():
            return None
        self._checked_s = now
        try:
            contents = self._contents()
            if contents == self._seen:
                return None
            ServerTls(self._config)
        except (OSError, ConfigError) as error:
            _log.warning("keeping the previous certificates: %s", error)
            return None
        self._seen = contents
        _log.info("took over changed certificates from %s", self._config.cert_file)
        return self.read()

    def _contents(self) -> tuple[bytes, bytes, bytes | None]:
        config = self._config
        authorities = Path(config.client_ca_file).read_bytes() if config.client_ca_file else None
        return pem(config.cert_file, config.cert_pem), pem(config.key_file, config.key_pem), authorities
