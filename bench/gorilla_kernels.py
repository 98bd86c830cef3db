# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,operator"
"""Gorilla's encodings as a yardstick: timestamps as differences of differences, values XORed with the one before.

Bits go into 64-bit words, highest first. A column has its length outside.

Source:
    Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series Database", VLDB 2015, sections 4.1.1 and 4.1.2,
    with a 32-bit last bucket widened to 64 so that any int64 comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, leading_zeros, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZERO = np.uint64(0)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_MAX_LEADING = 31


@kernel
def _put(words: NDArray[np.uint64], bit: int, value: np.uint64, width: int) -> int:
    """Write the low `width` bits of `value`, 1 to 64, at place `bit`; return the place after them."""
    word = bit >> 6
    free = 64 - (bit & 63)
    value &= _ALL >> np.uint64(64 - width)
    if width <= free:
        words[word] |= value << np.uint64(free - width)
    else:
        words[word] |= value >> np.uint64(width - free)
        words[word + 1] |= value << np.uint64(64 - (width - free))
    return bit + width


@kernel
def _get(words: NDArray[np.uint64], bit: int, width: int) -> np.uint64:
    """Read `width` bits, 1 to 64."""
    word = bit >> 6
    used = np.uint64(bit & 63)
    value = words[word] << used
    if used > _ZERO:
        value |= words[word + 1] >> (np.uint64(64) - used)
    return value >> np.uint64(64 - width)


@kernel
def encode_times(times: NDArray[np.int64], words: NDArray[np.uint64]) -> int:
    """Write a column into `words`, all 0; return its bits."""
    bit = _put(words, 0, np.uint64(times[0]), 64)
    before = np.int64(0)
    for i in range(1, len(times)):
        delta = times[i] - times[i - 1]
        second = delta - before
        before = delta
        if second == 0:
            bit = _put(words, bit, _ZERO, 1)
        elif -63 <= second <= 64:
            bit = _put(words, _put(words, bit, np.uint64(2), 2), np.uint64(second + 63), 7)
        elif -255 <= second <= 256:
            bit = _put(words, _put(words, bit, np.uint64(6), 3), np.uint64(second + 255), 9)
        elif -2047 <= second <= 2048:
            bit = _put(words, _put(words, bit, np.uint64(14), 4), np.uint64(second + 2047), 12)
        else:
            bit = _put(words, _put(words, bit, np.uint64(15), 4), np.uint64(second), 64)
    return bit


@kernel
def decode_times(words: NDArray[np.uint64], out: NDArray[np.int64]) -> None:
    """Read the column of ``len(out)`` timestamps that `words` begins with."""
    value = np.int64(_get(words, 0, 64))
    out[0] = value
    bit = 64
    delta = np.int64(0)
    for i in range(1, len(out)):
        if _get(words, bit, 1) == _ZERO:
            bit += 1
        elif _get(words, bit, 2) == np.uint64(2):
            delta += np.int64(_get(words, bit + 2, 7)) - 63
            bit += 9
        elif _get(words, bit, 3) == np.uint64(6):
            delta += np.int64(_get(words, bit + 3, 9)) - 255
            bit += 12
        elif _get(words, bit, 4) == np.uint64(14):
            delta += np.int64(_get(words, bit + 4, 12)) - 2047
            bit += 16
        else:
            delta += np.int64(_get(words, bit + 4, 64))
            bit += 68
        value += delta
        out[i] = value


@kernel
def encode_values(values: NDArray[np.float64], words: NDArray[np.uint64]) -> int:
    """Write a column into `words`, all 0; return its bits."""
    before = float_bits(values[0])
    bit = _put(words, 0, before, 64)
    leading = 0
    trailing = 0
    begun = False
    for i in range(1, len(values)):
        bits = float_bits(values[i])
        changed = bits ^ before
        before = bits
        if changed == _ZERO:
            bit = _put(words, bit, _ZERO, 1)
            continue
        lead = min(np.int64(leading_zeros(changed)), _MAX_LEADING)
        trail = np.int64(trailing_zeros(changed))
        if begun and lead >= leading and trail >= trailing:
            bit = _put(words, bit, np.uint64(2), 2)
        else:
            begun = True
            leading = lead
            trailing = trail
            bit = _put(words, bit, np.uint64(3), 2)
            bit = _put(words, bit, np.uint64(leading), 5)
            bit = _put(words, bit, np.uint64(64 - leading - trailing - 1), 6)
        bit = _put(words, bit, changed >> np.uint64(trailing), 64 - leading - trailing)
    return bit


@kernel
def decode_values(words: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Read the column of ``len(out)`` values that `words` begins with."""
    bits = words[0]
    out[0] = bits_float(bits)
    bit = 64
    width = 64
    trailing = 0
    for i in range(1, len(out)):
        if _get(words, bit, 1) == _ZERO:
            bit += 1
        else:
            if _get(words, bit, 2) == np.uint64(3):
                leading = np.int64(_get(words, bit + 2, 5))
                width = np.int64(_get(words, bit + 7, 6)) + 1
                trailing = 64 - leading - width
                bit += 13
            else:
                bit += 2
            bits ^= _get(words, bit, width) << np.uint64(trailing)
            bit += width
        out[i] = bits_float(bits)


@kernel
def encode_all_values(values: NDArray[np.float64], words: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    """Write the rows of `values`; row i goes to words ``places[i]`` to ``places[i + 1]``, of `words`, all 0."""
    at = 0
    for i in range(len(values)):
        places[i] = at
        at += (encode_values(values[i], words[at:]) >> 6) + 2
    places[len(values)] = at


@kernel
def decode_all_values(words: NDArray[np.uint64], places: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Undo `encode_all_values`."""
    for i in range(len(out)):
        decode_values(words[places[i] :], out[i])


@kernel
def encode_all_times(times: NDArray[np.int64], words: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    """Write the rows of `times`, as `encode_all_values` does."""
    at = 0
    for i in range(len(times)):
        places[i] = at
        at += (encode_times(times[i], words[at:]) >> 6) + 2
    places[len(times)] = at


@kernel
def decode_all_times(words: NDArray[np.uint64], places: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Undo `encode_all_times`."""
    for i in range(len(out)):
        decode_times(words[places[i] :], out[i])
