"""HTTP clients of a ``prometheus.yml``: the receiver's settings, and what these refuse.

Source:
    Prometheus 3.14, "Configuration", sections http_config, oauth2, tls_config, http_sd_config, kubernetes_sd_config.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import Secret
from headrace.pipeline.discovery.http import HttpSdConfig
from headrace.pipeline.discovery.kubernetes.config import KubernetesSdConfig
from headrace.pipeline.prometheus_http import HttpConfig
from headrace.pipeline.prometheus_http.config import RESERVED_HEADERS, Authorization, BasicAuth, OAuth2
from headrace.pipeline.prometheus_http.texts import SecretText
from headrace.pipeline.prometheus_http.tls import TlsConfig

Name = Annotated[str, Field(min_length=1)]
"""A text that must be there."""

Version = Literal["", "TLS10", "TLS11", "TLS12", "TLS13"]

_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def at_most_one(options: object, *names: str) -> None:
    """Check options that exclude each other.

    Raises:
        ValueError: More than one of them is set.
    """
    if sum(bool(getattr(options, name)) for name in names) > 1:
        raise ValueError(f"at most one of {', '.join(names[:-1])} and {names[-1]} may be set")


def check_headers(headers: dict[str, Secret]) -> dict[str, Secret]:
    """Return headers of requests.

    Raises:
        ValueError: One of them is not for the user to set.
    """
    for name in headers:
        if name.lower() == "authorization":
            raise ValueError(f"{name}: use basic_auth, authorization or another kind of credentials")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"{name} is a reserved header: it must not be changed")
    return headers


def check_server(url: str) -> str:
    """Return the URL of a server.

    Raises:
        ValueError: It has no scheme or no host.
    """
    scheme, separator, rest = url.partition("://")
    if not scheme or not separator or not rest.partition("/")[0]:
        raise ValueError("must be a URL with a scheme and a host")
    return url


class Tls(TlsConfig):
    """TLS of a client; versions that are not safe, and secrets of a manager, among its settings."""

    ca_ref: str = ""
    cert_ref: str = ""
    key_ref: str = ""
    min_version: Version = ""  # type: ignore[assignment]  # wider than the receiver's
    max_version: Version = ""  # type: ignore[assignment]  # likewise

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return options

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("ca", "cert", "key"):
            at_most_one(self, name, f"{name}_file", f"{name}_ref")
        if bool(self.cert or self.cert_file or self.cert_ref) != bool(self.key or self.key_file or self.key_ref):
            raise ValueError("a client certificate and its key (cert or cert_file, key or key_file) are set together")
        return self


class Basic(BasicAuth):
    """Name and password."""

    username_ref: str = ""
    password_ref: str = ""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return options

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        at_most_one(self, "username", "username_file", "username_ref")
        at_most_one(self, "password", "password_file", "password_ref")
        return self


class Credentials(Authorization):
    """The Authorization header."""

    credentials_ref: str = ""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return options

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        at_most_one(self, "credentials", "credentials_file", "credentials_ref")
        return self


class OAuth(OAuth2):
    """Tokens of an authorization server, also for signed assertions."""

    client_secret_ref: str = ""
    grant_type: Literal["", "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"] = ""
    client_certificate_key: SecretText = Secret("")
    client_certificate_key_file: str = ""
    client_certificate_key_ref: str = ""
    client_certificate_key_id: str = ""
    signature_algorithm: Literal["", "RS256", "RS384", "RS512"] = ""
    iss: str = ""
    audience: str = ""
    claims: dict[str, Any] = Field(default_factory=dict)
    tls_config: Tls = Tls()

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return options

    @field_validator("proxy_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return url

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        name = "client_certificate_key" if self.grant_type == _JWT else "client_secret"
        at_most_one(self, name, f"{name}_file", f"{name}_ref")
        return self


class HttpClient(HttpConfig):
    """Settings of an HTTP client."""

    basic_auth: Basic | None = None
    authorization: Credentials | None = None
    oauth2: OAuth | None = None
    tls_config: Tls = Tls()

    @field_validator("proxy_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return url  # of any kind: the receiver refuses those that it does not speak


class HttpSd(HttpClient, HttpSdConfig):
    """A server that answers with target groups."""


class KubernetesSd(HttpClient, KubernetesSdConfig):
    """Objects of a Kubernetes cluster."""

    def client(self) -> HttpConfig:
        """Return the settings of the HTTP client alone."""
        return HttpClient.model_construct(**{name: getattr(self, name) for name in HttpClient.model_fields})

    def _has_client(self) -> bool:
        return self.client() != HttpClient()
