"""Powers: close to the exact value, and with the bits of Go's library, known from asking Prometheus."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest

from headrace.store.promql.power_kernels import powers

UNTOUCHED = -1.5


def power(base: float, exponent: float) -> float:
    out = np.full(1, UNTOUCHED)
    powers(np.array([base]), np.array([exponent]), out)
    return float(out[0])


@pytest.mark.parametrize("seed", range(20))
def test_whole_exponents_are_close_to_the_exact_value(seed: int) -> None:
    """Each squaring may add half a unit in the last place, and the errors double with the exponent."""
    rng = random.Random(seed)
    for _ in range(50):
        base, exponent = rng.choice([-1, 1]) * rng.uniform(0.01, 100.0), rng.randrange(-40, 41)
        exact = Fraction(base) ** exponent
        wanted = float(exact)
        got = UNTOUCHED if exponent == 0 else power(base, float(exponent))
        assert exponent == 0 or abs(Fraction(got) - exact) <= 2 * abs(exponent) * Fraction(math.ulp(wanted))


@pytest.mark.parametrize(
    ("base", "exponent", "wanted"),
    [
        (0.1, 31.0, 1.0000000000000034e-31),
        (8.0, 1 / 3, 1.9999999999999998),
        (2.0, -1074.0, 5e-324),
        (2.0, 1024.0, math.inf),
        (-2.0, 1025.0, -math.inf),
        (-2.0, -1075.0, -0.0),
        (-1.0, 1e15 + 1, -1.0),
        (1.0000001, 1e15, math.inf),
    ],
)
def test_bits_are_those_of_go(base: float, exponent: float, wanted: float) -> None:
    """Also at the edges of the range."""
    got = power(base, exponent)
    assert got == wanted
    assert math.copysign(1.0, got) == math.copysign(1.0, wanted)


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        (math.nan, 2.0),
        (math.inf, 2.0),
        (2.0, math.nan),
        (2.0, math.inf),
        (0.0, 2.0),
        (3.0, 0.0),
        (3.0, -0.5),
        (-8.0, 0.25),
    ],
)
def test_what_has_a_rule_of_its_own_is_left_alone(base: float, exponent: float) -> None:
    """The library's own power is right there."""
    assert power(base, exponent) == UNTOUCHED
