# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Columns of doubles, lossless to the bit. Layout: docs/format/chunk.md.

Values are tried as decimal numbers: the smallest exponent e for which every value is an integer divided by 10^e,
checked bit by bit, so that -0, NaN payloads, infinities and full-precision doubles become exceptions. Where too many
do, the bit patterns themselves are the integers: close values have close patterns.

Source:
    Decimal scaling as in Afroozeh et al., "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2023, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, load_u64, store_u64, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.integers_kernels import CORRUPT, decode_integers, encode_integers
from headrace.store.codec.varint_kernels import get_varint, put_varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_EXPONENT = 22
"""Powers of ten up to here are doubles without rounding."""

CONSTANT = 32
BITS = 33
DICTIONARY = 34
RAW = 35
_EXCEPTIONS = 128

_MAX_DISTINCT = 8
_MOST_EXPONENT = 14
_EXACT = 9007199254740992.0
_POWERS = np.array([10.0**e for e in range(MAX_EXPONENT + 1)])
_INFINITY = np.uint64(0x7FF0000000000000)
_MAGNITUDE = np.uint64(0x7FFFFFFFFFFFFFFF)


@kernel
def _fits(value: float, exponent: int) -> bool:
    """Return whether `value` is an integer below 2^53 divided by 10^exponent, to the bit."""
    scaled = value * _POWERS[exponent]
    if not abs(scaled) < _EXACT:
        return False
    # By way of the integer, which is what is stored: it has no sign when it is zero.
    return float_bits(np.float64(np.int64(np.rint(scaled))) / _POWERS[exponent]) == float_bits(value)


@kernel
def find_exponent(values: NDArray[np.float64], n: int, most: int) -> int:
    """Return the smallest exponent that fits all but `most` values, or -1."""
    exponent = 0
    misfits = 0
    for i in range(n):
        value = values[i]
        if _fits(value, exponent):
            continue
        found = -1
        for e in range(exponent + 1, _MOST_EXPONENT + 1):
            if _fits(value, e):
                found = e
                break
        if found < 0:
            misfits += 1
            if misfits > most:
                return -1
        else:
            exponent = found
    return exponent


@kernel
def _is_nan(bits: np.uint64) -> bool:
    return (bits & _MAGNITUDE) > _INFINITY


@kernel
def put_constant(bits: np.uint64, out: NDArray[np.uint8], pos: int) -> int:
    """Write a column of one value, whatever its length."""
    out[pos] = CONSTANT
    zeros = 8 if bits == np.uint64(0) else np.int64(trailing_zeros(bits)) >> 3
    out[pos + 1] = zeros
    if zeros < 8:
        store_u64(out, pos + 2, bits >> np.uint64(8 * zeros))
    return pos + 10 - zeros


@kernel
def put_raw(values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int) -> int:
    """Write the bits of every value."""
    out[pos] = RAW
    for i in range(n):
        store_u64(out, pos + 1 + 8 * i, float_bits(values[i]))
    return pos + 1 + 8 * n


@kernel
def put_exceptions(
    values: NDArray[np.float64], n: int, exponent: int, exceptions: int, out: NDArray[np.uint8], pos: int
) -> int:
    """Write what the integers do not give back; `exponent` is negative where they are bit patterns."""
    pos = put_varint(out, pos, np.uint64(exceptions))
    for i in range(n):
        bits = float_bits(values[i])
        if _is_nan(bits) if exponent < 0 else not _fits(values[i], exponent):
            out[pos] = i & 255
            out[pos + 1] = i >> 8
            store_u64(out, pos + 2, bits)
            pos += 10
    return pos


@kernel
def decimal_integers(values: NDArray[np.float64], n: int, exponent: int, integers: NDArray[np.int64]) -> int:
    """Write the integers, for an exception the one before it; return the number of exceptions."""
    exceptions = 0
    previous = np.int64(0)
    begun = False
    for i in range(n):
        if _fits(values[i], exponent):
            previous = np.int64(np.rint(values[i] * _POWERS[exponent]))
            if not begun:
                # Exceptions in front take the first integer, so that they cost no jump.
                for j in range(i):
                    integers[j] = previous
                begun = True
        else:
            exceptions += 1
        integers[i] = previous
    return exceptions


