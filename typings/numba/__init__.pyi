from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

def njit(
    *,
    cache: bool = ...,
    nogil: bool = ...,
    error_model: str = ...,
    inline: str = ...,
    boundscheck: bool = ...,
    _nrt: bool = ...,
) -> Callable[[_F], _F]: ...

class _Config:
    CACHE_DIR: str
    DISABLE_JIT: int
    BOUNDSCHECK: int | None
    OPT: Any

config: _Config
types: Any
__version__: str
