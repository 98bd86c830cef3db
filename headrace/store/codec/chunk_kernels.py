"""Kernels of a chunk: up to 1024 samples of one series, lossless to the bit. Layout: docs/format/chunk.md.

Values are tried as decimal numbers: the smallest exponent e for which every value is an integer divided by 10^e,
checked bit by bit, so that -0, NaN payloads, infinities and full-precision doubles become exceptions, or make the
chunk raw. The integers are then stored plain, as differences or as differences of differences, whichever is narrowest.

Source:
    Decimal scaling as in Afroozeh et al., "ALP: Adaptive Lossless floating-Point Compression", SIGMOD 2023, section 3;
    frame of reference as in Goldstein et al., "Compressing relations and indexes", ICDE 1998.
"""

# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
# Integers here are those of machine code: Numba types them, and tests run them with and without it.

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, load_u64, store_u64
from headrace.kernels.jit import kernel
from headrace.store.codec.bitpack_kernels import pack, packed_size, unpack, width_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SAMPLES = 1024
"""Most samples of a chunk."""

HEADER = 4
"""Bytes before the columns: version, modes, count."""

VERSION = 1

TIMES_REGULAR = 0
TIMES_PACKED = 1

VALUES_CONSTANT = 0
VALUES_RAW = 1
VALUES_PLAIN = 2
VALUES_DELTA = 3
VALUES_DELTA2 = 4

CORRUPT = -1

_MAX_EXPONENT = 14
_EXACT = 9007199254740992.0
_POWERS = np.array([10.0**e for e in range(_MAX_EXPONENT + 1)])


@kernel
def max_size(count: int) -> int:
    """Return the bytes that a chunk of `count` samples takes at most, with spare room for 8-byte stores."""
    return 64 + 24 * count


@kernel
def _zigzag(value: np.int64) -> np.uint64:
    return np.uint64(value << np.int64(1)) ^ np.uint64(value >> np.int64(63))


@kernel
def _unzigzag(raw: np.uint64) -> np.int64:
    return np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))


@kernel
def _encode_times(times: NDArray[np.int64], n: int, out: NDArray[np.uint8], pos: int, words: NDArray[np.uint64]) -> int:
    """Write the time column; the first byte says how. Times ascend strictly."""
    store_u64(out, pos + 1, np.uint64(times[0]))
    if n == 1:
        out[pos] = TIMES_REGULAR
        store_u64(out, pos + 9, np.uint64(0))
        return pos + 17
    low = times[1] - times[0]
    high = low
    for i in range(2, n):
        delta = times[i] - times[i - 1]
        low = min(low, delta)
        high = max(high, delta)
    store_u64(out, pos + 9, np.uint64(low))
    if low == high:
        out[pos] = TIMES_REGULAR
        return pos + 17
    out[pos] = TIMES_PACKED
    width = width_of(np.uint64(high - low))
    out[pos + 17] = width
    for i in range(1, n):
        words[i - 1] = np.uint64(times[i] - times[i - 1] - low)
    return pack(words, 0, n - 1, width, out, pos + 18)


@kernel
def _decode_times(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, out: NDArray[np.int64], at: int, words: NDArray[np.uint64]
) -> int:
    if pos + 17 > end:
        return CORRUPT
    mode = buf[pos]
    time = np.int64(load_u64(buf, pos + 1))
    low = np.int64(load_u64(buf, pos + 9))
    out[at] = time
    if mode == TIMES_REGULAR:
        for i in range(1, n):
            time += low
            out[at + i] = time
        return pos + 17
    if mode != TIMES_PACKED or pos + 18 > end:
        return CORRUPT
    width = np.int64(buf[pos + 17])
    if width > 64 or pos + 18 + packed_size(n - 1, width) > end:
        return CORRUPT
    pos = unpack(buf, pos + 18, n - 1, width, words)
    for i in range(1, n):
        time += low + np.int64(words[i - 1])
        out[at + i] = time
    return pos


@kernel
def _fits(value: float, exponent: int) -> bool:
    """Return whether `value` is an integer below 2^53 divided by 10^exponent, to the bit."""
    scaled = value * _POWERS[exponent]
    if not abs(scaled) < _EXACT:
        return False
    # By way of the integer, which is what is stored: it has no sign when it is zero.
    return float_bits(np.float64(np.int64(np.rint(scaled))) / _POWERS[exponent]) == float_bits(value)


