"""An API server of Kubernetes, as far as its documentation says how lists and watches behave.

* Each change gives the cluster a new version. A list has the version it was made at, and comes in pages.
* A watch sends what changed since a version, then what changes, one JSON object a line; with bookmarks where they are
  asked for. A version that has been compacted away is answered by 410, before the watch or within it.
* Selectors choose; an object that a change makes fit or not fit any more is ADDED or DELETED for the watch.
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

Object = dict[str, Any]

GROUPS = {
    "/api/v1": ("pods", "nodes", "services", "endpoints", "namespaces"),
    "/apis/discovery.k8s.io/v1": ("endpointslices",),
    "/apis/networking.k8s.io/v1": ("ingresses",),
    "/apis/apps/v1": ("replicasets",),
    "/apis/batch/v1": ("jobs",),
}


class KubernetesApi:
    """The server of one test.

    Attributes:
        requests: Path and query of each request, a watch with ``watch``.
        refuse: Status and message by plural name, answered instead of lists and watches.
        page_size: Most objects of a page, whatever is asked for.
        token: Bearer token that requests have to bring, where set.
        headers: Of every refusal.
        oldest: Versions before this one are gone.
        objects: What there is, by plural name, namespace and name.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.refuse: dict[str, tuple[int, str]] = {}
        self.page_size = 500
        self.token = ""
        self.headers: dict[str, str] = {}
        self.oldest = 0
        self.version = 100
        self.objects: dict[tuple[str, str, str], Object] = {}
        self._history: list[tuple[int, str, Object | None, Object | None]] = []
        self._pages: dict[str, tuple[list[Object], int]] = {}
        self._watches: set[_Watch] = set()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, tls: ssl.SSLContext | None = None) -> KubernetesApi:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def close(self) -> None:
        self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def put(self, plural: str, name: str, namespace: str = "", **parts: Any) -> Object:
        """Create or replace an object; `parts` are spec, status and so on, and what is more in metadata."""
        self.version += 1
        meta = {"name": name, "resourceVersion": str(self.version), **parts.pop("metadata", {})}
        meta |= {"namespace": namespace} if namespace else {}
        meta["managedFields"] = [{"manager": "test"}]
        new: Object = {"metadata": meta, **parts}
        before = self.objects.get((plural, namespace, name))
        self.objects[plural, namespace, name] = new
        self._note(plural, before, new)
        return new

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        self.version += 1
        gone = copy.deepcopy(self.objects.pop((plural, namespace, name)))
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._note(plural, gone, None)

    def forget(self) -> None:
        """Compact: nobody can go on from a version before the present one."""
        self.version += 1
        self.oldest = self.version
        self._history.clear()
        self._pages.clear()

    def bookmark(self, plural: str) -> None:
        """Tell the watches of a kind the present version."""
        for watch in self._of(plural):
            if watch.bookmarks:
                watch.send("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def fail_watches(self, plural: str, code: int, message: str) -> None:
        """End the watches of a kind by an event."""
        for watch in self._of(plural):
            watch.send("ERROR", {"kind": "Status", "code": code, "message": message})
            watch.queue.put_nowait(None)

    def end_watches(self, plural: str = "", *, brutally: bool = False) -> None:
        """End watches as a server does after their time, or as a cable does."""
        for watch in self._of(plural):
            watch.brutal = brutally
            watch.queue.put_nowait(None)

    def raw(self, plural: str, line: bytes) -> None:
        """Send what no server should."""
        for watch in self._of(plural):
            watch.queue.put_nowait(line)

    def watching(self, plural: str) -> int:
        return len(self._of(plural))

    def count(self, plural: str, *, watch: bool) -> int:
        return sum(path.endswith(f"/{plural}") and ("watch" in query) is watch for path, query in self.requests)

    def _of(self, plural: str) -> list[_Watch]:
        return [watch for watch in self._watches if plural in {"", watch.plural}]

    def _note(self, plural: str, before: Object | None, after: Object | None) -> None:
        self._history.append((self.version, plural, before, after))
        for watch in self._of(plural):
            watch.change(before, after)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.path, query))
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._status(401, "Unauthorized")
        group = next(group for group in GROUPS if request.path.startswith(f"{group}/"))
        parts = request.path.removeprefix(f"{group}/").split("/")
        namespace = parts[1] if len(parts) == 3 else ""
        assert parts[-1] in GROUPS[group], request.path
        if parts[-1] in self.refuse:
            return self._status(*self.refuse[parts[-1]])
        fits = _chooser(namespace, query)
        if query.get("watch") == "1":
            return await self._watch(request, parts[-1], fits)
        return self._list(parts[-1], fits, query)

    def _list(self, plural: str, fits: Callable[[Object], bool], query: dict[str, str]) -> web.Response:
        if "continue" in query:
            if query["continue"] not in self._pages:
                return self._status(410, "The provided continue parameter is too old", "Expired")
            items, version = self._pages[query["continue"]]
        else:
            items = [one for (kind, *_), one in sorted(self.objects.items()) if kind == plural and fits(one)]
            version = self.version
        size = min(int(query["limit"]), self.page_size) if "limit" in query else len(items)
        meta = {"resourceVersion": str(version)}
        if len(items) > size:
            meta["continue"] = f"{plural}{version}-{len(self._pages)}"
            self._pages[meta["continue"]] = items[size:], version
        return web.json_response({"kind": "List", "metadata": meta, "items": items[:size] or None})

    async def _watch(self, request: web.Request, plural: str, fits: Callable[[Object], bool]) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return self._status(410, f"too old resource version: {since} ({self.oldest})", "Expired")
        assert int(request.query["timeoutSeconds"]) > 0
        watch = _Watch(plural, fits, bookmarks=request.query.get("allowWatchBookmarks") == "true")
        for version, kind, before, after in self._history:
            if kind == plural and version > since:
                watch.change(before, after)
        self._watches.add(watch)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            while (line := await watch.queue.get()) is not None:
                await response.write(line)
        finally:
            self._watches.discard(watch)
        if watch.brutal and request.transport is not None:
            request.transport.abort()
        return response

    def _status(self, code: int, message: str, reason: str = "") -> web.Response:
        status = {"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason}
        return web.json_response(status, status=code, headers=self.headers)


class _Watch:
    def __init__(self, plural: str, fits: Callable[[Object], bool], *, bookmarks: bool) -> None:
        self.plural = plural
        self.bookmarks = bookmarks
        self.brutal = False
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._fits = fits

    def change(self, before: Object | None, after: Object | None) -> None:
        was, fits = before is not None and self._fits(before), after is not None and self._fits(after)
        if after is not None and fits:
            self.send("MODIFIED" if was else "ADDED", after)
        elif was:
            self.send("DELETED", after or before or {})

    def send(self, kind: str, found: Object) -> None:
        self.queue.put_nowait(json.dumps({"type": kind, "object": found}).encode() + b"\n")


def _chooser(namespace: str, query: dict[str, str]) -> Callable[[Object], bool]:
    """Return what tells whether an object is in a namespace and fits selectors of the form ``a=b``."""

    def fits(found: Object) -> bool:
        meta = found["metadata"]
        if namespace and meta.get("namespace") != namespace:
            return False
        for term in filter(None, query.get("labelSelector", "").split(",")):
            name, _, value = term.partition("=")
            if meta.get("labels", {}).get(name) != value:
                return False
        for term in filter(None, query.get("fieldSelector", "").split(",")):
            path, _, value = term.partition("=")
            at: Any = found
            for part in path.split("."):
                at = at.get(part, {})
            if at != value:
                return False
        return True

    return fits
