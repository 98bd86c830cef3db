"""Messages of the remote read API.

Source:
    Prometheus, ``prompb/remote.proto`` and ``prompb/types.proto``; Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput
from headrace.store.matchers import Matcher, MatchType

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = 0
STREAMED_XOR_CHUNKS = 1

_TYPES = (MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEX, MatchType.NOT_REGEX)
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_SIGN = 1 << 63
_MAX_SHIFT = 63

Field = tuple[int, int | memoryview]
"""Number of a field, and its value: an integer, or bytes."""


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """One query.

    Attributes:
        start_ms: First time.
        end_ms: Last time, included.
        matchers: What the series fulfil; patterns are not compiled yet.
    """

    start_ms: int = 0
    end_ms: int = 0
    matchers: tuple[Matcher, ...] = ()


@dataclass(slots=True)
class ReadRequest:
    """What a client asks.

    Attributes:
        queries: In order.
        accepted: Kinds of answers, the preferred one first.
    """

    queries: list[ReadQuery] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)


def parse(body: bytes) -> ReadRequest:
    """Decode ``ReadRequest``.

    Raises:
        InvalidInput: It does not decode.
    """
    found = ReadRequest()
    for number, value in _fields(memoryview(body)):
        if number == 1 and isinstance(value, memoryview):
            found.queries.append(_query(value))
        elif number == 2:
            found.accepted += [value] if isinstance(value, int) else list(_varints(value))
    return found


def _query(body: memoryview) -> ReadQuery:
    start_ms = end_ms = 0
    matchers: list[Matcher] = []
    for number, value in _fields(body):
        if number == 1 and isinstance(value, int):
            start_ms = _signed(value)
        elif number == 2 and isinstance(value, int):
            end_ms = _signed(value)
        elif number == 3 and isinstance(value, memoryview):
            matchers.append(_matcher(value))
    return ReadQuery(start_ms, end_ms, tuple(matchers))


def _matcher(body: memoryview) -> Matcher:
    kind, name, text = 0, "", ""
    for number, value in _fields(body):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, memoryview):
            name = _text(value)
        elif number == 3 and isinstance(value, memoryview):
            text = _text(value)
    if kind >= len(_TYPES):
        raise InvalidInput("invalid matcher type")
    return Matcher(name, _TYPES[kind], text)


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("proto: a string is not UTF-8") from None


def _fields(body: memoryview) -> Iterator[Field]:
    """Yield the fields of a message."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(body, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            size, at = _varint(body, at)
        elif wire in {_EIGHT, _FOUR}:
            size = 8 if wire == _EIGHT else 4
        else:
            raise InvalidInput(f"proto: illegal wireType {wire}")
        if size > len(body) - at:
            raise InvalidInput("unexpected EOF")
        yield tag >> 3, body[at : at + size]
        at += size


def _varints(body: memoryview) -> Iterator[int]:
    at = 0
    while at < len(body):
        value, at = _varint(body, at)
        yield value


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift <= _MAX_SHIFT:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
    raise InvalidInput("unexpected EOF" if shift <= _MAX_SHIFT else "proto: integer overflow")


def _signed(value: int) -> int:
    return value - 2 * _SIGN if value >= _SIGN else value


def varint(value: int) -> bytes:
    """Encode an unsigned integer."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(tag: int, body: bytes | memoryview) -> bytes:
    """Encode a field of bytes; `tag` with its wire type."""
    return bytes([tag]) + varint(len(body)) + body


def label(name: str, value: str) -> bytes:
    """Encode ``Label`` as the first field of a message."""
    return delimited(10, delimited(10, name.encode()) + delimited(18, value.encode()))
