"""Temporary credentials of a role, asked from STS before the ones there are run out.

Source:
    AWS Security Token Service API Reference, ``AssumeRole``.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from html import unescape
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode, urlsplit

import aiohttp
from pydantic import Field

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.component import Settings

_VERSION = "2011-06-15"
_EARLY_S = 300.0
"""Credentials are asked for anew so long before they run out."""

_RETRY_S = 5.0
_SHORTEST_S = 30.0
_ANSWER_BYTES = 64 * 1024
_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
_OK = 200


class AssumeRoleConfig(ComponentConfig):
    """A role to act as."""

    arn: Annotated[str, Field(min_length=1)]
    """ARN of the role."""

    session_name: Annotated[str, Field(pattern=r"^[\w+=,.@-]{2,64}$")] = "headrace"
    """Name of the session, as it appears in logs of AWS."""

    sts_region: str = ""
    """Region of the STS to ask; that of the requests where it is not set."""

    endpoint: str = ""
    """URL of the STS to ask; that of `sts_region` where it is not set."""


class AssumedRole:
    """Keeps credentials fresh.

    Args:
        settings: Of the extension.
        config: Which role.
        region: Of the requests.
        own: The credentials to ask with.
    """

    def __init__(
        self, settings: Settings, config: AssumeRoleConfig, region: str, own: Callable[[], Credentials]
    ) -> None:
        self._settings = settings
        self._config = config
        self._region = config.sts_region or region or "us-east-1"
        self._url = config.endpoint or f"https://sts.{self._region}.amazonaws.com/"
        self._own = own
        self._signer = Signer(self._region, "sts")
        self._found: tuple[Credentials, float] | None = None
        self._why = "they were not asked for yet"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.id} role")

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
        if self._found is None or self._found[1] <= self._settings.clock_ns() / 1e9:
            raise ConnectionError(f"there are no credentials of role {self._config.arn}: {self._why}")
        return self._found[0]

    async def _run(self) -> None:
        while True:
            wait = _RETRY_S
            try:
                self._found = await self._ask()
                wait = max(_SHORTEST_S, self._found[1] - self._settings.clock_ns() / 1e9 - _EARLY_S)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self._why = str(error) or type(error).__name__
                self._settings.logger.warning("cannot act as role %s: %s", self._config.arn, self._why)
            await asyncio.sleep(wait)

    async def _ask(self) -> tuple[Credentials, float]:
        """Return credentials, and when they run out in seconds since 1970.

        Raises:
            ValueError: STS refuses, or its answer does not hold them.
        """
        parameters = {
            "Action": "AssumeRole", "RoleArn": self._config.arn, "RoleSessionName": self._config.session_name,
            "Version": _VERSION,
        }  # fmt: skip
        body = urlencode(parameters).encode()
        parts = urlsplit(self._url)
        headers = {"host": parts.netloc, "content-type": _TYPE}
        now = datetime.fromtimestamp(self._settings.clock_ns() / 1e9, UTC)
        signed = self._signer.sign("POST", parts.path or "/", "", headers, body, self._own(), now)
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self._url, data=body, headers={"Content-Type": _TYPE, **signed}) as answer,
        ):
            text = (await answer.content.read(_ANSWER_BYTES)).decode("utf-8", "replace")
        if answer.status != _OK:
            raise ValueError(f"{self._url} answered {answer.status}: {_element(text, 'Message') or text[:200]}")
        found = [_element(text, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")]
        if not all(found):
            raise ValueError(f"{self._url} answered without credentials")
        return Credentials(*found[:3]), datetime.fromisoformat(found[3]).timestamp()


def _element(text: str, name: str) -> str:
    """Return the text of an element of an answer of STS, which names none of them twice."""
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return unescape(found.group(1).strip()) if found else ""
