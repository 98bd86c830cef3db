"""Powers as Go's library computes them: by squaring the mantissa, so that whole exponents give the same bits.

Source:
    Go, package math, documentation of Pow: x^y = 2^(e y) m^y with x = m 2^e, the whole part of y by repeated squaring.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR = 1 << 12
"""Beyond this binary exponent a result is 0 or infinite, whatever its mantissa."""


@kernel
def powers(base: NDArray[np.float64], exponent: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Write base to the power of exponent, (n,) each, where both are finite, the base is not 0 and the result is real.

    Other places of `out` stay as they are; so do those whose exponent is 0, 0.5, -0.5 or beyond 2^53.
    """
    for i in range(len(base)):
        x, y = base[i], abs(exponent[i])
        if not (math.isfinite(x) and y < 9007199254740992.0) or x == 0.0 or y in (0.0, 0.5):
            continue
        whole = np.int64(y)
        part = y - whole
        if part != 0.0 and x < 0.0:
            continue
        mantissa, power = 1.0, np.int64(0)
        if part != 0.0:
            if part > 0.5:
                part -= 1.0
                whole += 1
            mantissa = math.exp(part * math.log(x))
        square, twos = math.frexp(x)
        scale = np.int64(twos)
        while whole:
            if scale < -_FAR or scale > _FAR:
                power += scale
                break
            if whole & 1:
                mantissa *= square
                power += scale
            square *= square
            scale <<= 1
            if square < 0.5:
                square += square
                scale -= 1
            whole >>= 1
        if exponent[i] < 0.0:
            mantissa, power = 1.0 / mantissa, -power
        out[i] = _scaled(mantissa, power)


@kernel
def _scaled(mantissa: float, power: np.int64) -> float:
    """Return mantissa times 2^power, rounded once."""
    _, own = math.frexp(mantissa)
    if power + own > 1024:
        return math.copysign(math.inf, mantissa)
    if power + own < -1080:
        return math.copysign(0.0, mantissa)
    return math.ldexp(mantissa, int(power))
