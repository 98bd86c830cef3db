# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Reading decimal floating-point numbers, correctly rounded.

Numbers with at most 19 digits are decided here, save a few that lie too close to the middle between two doubles or
below the smallest normal one; those, and longer ones that 19 digits do not decide, are left to Python's ``float``.

Source:
    Clinger, "How to read floating point numbers accurately", PLDI 1990 (the exact case); Lemire, "Number parsing at
    a gigabyte per second", Software: Practice and Experience 51, 2021 (the rest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, leading_zeros, mulhi
from headrace.kernels.jit import kernel
from headrace.kernels.powers_of_ten import normalised_powers

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ = 0
"""The value is the number."""

SLOW = 1
"""The text is a number; which one is for Python's ``float`` to say."""

SYNTAX = -1
"""The text does not begin with a number."""

NAN_BITS = np.uint64(0x7FF8000000000001)
"""The NaN that text stands for: Prometheus' ordinary NaN, distinct from its stale marker."""

_LOWEST, _HIGHEST = -348, 347
_POWERS = normalised_powers(_LOWEST, _HIGHEST, round_up=False)
_EXACT = np.array([float(10**i) for i in range(23)])
_MAX_DIGITS = 19
"""Decimal digits that always fit 64 bits."""

_MAX_EXPONENT = 100_000
"""Written exponents stop counting here: far outside the range of doubles, far inside that of int64."""

_NAN = np.array([ord(c) for c in "nan"], np.uint8)
_INFINITY = np.array([ord(c) for c in "infinity"], np.uint8)


@kernel
def parse(buf: NDArray[np.uint8], pos: int, end: int) -> tuple[float, int, int]:
    """Read the number at the start of ``buf[pos:end]``; what may follow it is the caller's business.

    Taken are decimal numbers with optional sign, point and exponent, ``inf`` and ``infinity`` with optional sign, and
    ``nan``, in any case: what Go's ``strconv.ParseFloat`` takes, save hexadecimal numbers and ``_`` between digits.

    Args:
        buf: uint8 text; only read.
        pos: Offset of the first byte, ``0 <= pos``.
        end: Offset past the last byte, ``end <= len(buf)``.

    Returns:
        The value, the offset past the number, and READ, SLOW or SYNTAX. A value beyond the range of doubles is SLOW.
    """
    start = pos
    negative = False
    if pos < end and (buf[pos] == 43 or buf[pos] == 45):
        negative = buf[pos] == 45
        pos += 1
    mantissa = np.uint64(0)
    exponent = 0
    digits = 0
    more = False  # a digit other than 0 after the first 19
    first = pos
    while pos < end and 48 <= buf[pos] <= 57:
        if digits < _MAX_DIGITS:
            mantissa = mantissa * np.uint64(10) + np.uint64(buf[pos] - 48)
            if mantissa != np.uint64(0):
                digits += 1
        else:
            more = more or buf[pos] != 48
            exponent += 1
        pos += 1
    seen = pos - first
    if pos < end and buf[pos] == 46:
        pos += 1
        first = pos
        while pos < end and 48 <= buf[pos] <= 57:
            if digits < _MAX_DIGITS:
                mantissa = mantissa * np.uint64(10) + np.uint64(buf[pos] - 48)
                if mantissa != np.uint64(0):
                    digits += 1
                exponent -= 1
            else:
                more = more or buf[pos] != 48
            pos += 1
        seen += pos - first
    if seen == 0:
        return _parse_word(buf, start, end)
    if pos < end and (buf[pos] == 101 or buf[pos] == 69):
        written, pos = _parse_exponent(buf, pos + 1, end)
        if pos < 0:
            return 0.0, start, SYNTAX
        exponent += written
    value, status = _scale(mantissa, exponent, more)
    if negative:
        value = -value
    return value, pos, status


@kernel
def _parse_word(buf: NDArray[np.uint8], pos: int, end: int) -> tuple[float, int, int]:
    """Read ``nan``, ``inf`` or ``infinity``; a sign may stand before infinity only."""
    if _matches(buf, pos, end, _NAN) == 3:
        return bits_float(NAN_BITS), pos + 3, READ
    start = pos
    negative = False
    if pos < end and (buf[pos] == 43 or buf[pos] == 45):
        negative = buf[pos] == 45
        pos += 1
    same = _matches(buf, pos, end, _INFINITY)
    if same < 3:
        return 0.0, start, SYNTAX
    pos += 8 if same == 8 else 3
    return (-np.inf if negative else np.inf), pos, READ


