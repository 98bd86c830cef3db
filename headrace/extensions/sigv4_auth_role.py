"""Temporary credentials of a role, from AWS' Security Token Service.

Source:
    AWS Security Token Service API Reference, ``AssumeRole`` and ``AssumeRoleWithWebIdentity``.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode, urlsplit

from pydantic import Field

from headrace.extensions.sigv4_auth_temporary import fetch, granted
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.sigv4.sign import Credentials, Signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.extensions.sigv4_auth_temporary import Granted

_VERSION = "2011-06-15"
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


class Sts:
    """Asks one STS.

    Args:
        region: Its region.
        endpoint: Its URL; that of the region where it is empty.
        clock_ns: Unix time in nanoseconds.
    """

    def __init__(self, region: str, endpoint: str, clock_ns: Callable[[], int]) -> None:
        self._url = endpoint or f"https://sts.{region}.amazonaws.com/"
        self._signer = Signer(region, "sts")
        self._clock_ns = clock_ns

    async def assume(self, arn: str, session: str, own: Credentials) -> Granted:
        """Return the credentials of a role that `own` may act as.

        Raises:
            ValueError: STS refuses, or its answer does not hold them.
        """
        body = _body("AssumeRole", arn, session)
        parts = urlsplit(self._url)
        headers = {"host": parts.netloc, "content-type": _TYPE}
        now = datetime.fromtimestamp(self._clock_ns() / 1e9, UTC)
        signed = self._signer.sign("POST", parts.path or "/", "", headers, body, own, now)
        return await self._post(body, signed)

    async def assume_with_token(self, arn: str, session: str, token_file: str) -> Granted:
        """Return the credentials of a role that the bearer of a token may act as; the file is read each time.

        Raises:
            ValueError: STS refuses, or its answer does not hold them.
        """
        token = (await asyncio.to_thread(Path(token_file).read_text)).strip()
        return await self._post(_body("AssumeRoleWithWebIdentity", arn, session, WebIdentityToken=token), {})

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> Granted:
        status, text = await fetch("POST", self._url, {"Content-Type": _TYPE, **headers}, body)
        if status != _OK:
            raise ValueError(f"{self._url} answered {status}: {_element(text, 'Message') or text[:200]}")
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        return granted(self._url, *(_element(text, name) for name in names))


def _body(action: str, arn: str, session: str, **more: str) -> bytes:
    parameters = {"Action": action, "RoleArn": arn, "RoleSessionName": session, "Version": _VERSION, **more}
    return urlencode(parameters).encode()


def _element(text: str, name: str) -> str:
    """Return the text of an element of an answer of STS, which names none of them twice."""
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return unescape(found.group(1).strip()) if found else ""
