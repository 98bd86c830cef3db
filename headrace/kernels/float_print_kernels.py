# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Printing doubles with the fewest digits that read back as the same number.

Source:
    Giulietti, "The Schubfach way to render doubles", 2020, section 9 and figures 7 to 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, leading_zeros, mulhi
from headrace.kernels.jit import kernel
from headrace.kernels.powers_of_ten import normalised_powers

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 32
"""No number printed by this module is longer; most have at most 26 bytes."""

_LOWEST, _HIGHEST = -292, 324
_POWERS = normalised_powers(_LOWEST, _HIGHEST, round_up=True)
_TENS = np.array([10**i for i in range(20)], np.uint64)
_PAIRS = np.frombuffer("".join(f"{i:02d}" for i in range(100)).encode(), np.uint8).copy()
_INFINITE = np.uint64(0x7FF0000000000000)
_MAGNITUDE = np.uint64(0x7FFFFFFFFFFFFFFF)
_FRACTION = np.uint64((1 << 52) - 1)


@kernel
def write_api(out: NDArray[np.uint8], pos: int, value: float) -> int:
    """Write a sample as Prometheus' HTTP API prints it: an exponent only below 1e-6 and from 1e21 on.

    Args:
        out: uint8 with MAX_BYTES of room at `pos`.
        pos: Offset of the first byte.
        value: Any double; every NaN is ``NaN``.

    Returns:
        Offset past the text.
    """
    bits = float_bits(value)
    magnitude = bits & _MAGNITUDE
    if magnitude >= _INFINITE:
        return _write_special(out, pos, bits)
    if bits != magnitude:
        out[pos] = 45
        pos += 1
    if magnitude == np.uint64(0):
        out[pos] = 48
        return pos + 1
    digits, exponent = shortest(magnitude)
    size = count_digits(digits)
    if -6 <= exponent + size - 1 < 21:
        return _write_plain(out, pos, digits, size, exponent)
    return _write_scientific(out, pos, digits, size, exponent)


@kernel
def write_canonical(out: NDArray[np.uint8], pos: int, value: float) -> int:
    """Write a number as OpenMetrics wants it: ``1.0``, ``0.25``, ``1e+06``, ``+Inf``.

    This is the one text of a ``le`` or ``quantile`` label: an exponent below 1e-4 and from 1e6 on, else at least one
    digit after the point.

    Args:
        out: uint8 with MAX_BYTES of room at `pos`.
        pos: Offset of the first byte.
        value: Any double; both zeros are ``0.0`` and every NaN is ``NaN``.

    Returns:
        Offset past the text.
    """
    bits = float_bits(value)
    magnitude = bits & _MAGNITUDE
    if magnitude >= _INFINITE:
        return _write_special(out, pos, bits)
    digits = np.uint64(0)
    exponent = 0
    if magnitude != np.uint64(0):
        if bits != magnitude:
            out[pos] = 45
            pos += 1
        digits, exponent = shortest(magnitude)
    size = count_digits(digits)
    if exponent + size - 1 < -4 or exponent + size - 1 >= 6:
        return _write_scientific(out, pos, digits, size, exponent)
    pos = _write_plain(out, pos, digits, size, exponent)
    if exponent >= 0:
        out[pos] = 46
        out[pos + 1] = 48
        pos += 2
    return pos


@kernel
def write_uint(out: NDArray[np.uint8], pos: int, value: np.uint64, size: int) -> int:
    """Write `value` with exactly `size` digits, zeros in front; return the offset past them."""
    at = pos + size
    while at - pos >= 2:
        pair = np.int64(value % np.uint64(100)) * 2
        value //= np.uint64(100)
        at -= 2
        out[at] = _PAIRS[pair]
        out[at + 1] = _PAIRS[pair + 1]
    if at > pos:
        out[pos] = 48 + np.uint8(value % np.uint64(10))
    return pos + size


@kernel
def count_digits(value: np.uint64) -> int:
    """Return how many decimal digits `value` has; one for zero."""
    # 1233 / 2^12 is log10(2): the guess is right or one too small.
    guess = ((64 - np.int64(leading_zeros(value | np.uint64(1)))) * 1233) >> 12
    return guess + 1 if guess < 20 and value >= _TENS[guess] else max(guess, 1)