@kernel
def _matches(buf: NDArray[np.uint8], pos: int, end: int, word: NDArray[np.uint8]) -> int:
    """Count the leading bytes of ``buf[pos:end]`` that equal those of a lower-case word, in any case."""
    n = 0
    while n < len(word) and pos + n < end and buf[pos + n] | 32 == word[n]:
        n += 1
    return n


@kernel
def _parse_exponent(buf: NDArray[np.uint8], pos: int, end: int) -> tuple[int, int]:
    """Read what follows the ``e``; the offset after it is -1 when no digit does."""
    negative = False
    if pos < end and (buf[pos] == 43 or buf[pos] == 45):
        negative = buf[pos] == 45
        pos += 1
    if pos >= end or buf[pos] < 48 or buf[pos] > 57:
        return 0, -1
    exponent = 0
    while pos < end and 48 <= buf[pos] <= 57:
        if exponent < _MAX_EXPONENT:
            exponent = exponent * 10 + np.int64(buf[pos] - 48)
        pos += 1
    return (-exponent if negative else exponent), pos


@kernel
def _scale(mantissa: np.uint64, exponent: int, more: bool) -> tuple[float, int]:
    """Return ``mantissa * 10**exponent`` and READ or SLOW; `more` says that digits were cut off."""
    if not more and (mantissa >= np.uint64(1 << 53) or exponent < -22):
        # Zeros at the end, as in 0.50000000000000000000, would leave an exact number undecided.
        while mantissa != np.uint64(0) and mantissa % np.uint64(10) == np.uint64(0):
            mantissa //= np.uint64(10)
            exponent += 1
    if not more and mantissa < np.uint64(1 << 53) and -22 <= exponent <= 22:
        value = np.float64(mantissa)  # exact, and so is the power: one rounding is the right one
        return (value * _EXACT[exponent] if exponent >= 0 else value / _EXACT[-exponent]), READ
    value, decided = _lemire(mantissa, exponent)
    if decided and more:
        above, decided = _lemire(mantissa + np.uint64(1), exponent)
        decided = decided and value == above
    return value, (READ if decided else SLOW)


@kernel
def _lemire(mantissa: np.uint64, exponent: int) -> tuple[float, bool]:
    """Return ``mantissa * 10**exponent`` rounded to even, or False where 128 bits do not decide."""
    if mantissa == np.uint64(0):
        return 0.0, True
    if exponent < _LOWEST or exponent > _HIGHEST:
        return 0.0, False
    low = _POWERS[exponent - _LOWEST, 0]
    high = _POWERS[exponent - _LOWEST, 1]
    shift = leading_zeros(mantissa)
    mantissa = mantissa << shift
    # 217706 / 2^16 is log2(10), close enough for every exponent of the table.
    binary = ((217706 * exponent) >> 16) + 64 + 1023 - np.int64(shift)
    upper = mulhi(mantissa, high)
    lower = mantissa * high
    if (upper & np.uint64(0x1FF)) == np.uint64(0x1FF) and lower + mantissa < mantissa:
        # The lower half of the power could carry into the bits that decide.
        extra = mulhi(mantissa, low)
        rest = mantissa * low
        summed = lower + extra
        carried = upper + np.uint64(1) if summed < lower else upper
        if (
            (carried & np.uint64(0x1FF)) == np.uint64(0x1FF)
            and summed + np.uint64(1) == np.uint64(0)
            and rest + mantissa < mantissa
        ):
            return 0.0, False
        upper = carried
        lower = summed
    top = upper >> np.uint64(63)
    bits = upper >> (top + np.uint64(9))
    binary -= 1 - np.int64(top)
    if lower == np.uint64(0) and (upper & np.uint64(0x1FF)) == np.uint64(0) and (bits & np.uint64(3)) == np.uint64(1):
        return 0.0, False  # perhaps exactly in the middle
    bits += bits & np.uint64(1)
    bits >>= np.uint64(1)
    if bits >> np.uint64(53) > np.uint64(0):
        bits >>= np.uint64(1)
        binary += 1
    if binary < 1 or binary > 2046:
        return 0.0, False  # not a normal number
    return bits_float((np.uint64(binary) << np.uint64(52)) | (bits & np.uint64((1 << 52) - 1))), True
