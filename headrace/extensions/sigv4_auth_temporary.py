"""Temporary credentials, asked for anew before the ones there are run out."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from headrace.pipeline.sigv4.sign import Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from headrace.pipeline.component import Settings

EARLY_S = 300.0
"""Credentials are asked for anew so long before they run out."""

RETRY_S = 5.0
_SHORTEST_S = 30.0
_LONGEST_S = 12 * 3600.0
_ANSWER_BYTES = 64 * 1024
_OK = 200


class Granted(NamedTuple):
    """Credentials, and when they run out, in seconds since 1970."""

    credentials: Credentials
    until_s: float


FAULTS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What asking fails with."""


class Temporary:
    """Keeps credentials fresh.

    Args:
        settings: Of the extension.
        whose: Whose they are, for errors.
        ask: Asks for new ones; fails with one of `FAULTS`.
    """

    def __init__(self, settings: Settings, whose: str, ask: Callable[[], Awaitable[Granted]]) -> None:
        self._settings = settings
        self._whose = whose
        self._ask = ask
        self._found: Granted | None = None
        self._why = "they were not asked for yet"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.id} credentials")

    async def shutdown(self) -> None:
        """Ask no more; safe before `start` and twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def credentials(self) -> Credentials:
        """Return the present ones.

        Raises:
            ConnectionError: There are none, or they have run out; the request can be sent again later.
        """
        if self._found is None or self._found.until_s <= self._settings.clock_ns() / 1e9:
            raise ConnectionError(f"there are no credentials of {self._whose}: {self._why}")
        return self._found.credentials

    async def refresh(self) -> float:
        """Ask once; return how long to wait until the next time, in seconds.

        Raises:
            ValueError: The answer holds none, or it is a refusal; the other `FAULTS`: there was no answer.
        """
        self._found = await self._ask()
        left_s = self._found.until_s - self._settings.clock_ns() / 1e9
        return min(max(_SHORTEST_S, left_s - EARLY_S), _LONGEST_S)

    async def _run(self) -> None:
        while True:
            wait = RETRY_S
            try:
                wait = await self.refresh()
            except FAULTS as error:
                self._why = str(error) or type(error).__name__
                self._settings.logger.warning("cannot get credentials of %s: %s", self._whose, self._why)
            await asyncio.sleep(wait)


async def fetch(
    method: str, url: str, headers: Mapping[str, str], body: bytes = b"", timeout_s: float = 30.0
) -> tuple[int, str]:
    """Send a request; return the status of the answer and its text."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(method, url, data=body or None, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, (await answer.content.read(_ANSWER_BYTES)).decode("utf-8", "replace")


async def fetched(method: str, url: str, headers: Mapping[str, str], timeout_s: float) -> str:
    """Return the text of an answer.

    Raises:
        ValueError: It is a refusal.
    """
    status, text = await fetch(method, url, headers, timeout_s=timeout_s)
    if status != _OK:
        raise ValueError(f"{url} answered {status}: {text[:200]}")
    return text


def granted(url: str, key: str, secret: str, token: str, until: str) -> Granted:
    """Put together what an answer holds.

    Raises:
        ValueError: Something is missing.
    """
    if not (key and secret and token and until):
        raise ValueError(f"{url} answered without credentials")
    return Granted(Credentials(key, secret, token), datetime.fromisoformat(until).timestamp())
