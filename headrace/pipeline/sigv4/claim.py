"""What a request says about its signature, in the Authorization header or in the query string.

Everything here is read before the body and before any secret is touched.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from headrace.pipeline.sigv4 import errors
from headrace.pipeline.sigv4.keys import ALGORITHM, TERMINATOR, Scope

if TYPE_CHECKING:
    from headrace.pipeline.sigv4.canonical import Head

_TIME = re.compile(r"\d{8}T\d{6}Z")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HEADER_PARTS = ("Credential", "Signature", "SignedHeaders")
_QUERY_PARTS = ("X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires")
_LONGEST_S = 604_800
_MAX_SIGNED_HEADERS = 64
_MEMO = 256
"""What clients send again and again is read once: their credentials' scopes, and the seconds that pass."""


class Claim(NamedTuple):
    """Who says to have signed a request, and over what.

    Attributes:
        access_key: Id of the access key.
        scope: Day, region and service of the signing key.
        signed_headers: Names, lower case, in the order given.
        signature: 64 hexadecimal digits.
        timestamp: When it was signed, ``YYYYMMDDTHHMMSSZ``.
        session_token: Token of temporary credentials, None without one.
        query: The query string that is signed, without the signature.
        expires_s: Seconds for which it holds; None for the header form, which holds as long as clocks may differ.
    """

    access_key: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    session_token: str | None
    query: str
    expires_s: int | None

    @property
    def time(self) -> datetime:
        """When it was signed."""
        return parse_time(self.timestamp)


def is_signed(head: Head) -> bool:
    """Return whether a request carries a signature of this version, good or not."""
    header = head.headers.getall("authorization", ())
    return any(value.startswith(ALGORITHM) for value in header) or "X-Amz-Signature=" in head.query


def read_claim(head: Head) -> Claim:
    """Return what a request says about its signature.

    Raises:
        SignatureRefused: It says nothing, or not all of it.
    """
    header = head.headers.getall("authorization", ())
    if header:
        if len(header) > 1:
            raise errors.incomplete("Authorization header must not be repeated.")
        return _from_header(header[0], head)
    if "X-Amz-Signature=" in head.query or "X-Amz-Credential=" in head.query:
        return _from_query(head)
    raise errors.missing()


def _from_header(header: str, head: Head) -> Claim:
    scheme, _, rest = header.strip().partition(" ")
    if scheme != ALGORITHM:
        if scheme.startswith("AWS"):
            raise errors.incomplete(f"Unsupported AWS 'algorithm': '{scheme[:64]}' (only {ALGORITHM} is supported).")
        raise errors.missing()
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    timestamp = _first(head, "x-amz-date") or _from_http_date(_first(head, "date"))
    faults = [f"Authorization header requires '{name}' parameter." for name in _HEADER_PARTS if not parts.get(name)]
    if not timestamp:
        faults.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if faults or not timestamp:
        # The header itself may hold a signature that is good elsewhere, so only its hash is told.
        digest = b64encode(hashlib.sha256(header.encode("utf-8", "surrogateescape")).digest()).decode()
        raise errors.incomplete(
            f"{' '.join(faults)} (Hashed with SHA-256 and encoded with Base64) Authorization={digest}"
        )
    names = _signed_headers(parts["SignedHeaders"])
    if "x-amz-date" not in names and "date" not in names:
        raise errors.incomplete("'X-Amz-Date' or 'Date' must be a 'SignedHeader' in the AWS Authorization.")
    token = _first(head, "x-amz-security-token")
    if token and "x-amz-security-token" not in names:
        raise errors.incomplete("'X-Amz-Security-Token' must be a 'SignedHeader' in the AWS Authorization.")
    access_key, scope = _credential(parts["Credential"])
    return Claim(
        access_key, scope, names, _signature(parts["Signature"]), _timestamp(timestamp), token, head.query, None
    )