@kernel
def shortest(bits: np.uint64) -> tuple[np.uint64, int]:
    """Return the fewest decimal digits, without zeros at the end, and the power of ten they are scaled by.

    Args:
        bits: Pattern of a finite double above zero.
    """
    value = bits_float(bits)
    if value < 9007199254740992.0 and np.float64(np.uint64(value)) == value:
        digits = np.uint64(value)
        exponent = 0
    else:
        digits, exponent = _schubfach(bits)
    while digits % np.uint64(10) == np.uint64(0):
        digits //= np.uint64(10)
        exponent += 1
    return digits, exponent


@kernel
def _schubfach(bits: np.uint64) -> tuple[np.uint64, int]:
    """Return the decimal in the rounding interval that is shortest and, of those, closest."""
    fraction = bits & _FRACTION
    biased = np.int64(bits >> np.uint64(52))
    normal = biased != 0
    c = fraction | np.uint64(1 << 52) if normal else fraction
    q = biased - 1075 if normal else -1074
    # At a power of two the neighbour below is only half as far away.
    closer = fraction == np.uint64(0) and biased > 1
    four = np.uint64(4) * c
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    h = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    low = _POWERS[-k - _LOWEST, 0]
    high = _POWERS[-k - _LOWEST, 1]
    odd = c & np.uint64(1)
    below = four - np.uint64(1) if closer else four - np.uint64(2)
    lower = _round_to_odd(low, high, below << h) + odd
    middle = _round_to_odd(low, high, four << h)
    upper = _round_to_odd(low, high, (four + np.uint64(2)) << h) - odd
    s = middle >> np.uint64(2)
    if s >= np.uint64(10):
        tens = s // np.uint64(10)
        down_fits = lower <= np.uint64(40) * tens
        up_fits = np.uint64(40) * tens + np.uint64(40) <= upper
        if down_fits != up_fits:
            return tens + (np.uint64(1) if up_fits else np.uint64(0)), k + 1
    down_fits = lower <= np.uint64(4) * s
    up_fits = np.uint64(4) * s + np.uint64(4) <= upper
    if down_fits == up_fits:
        half = np.uint64(4) * s + np.uint64(2)
        up_fits = middle > half or (middle == half and (s & np.uint64(1)) != np.uint64(0))
    return s + (np.uint64(1) if up_fits else np.uint64(0)), k


@kernel
def _round_to_odd(low: np.uint64, high: np.uint64, factor: np.uint64) -> np.uint64:
    """Return the upper 64 bits of a 192-bit product; its last bit is set where bits below are not all zero."""
    carry = mulhi(low, factor)
    lower = high * factor
    upper = mulhi(high, factor)
    summed = lower + carry
    if summed < lower:
        upper += np.uint64(1)
    return upper | np.uint64(1) if summed > np.uint64(1) else upper


@kernel
def _write_special(out: NDArray[np.uint8], pos: int, bits: np.uint64) -> int:
    if bits & _MAGNITUDE != _INFINITE:
        out[pos] = 78
        out[pos + 1] = 97
        out[pos + 2] = 78
        return pos + 3
    out[pos] = 43 if bits == _INFINITE else 45
    out[pos + 1] = 73
    out[pos + 2] = 110
    out[pos + 3] = 102
    return pos + 4


@kernel
def _write_scientific(out: NDArray[np.uint8], pos: int, digits: np.uint64, size: int, exponent: int) -> int:
    end = write_uint(out, pos + 1, digits, size)
    out[pos] = out[pos + 1]
    if size > 1:
        out[pos + 1] = 46
    else:
        end -= 1
    power = exponent + size - 1
    out[end] = 101
    out[end + 1] = 45 if power < 0 else 43
    power = abs(power)
    return write_uint(out, end + 2, np.uint64(power), 2 if power < 100 else 3)


@kernel
def _write_plain(out: NDArray[np.uint8], pos: int, digits: np.uint64, size: int, exponent: int) -> int:
    """Write digits without an exponent, and without a point where nothing is after it."""
    if exponent >= 0:
        pos = write_uint(out, pos, digits, size)
        for i in range(exponent):
            out[pos + i] = 48
        return pos + exponent
    whole = size + exponent
    if whole > 0:
        power = _TENS[-exponent]
        pos = write_uint(out, pos, digits // power, whole)
        out[pos] = 46
        return write_uint(out, pos + 1, digits % power, -exponent)
    out[pos] = 48
    out[pos + 1] = 46
    for i in range(-whole):
        out[pos + 2 + i] = 48
    return write_uint(out, pos + 2 - whole, digits, size)
