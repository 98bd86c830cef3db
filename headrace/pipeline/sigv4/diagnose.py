"""Which field of a request makes its signature differ.

A signature tells nothing about what was signed, but guesses can be tried: with the request changed back in one field
to what a proxy or a mistaken client usually makes of it, the signature stands again, and the field is found.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from headrace.pipeline.sigv4 import canonical
from headrace.pipeline.sigv4.keys import DerivedKeys, sign, string_to_sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from headrace.pipeline.sigv4.canonical import Head
    from headrace.pipeline.sigv4.claim import Claim

_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD")
_MAX_OTHERS = 1000


class Finding(NamedTuple):
    """What was found.

    Attributes:
        field: ``method``, ``path``, ``query``, ``host``, ``body``, the name of a signed header, ``access key``, or
            ``unknown``.
        why: A sentence for whoever has to put it right; holds no secret.
    """

    field: str
    why: str


UNKNOWN = Finding(
    "unknown",
    "no usual change of a single field explains it: most likely the secret access key is not the one that belongs to "
    "this access key id; else a signed header, the path, the query or the body was changed on the way",
)


class _Parts(NamedTuple):
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str


class _Guess(NamedTuple):
    field: str
    why: str
    parts: _Parts


def diagnose(
    head: Head,
    claim: Claim,
    secret: str,
    body: bytes,
    *,
    hosts: Iterable[str] = (),
    workspaces: Iterable[str] = (),
    other_secrets: Sequence[tuple[str, str]] = (),
) -> Finding:
    """Return why the signature of a request does not stand.

    Args:
        head: The request.
        claim: What it says about its signature; its scope and its time are right.
        secret: Secret of the access key it names.
        body: As sent.
        hosts: Names that this server is known by; the client may have signed one of them.
        workspaces: Ids that may have been meant.
        other_secrets: Ids and secrets of other keys, for ids and secrets that were mixed up; 1,000 are tried.
    """
    parts = _parts(head, claim, body)
    for guess in _guesses(head, claim, parts, hosts, workspaces):
        if _stands(claim, secret, guess.parts):
            return Finding(guess.field, guess.why)
    for key_id, other in other_secrets[:_MAX_OTHERS]:
        if key_id != claim.access_key and _stands(claim, other, parts):
            return Finding("access key", f"it was signed with the secret of {key_id}, and names {claim.access_key}")
    for name in claim.signed_headers:
        if not head.headers.getall(name, ()):
            return Finding(name, f"header {name} was signed and did not arrive: something removed it on the way")
    return UNKNOWN


def _parts(head: Head, claim: Claim, body: bytes) -> _Parts:
    headers = {name: ",".join(head.headers.getall(name, ())) for name in claim.signed_headers}
    query = next(iter(canonical.queries(claim.query, lenient=False)))
    return _Parts(head.method, canonical.path_of(head.path), query, headers, hashlib.sha256(body).hexdigest())


def _stands(claim: Claim, secret: str, parts: _Parts) -> bool:
    lines = "".join([f"{name}:{' '.join(parts.headers[name].split())}\n" for name in claim.signed_headers])
    names = ";".join(claim.signed_headers)
    request = canonical.request_of(parts.method, parts.path, parts.query, lines, names, parts.body)
    text = string_to_sign(claim.timestamp, claim.scope, request)
    # A cache for this one key: the guesses share it.
    return hmac.compare_digest(sign(_KEYS.get(secret, claim.scope), text), claim.signature)


_KEYS = DerivedKeys(16)


def _guesses(
    head: Head, claim: Claim, parts: _Parts, hosts: Iterable[str], workspaces: Iterable[str]
) -> Iterator[_Guess]:
    yield from _body_guesses(head, parts)
    yield from _host_guesses(head, claim, parts, hosts)
    yield from _query_guesses(claim, parts)
    yield from _path_guesses(head, parts, workspaces)
    yield from _header_guesses(claim, parts)
    for method in _METHODS:
        if method != head.method:
            why = f"it was signed as {method} and came as {head.method}"
            yield _Guess("method", why, parts._replace(method=method))


def _body_guesses(head: Head, parts: _Parts) -> Iterator[_Guess]:
    said = head.headers.getall("x-amz-content-sha256", ())
    for digest, why in (
        (canonical.EMPTY_SHA256, "it was signed with an empty body, and came with another one"),
        ("UNSIGNED-PAYLOAD", "the client does not sign bodies (UNSIGNED-PAYLOAD), which this service asks for"),
        *((text.strip(), "the body is not the one that was signed: something changed it on the way") for text in said),
    ):
        yield _Guess("body", why, parts._replace(body=digest))


def _host_guesses(head: Head, claim: Claim, parts: _Parts, hosts: Iterable[str]) -> Iterator[_Guess]:
    came = parts.headers.get("host", "")
    name, _, port = came.partition(":")
    region = claim.scope.region
    forwarded = [text.strip() for text in head.headers.getall("x-forwarded-host", ())]
    known = [f"aps-workspaces.{region}.amazonaws.com", f"aps.{region}.amazonaws.com"]
    local = [f"{host}:{port}" if port else host for host in ("localhost", "127.0.0.1", "[::1]")]
    for host in dict.fromkeys([*hosts, name, *forwarded, *known, *local]):
        if host != came:
            why = f"it was signed for host {host} and came with Host {came}: a proxy in between changed the header"
            yield _Guess("host", why, parts._replace(headers={**parts.headers, "host": host}))


def _query_guesses(claim: Claim, parts: _Parts) -> Iterator[_Guess]:
    for query in canonical.queries(claim.query, lenient=True):
        why = "the query string was signed as it stands, not encoded and sorted: post the query as a form instead"
        yield _Guess("query", why, parts._replace(query=query))
    if claim.query:
        yield _Guess("query", "it was signed without its query string", parts._replace(query=""))
    pairs = parts.query.split("&") if parts.query else []
    for at, pair in enumerate(pairs[:32]):
        why = f"parameter {pair.partition('=')[0]} was added after the request was signed"
        yield _Guess("query", why, parts._replace(query="&".join(pairs[:at] + pairs[at + 1 :])))


def _path_guesses(head: Head, parts: _Parts, workspaces: Iterable[str]) -> Iterator[_Guess]:
    path = head.path
    yield _Guess("path", "the path was signed without encoding it once more", parts._replace(path=path))
    decoded = canonical.path_of(unquote(path, errors="surrogateescape"))
    yield _Guess("path", "the path was signed decoded", parts._replace(path=decoded))
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    yield _Guess("path", f"it was signed for {other}", parts._replace(path=canonical.path_of(other)))
    segments = path.split("/")
    for at in range(2, len(segments)):
        rest = "/" + "/".join(segments[at:])
        why = f"it was signed for {rest}: a prefix was added on the way"
        yield _Guess("path", why, parts._replace(path=canonical.path_of(rest)))
    if len(segments) > 2 and segments[1] == "workspaces":
        for workspace in workspaces:
            if workspace != segments[2]:
                meant = "/".join([*segments[:2], workspace, *segments[3:]])
                why = f"it was signed for workspace {workspace} and came for {segments[2]}"
                yield _Guess("path", why, parts._replace(path=canonical.path_of(meant)))


def _header_guesses(claim: Claim, parts: _Parts) -> Iterator[_Guess]:
    for name in claim.signed_headers:
        if name in {"host", "x-amz-date"}:
            continue
        value = parts.headers[name]
        for instead in dict.fromkeys(["", value.partition(";")[0], *_usual(name)]):
            if instead != value:
                why = f"header {name} was signed as {instead!r} and came as {value[:200]!r}"
                yield _Guess(name, why, parts._replace(headers={**parts.headers, name: instead}))


def _usual(name: str) -> tuple[str, ...]:
    return {
        "content-type": (
            "application/json",
            "application/x-protobuf",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=utf-8",
            "application/x-amz-json-1.1",
        ),
        "content-encoding": ("snappy", "gzip"),
        "accept-encoding": ("identity", "gzip"),
    }.get(name, ())
