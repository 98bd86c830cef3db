"""An HTTP client with all options of Prometheus' ``http_config``, for GET requests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from headrace.pipeline.prometheus_http.credentials import Credentials
from headrace.pipeline.prometheus_http.oauth2 import TokenSource
from headrace.pipeline.prometheus_http.proxy import Proxies
from headrace.pipeline.prometheus_http.tls import ClientTls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from headrace.pipeline.prometheus_http.config import HttpConfig

MAX_REDIRECTS = 10
"""As many as Go's client follows."""

_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}  # fmt: skip


class PrometheusClient:
    """Asks servers as one ``http_config`` says.

    Args:
        config: Settings.
        key: The setting that they are, for errors.
        user_agent: Value of the User-Agent header.
        monotonic_s: Seconds that never go back.
        warn: Told about changed certificates that do not load.
        unpack: Whether bodies are handed out decompressed.
    """

    def __init__(
        self,
        config: HttpConfig,
        key: str,
        *,
        user_agent: str,
        monotonic_s: Callable[[], float],
        warn: Callable[[str], None],
        unpack: bool = True,
    ) -> None:
        self._config = config
        self._key = key
        self._user_agent = user_agent
        self._monotonic_s = monotonic_s
        self._warn = warn
        self._unpack = unpack
        self._tls = ClientTls(config.tls_config, f"{key}.tls_config", monotonic_s, warn)
        self._proxies = Proxies.of(config)
        self._credentials: Credentials | None = None
        self._tokens: TokenSource | None = None
        self._session: aiohttp.ClientSession | None = None

    def start(self, *, secure: bool = False) -> None:
        """Read the files of credentials, and those of TLS where `secure`; connections are made by the first request.

        Raises:
            ConfigError: A file does not load.
        """
        self._credentials = Credentials(self._config, self._key, self._monotonic_s)
        if secure:
            _ = self._tls.context
        oauth2 = self._config.oauth2
        if oauth2 is not None:
            key = f"{self._key}.oauth2"
            secret = self._credentials.secret(
                oauth2.client_secret, oauth2.client_secret_file, "oauth2.client_secret_file"
            )
            tls = ClientTls(oauth2.tls_config, f"{key}.tls_config", self._monotonic_s, self._warn)
            self._tokens = TokenSource(oauth2, secret, tls, self._monotonic_s)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=300),
            auto_decompress=self._unpack,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Close the connections; safe before `start` and twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def get(
        self, url: URL | str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for `url`, following redirects; credentials stay with the host that was asked first.

        Raises:
            aiohttp.ClientError: The server could not be reached, or leads in circles.
            ConfigError: A file does not load, or a credential fits no header.
        """
        here = URL(url)
        first = here.origin()
        for _ in range(MAX_REDIRECTS + 1):
            async with await self._ask(here, headers or {}, trusted=here.origin() == first) as answer:
                target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
                if target is None or not self._config.follow_redirects:
                    yield answer
                    return
            here = here.join(URL(target))
            if here.scheme not in {"http", "https"}:
                raise aiohttp.InvalidUrlRedirectClientError(here)
        raise aiohttp.ClientError(f"stopped after {MAX_REDIRECTS} redirects")

    async def _ask(self, url: URL, headers: Mapping[str, str], *, trusted: bool) -> aiohttp.ClientResponse:
        if self._session is None or self._credentials is None:
            raise AssertionError("bug: a request before start")
        sent = {"User-Agent": self._user_agent, **headers}
        if trusted:
            sent |= self._credentials.headers()
            if self._tokens is not None:
                sent["Authorization"] = await self._tokens.header(self._session)
        way = self._proxies.choose(url)
        secure = url.scheme == "https"
        return await self._session.get(
            url,
            headers={**sent, **way.request},
            allow_redirects=False,
            proxy=way.proxy,
            proxy_headers=way.tunnel or None,
            ssl=self._tls.context if secure else True,
            server_hostname=(self._config.tls_config.server_name or None) if secure else None,
        )
