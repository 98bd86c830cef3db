"""The one way kernels are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
from numba.extending import intrinsic

from headrace.kernels import cache

if TYPE_CHECKING:
    from collections.abc import Callable

DISABLED = bool(numba.config.DISABLE_JIT)
"""Whether kernels run as plain Python (``NUMBA_DISABLE_JIT=1``), as the no-JIT test run does."""

# Has to happen before the first decorator runs, hence at import and nowhere else.
numba.config.CACHE_DIR = str(cache.directory())

_T = TypeVar("_T", bound="Callable[..., Any]")


def _plain(function: _T) -> _T:
    """Run a kernel as Python, silent as machine code is about integers that wrap and divisions by zero."""
    return np.errstate(all="ignore")(function)


kernel = _plain if DISABLED else numba.njit(cache=True, nogil=True, error_model="numpy")
"""Compile lazily, keep the machine code on disk, release the GIL, and divide as IEEE 754 does."""

flat_kernel = _plain if DISABLED else numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
"""As `kernel`, for functions that make no array and return none: without counts of references.

A compiled function otherwise counts those of the arrays it is given, atomically, at each call and each slice: some 200
cycles for a small function that calls three others. One that does make an array does not compile. Where all kernels of
a file are such, it is imported as ``kernel``.
"""


def compiled_as(make: Callable[[], Any]) -> Callable[[_T], _T]:
    """Replace a plain Python function by the intrinsic that `make` builds, save when the JIT is off.

    Args:
        make: Returns a function of (typing context, arguments) as ``numba.extending.intrinsic`` takes it.
    """

    def choose(plain: _T) -> _T:
        chosen: _T = plain if DISABLED else intrinsic(make())
        return chosen

    return choose
