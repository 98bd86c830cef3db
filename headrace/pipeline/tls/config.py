"""Settings of TLS, with the names of the Collector's ``configtls``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, NonNegativeDuration, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.tls.suites import CURVES, SUITES, SUITES_1_3

Version = Literal["1.2", "1.3"]

_UNSUPPORTED = {"tpm": "keys are read from files or from the configuration"}


class TlsConfig(ComponentConfig):
    """What servers and clients have in common."""

    ca_file: str = ""
    """PEM file with the authorities to trust. A client that names none trusts the system's."""

    ca_pem: Secret = Secret("")
    """The same in the configuration."""

    include_system_ca_certs_pool: bool = False
    """Trust the system's authorities as well."""

    cert_file: str = ""
    """PEM file with the certificate and those between it and the authority."""

    cert_pem: Secret = Secret("")
    """The same in the configuration."""

    key_file: str = ""
    """PEM file with the private key, without a passphrase."""

    key_pem: Secret = Secret("")
    """The same in the configuration."""

    min_version: Version = "1.2"
    """Lowest TLS version spoken."""

    max_version: Version | None = None
    """Highest TLS version spoken; without it the highest there is."""

    cipher_suites: tuple[str, ...] = ()
    """Suites of TLS 1.2, by names such as ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256``; without it OpenSSL's choice. Those
    of TLS 1.3 are spoken in any case; naming none but them leaves TLS 1.2 out."""

    curve_preferences: tuple[str, ...] = ()
    """The curve of the key exchange: ``P256``, ``P384``, ``P521`` or ``X25519``; one of them at most."""

    reload_interval: NonNegativeDuration = timedelta(seconds=10)
    """Look for changed files at the first connection after this long. Zero looks at every connection."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _UNSUPPORTED)

    @field_validator("min_version", "max_version", mode="before")
    @classmethod
    def _as_text(cls, version: Any) -> Any:
        # YAML reads 1.2 as a number.
        return str(version) if isinstance(version, float) else version or None

    @field_validator("cipher_suites")
    @classmethod
    def _check_suites(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in SUITES and name not in SUITES_1_3:
                raise ValueError(f"unknown suite {name!r} (there: {', '.join((*SUITES_1_3, *SUITES))})")
        return names

    @field_validator("curve_preferences")
    @classmethod
    def _check_curves(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CURVES:
                raise ValueError(f"unknown curve {name!r} (there: {', '.join(CURVES)})")
        if len(names) > 1:
            raise ValueError("an order of curves is not supported: name one")
        return names

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        for name in ("ca", "cert", "key"):
            if getattr(self, f"{name}_file") and getattr(self, f"{name}_pem"):
                raise ValueError(f"{name}_file and {name}_pem exclude each other")
        if bool(self.cert_file or self.cert_pem) != bool(self.key_file or self.key_pem):
            raise ValueError("certificate and key are set together: cert_file and key_file, or cert_pem and key_pem")
        if self.max_version is not None and self.max_version < self.min_version:
            raise ValueError(f"max_version {self.max_version} is below min_version {self.min_version}")
        return self

    @property
    def files(self) -> list[str]:
        """The files that are named."""
        return [path for path in (self.cert_file, self.key_file, self.ca_file) if path]


class TlsServerConfig(TlsConfig):
    """Certificates of a listener."""

    client_ca_file: str = ""
    """PEM file with the authorities of client certificates. Setting it turns on mTLS: clients without a certificate
    of theirs are turned away in the handshake, and the name in the certificate is the principal of its requests."""

    client_ca_file_reload: bool = False
    """Whether to read `client_ca_file` again when it changes. It is read again in any case, as the other files are."""

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if not (self.cert_file or self.cert_pem):
            raise ValueError("a server needs cert_file and key_file, or cert_pem and key_pem")
        return self

    @property
    def files(self) -> list[str]:
        """The files that are named."""
        return [*super().files, *([self.client_ca_file] if self.client_ca_file else [])]


class TlsClientConfig(TlsConfig):
    """How a client checks a server, and shows who it is."""

    insecure: bool = False
    """Speak without TLS where the endpoint does not say: that of a gRPC client, which is no URL."""

    insecure_skip_verify: bool = False
    """Do not check the server's certificate."""

    server_name_override: str = ""
    """Name to expect in the server's certificate instead of the host of the endpoint."""

    @property
    def is_of_use(self) -> bool:
        """Whether anything is set that matters to a connection with TLS."""
        return bool(self.model_fields_set - {"insecure", "reload_interval"}) and self != TlsClientConfig()