@kernel
def _bit_integers(values: NDArray[np.float64], n: int, integers: NDArray[np.int64]) -> int:
    exceptions = 0
    previous = np.int64(0)
    begun = False
    for i in range(n):
        bits = float_bits(values[i])
        if _is_nan(bits):
            exceptions += 1
        else:
            previous = np.int64(bits)
            if not begun:
                for j in range(i):
                    integers[j] = previous
                begun = True
        integers[i] = previous
    return exceptions


@kernel
def _distinct(values: NDArray[np.float64], n: int, integers: NDArray[np.int64], found: NDArray[np.uint64]) -> int:
    """Number the distinct values in the order in which they occur; return how many, 0 for too many."""
    count = 0
    last = 0
    for i in range(n):
        bits = float_bits(values[i])
        if count == 0 or bits != found[last]:
            last = 0
            while last < count and found[last] != bits:
                last += 1
            if last == count:
                if count == _MAX_DISTINCT:
                    return 0
                found[count] = bits
                count += 1
        integers[i] = last
    return count


@kernel
def encode_values(
    values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], integers: NDArray[np.int64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write a column at `pos`; return the offset one past it.

    Args:
        values: (n or more,) float64, any bit pattern.
        n: 1 to 65,535.
        out: uint8 with `headrace.store.codec.chunk_kernels.max_size` bytes of room.
        pos: Where to begin.
        words: (256 or more,) uint64 scratch.
        integers: (n or more,) int64 scratch.
        rest: (n or more,) int64 scratch.
        widths: (512 or more,) int64 scratch.
    """
    first = float_bits(values[0])
    constant = True
    for i in range(1, n):
        if float_bits(values[i]) != first:
            constant = False
            break
    if constant:
        return put_constant(first, out, pos)
    found = words[192:]
    distinct = _distinct(values, n, integers, found)
    if distinct > 0:
        end = _put_dictionary(n, distinct, out, pos, words, integers, rest, widths)
        other = _put_numbers(values, n, out, end, words, integers, rest, widths)
        if other - end >= end - pos:
            return end
        for i in range(other - end):
            out[pos + i] = out[end + i]
        return pos + other - end
    return _put_numbers(values, n, out, pos, words, integers, rest, widths)


@kernel
def _put_dictionary(
    n: int, distinct: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], integers: NDArray[np.int64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    out[pos] = DICTIONARY
    out[pos + 1] = distinct
    pos += 2
    for i in range(distinct):
        store_u64(out, pos, words[192 + i])
        pos += 8
    return encode_integers(integers, n, False, out, pos, words, rest, widths)


@kernel
def _put_numbers(
    values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], integers: NDArray[np.int64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write values as decimal numbers, as bit patterns, or raw."""
    exponent = find_exponent(values, n, n >> 3)
    exceptions = n
    if exponent >= 0:
        exceptions = decimal_integers(values, n, exponent, integers)
    if exceptions > n >> 2:
        exponent = -1
        exceptions = _bit_integers(values, n, integers)
    if exceptions > n >> 1:
        return put_raw(values, n, out, pos)
    out[pos] = (BITS if exponent < 0 else exponent) | (_EXCEPTIONS if exceptions > 0 else 0)
    end = encode_integers(integers, n, exponent >= 0, out, pos + 1, words, rest, widths)
    if exceptions > 0:
        end = put_exceptions(values, n, exponent, exceptions, out, end)
    return end if end - pos <= 8 * n else put_raw(values, n, out, pos)


@kernel
def _get_constant(
    buf: NDArray[np.uint8], pos: int, end: int, first: int, last: int, out: NDArray[np.float64], at: int
) -> int:
    if pos + 1 > end or buf[pos] > 8 or pos + 9 - np.int64(buf[pos]) > end:
        return CORRUPT
    zeros = np.int64(buf[pos])
    bits = np.uint64(0)
    if zeros < 8:
        # What was stored has 8 - zeros bytes: the rest of the load is shifted out.
        bits = load_u64(buf, pos + 1) << np.uint64(8 * zeros)
    value = bits_float(bits)
    for i in range(last - first):
        out[at + i] = value
    return pos + 9 - zeros


@kernel
def _get_raw(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, out: NDArray[np.float64], at: int
) -> int:
    if pos + 8 * n > end:
        return CORRUPT
    for i in range(first, last):
        out[at + i - first] = bits_float(load_u64(buf, pos + 8 * i))
    return pos + 8 * n


@kernel
def _get_dictionary(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, out: NDArray[np.float64], at: int,
    integers: NDArray[np.int64], some: NDArray[np.int64],
) -> int:  # fmt: skip
    if pos + 1 > end or buf[pos] > _MAX_DISTINCT or pos + 1 + 8 * np.int64(buf[pos]) > end:
        return CORRUPT
    distinct = np.int64(buf[pos])
    table = pos + 1
    pos = decode_integers(buf, table + 8 * distinct, end, n, last, integers, some)
    if pos < 0:
        return CORRUPT
    for i in range(first, last):
        if integers[i] < 0 or integers[i] >= distinct:
            return CORRUPT
        out[at + i - first] = bits_float(load_u64(buf, table + 8 * integers[i]))
    return pos


@kernel
def _get_exceptions(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, out: NDArray[np.float64], at: int
) -> int:
    exceptions, pos = get_varint(buf, pos, end)
    if pos < 0 or exceptions > np.uint64(n) or pos + 10 * np.int64(exceptions) > end:
        return CORRUPT
    for _ in range(np.int64(exceptions)):
        i = np.int64(buf[pos]) | np.int64(buf[pos + 1]) << 8
        if i >= n:
            return CORRUPT
        if first <= i < last:
            out[at + i - first] = bits_float(load_u64(buf, pos + 2))
        pos += 10
    return pos


@kernel
def decode_values(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, first: int, last: int, out: NDArray[np.float64], at: int,
    integers: NDArray[np.int64], some: NDArray[np.int64],
) -> int:  # fmt: skip
    """Read rows ``first:last`` of the column of `n` values in ``buf[pos:end]`` into `out` from row `at`.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        pos: Where the column begins.
        end: One past its last byte.
        n: Its length, 1 to 65,535.
        first: First row wanted.
        last: One past the last row wanted; at most `n`.
        out: float64 with room.
        at: Where the first row goes.
        integers: (n + 128 or more,) int64 scratch.
        some: (512 or more,) int64 scratch.

    Returns:
        0, or CORRUPT. Bytes behind the last wanted row are not looked at, and so is what is wrong with them.
    """
    if pos >= end:
        return CORRUPT
    if first >= last:
        return 0
    mode = np.int64(buf[pos]) & 127
    patched = np.int64(buf[pos]) & _EXCEPTIONS
    if mode == CONSTANT:
        return min(_get_constant(buf, pos + 1, end, first, last, out, at), 0)
    if mode == RAW:
        return min(_get_raw(buf, pos + 1, end, n, first, last, out, at), 0)
    if mode == DICTIONARY:
        return min(_get_dictionary(buf, pos + 1, end, n, first, last, out, at, integers, some), 0)
    if mode > MAX_EXPONENT and mode != BITS:
        return CORRUPT
    # The exceptions lie behind the integers, so that these have to be read to their end.
    pos = decode_integers(buf, pos + 1, end, n, n if patched else last, integers, some)
    if pos < 0:
        return CORRUPT
    shift = first - at
    if mode == BITS:
        for i in range(at, at + last - first):
            out[np.uint64(i)] = bits_float(np.uint64(integers[np.uint64(i + shift)]))
    elif mode == 0:
        for i in range(at, at + last - first):
            out[np.uint64(i)] = np.float64(integers[np.uint64(i + shift)])
    else:
        divisor = _POWERS[mode]
        for i in range(at, at + last - first):
            out[np.uint64(i)] = np.float64(integers[np.uint64(i + shift)]) / divisor
    if patched:
        return min(_get_exceptions(buf, pos, end, n, first, last, out, at), 0)
    return 0
