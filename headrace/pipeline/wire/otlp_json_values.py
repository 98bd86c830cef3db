"""Values of OTLP's JSON as fields of protobuf.

Source:
    Protocol Buffers, "ProtoJSON Format"; OpenTelemetry Protocol specification, "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any

from headrace.pipeline.errors import InvalidInput

_WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_DOUBLE = struct.Struct("<d")
_FIXED = struct.Struct("<Q")


def fail(what: str, value: object) -> InvalidInput:
    """Return the error about a value that is not `what`."""
    return InvalidInput(f"OTLP: the request does not decode: must be {what}, got {str(value)[:100]!r}")


def varint(value: int) -> bytes:
    """Encode the 64 bits of a number."""
    value &= (1 << 64) - 1
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(data: bytes) -> bytes:
    """Put the length before some bytes."""
    return varint(len(data)) + data


def text(value: Any) -> bytes:
    """Encode a string."""
    if not isinstance(value, str):
        raise fail("a string", value)
    try:
        return sized(value.encode())
    except UnicodeEncodeError:
        raise fail("a string of Unicode", ascii(value)) from None


def boolean(value: Any) -> bytes:
    """Encode a truth value."""
    if not isinstance(value, bool):
        raise fail("true or false", value)
    return b"\x01" if value else b"\x00"


def integer(value: Any, low: int, high: int) -> int:
    """Read an integer: a number, or its digits as text."""
    try:
        if (isinstance(value, str) and value == value.strip() and "_" not in value) or (
            isinstance(value, float) and value.is_integer()
        ):
            value = int(value)
    except ValueError:
        raise fail("an integer", value) from None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise fail(f"an integer from {low} to {high}", value)
    return value


def int64(value: Any) -> bytes:
    """Encode a signed integer."""
    return varint(integer(value, -(1 << 63), (1 << 63) - 1))


def sint32(value: Any) -> bytes:
    """Encode a signed integer of 32 bits, zigzag."""
    number = integer(value, -(1 << 31), (1 << 31) - 1)
    return varint(number << 1 ^ number >> 63)


def uint32(value: Any) -> bytes:
    """Encode an unsigned integer of 32 bits."""
    return varint(integer(value, 0, (1 << 32) - 1))


def uint64(value: Any) -> bytes:
    """Encode an unsigned integer."""
    return varint(integer(value, 0, (1 << 64) - 1))


def fixed64(value: Any) -> bytes:
    """Encode an unsigned integer in eight bytes."""
    return _FIXED.pack(integer(value, 0, (1 << 64) - 1))


def sfixed64(value: Any) -> bytes:
    """Encode a signed integer in eight bytes."""
    return _FIXED.pack(integer(value, -(1 << 63), (1 << 63) - 1) & ((1 << 64) - 1))


def enum(value: Any) -> bytes:
    """Encode an enum, which is given as its number: OTLP takes no names."""
    if isinstance(value, str):
        raise fail("the number of an enum value, not its name", value)
    return varint(integer(value, -(1 << 31), (1 << 31) - 1))


def double(value: Any) -> bytes:
    """Encode a number, which may be text."""
    if isinstance(value, str):
        value = _WORDS.get(value, value)
        try:
            value = float(value) if value == value.strip() and "_" not in value else None
        except (ValueError, AttributeError):
            value = value if isinstance(value, float) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise fail("a number", value)
    try:
        return _DOUBLE.pack(value)
    except OverflowError:
        raise fail("a number", value) from None


def base64_bytes(value: Any) -> bytes:
    """Encode bytes that are given in base64, of either alphabet, padded or not."""
    if not isinstance(value, str):
        raise fail("bytes in base64", value)
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return sized(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (binascii.Error, ValueError):
        raise fail("bytes in base64", value) from None


def hexadecimal(value: Any) -> bytes:
    """Encode a trace or span id, which is given in hexadecimal digits."""
    if not isinstance(value, str) or len(value) % 2 or not _HEXADECIMAL.issuperset(value):
        raise fail("an id in hexadecimal digits", value)
    return sized(bytes.fromhex(value))
