"""Powers of ten with 128 significant bits, for reading and for printing decimal numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MASK64 = (1 << 64) - 1


def normalised_powers(lowest: int, highest: int, *, round_up: bool) -> NDArray[np.uint64]:
    """Return 10^e for each e from `lowest` to `highest`, scaled to lie in [2^127, 2^128).

    Args:
        lowest: The first exponent.
        highest: The last exponent.
        round_up: Round those that do not fit 128 bits up, not down.

    Returns:
        (highest - lowest + 1, 2) uint64: lower and upper half.
    """
    table = np.empty((highest - lowest + 1, 2), np.uint64)
    for row, exponent in enumerate(range(lowest, highest + 1)):
        value = _normalised(exponent, round_up=round_up)
        table[row] = value & _MASK64, value >> 64
    return table


def _normalised(exponent: int, *, round_up: bool) -> int:
    if exponent >= 0:
        power: int = 10**exponent
        excess = power.bit_length() - 128
        if excess <= 0:
            return power << -excess
        quotient, rest = power >> excess, power & ((1 << excess) - 1)
    else:
        divisor: int = 10**-exponent
        # 2^(bits + 127) / divisor lies in [2^127, 2^128]; its upper end is reached by powers of two only.
        quotient, rest = divmod(1 << (divisor.bit_length() + 127), divisor)
    return quotient + (1 if round_up and rest else 0)
