"""Target groups from HTTP servers: ``http_sd_configs``.

Source:
    Prometheus, "Configuration", section http_sd_config, and "HTTP SD".
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import aiohttp
from pydantic import Field, field_validator
from yarl import URL

from headrace.pipeline.discovery.contract import DiscoveryFactory, TargetGroup
from headrace.pipeline.discovery.groups import read_groups
from headrace.pipeline.discovery.polling import DiscoveryFailed, poll
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.prometheus_http import HttpConfig, PrometheusClient, check_url
from headrace.pipeline.prometheus_values import PositiveDuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.discovery.contract import DiscoverySettings

MAX_BODY_BYTES = 64 << 20
"""Longest answer that is read, once unpacked."""

URL_LABEL = "__meta_url"

_JSON = re.compile(r"application/json(;\s*charset=(\"utf-8\"|utf-8))?", re.IGNORECASE)


class HttpSdConfig(HttpConfig):
    """A server that answers with target groups."""

    url: Annotated[str, Field(min_length=1)]
    """URL to ask."""

    refresh_interval: PositiveDuration = timedelta(minutes=1)
    """How often it is asked; also the time it has to answer."""

    @field_validator("url")
    @classmethod
    def _check_server(cls, url: str) -> str:
        return check_url(url)


class HttpDiscovery:
    """Asks one server."""

    def __init__(self, settings: DiscoverySettings, config: HttpSdConfig) -> None:
        self._settings = settings
        self._config = config
        self._interval_s = config.refresh_interval.total_seconds()
        self._timeout_s = self._interval_s
        self._headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{self._interval_s:g}"}
        url = URL(config.url)
        self._shown = str(url.with_password("xxxxx") if url.password else url) if url.user else config.url
        self._client = PrometheusClient(
            config, settings.key, user_agent=settings.user_agent, monotonic_s=settings.monotonic_s,
            warn=settings.logger.warning,
        )  # fmt: skip

    async def run(self, publish: Callable[[Iterable[TargetGroup]], None]) -> None:
        """Publish what the server answers, until cancelled."""
        self._client.start()
        try:
            await poll(self.refresh, self._interval_s, self._settings, publish)
        finally:
            await self._client.close()

    async def refresh(self) -> list[TargetGroup]:
        """Ask the server once.

        Raises:
            DiscoveryFailed: It did not answer, or not with target groups.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._fetch()
        except TimeoutError:
            raise DiscoveryFailed("timeout", f"no answer in {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, ConfigError, OSError, ValueError) as error:
            raise DiscoveryFailed("connection", f"{type(error).__name__}: {error}"[:500]) from error
        try:
            groups = await asyncio.to_thread(lambda: read_groups(json.loads(body)))
        except (ValueError, RecursionError) as error:
            raise DiscoveryFailed("content", f"the answer is no list of target groups: {error}"[:500]) from None
        return [group.group(f"{self._shown}:{i}", {URL_LABEL: self._shown}) for i, group in enumerate(groups)]

    async def _fetch(self) -> bytes:
        async with self._client.get(self._config.url, self._headers) as answer:
            if answer.status != HTTPStatus.OK:
                why = f"server returned HTTP status {answer.status} {answer.reason}"
                raise DiscoveryFailed("http_status", why)
            content_type = answer.headers.get("Content-Type", "").strip()
            if not _JSON.fullmatch(content_type):
                raise DiscoveryFailed("content", f"unsupported content type {content_type!r}")
            return await read_limited(answer.content, MAX_BODY_BYTES)


async def read_limited(stream: aiohttp.StreamReader, limit: int) -> bytes:
    """Read a body to its end.

    Raises:
        DiscoveryFailed: It is longer than `limit` bytes.
    """
    data = bytearray()
    async for piece in stream.iter_any():
        data += piece
        if len(data) > limit:
            raise DiscoveryFailed("content", f"the answer is longer than {limit} bytes")
    return bytes(data)


FACTORY = DiscoveryFactory(name="http", config=HttpSdConfig, create=HttpDiscovery)