@kernel
def _find_exponent(values: NDArray[np.float64], n: int, most: int) -> int:
    """Return the smallest exponent that fits all but `most` values, or -1."""
    exponent = 0
    misfits = 0
    for i in range(n):
        value = values[i]
        if _fits(value, exponent):
            continue
        found = -1
        for e in range(exponent + 1, _MAX_EXPONENT + 1):
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
def _encode_raw(values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int) -> int:
    out[pos] = VALUES_RAW
    for i in range(n):
        store_u64(out, pos + 1 + 8 * i, float_bits(values[i]))
    return pos + 1 + 8 * n


@kernel
def _encode_values(
    values: NDArray[np.float64],
    n: int,
    out: NDArray[np.uint8],
    pos: int,
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
) -> int:
    """Write the value column; its first byte says how."""
    first = float_bits(values[0])
    constant = True
    for i in range(1, n):
        if float_bits(values[i]) != first:
            constant = False
            break
    if constant:
        out[pos] = VALUES_CONSTANT
        store_u64(out, pos + 1, first)
        return pos + 9
    exponent = _find_exponent(values, n, n >> 3)
    if exponent < 0:
        return _encode_raw(values, n, out, pos)
    exceptions = 0
    previous = np.int64(0)
    for i in range(n):
        if _fits(values[i], exponent):
            previous = np.int64(np.rint(values[i] * _POWERS[exponent]))
        else:
            exceptions += 1
        integers[i] = previous
    if exceptions > n >> 2:
        return _encode_raw(values, n, out, pos)
    return _encode_integers(values, n, exponent, exceptions, out, pos, words, integers)


@kernel
def _encode_integers(
    values: NDArray[np.float64],
    n: int,
    exponent: int,
    exceptions: int,
    out: NDArray[np.uint8],
    pos: int,
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
) -> int:
    """Choose the narrowest of three forms and write it.

    Layout: mode, exponent, width, u16 exceptions, i64 base, i64 first, i64 step, packed words, exceptions.
    """
    low = integers[0]
    high = integers[0]
    delta_low = np.int64(0)
    delta_high = np.int64(0)
    step_high = np.uint64(0)
    previous = np.int64(0)
    for i in range(1, n):
        low = min(low, integers[i])
        high = max(high, integers[i])
        delta = integers[i] - integers[i - 1]
        if i == 1:
            delta_low = delta
            delta_high = delta
        else:
            delta_low = min(delta_low, delta)
            delta_high = max(delta_high, delta)
            step_high = max(step_high, _zigzag(delta - previous))
        previous = delta
    plain = width_of(np.uint64(high - low))
    single = width_of(np.uint64(delta_high - delta_low))
    double = width_of(step_high)
    base = low
    step = np.int64(0)
    if plain <= single and plain <= double:
        mode = VALUES_PLAIN
        width = plain
        count = n
        for i in range(n):
            words[i] = np.uint64(integers[i] - low)
    elif single <= double:
        mode = VALUES_DELTA
        width = single
        count = n - 1
        base = delta_low
        for i in range(1, n):
            words[i - 1] = np.uint64(integers[i] - integers[i - 1] - delta_low)
    else:
        mode = VALUES_DELTA2
        width = double
        count = n - 2
        step = integers[1] - integers[0]
        for i in range(2, n):
            words[i - 2] = _zigzag(integers[i] - 2 * integers[i - 1] + integers[i - 2])
    out[pos] = mode
    out[pos + 1] = exponent
    out[pos + 2] = width
    out[pos + 3] = exceptions & 255
    out[pos + 4] = exceptions >> 8
    store_u64(out, pos + 5, np.uint64(base))
    store_u64(out, pos + 13, np.uint64(integers[0]))
    store_u64(out, pos + 21, np.uint64(step))
    pos = pack(words, 0, count, width, out, pos + 29)
    if exceptions == 0:
        return pos
    for i in range(n):
        if not _fits(values[i], exponent):
            out[pos] = i & 255
            out[pos + 1] = i >> 8
            store_u64(out, pos + 2, float_bits(values[i]))
            pos += 10
    return pos


