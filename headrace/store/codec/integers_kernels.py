# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Columns of 64-bit integers. Layout: docs/format/chunk.md.

A column is stored plain, as differences or as differences of differences, after its common divisor has been taken
out. What is left goes in blocks of 128, each in the form that takes the fewest bits: packed at one width, packed with
patched exceptions, a bitmap of the non-zero ones, or Rice codes. All arithmetic wraps at 64 bits.

Source:
    Frame of reference: Goldstein et al., "Compressing relations and indexes", ICDE 1998. Patched exceptions: Zukowski
    et al., "Super-scalar RAM-CPU cache compression", ICDE 2006. Codes of geometric sources: Rice and Plaunt, "Adaptive
    variable-length coding for efficient compression of spacecraft television data", IEEE Trans. Comm. 19, 1971; their
    unary and binary halves lie apart, as in Elias, "Efficient storage and retrieval by content and address of static
    files", JACM 21, 1974.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import store_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.bitpack_kernels import find_ones, pack, packed_size, unpack, width_of
from headrace.store.codec.varint_kernels import get_varint, put_varint, unzigzag, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 128
"""Integers of a block."""

CORRUPT = -1

PLAIN = 0
DELTA = 1
DELTA2 = 2
DIVIDED = 4

# Forms of a block: the first byte is one of these plus a width.
_PACKED = 0
_PATCHED = 65
_SPARSE = 130
_RICE = 195
_MAX_RICE = 40

_ROOM_OF_PLACES = BLOCK + 64
_SAMPLES_OF_MEDIAN = 9
_ZERO = np.uint64(0)
_LARGEST = np.int64(0x7FFFFFFFFFFFFFFF)
_ONE = np.uint64(1)


@kernel
def _middle(a: np.int64, b: np.int64, c: np.int64) -> np.int64:
    return max(min(a, b), min(max(a, b), c))


@kernel
def _median(some: NDArray[np.int64], at: int, n: int) -> np.int64:
    """Return the middle of the `n` values from place `at`, which are lost, and so are the `n` behind them.

    Hoare's selection from one half of the room to the other: each value is written to both ends of what is left, and
    one of the two is written over, so that there is no branch to be predicted wrongly.
    """
    source = at
    target = at + n
    both = source + target
    k = n >> 1
    while True:
        pivot = _middle(some[source], some[source + (n >> 1)], some[source + n - 1])
        low = target
        high = target + n - 1
        for i in range(source, source + n):
            value = some[np.uint64(i)]
            some[np.uint64(low)] = value
            some[np.uint64(high)] = value
            below = np.int64(value < pivot)
            low += below
            high += below - 1
        following = target
        smaller = low - target
        if smaller == 0:
            # The pivot is the smallest: those equal to it go, so that there is an end.
            for i in range(source, source + n):
                some[np.uint64(low)] = some[np.uint64(i)]
                low += np.int64(some[np.uint64(i)] != pivot)
            equal = n - (low - target)
            if k < equal:
                return pivot
            k -= equal
            n -= equal
        elif k < smaller:
            n = smaller
        else:
            k -= smaller
            n -= smaller
            following = low
        source = following
        target = both - target


@kernel
def _patched_width(widths: NDArray[np.int64], widest: int, count: int) -> tuple[int, int]:
    """Return the width below the widest that costs the fewest bits with exceptions, and what it costs."""
    best = widest
    best_cost = count * widest
    exceptions = 0
    for width in range(widest - 1, -1, -1):
        exceptions += widths[width + 1]
        cost = count * width + exceptions * (8 + widest - width) + 16
        if cost < best_cost:
            best = width
            best_cost = cost
    return best, best_cost


@kernel
def _rice_cost(words: NDArray[np.uint64], count: int, k: int) -> int:
    total = count * (k + 1) + 8
    for i in range(count):
        total += np.int64(words[i] >> np.uint64(k))
    return total


