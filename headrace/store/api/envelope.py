"""The JSON around every answer of the HTTP API."""

from __future__ import annotations

import json
import re
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.store.api.errors import ApiError

_SHOWN = 10
"""Warnings, and infos, in an answer; the others are counted."""

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
_BETWEEN = "\x7f"
"""Stands between texts that are looked through together; few have it."""


def encode(value: Any) -> bytes:
    """Return `value` as compact JSON; what is not UTF-8 becomes the replacement character."""
    return _NOT_UTF8.sub("\ufffd", json.dumps(value, ensure_ascii=False, separators=(",", ":"))).encode()


def encode_text(text: str) -> bytes:
    """Return the same as `encode` for a string, quicker."""
    written = encode_basestring(text)
    return written.encode() if written.isascii() else _NOT_UTF8.sub("\ufffd", written).encode()


def encode_texts(texts: list[str]) -> bytes:
    """Return the same as `encode` for a list of strings, quicker where they are plain."""
    joined = _BETWEEN.join(texts)
    written = encode_basestring(joined)
    plain = len(written) == len(joined) + 2 and joined.isascii() and joined.count(_BETWEEN) == len(texts) - 1
    if not texts or not plain:
        return encode(texts)
    return b"[" + written.replace(_BETWEEN, '","').encode("ascii") + b"]"


def success(data: bytes, warnings: Iterable[str] = (), infos: Iterable[str] = ()) -> bytes:
    """Return the answer with `data`, which is JSON."""
    return b'{"status":"success","data":' + data + notes(warnings, infos) + b"}"


def failure(error: ApiError) -> bytes:
    """Return the answer that tells `error`."""
    return encode({"status": "error", "errorType": error.kind, "error": error.message})


def notes(warnings: Iterable[str], infos: Iterable[str]) -> bytes:
    """Return the members of the envelope that hold annotations, each with a comma in front."""
    parts = []
    for key, kind, texts in (("warnings", "warning", list(warnings)), ("infos", "info", list(infos))):
        if texts:
            more = len(texts) - _SHOWN
            rest = [f"{more} more {kind} annotations omitted"] if more > 0 else []
            parts.append(b"," + encode(key) + b":" + encode(texts[:_SHOWN] + rest))
    return b"".join(parts)
