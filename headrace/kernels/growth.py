"""Arrays that grow by doubling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)


def grown(array: NDArray[_T], size: int, fill: Any = 0) -> NDArray[_T]:
    """Return `array`, or a longer copy of it, whose first axis has at least `size` elements.

    Args:
        array: Any shape; its first axis grows.
        size: Elements needed.
        fill: Value of the new elements.
    """
    if len(array) >= size:
        return array
    shape = (max(size, 2 * len(array)), *array.shape[1:])
    # Zeroed memory is not resident before it is written to.
    longer = np.zeros(shape, array.dtype) if not fill else np.full(shape, fill, array.dtype)
    longer[: len(array)] = array
    return longer
