"""TLS of a client with Prometheus' names, read again when its files change."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.prometheus_http.texts import NO_SECRET_MANAGER, NUMBERS_ARE_TEXTS, SecretText

if TYPE_CHECKING:
    from collections.abc import Callable

_CHECK_EVERY_S = 1.0
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_TOO_OLD = ("TLS10", "TLS11")

Version = Literal["", "TLS12", "TLS13"]
Stamp = tuple[int, int, int]


class TlsConfig(ComponentConfig):
    """How a server's certificate is checked, and which one is shown to it."""

    model_config = NUMBERS_ARE_TEXTS

    ca: str = ""
    """Authorities to trust instead of the system's, as PEM."""

    ca_file: str = ""
    """PEM file with the authorities to trust instead of the system's."""

    cert: str = ""
    """The client's certificate, as PEM."""

    cert_file: str = ""
    """PEM file with the client's certificate."""

    key: SecretText = Secret("")
    """Its private key, as PEM."""

    key_file: str = ""
    """PEM file with its private key."""

    server_name: str = ""
    """Name to expect in the certificate instead of the host."""

    insecure_skip_verify: bool = False
    """Do not check the certificate."""

    min_version: Version = ""
    """Lowest version spoken; TLS 1.2 by default."""

    max_version: Version = ""
    """Highest version spoken."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        options = refuse(options, dict.fromkeys(("ca_ref", "cert_ref", "key_ref"), NO_SECRET_MANAGER))
        for name in ("min_version", "max_version") if isinstance(options, dict) else ():
            if options.get(name) in _TOO_OLD:
                raise ValueError(f"{name} {options[name]} is not supported: such versions are not safe")
        return options

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("ca", "cert", "key"):
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"at most one of {name} and {name}_file must be configured")
        if bool(self.cert or self.cert_file) != bool(self.key or self.key_file):
            raise ValueError("a client certificate and its key (cert or cert_file, key or key_file) are set together")
        if self.min_version == "TLS13" and self.max_version == "TLS12":
            raise ValueError("min_version is above max_version")
        return self

    def context(self, key: str) -> ssl.SSLContext:
        """Build the TLS side of a client.

        Raises:
            ConfigError: A file does not load; `key` names the setting.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None, cadata=self.ca or None)
            context.minimum_version = _VERSIONS[self.min_version or "TLS12"]
            if self.max_version:
                context.maximum_version = _VERSIONS[self.max_version]
            if self.insecure_skip_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert or self.cert_file:
                self._load_pair(context)
        except (OSError, ValueError) as error:
            raise ConfigError(key, f"cannot load {', '.join(self.files) or 'the certificates'}: {error}") from None
        return context

    @property
    def files(self) -> list[str]:
        """Paths that are set."""
        return [path for path in (self.ca_file, self.cert_file, self.key_file) if path]

    def _load_pair(self, context: ssl.SSLContext) -> None:
        """Load certificate and key; `ssl` takes files only, so texts lie in a folder of ours for a moment."""
        with tempfile.TemporaryDirectory(prefix="headrace-tls-") as folder:  # made with mode 0700
            files = []
            for name, path, text in (
                ("cert", self.cert_file, self.cert),
                ("key", self.key_file, self.key.reveal()),
            ):
                file = Path(path) if path else Path(folder, name)
                if not path:
                    file.write_text(text)
                files.append(file)
            context.load_cert_chain(*map(str, files))


class ClientTls:
    """The TLS side of a client, which follows its files.

    New connections see new files without a restart; files that do not load leave the former ones in use.

    Args:
        config: Settings.
        key: The setting that they are, for errors.
        monotonic_s: Seconds that never go back: files are looked at once a second at most.
        warn: Told about changed files that do not load.
    """

    def __init__(
        self, config: TlsConfig, key: str, monotonic_s: Callable[[], float], warn: Callable[[str], None]
    ) -> None:
        self._config = config
        self._key = key
        self._monotonic_s = monotonic_s
        self._warn = warn
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[Stamp | None, ...] = ()
        self._checked_s = 0.0

    @property
    def context(self) -> ssl.SSLContext:
        """The context of new connections; the same object while no file changes.

        Raises:
            ConfigError: A file does not load the first time.
        """
        now = self._monotonic_s()
        if self._context is None:
            self._seen, self._checked_s = self._stamps(), now
            self._context = self._config.context(self._key)
        elif self._config.files and now - self._checked_s >= _CHECK_EVERY_S:
            self._checked_s = now
            self._reload()
        return self._context

    def _reload(self) -> None:
        seen = self._stamps()
        if seen == self._seen:
            return
        try:
            self._context = self._config.context(self._key)
            self._seen = seen
        except ConfigError as error:
            # The stamps stay the old ones, so that files caught half written are tried again.
            self._warn(f"keeping the previous certificates: {error}")

    def _stamps(self) -> tuple[Stamp | None, ...]:
        return tuple(_stamp(path) for path in self._config.files)


def _stamp(path: str) -> Stamp | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
