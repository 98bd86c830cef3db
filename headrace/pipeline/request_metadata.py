"""Headers of the requests that points come in, for the requests that they leave in.

A receiver with ``include_metadata`` keeps them in the context of its batches. Whoever sends asks for those that all
points of the request have in common: a header of one sender never goes out with points of another.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from headrace.pipeline.batch import MetricBatch

_NONE: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_current: ContextVar[Mapping[str, tuple[str, ...]]] = ContextVar("request_metadata", default=_NONE)


def metadata_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return headers by lower-case name, for those who come after; values that are no text are left out."""
    out: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if isinstance(value, str):
            out[name.lower()] = (*out.get(name.lower(), ()), value)
    return out


def shared(batches: Sequence[MetricBatch]) -> Mapping[str, tuple[str, ...]]:
    """Return the headers that all of some batches have, with the same values."""
    first = batches[0].context.metadata if batches else _NONE
    if len(batches) < 2 or not first:
        return first
    others = [batch.context.metadata for batch in batches[1:]]
    return {name: values for name, values in first.items() if all(one.get(name) == values for one in others)}


@contextmanager
def sending(batches: Sequence[MetricBatch]) -> Iterator[None]:
    """Have `current` return what `batches` share, in this task and in those that it starts."""
    token = _current.set(shared(batches))
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Mapping[str, tuple[str, ...]]:
    """Return the headers that all points of the request that is being sent came with."""
    return _current.get()


def values_of(batch: MetricBatch, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return what a batch has under lower-case `names`: batches that differ in it are not to be joined."""
    metadata = batch.context.metadata
    return tuple(metadata.get(name, ()) for name in names)
