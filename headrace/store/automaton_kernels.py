# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The kernel of finite automata: one table look-up a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEAD = 0
"""State that nothing leads out of."""

START = 1


@kernel
def accepted(
    text: NDArray[np.uint8], bounds: NDArray[np.int64], symbols: NDArray[np.int32],
    steps: NDArray[np.int16], accepting: NDArray[np.bool_], out: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Note which symbols an automaton accepts.

    Args:
        text: uint8; symbol s is ``text[bounds[s]:bounds[s + 1]]``.
        bounds: int64.
        symbols: (k,) int32.
        steps: (states, 256) int16: next state by state and byte.
        accepting: (states,) bool: whether a text may end there.
        out: (k,) bool out.
    """
    for i in range(len(symbols)):
        state = START
        for at in range(bounds[symbols[i]], bounds[symbols[i] + 1]):
            state = np.int64(steps[state, text[at]])
            if state == DEAD:
                break
        out[i] = accepting[state]
