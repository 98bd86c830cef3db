"""The administrative part of the API: deleting series, removing what was deleted from disk, snapshots.

For the default workspace and by the methods POST and PUT, as in Prometheus. Off unless it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headrace.store.api import params
from headrace.store.api.answering import parsed
from headrace.store.api.envelope import encode
from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.store.matchers import Matcher

METHODS = ("POST", "PUT")


class StoreAdmin(Protocol):
    """What the API asks of the store.

    Raises, from all methods:
        StoreError: It could not be done; the text goes to the client.
    """

    async def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> None:
        """Delete the samples of matching series, times from start to end inclusive."""

    async def purge(self) -> None:
        """Remove deleted samples from disk."""

    async def snapshot(self, *, with_head: bool) -> str:
        """Make a snapshot; return its name."""


class AdminApi:
    """Handlers.

    Args:
        admin: Does it; None where the administrative part is off.
        selectors: Parses the ``match[]`` of a form.
    """

    def __init__(self, admin: StoreAdmin | None, selectors: Callable[[Form], list[Sequence[Matcher]]]) -> None:
        self._admin = admin
        self._selectors = selectors

    async def delete_series(self, request: Request) -> Reply:
        """Delete what any of ``match[]`` selects, from ``start`` to ``end``."""
        admin = self._on()
        form = parsed(await request.form())
        if not form.all("match[]"):
            raise ApiError("bad_data", "no match[] parameter provided")
        start_ms = params.time_parameter(form, "start", params.MIN_TIME_NS) // params.MS
        end_ms = params.time_parameter(form, "end", params.MAX_TIME_NS) // params.MS
        try:
            selectors = self._selectors(form)
        except ApiError as error:
            raise invalid_parameter("match[]", error.message) from None
        for matchers in selectors:
            await admin.delete(matchers, start_ms, end_ms)
        return Reply()

    async def clean_tombstones(self, request: Request) -> Reply:
        """Rewrite the blocks that hold deleted samples."""
        del request
        await self._on().purge()
        return Reply()

    async def snapshot(self, request: Request) -> Reply:
        """Make a snapshot, with ``skip_head`` of what is in blocks already."""
        admin = self._on()
        form = await request.form()
        try:
            skip_head = params.boolean(form.get("skip_head"))
        except ValueError as error:
            raise invalid_parameter("skip_head", f"unable to parse boolean: {error}") from None
        return Reply(encode({"name": await admin.snapshot(with_head=not skip_head)}))

    def _on(self) -> StoreAdmin:
        if self._admin is None:
            raise ApiError("unavailable", "admin APIs disabled")
        return self._admin
