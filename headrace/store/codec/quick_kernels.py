# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Columns of doubles written in a hurry: what the head seals while it takes samples.

The bytes are those of `values_kernels`, so that one reader reads both; only the choice among its forms is simpler:
constant, decimal numbers plain or as differences at one width, or raw. A flush writes them again with all forms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.codec.bitpack_kernels import pack, width_of
from headrace.store.codec.integers_kernels import DELTA, DIVIDED, PLAIN
from headrace.store.codec.values_kernels import (
    decimal_integers,
    find_exponent,
    put_constant,
    put_exceptions,
    put_raw,
)
from headrace.store.codec.varint_kernels import put_varint, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = 9007199254740992.0
_EXCEPTIONS = 128


@kernel
def _whole(values: NDArray[np.float64], n: int, integers: NDArray[np.int64]) -> bool:
    """Write values as integers; return whether every one is one, to the bit."""
    for i in range(n):
        value = values[i]
        if not abs(value) < _EXACT:
            return False
        integer = np.int64(value)
        if float_bits(np.float64(integer)) != float_bits(value):
            return False
        integers[i] = integer
    return True


@kernel
def _put_integers(
    values: NDArray[np.int64], n: int, out: NDArray[np.uint8], pos: int, words: NDArray[np.uint64]
) -> int:
    """Write integers below 2^53 at one width, plain or as differences, whichever scatter less; `n` is 2 or more."""
    first = values[0]
    low = np.int64(0)
    high = np.int64(0)
    delta_low = values[1] - first
    delta_high = delta_low
    for i in range(1, n):
        value = values[i] - first
        delta = values[i] - values[i - 1]
        low = min(low, value)
        high = max(high, value)
        delta_low = min(delta_low, delta)
        delta_high = max(delta_high, delta)
    transform = PLAIN
    base = low
    span = high - low
    if delta_high - delta_low < span:
        transform = DELTA
        base = delta_low
        span = delta_high - delta_low
    bits = np.uint64(0)
    for i in range(1, n):
        words[i - 1] = np.uint64(values[i] - (values[i - 1] if transform == DELTA else first) - base)
        bits |= words[i - 1]
    # A power of two that all have in common, such as the size of a page, leaves with the base where it fits there.
    shift = np.int64(trailing_zeros(bits | np.uint64(base)))
    if shift > 0 and bits != np.uint64(0):
        for i in range(n - 1):
            words[i] >>= np.uint64(shift)
        base >>= shift
        span >>= shift
        out[pos] = transform | DIVIDED
    else:
        shift = 0
        out[pos] = transform
    pos = put_varint(out, pos + 1, zigzag(first))
    if shift > 0:
        pos = put_varint(out, pos, np.uint64(1) << np.uint64(shift))
    width = width_of(np.uint64(span))
    out[pos] = width
    pos = put_varint(out, pos + 1, zigzag(base))
    return pack(words, 0, n - 1, width, out, pos)


@kernel
def encode_values_quick(
    values: NDArray[np.float64], n: int, out: NDArray[np.uint8], pos: int,
    words: NDArray[np.uint64], integers: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write a column at `pos`; return the offset one past it.

    Args:
        values: (n or more,) float64, any bit pattern.
        n: 1 to 128: one block of integers.
        out: uint8 with `headrace.store.codec.chunk_kernels.max_size` bytes of room.
        pos: Where to begin.
        words: (128 or more,) uint64 scratch.
        integers: (n or more,) int64 scratch.
    """
    first = float_bits(values[0])
    constant = True
    for i in range(1, n):
        if float_bits(values[i]) != first:
            constant = False
            break
    if constant:
        return put_constant(first, out, pos)
    if _whole(values, n, integers):
        out[pos] = 0
        end = _put_integers(integers, n, out, pos + 1, words)
        return end if end - pos <= 8 * n else put_raw(values, n, out, pos)
    exponent = find_exponent(values, n, n >> 3)
    if exponent < 0:
        return put_raw(values, n, out, pos)
    exceptions = decimal_integers(values, n, exponent, integers)
    out[pos] = exponent | (_EXCEPTIONS if exceptions > 0 else 0)
    end = _put_integers(integers, n, out, pos + 1, words)
    if exceptions > 0:
        end = put_exceptions(values, n, exponent, exceptions, out, end)
    return end if end - pos <= 8 * n else put_raw(values, n, out, pos)
