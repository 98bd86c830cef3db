"""Credentials that a machine, a container or a pod has of its own, where AWS' clients look for them after files.

Source:
    AWS SDKs and Tools Reference Guide: "Container credential provider", "IMDS credential provider", "Assume role with
    web identity".
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from headrace.extensions.sigv4_auth_role import Sts
from headrace.extensions.sigv4_auth_temporary import fetched, granted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from headrace.extensions.sigv4_auth_temporary import Granted

_CONTAINER_HOST = "http://169.254.170.2"
_LOCAL_HOSTS = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "127.0.0.1", "::1", "localhost"}
"""Hosts that are asked without TLS: what listens there is part of the machine."""

_MACHINE = "http://169.254.169.254"
_TOKEN_SECONDS = "21600"  # noqa: S105 -- how long a token lasts
_TIMEOUT_S = 2.0


class Source(NamedTuple):
    """Where credentials come from.

    Attributes:
        whose: Whose they are, for errors.
        ask: Asks for them.
        must_answer: Whether nobody said that there are any, so that it has to be tried.
    """

    whose: str
    ask: Callable[[], Awaitable[Granted]]
    must_answer: bool = False


def find_source(environment: Mapping[str, str], region: str, clock_ns: Callable[[], int]) -> Source | None:
    """Return the first source that an environment names, else the machine's; None where that is switched off.

    Raises:
        ValueError: It names one that must not be asked.
    """
    role, token_file = environment.get("AWS_ROLE_ARN", ""), environment.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
    if role and token_file:
        own_region = environment.get("AWS_REGION", "") or region or "us-east-1"
        sts = Sts(own_region, environment.get("AWS_ENDPOINT_URL_STS", ""), clock_ns)
        session = environment.get("AWS_ROLE_SESSION_NAME", "") or "headrace"
        return Source(f"role {role}", lambda: sts.assume_with_token(role, session, token_file))
    relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    url = f"{_CONTAINER_HOST}{relative}" if relative else environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if url:
        _check_container(url)
        return Source("the container", lambda: _of_container(url, environment))
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    machine = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/") or _MACHINE
    return Source("the machine", lambda: _of_machine(machine), must_answer=True)


def _check_container(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOCAL_HOSTS):
        raise ValueError(f"AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this machine, not {url}")


async def _of_container(url: str, environment: Mapping[str, str]) -> Granted:
    token = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    token_file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    if token_file:
        token = (await asyncio.to_thread(Path(token_file).read_text)).strip()
    return _read(url, await fetched("GET", url, {"Authorization": token} if token else {}, _TIMEOUT_S))


async def _of_machine(machine: str) -> Granted:
    lasts = {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_SECONDS}
    token = await fetched("PUT", f"{machine}/latest/api/token", lasts, _TIMEOUT_S)
    headers = {"X-aws-ec2-metadata-token": token.strip()}
    url = f"{machine}/latest/meta-data/iam/security-credentials/"
    role = (await fetched("GET", url, headers, _TIMEOUT_S)).partition("\n")[0].strip()
    return _read(url + role, await fetched("GET", url + role, headers, _TIMEOUT_S))


def _read(url: str, text: str) -> Granted:
    found = json.loads(text)
    if not isinstance(found, dict) or found.get("Code", "Success") != "Success":
        raise ValueError(f"{url} answered: {text[:200]}")
    names = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
    return granted(url, *(str(found.get(name, "")) for name in names))