def _from_query(head: Head) -> Claim:
    kept, parts = [], {}
    for part in head.query.split("&"):
        name, _, value = part.partition("=")
        if name.startswith("X-Amz-"):
            if name in parts:
                raise errors.incomplete(f"'{name[:64]}' must not be repeated.")
            parts[name] = unquote(value)
        if name != "X-Amz-Signature":
            kept.append(part)
    if parts.get("X-Amz-Algorithm") != ALGORITHM:
        raise errors.incomplete(f"AWS query-string parameters must include 'X-Amz-Algorithm={ALGORITHM}'.")
    faults = [f"AWS query-string parameters must include '{name}'." for name in _QUERY_PARTS if not parts.get(name)]
    if faults:
        raise errors.incomplete(" ".join(faults))
    expires = parts["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 6 and 1 <= int(expires) <= _LONGEST_S):
        raise errors.incomplete(f"'X-Amz-Expires' must be from 1 to {_LONGEST_S} seconds, got '{expires[:32]}'.")
    access_key, scope = _credential(parts["X-Amz-Credential"])
    return Claim(
        access_key,
        scope,
        _signed_headers(parts["X-Amz-SignedHeaders"]),
        _signature(parts["X-Amz-Signature"]),
        _timestamp(parts["X-Amz-Date"]),
        parts.get("X-Amz-Security-Token"),
        "&".join(kept),
        int(expires),
    )


@lru_cache(_MEMO)
def _credential(text: str) -> tuple[str, Scope]:
    parts = text.strip().split("/")
    if len(parts) != 5 or not all(parts):
        raise errors.incomplete(f"Credential must have exactly 5 slash-delimited elements, got '{text[:200]}'.")
    access_key, date, region, service, terminator = parts
    if terminator != TERMINATOR:
        why = f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator[:64]}'."
        raise errors.invalid(why, "authorization")
    return access_key, Scope(date, region, service)


@lru_cache(_MEMO)
def _signed_headers(text: str) -> tuple[str, ...]:
    names = tuple(text.strip().split(";"))
    if len(names) > _MAX_SIGNED_HEADERS:
        raise errors.incomplete(f"More than {_MAX_SIGNED_HEADERS} signed headers.")
    if any(name != name.lower() or not name for name in names) or len(set(names)) != len(names):
        raise errors.incomplete(f"'SignedHeaders' must be distinct names in lower case, got '{text[:200]}'.")
    if "host" not in names:
        raise errors.incomplete("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    return names


def _signature(text: str) -> str:
    text = text.strip()
    if not _SIGNATURE.fullmatch(text):
        raise errors.incomplete("'Signature' must be 64 hexadecimal digits in lower case.")
    return text


def _timestamp(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise errors.incomplete(f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'.")
    try:
        parse_time(text)
    except ValueError:
        raise errors.incomplete(f"Date must be in ISO-8601 'basic format'. Got '{text}'.") from None
    return text


@lru_cache(_MEMO)
def parse_time(text: str) -> datetime:
    """Return the time that ``YYYYMMDDTHHMMSSZ`` names.

    Raises:
        ValueError: There is no such time.
    """
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    return datetime(year, month, day, int(text[9:11]), int(text[11:13]), int(text[13:15]), tzinfo=UTC)


def format_time(time: datetime) -> str:
    """Return a time as ``YYYYMMDDTHHMMSSZ``."""
    return time.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _from_http_date(text: str | None) -> str | None:
    """Return the time of a ``Date`` header, which may be written either way."""
    if text is None or _TIME.fullmatch(text):
        return text
    try:
        return format_time(parsedate_to_datetime(text))
    except ValueError:
        return text


def _first(head: Head, name: str) -> str | None:
    values = head.headers.getall(name, ())
    return values[0].strip() if values else None


def check_claim(claim: Claim, region: str, service: str, now: datetime, skew: timedelta) -> None:
    """Refuse what is signed for another place or another time.

    Raises:
        SignatureRefused: It is, with the text that AWS gives.
    """
    scope = claim.scope
    if scope.date != claim.timestamp[:8]:
        raise errors.invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date[:16]}' != '{claim.timestamp[:8]}', from '{claim.timestamp}'.",
            "date",
        )
    if scope.region != region:
        raise errors.invalid(f"Credential should be scoped to a valid region, not '{scope.region[:64]}'. ", "region")
    if scope.service != service:
        raise errors.invalid(f"Credential should be scoped to correct service: '{service}'. ", "service")
    _check_time(claim, now, skew)


def _check_time(claim: Claim, now: datetime, skew: timedelta) -> None:
    signed, time = claim.timestamp, claim.time
    if time > now + skew:
        limit = format_time(now + skew)
        why = f"Signature not yet current: {signed} is still later than {limit} ({_reach(now, '+', skew)})"
        raise errors.invalid(why, "date")
    if claim.expires_s is None:
        if time < now - skew:
            limit = format_time(now - skew)
            why = f"Signature expired: {signed} is now earlier than {limit} ({_reach(now, '-', skew)})"
            raise errors.invalid(why, "date")
    elif time + timedelta(seconds=claim.expires_s) < now:
        until = format_time(time + timedelta(seconds=claim.expires_s))
        raise errors.invalid(f"Signature expired: {until} is now earlier than {format_time(now)}", "date")


def _reach(now: datetime, sign: str, skew: timedelta) -> str:
    return f"{format_time(now)} {sign} {round(skew.total_seconds() / 60)} min."