@kernel
def _rice_parameter(words: NDArray[np.uint64], count: int, widest: int) -> tuple[int, int]:
    """Return the best number of low bits, and what it costs; -1 where the values are too large."""
    if widest > _MAX_RICE:
        return -1, 0
    total = np.uint64(0)
    for i in range(count):
        total += words[i]
    # The optimum of a geometric source is near log2(ln 2 * mean).
    k = max(width_of(np.uint64(np.int64(total) * 89 // (128 * count))) - 1, 0)
    cost = _rice_cost(words, count, k)
    other = _rice_cost(words, count, k + 1)
    return (k + 1, other) if other < cost else (k, cost)


@kernel
def _put_packed(
    rest: NDArray[np.int64], first: int, count: int, low: np.int64, width: int,
    out: NDArray[np.uint8], pos: int, words: NDArray[np.uint64],
) -> int:  # fmt: skip
    out[pos] = _PACKED + width
    pos = put_varint(out, pos + 1, zigzag(low))
    for i in range(count):
        words[i] = np.uint64(rest[first + i] - low)
    return pack(words, 0, count, width, out, pos)


@kernel
def _put_sparse(
    rest: NDArray[np.int64], first: int, count: int, low: np.int64, width: int,
    out: NDArray[np.uint8], pos: int, words: NDArray[np.uint64],
) -> int:  # fmt: skip
    out[pos] = _SPARSE + width
    pos = put_varint(out, pos + 1, zigzag(low))
    found = 0
    bits = _ZERO
    # Without a branch for each value: what is zero is written over by the next one.
    for i in range(count):
        value = rest[np.uint64(first + i)]
        words[np.uint64(found)] = np.uint64(value - low)
        found += np.int64(value != 0)
        bits |= np.uint64(value != 0) << np.uint64(i & 63)
        if i & 63 == 63:
            store_u64(out, pos + (i >> 6 << 3), bits)
            bits = _ZERO
    store_u64(out, pos + (count >> 6 << 3), bits)
    bitmap = (count + 7) >> 3
    return pack(words, 0, found, width, out, pos + bitmap)


@kernel
def _put_patched(
    words: NDArray[np.uint64], count: int, center: np.int64, width: int, widest: int, out: NDArray[np.uint8], pos: int
) -> int:
    out[pos] = _PATCHED + width
    pos = put_varint(out, pos + 1, zigzag(center))
    exceptions = 0
    shift = np.uint64(width)
    at = pos + 2
    for i in range(count):
        if words[i] >> shift != _ZERO:
            out[at + exceptions] = i
            exceptions += 1
    out[pos] = exceptions
    out[pos + 1] = widest - width
    pos = at + exceptions
    for j in range(exceptions):
        words[count + j] = words[out[at + j]] >> shift
    pos = pack(words, count, exceptions, widest - width, out, pos)
    mask = (_ONE << shift) - _ONE
    for i in range(count):
        words[i] &= mask
    return pack(words, 0, count, width, out, pos)


@kernel
def _put_rice(words: NDArray[np.uint64], count: int, center: np.int64, k: int, out: NDArray[np.uint8], pos: int) -> int:
    out[pos] = _RICE + k
    pos = put_varint(out, pos + 1, zigzag(center))
    bits = 0
    for i in range(count):
        bits += np.int64(words[i] >> np.uint64(k)) + 1
    size = (bits + 7) >> 3
    pos = put_varint(out, pos, np.uint64(size))
    bit = -1
    at = pos
    base = 0
    ones = _ZERO
    mask = (_ONE << np.uint64(k)) - _ONE
    for i in range(count):
        bit += np.int64(words[i] >> np.uint64(k)) + 1
        while bit - base >= 64:
            store_u64(out, at, ones)
            ones = _ZERO
            at += 8
            base += 64
        ones |= _ONE << np.uint64(bit - base)
        words[i] &= mask
    store_u64(out, at, ones)
    return pack(words, 0, count, k, out, pos + size)


@kernel
def _put_block(
    rest: NDArray[np.int64], first: int, count: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write ``rest[first:first + count]`` in the form that takes the fewest bits."""
    low = rest[first]
    high = rest[first]
    few = 0
    few_low = _LARGEST
    few_high = -_LARGEST - 1
    for i in range(first, first + count):
        value = rest[np.uint64(i)]
        low = min(low, value)
        high = max(high, value)
        few += np.int64(value != 0)
        few_low = min(few_low, value if value != 0 else _LARGEST)
        few_high = max(few_high, value if value != 0 else -_LARGEST - 1)
    width = width_of(np.uint64(high - low))
    best_cost = count * width
    if width == 0:
        return _put_packed(rest, first, count, low, width, out, pos, words)
    sparse_width = width_of(np.uint64(few_high - few_low))
    sparse_cost = count + few * sparse_width
    form = _PACKED
    if sparse_cost < best_cost:
        form = _SPARSE
        best_cost = sparse_cost
    for i in range(count):
        widths[65 + i] = rest[first + i]
    center = _median(widths, 65, count)
    for i in range(65):
        widths[i] = 0
    for i in range(count):
        words[i] = zigzag(rest[first + i] - center)
        widths[width_of(words[i])] += 1
    widest = 64
    while widths[widest] == 0:
        widest -= 1
    patched_width, patched_cost = _patched_width(widths, widest, count)
    if patched_width < widest and patched_cost < best_cost:
        form = _PATCHED
        best_cost = patched_cost
    k, rice_cost = _rice_parameter(words, count, widest)
    # Slower to read than the others: it has to be worth it.
    if k >= 0 and k <= _MAX_RICE and 33 * rice_cost < 32 * best_cost:
        return _put_rice(words, count, center, k, out, pos)
    if form == _PATCHED:
        return _put_patched(words, count, center, patched_width, widest, out, pos)
    if form == _SPARSE:
        return _put_sparse(rest, first, count, few_low, sparse_width, out, pos, words)
    return _put_packed(rest, first, count, low, width, out, pos, words)


@kernel
def _gcd(a: np.int64, b: np.int64) -> np.int64:
    while b != 0:
        a, b = b, a % b
    return a


@kernel
def _common_divisor(values: NDArray[np.int64], n: int) -> np.int64:
    """Return the greatest common divisor of all differences, 0 where all values are equal."""
    divisor = np.int64(0)
    for i in range(1, n):
        delta = values[i] - values[i - 1]
        if divisor == 0 or delta % divisor != 0:
            divisor = _gcd(divisor, abs(delta))
            if divisor == 1:
                break
    return divisor


@kernel
def _usual(values: NDArray[np.int64], n: int, transform: int, some: NDArray[np.int64]) -> np.int64:
    """Return a middle one of what is left after a transform: of all where they are few, else of nine.

    Source:
        Paeth, "Median finding on a 3 x 3 grid", Graphics Gems, 1990: the middle one of the largest of the lows, the
        middle of the middles and the smallest of the highs of three triples.
    """
    begin = max(transform, 1)
    if n - begin < _SAMPLES_OF_MEDIAN:
        for i in range(begin, n):
            some[i - begin] = _residual(values, i, transform)
        return _median(some, 0, n - begin)
    for j in range(_SAMPLES_OF_MEDIAN):
        some[j] = _residual(values, begin + (n - 1 - begin) * j // (_SAMPLES_OF_MEDIAN - 1), transform)
    for j in range(3):
        a = some[j]
        b = some[j + 3]
        c = some[j + 6]
        some[j] = min(a, b, c)
        some[j + 3] = _middle(a, b, c)
        some[j + 6] = max(a, b, c)
    low = max(some[0], some[1], some[2])
    high = min(some[6], some[7], some[8])
    return _middle(low, _middle(some[3], some[4], some[5]), high)


@kernel
def _transform(values: NDArray[np.int64], n: int, some: NDArray[np.int64]) -> int:
    """Choose among plain, differences and differences of differences by how wide they scatter."""
    best = PLAIN
    best_cost = np.int64(1) << np.int64(62)
    for transform in range(3):
        if n <= transform + 1:
            break
        center = _usual(values, n, transform, some)
        cost = np.int64(0)
        for i in range(max(transform, 1), n):
            cost += width_of(zigzag(_residual(values, i, transform) - center))
        if cost < best_cost:
            best = transform
            best_cost = cost
    return best


@kernel
def _residual(values: NDArray[np.int64], i: int, transform: int) -> np.int64:
    if transform == PLAIN:
        return values[i] - values[0]
    if transform == DELTA:
        return values[i] - values[i - 1]
    return values[i] - values[i - 1] - values[i - 1] + values[i - 2]


@kernel
def encode_integers(
    values: NDArray[np.int64], n: int, divide: bool, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], rest: NDArray[np.int64], widths: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write a column at `pos`; return the offset one past it.

    Args:
        values: (n or more,) int64; changed where there is a common divisor.
        n: 1 or more.
        divide: Whether to look for a common divisor; only where differences do not overflow.
        out: uint8 with 10 bytes of room for each value and 64 more.
        pos: Where to begin.
        words: (256 or more,) uint64 scratch.
        rest: (n or more,) int64 scratch.
        widths: (512 or more,) int64 scratch.
    """
    first = values[0]
    divisor = _common_divisor(values, n) if divide else np.int64(1)
    if divisor > 1:
        for i in range(n):
            values[i] = (values[i] - first) // divisor
    transform = _transform(values, n, rest)
    out[pos] = transform | (DIVIDED if divisor > 1 else 0)
    pos = put_varint(out, pos + 1, zigzag(first))
    if divisor > 1:
        pos = put_varint(out, pos, np.uint64(divisor))
    begin = 1
    if transform == DELTA2:
        pos = put_varint(out, pos, zigzag(values[1] - values[0]))
        begin = 2
    for i in range(begin, n):
        rest[i] = _residual(values, i, transform)
    for at in range(begin, n, BLOCK):
        pos = _put_block(rest, at, min(BLOCK, n - at), out, pos, words, widths)
    return pos


@kernel
def _get_packed(
    buf: NDArray[np.uint8], pos: int, end: int, width: int, low: np.int64, out: NDArray[np.int64], at: int, count: int
) -> int:
    if pos + packed_size(count, width) > end:
        return CORRUPT
    return unpack(buf, pos, count, width, low, out, at)


@kernel
def _get_sparse(
    buf: NDArray[np.uint8], pos: int, end: int, width: int, low: np.int64, out: NDArray[np.int64], at: int, count: int,
    some: NDArray[np.int64],
) -> int:  # fmt: skip
    bitmap = (count + 7) >> 3
    if pos + bitmap > end:
        return CORRUPT
    for i in range(count):
        out[np.uint64(at + i)] = 0
    found = find_ones(buf, pos, count, count, some)
    pos += bitmap
    next_pos = pos + packed_size(found, width)
    if next_pos > end:
        return CORRUPT
    unpack(buf, pos, found, width, low, some, _ROOM_OF_PLACES)
    for j in range(found):
        out[np.uint64(at + some[j])] = some[_ROOM_OF_PLACES + j]
    return next_pos


@kernel
def _get_patched(
    buf: NDArray[np.uint8], pos: int, end: int, width: int, center: np.int64, out: NDArray[np.int64], at: int,
    count: int, some: NDArray[np.int64],
) -> int:  # fmt: skip
    if pos + 2 > end:
        return CORRUPT
    exceptions = np.int64(buf[pos])
    high_width = np.int64(buf[pos + 1])
    places = pos + 2
    pos = places + exceptions
    lows = pos + packed_size(exceptions, high_width)
    if width + high_width > 64 or exceptions > count or lows + packed_size(count, width) > end:
        return CORRUPT
    unpack(buf, pos, exceptions, high_width, np.int64(0), some, 0)
    next_pos = unpack(buf, lows, count, width, np.int64(0), out, at)
    shift = np.int64(width)
    for j in range(exceptions):
        place = np.int64(buf[places + j])
        if place >= count:
            return CORRUPT
        if shift < 64:
            out[at + place] |= some[j] << shift
    for i in range(count):
        row = np.uint64(at + i)
        out[row] = unzigzag(np.uint64(out[row])) + center
    return next_pos


@kernel
def _get_rice(
    buf: NDArray[np.uint8], pos: int, end: int, k: int, center: np.int64, out: NDArray[np.int64], at: int, count: int,
    some: NDArray[np.int64],
) -> int:  # fmt: skip
    size, pos = get_varint(buf, pos, end)
    if pos < 0 or size > np.uint64(end - pos):
        return CORRUPT
    lows = pos + np.int64(size)
    if lows + packed_size(count, k) > end:
        return CORRUPT
    if find_ones(buf, pos, 8 * np.int64(size), count, some) < count:
        return CORRUPT
    next_pos = unpack(buf, lows, count, k, np.int64(0), out, at)
    shift = np.int64(k)
    out[at] = unzigzag(np.uint64(out[at] | some[0] << shift)) + center
    for i in range(1, count):
        row = np.uint64(at + i)
        zeros = some[np.uint64(i)] - some[np.uint64(i - 1)] - 1
        out[row] = unzigzag(np.uint64(out[row] | zeros << shift)) + center
    return next_pos


@kernel
def _get_block(
    buf: NDArray[np.uint8], pos: int, end: int, out: NDArray[np.int64], at: int, count: int, some: NDArray[np.int64]
) -> int:
    if pos >= end:
        return CORRUPT
    form = np.int64(buf[pos])
    raw, pos = get_varint(buf, pos + 1, end)
    if pos < 0:
        return CORRUPT
    base = unzigzag(raw)
    if form < _PATCHED:
        return _get_packed(buf, pos, end, form - _PACKED, base, out, at, count)
    if form < _SPARSE:
        return _get_patched(buf, pos, end, form - _PATCHED, base, out, at, count, some)
    if form < _RICE:
        return _get_sparse(buf, pos, end, form - _SPARSE, base, out, at, count, some)
    if form > _RICE + _MAX_RICE:
        return CORRUPT
    return _get_rice(buf, pos, end, form - _RICE, base, out, at, count, some)


@kernel
def decode_integers(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, wanted: int, out: NDArray[np.int64], some: NDArray[np.int64]
) -> int:
    """Read the first `wanted` of a column of `n` integers into ``out[:wanted]``.

    Args:
        buf: uint8 with 16 readable bytes after `end`.
        pos: Where the column begins.
        end: One past what may belong to it.
        n: Its length.
        wanted: 1 to n.
        out: (n + 128 or more,) int64.
        some: (512 or more,) int64 scratch.

    Returns:
        The offset one past the column, or one past the last block that was needed; CORRUPT where it does not decode.
    """
    if pos >= end:
        return CORRUPT
    transform = np.int64(buf[pos]) & 3
    divided = np.int64(buf[pos]) & DIVIDED
    if buf[pos] > DELTA2 + DIVIDED or transform > DELTA2:
        return CORRUPT
    raw, pos = get_varint(buf, pos + 1, end)
    if pos < 0:
        return CORRUPT
    first = unzigzag(raw)
    factor = np.int64(1)
    if divided:
        raw, pos = get_varint(buf, pos, end)
        factor = np.int64(raw)
        if pos < 0:
            return CORRUPT
    begin = 1
    step = np.int64(0)
    if transform == DELTA2:
        raw, pos = get_varint(buf, pos, end)
        step = unzigzag(raw)
        begin = 2
        if pos < 0 or n < 2:
            return CORRUPT
    at = begin
    while at < n and at < wanted:
        count = min(BLOCK, n - at)
        pos = _get_block(buf, pos, end, out, at, count, some)
        if pos < 0:
            return CORRUPT
        at += count
    out[0] = first
    if transform == PLAIN:
        for i in range(1, wanted):
            out[np.uint64(i)] = first + out[np.uint64(i)] * factor
    elif transform == DELTA:
        value = first
        for i in range(1, wanted):
            value += out[np.uint64(i)] * factor
            out[np.uint64(i)] = value
    else:
        value = first + step * factor
        step *= factor
        out[1] = value
        for i in range(2, wanted):
            step += out[np.uint64(i)] * factor
            value += step
            out[np.uint64(i)] = value
    return pos
