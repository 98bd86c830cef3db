"""Tokens of the client credentials grant.

Source:
    RFC 6749, sections 2.3.1, 4.4 and 5; Go's ``golang.org/x/oauth2`` for what the RFC leaves open.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from headrace.pipeline.prometheus_http.proxy import Proxies

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.prometheus_http.config import OAuth2
    from headrace.pipeline.prometheus_http.tls import ClientTls

_ANSWER_BYTES = 1 << 20
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_EARLY_S = 10
"""Seconds before its end at which a token is not used any more."""


@dataclass(slots=True)
class _Token:
    text: str
    ends_s: float
    secret: str


class TokenSource:
    """Gives out tokens, asking for a new one when the last has run out or the secret has changed.

    Args:
        config: Settings.
        secret: Reads the client's secret.
        tls: TLS of the authorization server.
        monotonic_s: Seconds that never go back.
    """

    def __init__(
        self, config: OAuth2, secret: Callable[[], str], tls: ClientTls, monotonic_s: Callable[[], float]
    ) -> None:
        self._config = config
        self._secret = secret
        self._tls = tls
        self._monotonic_s = monotonic_s
        self._proxies = Proxies.of(config)
        self._token: _Token | None = None
        self._in_body: bool | None = None
        self._one_at_a_time = asyncio.Lock()

    async def header(self, session: aiohttp.ClientSession) -> str:
        """Return the Authorization header.

        Raises:
            aiohttp.ClientError: There is no token.
        """
        async with self._one_at_a_time:
            secret = self._secret()
            token = self._token
            if token is None or token.secret != secret or self._monotonic_s() >= token.ends_s:
                token = self._token = await self._fetch(session, secret)
            return f"Bearer {token.text}"

    async def _fetch(self, session: aiohttp.ClientSession, secret: str) -> _Token:
        """Ask with the secret in the header, and where that fails in the body, as not every server knows both."""
        ways = (False, True) if self._in_body is None else (self._in_body,)
        why = ""
        for in_body in ways:
            status, text = await self._ask(session, secret, in_body=in_body)
            if status < HTTPStatus.MULTIPLE_CHOICES:
                token = self._read(text, secret)
                self._in_body = in_body
                return token
            why = f"{self._config.token_url} answered {status}: {_fault(text)}"
        raise aiohttp.ClientError(f"no token: {why}")

    async def _ask(self, session: aiohttp.ClientSession, secret: str, *, in_body: bool) -> tuple[int, str]:
        config, url = self._config, URL(self._config.token_url)
        form = {"grant_type": "client_credentials", **config.endpoint_params}
        headers: dict[str, str] = {}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        if in_body:
            form |= {"client_id": config.client_id, "client_secret": secret}
        else:
            pair = f"{quote_plus(config.client_id)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        way = self._proxies.choose(url)
        headers |= way.request
        async with session.post(
            url, data=form, headers=headers, timeout=_TIMEOUT, allow_redirects=False, proxy=way.proxy,
            proxy_headers=way.tunnel or None, ssl=self._tls.context if url.scheme == "https" else True,
            server_hostname=config.tls_config.server_name or None,
        ) as answer:  # fmt: skip
            return answer.status, (await answer.content.read(_ANSWER_BYTES)).decode("utf-8", "replace")

    def _read(self, text: str, secret: str) -> _Token:
        try:
            answer: Any = json.loads(text)
            token, lasts_s = answer["access_token"], float(answer.get("expires_in") or 0)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise aiohttp.ClientError(f"no token: {self._config.token_url} answered none") from None
        if not isinstance(token, str) or not token or not token.isprintable():
            raise aiohttp.ClientError(f"no token: {self._config.token_url} answered one that fits no header")
        ends_s = self._monotonic_s() + lasts_s - _EARLY_S if lasts_s > 0 else float("inf")
        return _Token(token, ends_s, secret)


def _fault(text: str) -> str:
    try:
        answer = json.loads(text)
    except ValueError:
        return text[:200]
    found = answer if isinstance(answer, dict) else {}
    return ": ".join(str(found[name]) for name in ("error", "error_description") if found.get(name)) or text[:200]
