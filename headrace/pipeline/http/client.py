"""Settings of HTTP clients, with the names of the Collector's ``confighttp``, and a client that has them.

For exporters: one `HttpClient` per component, `post` per request. Answers are read up to a limit, redirects are not
followed (a POST would turn into a GET, and credentials would travel), and connections are kept.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, Self

import aiohttp
from pydantic import Field, field_validator, model_validator
from yarl import URL

from headrace.pipeline.config import ComponentConfig, PositiveDuration, Secret
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.http.auth import RequestSigner
from headrace.pipeline.http.config import AuthConfig
from headrace.pipeline.http.endpoint import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy

    from headrace.pipeline.http.auth import ClientAuthenticator

_ANSWER_BYTES = 64 * 1024
"""Bytes of an answer that are read; errors are quoted from them."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsClientConfig(ComponentConfig):
    """How a client checks a server, and shows who it is."""

    ca_file: str = ""
    """PEM file with the authorities to trust instead of the system's."""

    cert_file: str = ""
    """PEM file with the client's certificate, for mTLS."""

    key_file: str = ""
    """PEM file with its private key."""

    insecure_skip_verify: bool = False
    """Do not check the server's certificate."""

    server_name_override: str = ""
    """Name to expect in the server's certificate instead of the host of the URL."""

    min_version: Literal["1.2", "1.3"] = "1.2"
    """Lowest TLS version spoken."""

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file are set together")
        return self

    def context(self, key: str) -> ssl.SSLContext:
        """Build the TLS side of a client.

        Args:
            key: Setting that this configuration is, for errors.

        Raises:
            ConfigError: A file does not load.
        """
        context = ssl.create_default_context()
        context.minimum_version = _VERSIONS[self.min_version]
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if self.ca_file:
                context = self._only(self.ca_file, context)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            files = ", ".join(path for path in (self.ca_file, self.cert_file, self.key_file) if path)
            raise ConfigError(key, f"cannot load {files}: {error}") from None
        return context

    def _only(self, ca_file: str, like: ssl.SSLContext) -> ssl.SSLContext:
        """Return a context that trusts `ca_file` and nothing else."""
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = like.minimum_version
        context.check_hostname = like.check_hostname
        context.verify_mode = like.verify_mode
        return context


class ClientConfig(ComponentConfig):
    """Settings of an HTTP client."""

    endpoint: str
    """URL to send to."""

    tls: TlsClientConfig | None = None
    """TLS settings of an ``https`` endpoint; the defaults check the certificate against the system's authorities."""

    auth: AuthConfig | None = None
    """Credentials to send, from an extension. They are refused for an ``http`` endpoint on another machine."""

    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to add to each request."""

    timeout: PositiveDuration = timedelta(seconds=30)
    """Time for one request, from connecting to the end of the answer."""

    max_conns_per_host: Annotated[int, Field(ge=0)] = 0
    """Connections to one server at the same time; 0 for no limit."""

    idle_conn_timeout: PositiveDuration = timedelta(seconds=90)
    """How long an unused connection is kept."""

    proxy_url: str = ""
    """HTTP proxy to send through."""

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        scheme, separator, rest = endpoint.partition("://")
        if scheme not in {"http", "https"} or not separator or not rest.split("/")[0]:
            raise ValueError(f"must be an http:// or https:// URL, got {endpoint!r}")
        return endpoint

    @model_validator(mode="after")
    def _check_clear_text(self) -> Self:
        scheme, _, rest = self.endpoint.partition("://")
        host = rest.split("/")[0].rpartition("@")[2]
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self.auth is not None and scheme == "http" and not is_loopback_host(name):
            raise ValueError(f"auth would send credentials in the clear to {name}: use https")
        if self.tls is not None and scheme == "http":
            raise ValueError("tls has no effect on an http:// endpoint: use https://")
        return self


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Headers.
        body: Its first 64 KiB.
    """

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        """The first line of the body, for errors."""
        return self.body[:512].decode("utf-8", "replace").strip().partition("\n")[0]


class HttpClient:
    """Sends requests to one endpoint.

    Args:
        config: Settings.
        key: The component, such as ``exporters.otlp_http``, for errors.
        authenticator: Adds credentials; None where the settings name no extension.
        user_agent: Value of the User-Agent header.
    """

    def __init__(
        self,
        config: ClientConfig,
        key: str,
        authenticator: ClientAuthenticator | None = None,
        user_agent: str = "headrace",
    ) -> None:
        self._config = config
        self._key = key
        self._authenticator = authenticator
        self._signer: RequestSigner | None = authenticator if isinstance(authenticator, RequestSigner) else None
        self._headers = {"User-Agent": user_agent}
        self._headers |= {name: value.reveal() for name, value in config.headers.items()}
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Read the TLS files; connections are made by the first request.

        Raises:
            ConfigError: A file does not load.
        """
        tls = self._config.tls or TlsClientConfig()
        secure = self._config.endpoint.startswith("https://")
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=self._config.max_conns_per_host,
            keepalive_timeout=self._config.idle_conn_timeout.total_seconds(),
            ssl=tls.context(f"{self._key}.tls") if secure else False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._config.timeout.total_seconds()),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def shutdown(self) -> None:
        """Close the connections; safe before `start` and twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, body: bytes, headers: Mapping[str, str], path: str = "") -> Reply:
        """Send `body` to the endpoint, followed by `path`.

        Raises:
            ConnectionError: The server could not be reached, or the connection broke.
            TimeoutError: There was no whole answer in time.
        """
        if self._session is None:
            raise AssertionError("bug: post before start")
        url = URL(self._config.endpoint.removesuffix("/") + path if path else self._config.endpoint)
        sent = {**self._headers, **headers}
        sent |= self._authenticator.client_headers() if self._authenticator else {}
        if self._signer is not None:
            sent |= self._signer.sign("POST", str(url), sent, body)
        override = self._config.tls.server_name_override if self._config.tls else ""
        try:
            async with self._session.post(
                url,
                data=body,
                headers=sent,
                allow_redirects=False,
                proxy=self._config.proxy_url or None,
                server_hostname=override or None,
            ) as answer:
                return Reply(answer.status, answer.headers, await _first(answer))
        except TimeoutError:
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ConnectionError(f"{self._config.endpoint}: {error}") from error


async def _first(answer: aiohttp.ClientResponse) -> bytes:
    """Return the first bytes of an answer; a connection with more of it is not used again."""
    data = b""
    while len(data) < _ANSWER_BYTES:
        piece = await answer.content.read(_ANSWER_BYTES - len(data))
        if not piece:
            return data
        data += piece
    answer.close()
    return data
