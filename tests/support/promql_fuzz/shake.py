"""How much an answer depends on the last digits of library functions.

Go's functions and C's differ by some units in the last place. Where another function follows, or a comparison, a label
or a rank, so small an error may become a large one: to tell such a case from a fault, it is evaluated again with errors
of that size put in on purpose.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.store.promql import binary, functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LIBRARY = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "ln", "log10", "log2", "sin", "sinh",
    "tan", "tanh",
)  # fmt: skip
OPERATORS = ("^", "atan2")
ULP = 2.0**-52
_ULPS = 4


@contextlib.contextmanager
def shaken(seed: int) -> Iterator[None]:
    """Let library functions be wrong in their last digits for a while."""
    rng = np.random.default_rng(seed)
    saved = dict(functions.ELEMENTWISE), dict(binary.ARITHMETIC)
    for table, names in ((functions.ELEMENTWISE, LIBRARY), (binary.ARITHMETIC, OPERATORS)):
        table.update({name: _wrong(table[name], rng) for name in names})
    try:
        yield
    finally:
        functions.ELEMENTWISE.update(saved[0])
        binary.ARITHMETIC.update(saved[1])


@contextlib.contextmanager
def unscaled_logarithms() -> Iterator[None]:
    """Let logarithms be those of Go on x86, which takes subnormal numbers for such with a leading one, for a while."""
    saved = dict(functions.ELEMENTWISE)
    functions.ELEMENTWISE.update(ln=_unscaled, log10=lambda values: _unscaled(values) / np.log(10.0))
    try:
        yield
    finally:
        functions.ELEMENTWISE.update(saved)


def _unscaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    smallest = np.finfo(np.float64).smallest_normal
    read = np.log((1.0 + values / smallest) / 2.0) - 1022.0 * np.log(2.0)
    return np.where((values > 0.0) & (values < smallest), read, np.log(values))


def _wrong(function: Callable[..., NDArray[np.float64]], rng: np.random.Generator) -> Callable[..., Any]:
    def compute(*args: NDArray[np.float64]) -> NDArray[np.float64]:
        exact = function(*args)
        return exact * (1.0 + ULP * rng.integers(-_ULPS, _ULPS + 1, exact.shape))

    return compute
