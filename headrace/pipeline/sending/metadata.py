"""What is known of the clients whose points a request carries: headers that extensions put into it.

Receivers keep headers with their batches where ``include_metadata`` is on. Of these a queue keeps the ones that
somebody wants: an extension such as ``headers_setter``, or ``sending_queue.batch.partition``. Batches that differ in
them are never sent as one request; while one is sent, `of_request` returns them.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.host import Host

PRINCIPAL = ":principal"
"""Stands among the headers for the name of who was authenticated; no header begins like that."""

_SERVICE = "client_metadata"
_NONE: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_request: ContextVar[Mapping[str, tuple[str, ...]]] = ContextVar("client_metadata", default=_NONE)


def want(host: Host, keys: Collection[str]) -> None:
    """Have queues keep some headers, lower case, from now on."""
    host.services.setdefault(_SERVICE, set()).update(keys)


def of_request() -> Mapping[str, tuple[str, ...]]:
    """Return the wanted headers of the clients of the request that is being sent; none outside of one."""
    return _request.get()


@contextmanager
def sending(batch: MetricBatch) -> Iterator[None]:
    """Have `of_request` return what is kept of the clients of a batch."""
    token = _request.set(batch.context.metadata)
    try:
        yield
    finally:
        _request.reset(token)


class ClientMetadata:
    """Keeps of the headers of batches what is wanted.

    Args:
        own: Headers that keep batches apart by the queue's settings.
    """

    def __init__(self, own: Collection[str]) -> None:
        self._own = {name.lower() for name in own}
        self._wanted: set[str] = set()

    def find(self, host: Host) -> None:
        """See what extensions want; they are started before exporters."""
        self._wanted = host.services.setdefault(_SERVICE, set())

    def narrowed(self, batch: MetricBatch) -> MetricBatch:
        """Return `batch` with the wanted headers only: others must not be kept for long, for they hold secrets."""
        context = batch.context
        keys = self._own | self._wanted
        if not (context.metadata or (context.principal and PRINCIPAL in keys)):
            return batch
        kept = {name: values for name, values in context.metadata.items() if name in keys}
        if PRINCIPAL in keys and context.principal:
            kept[PRINCIPAL] = (context.principal,)
        return batch.with_columns(context=replace(context, metadata=kept))
