"""A client of Prometheus' HTTP API, for one question at a time."""

from __future__ import annotations

import base64
import gzip
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 200
"""Characters of an answer that is no JSON, as an error quotes it."""

_UNAUTHORIZED, _FORBIDDEN = 401, 403


class QueryFailed(HeadraceError):  # noqa: N818 -- named for the condition
    """A server could not be asked, or answered with an error.

    Args:
        why: What to tell the user.
        kind: Prometheus' type of error, such as ``bad_data``; empty where the server gave none.
    """

    def __init__(self, why: str, kind: str = "") -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        data: The answer itself.
        warnings: Annotations.
        infos: Lesser annotations.
    """

    data: Any
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server.

    Attributes:
        url: Where ``/api/v1`` lies below.
        headers: To be sent along, with those of authentication.
        ca_file: Certificates of authorities, or None for the system's.
        timeout_s: How long to wait.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    timeout_s: float = 120.0


def access(options: Mapping[str, Any], timeout_s: float) -> Access:
    """Read what the options of a command name: files, and secrets from the environment.

    Raises:
        ConfigError: A file cannot be read, a header is malformed, or two ways to authenticate are given.
    """
    url = options["server"].rstrip("/")
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"} or not urllib.parse.urlsplit(url).netloc:
        raise ConfigError("--url", f"must be like http://127.0.0.1:9009, got {url}")
    headers = _headers(options["headers_file"])
    password = _secret("--password-file", options["password_file"], "HEADRACE_QUERY_PASSWORD")
    token = _secret("--bearer-token-file", options["bearer_token_file"], "HEADRACE_QUERY_BEARER_TOKEN")
    if options["username"] and token:
        raise ConfigError("--username", "and a bearer token exclude each other")
    if options["username"]:
        pair = f"{options['username']}:{password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    return Access(url, headers, options["ca_file"], timeout_s)


def _headers(file: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _read("--headers-file", file).splitlines() if file else ():
        name, colon, value = line.partition(":")
        if line.strip() and not (colon and name.strip()):
            raise ConfigError("--headers-file", f"has a line that is not `Name: value`: {line.partition(' ')[0]} ...")
        if colon:
            found[name.strip()] = value.strip()
    return found


def _secret(option: str, file: str | None, variable: str) -> str:
    return _read(option, file).strip() if file else os.environ.get(variable, "")


def _read(option: str, file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError as error:
        raise ConfigError(option, f"cannot be read: {error.strerror}: {file}") from None


class Client:
    """Asks one server.

    Args:
        access: Where it is and how to reach it.

    Raises:
        ConfigError: The certificates cannot be read.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        try:
            context = ssl.create_default_context(cafile=access.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("--ca-file", f"cannot be read: {error}: {access.ca_file}") from None
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _StayHere())

    def ask(self, path: str, parameters: Sequence[tuple[str, str]], *, post: bool = False) -> Answer:
        """Ask an endpoint.

        Args:
            path: What follows ``/api/v1/``.
            parameters: Names and values, in order; names may be repeated.
            post: Whether they go into the body, where they may be of any length.

        Raises:
            QueryFailed: It did not answer, or with an error.
        """
        encoded = urllib.parse.urlencode(parameters)
        url = f"{self._access.url}/api/v1/{path}"
        request = urllib.request.Request(  # noqa: S310 -- the scheme was checked
            url if post or not encoded else f"{url}?{encoded}",
            encoded.encode() if post else None,
            {"Accept-Encoding": "gzip", "User-Agent": "headrace-query", **self._access.headers},
        )
        status, body = self._exchange(request)
        return self._answer(url, status, body)

    def _exchange(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=self._access.timeout_s) as reply:
                return reply.status, _plain(reply.read(), reply.headers.get("Content-Encoding", ""))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _plain(error.read(), error.headers.get("Content-Encoding", ""))
        except TimeoutError:
            raise QueryFailed(f"{self._access.url} did not answer within {self._access.timeout_s:g} s") from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            text = getattr(why, "strerror", None) or str(why)
            raise QueryFailed(f"cannot reach {self._access.url}: {text} (--url names another server)") from None

    def _answer(self, url: str, status: int, body: bytes) -> Answer:
        try:
            document = json.loads(body)
            good = document["status"] == "success"
        except (ValueError, KeyError, TypeError):
            raise QueryFailed(_strange(url, status, body)) from None
        if good:
            return Answer(document.get("data"), document.get("warnings", ()), document.get("infos", ()))
        raise QueryFailed(str(document.get("error", "no reason given")), str(document.get("errorType", "")))


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: they would take credentials to another server."""

    def redirect_request(self, *_args: Any) -> None:
        """Say that there is nothing to follow."""


def _plain(body: bytes, encoding: str) -> bytes:
    return gzip.decompress(body) if encoding == "gzip" else body


def _strange(url: str, status: int, body: bytes) -> str:
    text = " ".join(body.decode(errors="replace").split())[:_SHOWN]
    why = f"{url} answered {status}{f': {text}' if text else ''}"
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return f"{why} (--username, --bearer-token-file and --headers-file authenticate)"
    return f"{why} (is this the API of Prometheus?)"
