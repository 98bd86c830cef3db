"""Prometheus' chunks, written bit by bit in plain Python: what the kernels that read them are compared with."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTHS = ((0, 0), (1, 3), (2, 6), (3, 9), (4, 12), (5, 18), (6, 25), (7, 56), (8, 64))
STALE = 0x7FF0000000000002


class Bits:
    """Grows bit by bit."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def put(self, value: int, width: int) -> None:
        if width:
            self.text.append(f"{value & (1 << width) - 1:0{width}b}")

    def varint(self, value: int) -> None:
        self.uvarint((value << 1) ^ (value >> 63))

    def uvarint(self, value: int) -> None:
        while value >= 0x80:
            self.put(value & 0x7F | 0x80, 8)
            value >>= 7
        self.put(value, 8)

    def unsigned(self, value: int) -> None:
        self._put_with_width(value, next(w for w in _WIDTHS if value < 1 << w[1]))

    def signed(self, value: int) -> None:
        fitting = next(
            w
            for w in _WIDTHS
            if w[1] == 64 or (-(1 << w[1]) // 2 < value <= (1 << w[1]) // 2 and w[1]) or (not w[1] and not value)
        )
        self._put_with_width(value, fitting)

    def _put_with_width(self, value: int, fitting: tuple[int, int]) -> None:
        ones, width = fitting
        self.put((1 << ones) - 1 << 1, ones + 1) if ones < 8 else self.put(0xFF, 8)
        self.put(value, width)

    def bytes(self) -> bytes:
        text = "".join(self.text)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


class Xored:
    """A double that is written as what changed."""

    def __init__(self, bits: Bits) -> None:
        self._out = bits
        self._before = -1
        self._leading, self._trailing = 64, 0

    def put(self, value: int) -> None:
        if self._before < 0:
            self._out.put(value, 64)
        else:
            self._change(value ^ self._before)
        self._before = value

    def _change(self, change: int) -> None:
        if not change:
            self._out.put(0, 1)
            return
        leading = min(64 - change.bit_length(), 31)
        trailing = (change & -change).bit_length() - 1
        if leading >= self._leading and trailing >= self._trailing:
            self._out.put(0b10, 2)
        else:
            self._leading, self._trailing = leading, trailing
            self._out.put(0b11, 2)
            self._out.put(leading, 5)
            self._out.put(64 - leading - trailing, 6)
        self._out.put(change >> self._trailing, 64 - self._leading - self._trailing)


def xor_chunk(times: Sequence[int], values: Sequence[int]) -> bytes:
    """Encode a chunk of doubles, given by their bits."""
    out = Bits()
    out.put(len(times), 16)
    double = Xored(out)
    step = 0
    for i, (time, value) in enumerate(zip(times, values, strict=True)):
        if i == 0:
            out.varint(time)
        elif i == 1:
            step = time - times[0]
            out.uvarint(step)
        else:
            change, step = time - times[i - 1] - step, time - times[i - 1]
            _put_change(out, change)
        double.put(value)
    return out.bytes()


def _put_change(out: Bits, change: int) -> None:
    if change == 0:
        out.put(0, 1)
        return
    for prefix, size, width in ((0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20), (0b1111, 4, 64)):
        if width == 64 or -(1 << width - 1) < change <= 1 << width - 1:
            out.put(prefix, size)
            out.put(change, width)
            return


def crc32c(data: bytes) -> int:
    """Compute the checksum a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def stored(encoding: int, data: bytes) -> bytes:
    """Put a chunk as it stands in a segment."""
    size = Bits()
    size.uvarint(len(data))
    body = bytes([encoding]) + data
    return size.bytes() + body + struct.pack(">I", crc32c(body))


def double_bits(value: float) -> int:
    """Return the bits of a double."""
    return int(np.float64(value).view(np.uint64))


def histogram_chunk(
    times: Sequence[int], rows: Sequence[Sequence[int]], *, positive: Sequence[tuple[int, int]],
    negative: Sequence[tuple[int, int]] = (), schema: int = 0, threshold: bytes = b"\x00",
    bounds: Sequence[float] = (), resets: int = 0, is_float: bool = False,
) -> bytes:  # fmt: skip
    """Encode a chunk of histograms.

    Args:
        times: Milliseconds.
        rows: For each: count, zero count, bits of the sum, and the absolute counts of buckets; as bits of doubles
            where `is_float`. A row whose sum is the stale marker has no buckets.
        positive: Spans.
        negative: Spans.
        schema: Of all.
        threshold: Encoded.
        bounds: Custom bounds.
        resets: The two bits of the header.
        is_float: Counts are doubles.
    """
    out = Bits()
    out.put(len(times), 16)
    out.put(resets, 2)
    out.put(0, 6)
    for byte in threshold:
        out.put(byte, 8)
    out.signed(schema)
    for spans in (positive, negative):
        out.unsigned(len(spans))
        for offset, length in spans:
            out.unsigned(length)
            out.signed(offset)
    if schema == -53:
        out.unsigned(len(bounds))
        for bound in bounds:
            _put_bound(out, bound)
    split = sum(length for _, length in positive)
    put = _float_rows if is_float else _integer_rows
    put(out, times, rows, split)
    return out.bytes()


def _put_bound(out: Bits, bound: float) -> None:
    thousandths = bound * 1000
    if 0 <= thousandths <= 33554430 and thousandths == int(thousandths):
        out.unsigned(int(thousandths) + 1)
    else:
        out.put(0, 1)
        out.put(double_bits(bound), 64)


def _put_time(out: Bits, times: Sequence[int], i: int) -> None:
    if i == 0:
        out.signed(times[0])
    elif i == 1:
        out.unsigned(times[1] - times[0])
    else:
        out.signed(times[i] - 2 * times[i - 1] + times[i - 2])


def _float_rows(out: Bits, times: Sequence[int], rows: Sequence[Sequence[int]], split: int) -> None:
    del split
    doubles = [Xored(out) for _ in range(max(map(len, rows)))]
    for i, row in enumerate(rows):
        _put_time(out, times, i)
        for double, value in zip(doubles, row, strict=False):
            double.put(value)


def _integer_rows(out: Bits, times: Sequence[int], rows: Sequence[Sequence[int]], split: int) -> None:
    total = Xored(out)
    last: list[int] = []
    step: list[int] = []
    for i, row in enumerate(rows):
        stale = row[2] == STALE
        counts = list(row[:2]) + [
            value - (row[3 + k - 1] if k and k != split else 0) for k, value in enumerate(row[3:])
        ]  # fmt: skip
        _put_time(out, times, i)
        changes = []
        for k, value in enumerate(counts):
            if i == 0:
                changes.append(value)
            else:
                now = value - last[k]
                changes.append(0 if stale else now - (step[k] if i > 1 else 0))
                step[k] = now
        if i == 0:
            step = [0] * len(counts)
        for k in range(2):
            out.signed(changes[k]) if i else out.unsigned(changes[k])
        total.put(row[2])
        for change in changes[2:]:
            out.signed(change)
        last = counts
