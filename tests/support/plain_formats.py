"""Readers of the store's files in plain Python, written after the pages in docs/format and nothing else."""

from __future__ import annotations

import json
import struct
from itertools import accumulate
from typing import Any

import cramjam
import xxhash

MASK = (1 << 64) - 1
Row = tuple[int, int]
"""Time and bits of a value."""


FORMS: set[int] = set()
"""Forms of blocks that were read: packed, patched, sparse, Rice."""

TRANSFORMS: set[int] = set()
"""Transforms that were read."""


class Reader:
    """Bytes and a place in them."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        return unzigzag(self.varint())

    def packed(self, count: int, width: int) -> list[int]:
        size = (count * width + 7) // 8
        stream = int.from_bytes(self.data[self.at : self.at + size], "little")
        self.at += size
        return [stream >> i * width & (1 << width) - 1 for i in range(count)]


def unzigzag(raw: int) -> int:
    return raw >> 1 ^ -(raw & 1)


def signed(value: int) -> int:
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


def as_bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def integer_block(r: Reader, count: int) -> list[int]:
    form, base = r.take("B"), r.signed()
    FORMS.add((form >= 65) + (form >= 130) + (form >= 195))
    if form < 65:
        return [base + value for value in r.packed(count, form)]
    if form < 130:
        width, exceptions, high = form - 65, r.take("B"), r.take("B")
        places = [r.take("B") for _ in range(exceptions)]
        highs = r.packed(exceptions, high)
        values = r.packed(count, width)
        for place, value in zip(places, highs, strict=True):
            values[place] |= value << width
        return [base + unzigzag(value) for value in values]
    if form < 195:
        bitmap = r.packed(count, 1)
        others = iter(r.packed(sum(bitmap), form - 130))
        return [base + next(others) if bit else 0 for bit in bitmap]
    size = r.varint()
    stream = int.from_bytes(r.data[r.at : r.at + size], "little")
    r.at += size
    unary = []
    for _ in range(count):
        zeros = (stream & -stream).bit_length() - 1
        unary.append(zeros)
        stream >>= zeros + 1
    lows = r.packed(count, form - 195)
    return [base + unzigzag(u << form - 195 | low) for u, low in zip(unary, lows, strict=True)]


def integers(r: Reader, n: int) -> list[int]:
    kind, first = r.take("B"), r.signed()
    TRANSFORMS.add(kind)
    divisor = r.varint() if kind & 4 else 1
    transform = kind & 3
    values = [first]
    step = r.signed() if transform == 2 else 0
    if transform == 2:
        values.append(signed(first + step * divisor))
    rest: list[int] = []
    while len(values) + len(rest) < n:
        rest += integer_block(r, min(128, n - len(values) - len(rest)))
    for value in rest:
        step += value
        added = {0: first + divisor * value, 1: values[-1] + divisor * value, 2: values[-1] + divisor * step}
        values.append(signed(added[transform]))
    return values


def times(r: Reader) -> list[int]:
    n, first = r.varint(), r.signed()
    if n == 1:
        return [first]
    step = r.varint()
    if r.data[r.at] == 7:
        r.at += 1
        return [first + i * step for i in range(n)]
    return [first + i * step + off for i, off in enumerate(integers(r, n))]


def values(r: Reader, n: int) -> list[int]:
    """Read a column of values as bits."""
    first = r.take("B")
    mode = first & 127
    if mode == 32:
        zeros = r.take("B")
        raw = int.from_bytes(r.data[r.at : r.at + 8 - zeros], "little") << 8 * zeros
        r.at += 8 - zeros
        return [raw] * n
    if mode == 35:
        return [r.take("Q") for _ in range(n)]
    if mode == 34:
        table = [r.take("Q") for _ in range(r.take("B"))]
        return [table[i] for i in integers(r, n)]
    found = integers(r, n)
    out = [value & MASK if mode == 33 else as_bits(float(value) / 10.0**mode) for value in found]
    for _ in range(r.varint() if first & 128 else 0):
        row = r.take("H")
        out[row] = r.take("Q")
    return out


def chunk(data: bytes) -> list[Row]:
    r = Reader(data)
    found = times(r)
    rows = list(zip(found, values(r, len(found)), strict=True))
    assert r.at == len(data)
    return rows


def series_record(data: bytes) -> dict[int, dict[str, str]]:
    r = Reader(data)
    out = {}
    for _ in range(r.take("I")):
        ref, labels = r.take("i"), r.take("H")
        texts = []
        for _ in range(2 * labels):
            size = r.take("I")
            texts.append(data[r.at : r.at + size].decode())
            r.at += size
        out[ref] = dict(zip(texts[::2], texts[1::2], strict=True))
    assert r.at == len(data)
    return out


def samples_record(data: bytes) -> list[tuple[int, int, int]]:
    """Read refs, times and bits of values."""
    r = Reader(data)
    n, form, first = r.take("I"), r.take("B"), r.take("q")
    refs = [r.take("i") for _ in range(n)]
    when = [first + r.take("i" if form == 0 else "q") for _ in range(n)]
    rows = list(zip(refs, when, [r.take("Q") for _ in range(n)], strict=True))
    assert r.at == len(data)
    return rows


def tombstone_rows(data: bytes) -> list[tuple[int, int, int, list[int]]]:
    r = Reader(data)
    rows = []
    while r.at < len(data):
        start, end, below, n = r.take("q"), r.take("q"), r.take("q"), r.take("I")
        rows.append((start, end, below, [r.take("i") for _ in range(n)]))
    return rows


def segment(data: bytes) -> list[tuple[int, str, bytes]]:
    """Read kind, workspace and payload of each record."""
    assert data[:8] == b"HRWAL\0\1\0"
    r = Reader(data, 8)
    found = []
    while r.at < len(data):
        start = r.at
        assert data[start : start + 4] == b"\xf5\x48\x52\x72"
        r.at += 4
        size, kind, cipher, name_size, key, checksum = (r.take(form) for form in ("I", "B", "B", "H", "I", "Q"))
        end = r.at + name_size + size
        assert (cipher, key) == (0, 0)
        assert xxhash.xxh3_64_intdigest(data[start : start + 16] + bytes(8) + data[r.at : end]) == checksum
        found.append((kind, data[r.at : r.at + name_size].decode(), data[r.at + name_size : end]))
        r.at = end
    return found


def sections(data: bytes) -> dict[int, tuple[int, int, bytes]]:
    """Read the sections of a block by kind: place, compression and content."""
    assert data[:8] == data[-8:] == b"HRBLK\0\2\0"
    count, check, checksum = struct.unpack("<IIQ", data[-24:-8])
    table = data[len(data) - 24 - 40 * count : -24]
    assert xxhash.xxh3_64_intdigest(table) == checksum
    assert xxhash.xxh3_64_intdigest(data[:64]) & 0xFFFFFFFF == check
    found = {}
    for kind, compression, place, size, whole, own in struct.iter_unpack("<IIQQQQ", table):
        stored = data[place : place + size]
        assert xxhash.xxh3_64_intdigest(stored) == own
        content = bytes(cramjam.zstd.decompress(stored)) if compression else stored
        assert kind == 1 or len(content) == whole
        found[kind] = (place, compression, content)
    return found


def block(data: bytes) -> tuple[dict[str, Any], dict[int, list[Row]], dict[int, dict[str, str]]]:
    """Read what a block says of itself, its samples by ref, and its series."""
    content = {kind: found for kind, (_, _, found) in sections(data).items()}

    def numbers(kind: int, form: str) -> list[int]:
        return [value for (value,) in struct.iter_unpack("<" + form, content[kind])]

    time_columns = cut(content[2], numbers(3, "I"))
    value_columns = cut(content[1], numbers(5, "I"))
    counts = numbers(4, "q")[: len(time_columns)]
    chunk_times = list(accumulate(numbers(6, "i")))
    chunk_values, new = [], 0
    for back in numbers(7, "i"):
        chunk_values.append(new + back)
        new += back == 0
    out: dict[int, list[Row]] = {}
    at = 0
    for ref, amount in zip(accumulate(numbers(9, "i")), numbers(8, "I"), strict=True):
        out[ref] = []
        for i in range(at, at + amount):
            when = times(Reader(time_columns[chunk_times[i]]))
            assert len(when) == counts[chunk_times[i]]
            out[ref] += zip(when, values(Reader(value_columns[chunk_values[i]]), len(when)), strict=True)
        at += amount
    return json.loads(content[11]), out, series_record(content[10])


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    ends = list(accumulate(sizes))
    assert ends[-1] == len(data)
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
