"""What stages of the store cost and did, added up for self-telemetry."""

from __future__ import annotations

import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Measured(Protocol):
    """Something with statistics: an object with a number by each name that is given here."""

    @property
    def statistics(self) -> Any:
        """Its statistics."""


_S = TypeVar("_S", bound=_Measured)


@contextlib.contextmanager
def spent(statistics: object, seconds: str) -> Iterator[None]:
    """Add the time of the block to the number `seconds` of `statistics`, also where it raises."""
    began = time.perf_counter()
    try:
        yield
    finally:
        setattr(statistics, seconds, getattr(statistics, seconds) + time.perf_counter() - began)


def measured(
    seconds: str, *, calls: str = "", result: str = ""
) -> Callable[[Callable[Concatenate[_S, _P], _R]], Callable[Concatenate[_S, _P], _R]]:
    """Measure a method; of its calls, one runs at a time.

    Args:
        seconds: Number of the statistics that its time is added to.
        calls: Number that counts the calls that did not raise.
        result: Number that what it returns is added to.
    """

    def decorate(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
        @functools.wraps(method)
        def run(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            statistics = self.statistics
            with spent(statistics, seconds):
                answer = method(self, *args, **kwargs)
            if calls:
                setattr(statistics, calls, getattr(statistics, calls) + 1)
            if result:
                setattr(statistics, result, getattr(statistics, result) + answer)
            return answer

        return run

    return decorate