@kernel
def _decode_values(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, out: NDArray[np.float64], at: int, words: NDArray[np.uint64]
) -> int:
    if pos + 1 > end:
        return CORRUPT
    mode = buf[pos]
    if mode == VALUES_CONSTANT:
        if pos + 9 > end:
            return CORRUPT
        constant = bits_float(load_u64(buf, pos + 1))
        for i in range(n):
            out[at + i] = constant
        return pos + 9
    if mode == VALUES_RAW:
        if pos + 1 + 8 * n > end:
            return CORRUPT
        for i in range(n):
            out[at + i] = bits_float(load_u64(buf, pos + 1 + 8 * i))
        return pos + 1 + 8 * n
    if mode > VALUES_DELTA2 or pos + 29 > end or buf[pos + 1] > _MAX_EXPONENT or buf[pos + 2] > 64:
        return CORRUPT
    divisor = _POWERS[buf[pos + 1]]
    width = np.int64(buf[pos + 2])
    exceptions = np.int64(buf[pos + 3]) | np.int64(buf[pos + 4]) << 8
    base = np.int64(load_u64(buf, pos + 5))
    value = np.int64(load_u64(buf, pos + 13))
    step = np.int64(load_u64(buf, pos + 21))
    count = n - (np.int64(mode) - VALUES_PLAIN)
    if count < 0 or pos + 29 + packed_size(count, width) + 10 * exceptions > end:
        return CORRUPT
    pos = unpack(buf, pos + 29, count, width, words)
    if mode == VALUES_PLAIN:
        for i in range(n):
            out[at + i] = (base + np.int64(words[i])) / divisor
    elif mode == VALUES_DELTA:
        out[at] = value / divisor
        for i in range(1, n):
            value += base + np.int64(words[i - 1])
            out[at + i] = value / divisor
    else:
        out[at] = value / divisor
        value += step
        out[at + 1] = value / divisor
        for i in range(2, n):
            step += _unzigzag(words[i - 2])
            value += step
            out[at + i] = value / divisor
    for _ in range(exceptions):
        i = np.int64(buf[pos]) | np.int64(buf[pos + 1]) << 8
        if i >= n:
            return CORRUPT
        out[at + i] = bits_float(load_u64(buf, pos + 2))
        pos += 10
    return pos


@kernel
def encode(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    n: int,
    out: NDArray[np.uint8],
    pos: int,
    words: NDArray[np.uint64],
    integers: NDArray[np.int64],
) -> int:
    """Write a chunk at `pos`; return the offset one past it.

    Args:
        times: (n or more,) int64, ascending strictly, milliseconds.
        values: (n or more,) float64, any bit pattern.
        n: 1 to MAX_SAMPLES.
        out: uint8 with `max_size` bytes of room.
        pos: Where to begin.
        words: (n or more,) uint64 scratch.
        integers: (n or more,) int64 scratch.
    """
    out[pos] = VERSION
    out[pos + 1] = 0
    out[pos + 2] = n & 255
    out[pos + 3] = n >> 8
    pos = _encode_times(times, n, out, pos + HEADER, words)
    return _encode_values(values, n, out, pos, words, integers)


@kernel
def decode(
    buf: NDArray[np.uint8],
    pos: int,
    end: int,
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    at: int,
    words: NDArray[np.uint64],
) -> int:
    """Read the chunk in ``buf[pos:end]``.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        pos: First byte of the chunk.
        end: One past its last byte.
        times: int64 out, from row `at`.
        values: float64 out, from row `at`.
        at: First row to write; the caller knows from the index how many follow.
        words: (MAX_SAMPLES,) uint64 scratch.

    Returns:
        Number of samples, or CORRUPT.
    """
    if end - pos < HEADER or buf[pos] != VERSION:
        return CORRUPT
    n = np.int64(buf[pos + 2]) | np.int64(buf[pos + 3]) << 8
    if n < 1 or n > MAX_SAMPLES or at + n > len(times):
        return CORRUPT
    pos = _decode_times(buf, pos + HEADER, end, n, times, at, words)
    if pos < 0:
        return CORRUPT
    pos = _decode_values(buf, pos, end, n, values, at, words)
    return n if pos == end else CORRUPT
