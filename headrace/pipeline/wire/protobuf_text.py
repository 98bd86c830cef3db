"""Fields of small protobuf messages, written by plain Python: for what is written once for each series or family."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """Return a varint; `value` is not negative."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text_field(number: int, text: str) -> bytes:
    """Return a field of a text."""
    data = text.encode("utf-8", "surrogatepass")
    return varint(number << 3 | 2) + varint(len(data)) + data
