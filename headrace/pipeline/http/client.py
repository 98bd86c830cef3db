"""Settings of HTTP clients, with the names of the Collector's ``confighttp``, and a client that has them.

For exporters: one `HttpClient` per component, `post` per request. Answers are read up to a limit, redirects are not
followed (a POST would turn into a GET, and credentials would travel), and connections are kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

import aiohttp
from pydantic import Field, field_validator, model_validator
from yarl import URL

from headrace.pipeline.config import ByteSize, ComponentConfig, NonNegativeDuration, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.config.urls import Url, without_password
from headrace.pipeline.http.auth import RequestSigner, with_credentials
from headrace.pipeline.http.body import Body
from headrace.pipeline.http.compression import Compression, CompressionParams, check_level, compressor
from headrace.pipeline.http.config import AuthConfig
from headrace.pipeline.http.connector import Connector, connector
from headrace.pipeline.http.endpoint import is_loopback_host
from headrace.pipeline.tls import TlsClientConfig
from headrace.pipeline.tls.contexts import ClientTls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy

    from headrace.pipeline.http.auth import ClientAuthenticator

_ANSWER_BYTES = 64 * 1024
"""Bytes of an answer that are read; errors are quoted from them."""

_READ_BUFFER_BYTES = 64 * 1024
"""Bytes of an answer taken before they are looked at, where the settings do not say: aiohttp's own number."""

_INLINE_BYTES = 16 * 1024
"""Bodies up to this size are compressed in well under a millisecond: not worth a thread."""

_UNSUPPORTED = {
    "middlewares": "extensions cannot be put around requests",
    "http2_read_idle_timeout": "HTTP/1.1 is spoken",
    "http2_ping_timeout": "HTTP/1.1 is spoken",
}


class CookiesConfig(ComponentConfig):
    """Cookies of a server."""

    enabled: bool = False
    """Keep cookies that the server sets, and send them with later requests, for load balancers that stick by them."""


