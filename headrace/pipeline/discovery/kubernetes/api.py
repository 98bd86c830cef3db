"""Requests to the API server: lists in pages, and watches as streams of events.

Source:
    Kubernetes, "API Concepts": efficient detection of changes, watch bookmarks, retrieving large results sets in
    chunks.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from headrace.pipeline.discovery.polling import DiscoveryFailed
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from headrace.pipeline.prometheus_http import PrometheusClient

PAGE_SIZE = 500
"""Objects asked for at a time; those of a large cluster come in some dozens of answers."""

MAX_ANSWER_BYTES = 256 << 20
MAX_EVENT_BYTES = 16 << 20
"""More than any object may have, which etcd limits to 1.5 MiB."""

_LIST_S = 60.0
_GRACE_S = 30.0
"""Seconds for which a server may overrun the end of a watch before the connection counts as dead."""

_REASONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "throttled",
}


class Expired(DiscoveryFailed):
    """The version that was asked for is too old to go on from: everything has to be listed again."""

    def __init__(self, why: str) -> None:
        super().__init__("expired", why)


class ApiFailed(DiscoveryFailed):
    """A request failed.

    Args:
        reason: For the counter.
        why: In words.
        retry_after_s: For how long the server wants to be left alone.
    """

    def __init__(self, reason: str, why: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason, why)
        self.retry_after_s = retry_after_s


class Api:
    """One API server.

    Args:
        url: Its URL.
        client: Made with its settings.
    """

    def __init__(self, url: str, client: PrometheusClient) -> None:
        self._url = url
        self._client = client

    async def page(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page of a list.

        Raises:
            Expired: The page follows one that is too old.
            ApiFailed: There is no answer, or none that is a list.
        """
        async with self._get(path, query, _LIST_S) as answer:
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise ApiFailed("content", f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        try:
            found = await asyncio.to_thread(json.loads, body)
        except (ValueError, RecursionError) as error:
            raise ApiFailed("content", f"the answer is not JSON: {error}") from None
        if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
            raise ApiFailed("content", "the answer is no list")
        return found

    async def watch(self, path: str, query: Mapping[str, str], lasts_s: float) -> AsyncIterator[dict[str, Any]]:
        """Yield events until the server ends the watch, which is no fault.

        Raises:
            Expired: The version is too old.
            ApiFailed: The request failed, or the connection broke.
        """
        asked = {**query, "watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": f"{lasts_s:.0f}"}
        async with self._get(path, asked, lasts_s + _GRACE_S) as answer:
            async for line in _lines(answer.content):
                yield _event(line)

    @asynccontextmanager
    async def _get(self, path: str, query: Mapping[str, str], lasts_s: float) -> AsyncIterator[aiohttp.ClientResponse]:
        url = URL(self._url + path).with_query(query)
        try:
            async with asyncio.timeout(lasts_s), self._client.get(url, {"Accept": "application/json"}) as answer:
                if answer.status != HTTPStatus.OK:
                    raise await _refusal(answer)
                yield answer
        except TimeoutError:
            raise ApiFailed("timeout", f"{path}: no end of the answer in {lasts_s:.0f} s") from None
        except (aiohttp.ClientError, ConfigError, OSError) as error:
            raise ApiFailed("connection", f"{type(error).__name__}: {error}"[:500]) from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a body; the last one too where its end is missing."""
    left = bytearray()
    async for piece in stream.iter_any():
        *whole, rest = (left + piece).split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        left = bytearray(rest)
        if len(left) > MAX_EVENT_BYTES:
            raise ApiFailed("content", f"an event is longer than {MAX_EVENT_BYTES} bytes")
    if left:
        yield bytes(left)


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
        kind, found = event["type"], event["object"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ApiFailed("content", f"an event is not as it should be: {error}") from None
    if kind == "ERROR":
        raise _fault(found if isinstance(found, dict) else {})
    result: dict[str, Any] = event
    return result


async def _refusal(answer: aiohttp.ClientResponse) -> DiscoveryFailed:
    """Return what an answer with an error says; the API sends a Status object, a proxy may send anything."""
    body = await answer.content.read(64 * 1024)
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    said = status if isinstance(status, dict) else {"message": body[:200].decode("utf-8", "replace")}
    wait = answer.headers.get("Retry-After", "")
    return _fault({**said, "code": answer.status}, float(wait) if wait.isascii() and wait.isdigit() else 0.0)


def _fault(status: Mapping[str, Any], retry_after_s: float = 0.0) -> DiscoveryFailed:
    code, message = status.get("code"), str(status.get("message") or status.get("reason") or "no reason given")
    if code == HTTPStatus.GONE or status.get("reason") in {"Expired", "Gone"}:
        return Expired(message)
    reason = _REASONS.get(code, "http_status") if isinstance(code, int) else "http_status"
    return ApiFailed(reason, f"the API server answered {code}: {message}"[:500], retry_after_s)
