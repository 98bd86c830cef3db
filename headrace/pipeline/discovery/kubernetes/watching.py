"""Objects of one kind, kept as they are in the cluster: listed once, then followed.

A watch goes on from the version of the last event, bookmarks included. Where that version is too old everything is
listed again, and the differences are taken over. What fails is tried again after a pause; the objects stay.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from headrace.pipeline.discovery.kubernetes.api import PAGE_SIZE, ApiFailed, Expired
from headrace.pipeline.discovery.kubernetes.resources import key_of, prune
from headrace.pipeline.discovery.polling import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.discovery.contract import Report
    from headrace.pipeline.discovery.kubernetes.api import Api
    from headrace.pipeline.discovery.kubernetes.resources import Object, Resource

_LONGEST_PAUSE_S = 30.0
_WATCH_S = (240.0, 480.0)
"""Length of a watch, chosen for each: they do not end at the same time."""

_SHORT_S = 1.0
"""A watch that ends sooner, without an event, is followed by a pause."""


class Store:
    """Objects by key.

    Args:
        changed: Called with the key of each object that comes, changes or goes.
    """

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.objects: dict[str, Object] = {}
        self.synced = asyncio.Event()
        """Set once everything has been listed."""
        self._changed = changed

    def put(self, found: Object) -> None:
        """Take over one object."""
        key = key_of(found)
        self.objects[key] = found
        self._changed(key)

    def remove(self, found: Object) -> None:
        """Forget one object."""
        key = key_of(found)
        if self.objects.pop(key, None) is not None:
            self._changed(key)

    def replace(self, objects: Iterable[Object]) -> None:
        """Take over all objects there are; those of the same version are left as they are."""
        new = {key_of(one): one for one in objects}
        for key in [key for key in self.objects if key not in new]:
            self.remove(self.objects[key])
        for key, one in new.items():
            if key not in self.objects or _version(self.objects[key]) != _version(one):
                self.put(one)
        self.synced.set()


class Watcher:
    """Keeps a store as the cluster is.

    Args:
        api: The API server.
        resource: Kind of the objects.
        namespace: Where they lie; empty for everywhere.
        selectors: Query parameters that choose among them.
        store: Where they are kept.
        report: Where faults are told.
    """

    def __init__(
        self, api: Api, resource: Resource, namespace: str, selectors: dict[str, str], store: Store, report: Report
    ) -> None:
        self._api = api
        self._resource = resource
        self._path = resource.path(namespace if resource.namespaced else "")
        self._selectors = selectors
        self._store = store
        self._report = report
        self._version = ""
        self._backoff = Backoff(_LONGEST_PAUSE_S)

    async def run(self) -> None:
        """Keep the store until cancelled."""
        while True:
            pause_s = 0.0
            try:
                if not self._version:
                    await self._list()
                    self._report.succeeded(self._path)
                pause_s = await self._watch()
            except Expired:
                self._version = ""
                pause_s = self._backoff.next_s()
            except ApiFailed as error:
                self._report.failed(error.reason, str(error), self._path)
                pause_s = max(error.retry_after_s, self._backoff.next_s())
            await asyncio.sleep(pause_s)

    async def _list(self) -> None:
        """List everything; in one piece where the pages do not come fast enough for the server to remember."""
        try:
            objects, version = await self._pages({"limit": str(PAGE_SIZE)})
        except Expired:
            objects, version = await self._pages({})
        self._store.replace(objects)
        self._version = version

    async def _pages(self, query: dict[str, str]) -> tuple[list[Object], str]:
        objects: list[Object] = []
        asked = {**self._selectors, **query}
        while True:
            page = await self._api.page(self._path, asked)
            items = page.get("items")
            objects += filter(None, map(self._kept, items if isinstance(items, list) else ()))
            token = page["metadata"].get("continue")
            if not token:
                return objects, _text(page["metadata"].get("resourceVersion"))
            asked["continue"] = token

    async def _watch(self) -> float:
        """Follow the changes until the server ends the watch; return how long to wait before the next."""
        began_s, events = time.monotonic(), 0
        query = {**self._selectors, "resourceVersion": self._version}
        async for event in self._api.watch(self._path, query, random.uniform(*_WATCH_S)):  # noqa: S311 -- no secret
            self._take(event)
            self._backoff.reset()
            self._report.succeeded(self._path)
            events += 1
        short = not events and time.monotonic() - began_s < _SHORT_S
        return self._backoff.next_s() if short else 0.0

    def _take(self, event: dict[str, Any]) -> None:
        found, kind = event["object"], event["type"]
        kept = self._kept(found)
        if kind == "DELETED" and kept is not None:
            self._store.remove(kept)
        elif kind in {"ADDED", "MODIFIED"} and kept is not None:
            self._store.put(kept)
        # Bookmarks have nothing but a version.
        self._version = _version(found) or self._version

    def _kept(self, found: Any) -> Object | None:
        """Return what is kept of an object; None for what has no name."""
        if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
            return None
        kept: Object = prune(found, self._resource.fields)
        return kept if isinstance(kept["metadata"].get("name"), str) else None


def _version(found: Any) -> str:
    meta = found.get("metadata") if isinstance(found, dict) else None
    return _text(meta.get("resourceVersion")) if isinstance(meta, dict) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