class ClientConfig(ComponentConfig):
    """Settings of an HTTP client."""

    endpoint: Url
    """URL to send to."""

    tls: TlsClientConfig | None = None
    """TLS settings of an ``https`` endpoint; the defaults check the certificate against the system's authorities."""

    auth: AuthConfig | None = None
    """Credentials to send, from an extension. They are refused for an ``http`` endpoint on another machine."""

    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to add to each request."""

    compression: Compression = ""
    """How bodies are compressed; ``none`` for not at all."""

    compression_params: CompressionParams = CompressionParams()
    """How hard they are compressed."""

    timeout: NonNegativeDuration = timedelta(seconds=30)
    """Time for one request, from connecting to the end of the answer; 0 for no limit."""

    read_buffer_size: Annotated[ByteSize, Field(ge=0)] = 0
    """Bytes of an answer that are taken before they are looked at; 0 for the client's own choice."""

    write_buffer_size: Annotated[ByteSize, Field(ge=0)] = 0
    """Bytes that the system takes of a request before the network does; 0 for the system's own choice."""

    max_idle_conns: Annotated[int, Field(ge=0)] = 100
    """Unused connections that are kept; 0 for no limit."""

    max_idle_conns_per_host: Annotated[int, Field(ge=0)] = 0
    """The same for one server; 0 for no limit of its own."""

    max_conns_per_host: Annotated[int, Field(ge=0)] = 0
    """Connections to one server at the same time; 0 for no limit."""

    idle_conn_timeout: NonNegativeDuration = timedelta(seconds=90)
    """How long an unused connection is kept; 0 for ever."""

    disable_keep_alives: bool = False
    """Use each connection for one request."""

    force_attempt_http2: bool = True
    """Whether to try HTTP/2. The client does not have it, and speaks HTTP/1.1 in either case."""

    cookies: CookiesConfig = CookiesConfig()
    """Cookies of the server."""

    proxy_url: Url = ""
    """HTTP proxy to send through."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _UNSUPPORTED)

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        scheme, separator, rest = endpoint.partition("://")
        if scheme not in {"http", "https"} or not separator or not rest.split("/")[0]:
            raise ValueError(f"must be an http:// or https:// URL, got {without_password(endpoint)!r}")
        return endpoint

    @model_validator(mode="after")
    def _check_clear_text(self) -> Self:
        scheme, _, rest = self.endpoint.partition("://")
        host = rest.split("/")[0].rpartition("@")[2]
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self.auth is not None and scheme == "http" and not is_loopback_host(name):
            raise ValueError(f"auth would send credentials in the clear to {name}: use https")
        if self.tls is not None and self.tls.is_of_use and scheme == "http":
            raise ValueError("tls has no effect on an http:// endpoint: use https://")
        return self

    @model_validator(mode="after")
    def _check_compression(self) -> Self:
        check_level(self.compression, self.compression_params.level)
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
        self._tls: ClientTls | None = None
        self._compress = compressor(config.compression, config.compression_params.level)
        self._encoding: dict[str, str] = {"Content-Encoding": config.compression} if self._compress else {}

    async def start(self) -> None:
        """Read the TLS files; connections are made by the first request.

        Raises:
            ConfigError: A file does not load.
        """
        if self._config.endpoint.startswith("https://"):
            self._tls = ClientTls(self._config.tls or TlsClientConfig(), f"{self._key}.tls")
        config = self._config
        self._session = aiohttp.ClientSession(
            connector=connector(config),
            timeout=aiohttp.ClientTimeout(total=config.timeout.total_seconds() or None),
            auto_decompress=True,
            # Cookies of an IP address are as good as those of a name: it is the operator who named it.
            cookie_jar=aiohttp.CookieJar(unsafe=True) if config.cookies.enabled else aiohttp.DummyCookieJar(),
            read_bufsize=config.read_buffer_size or _READ_BUFFER_BYTES,
        )

    async def shutdown(self) -> None:
        """Close the connections; safe before `start` and twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def compressed(self, body: bytes | memoryview) -> tuple[bytes | memoryview, dict[str, str]]:
        """Return a body as the settings say it is sent, and the header that says so; long work is done on a thread."""
        compress = self._compress
        if compress is None:
            return body, {}
        if len(body) <= _INLINE_BYTES:
            return compress(body), self._encoding
        return await asyncio.to_thread(compress, body), self._encoding

    async def post(self, body: bytes | memoryview, headers: Mapping[str, str], path: str = "") -> Reply:
        """Send `body`, as it is, to the endpoint, followed by `path`.

        Raises:
            ConnectionError: The server could not be reached, or the connection broke.
            TimeoutError: There was no whole answer in time.
        """
        target = self._config.endpoint.removesuffix("/") + path if path else self._config.endpoint
        return await self.post_to(target, body, headers)

    async def post_to(self, target: str, body: bytes | memoryview, headers: Mapping[str, str]) -> Reply:
        """Send `body` to another URL; see `post`."""
        if self._session is None:
            raise AssertionError("bug: post before start")
        url = URL(target)
        sent = with_credentials({**self._headers, **headers}, self._authenticator)
        if self._signer is not None:
            sent |= self._signer.sign("POST", str(url), sent, bytes(body))
        override = self._config.tls.server_name_override if self._config.tls else ""
        try:
            async with self._session.post(
                url,
                data=Body(body),
                headers=sent,
                allow_redirects=False,
                proxy=self._config.proxy_url or None,
                server_hostname=override or None,
                ssl=await self._context(),
            ) as answer:
                return Reply(answer.status, answer.headers, await _first(answer))
        except TimeoutError:
            raise
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ConnectionError(f"{without_password(self._config.endpoint)}: {error}") from error

    async def _context(self) -> ssl.SSLContext | bool:
        """Return the TLS side; where files have changed, connections that were made with the old ones are closed."""
        if self._tls is None:
            return False
        if self._tls.refresh() and self._session is not None and isinstance(self._session.connector, Connector):
            self._session.connector.close_idle()
        return self._tls.context


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
