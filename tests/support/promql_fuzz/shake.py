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
from headrace.store.promql.natives import quantile_kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

LIBRARY = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "ln", "log10", "log2", "sin", "sinh",
    "tan", "tanh",
)  # fmt: skip
OPERATORS = ("^", "atan2")
WITHIN_ONE = ("cos", "sin", "tanh")
"""Functions whose values lie within one of zero: an error does not lead out of there."""

BY_DIFFERENCE = ("acos", "cos", "log2", "sin", "tan")
"""Functions that Go computes as a difference or a sum, so that small values have the error of large ones."""

ULP = 2.0**-52
_ULPS = 4


@contextlib.contextmanager
def shaken(seed: int) -> Iterator[None]:
    """Let library functions be wrong in their last digits for a while."""
    rng = np.random.default_rng(seed)
    saved = dict(functions.ELEMENTWISE), dict(binary.ARITHMETIC)
    quantiles = quantile_kernels.quantiles
    quantile_kernels.quantiles = _wrong_quantiles(quantiles, rng)
    for table, names in ((functions.ELEMENTWISE, LIBRARY), (binary.ARITHMETIC, OPERATORS)):
        table.update({name: _wrong(name, table[name], rng) for name in names})
    try:
        yield
    finally:
        functions.ELEMENTWISE.update(saved[0])
        binary.ARITHMETIC.update(saved[1])
        quantile_kernels.quantiles = quantiles


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


def _wrong_quantiles(kernel: Callable[..., None], rng: np.random.Generator) -> Callable[..., None]:
    def compute(table: Any, rows: Any, q: Any, out: NDArray[np.float64], notes: Any) -> None:
        kernel(table, rows, q, out, notes)
        # Within a bucket that holds zero, what is left of a difference is small, and its error is not.
        out += ULP * rng.integers(-_ULPS, _ULPS + 1, out.shape) * np.maximum(np.abs(out), 1.0)

    return compute


def _wrong(name: str, function: Callable[..., NDArray[np.float64]], rng: np.random.Generator) -> Callable[..., Any]:
    def compute(*args: NDArray[np.float64]) -> NDArray[np.float64]:
        exact = function(*args)
        error = ULP * rng.integers(-_ULPS, _ULPS + 1, exact.shape)
        wrong = exact + error * np.maximum(np.abs(exact), 1.0) if name in BY_DIFFERENCE else exact * (1.0 + error)
        return np.clip(wrong, -1.0, 1.0) if name in WITHIN_ONE else wrong

    return compute
