"""The endpoints about series, labels and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.api import params
from headrace.store.api.answering import parsed
from headrace.store.api.envelope import encode, encode_texts
from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.json_writer import label_pieces
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply
from headrace.store.api.selectors import unescape_name, union

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering
    from headrace.store.api.pool import QueryPool
    from headrace.store.api.ticket import Ticket
    from headrace.store.labels import LabelTable
    from headrace.store.matchers import Matcher

_TRUNCATED = "results truncated due to limit"


class SeriesApi:
    """Handlers.

    Args:
        answering: Finds the workspace and parses ``match[]``.
        pool: Threads to look things up on.
    """

    def __init__(self, answering: Answering, pool: QueryPool) -> None:
        self._answering = answering
        self._pool = pool

    async def series(self, request: Request) -> Reply:
        """Return the label sets that any of ``match[]`` selects."""
        form = parsed(await request.form())
        backend = self._answering.backend(request)
        if not form.all("match[]"):
            raise ApiError("bad_data", "no match[] parameter provided")
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)
        try:
            selectors = self._answering.selectors(form)
        except ApiError as error:
            raise invalid_parameter("match[]", error.message) from None

        def find(ticket: Ticket) -> tuple[bytes, bool]:
            tables = []
            for matchers in selectors:
                ticket.check()
                tables.append(backend.index.series(matchers, start_ms, end_ms))
            return _series_json(tables, limit, ticket)

        data, cut = await self._pool.run(find, request)
        return Reply(data, [_TRUNCATED] if cut else [])

    async def labels(self, request: Request) -> Reply:
        """Return label names."""
        form = await request.form()
        backend = self._answering.backend(request)
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)

        def names(matchers: Sequence[Matcher]) -> Sequence[str]:
            return backend.index.label_names(matchers, start_ms, end_ms)

        return await self._strings(request, form, limit, names)

    async def label_values(self, request: Request) -> Reply:
        """Return the values of a label."""
        form = await request.form()
        backend = self._answering.backend(request)
        name = unescape_name(request.params["name"])
        if not name or any("\ud800" <= char <= "\udfff" for char in name):
            raise ApiError("bad_data", f"invalid label name: {go_quote(name)}")
        limit = params.limit_parameter(form)
        start_ms, end_ms = params.window_parameters(form)

        def values(matchers: Sequence[Matcher]) -> Sequence[str]:
            return backend.index.label_values(name, matchers, start_ms, end_ms)

        return await self._strings(request, form, limit, values)

    async def _strings(
        self, request: Request, form: Form, limit: int, ask: Callable[[Sequence[Matcher]], Sequence[str]]
    ) -> Reply:
        """Answer with what `ask` returns for each selector, or for none at all."""
        selectors = self._answering.selectors(form) or [()]

        def find(ticket: Ticket) -> list[str]:
            lists = []
            for matchers in selectors:
                ticket.check()
                lists.append(ask(matchers))
            return union(lists)

        found = await self._pool.run(find, request)
        cut = 0 < limit < len(found)
        return Reply(encode_texts(found[:limit] if cut else found), [_TRUNCATED] if cut else [])

    async def metadata(self, request: Request) -> Reply:
        """Return types, helps and units of metric families."""
        form = await request.form()
        backend = self._answering.backend(request)
        limit = params.number_parameter(form, "limit", -1)
        limit_per_metric = params.number_parameter(form, "limit_per_metric", -1)
        metric = form.get("metric")
        known = await self._pool.run(lambda _ticket: backend.index.metadata(), request)
        families = [metric] if metric and metric in known else ([] if metric else sorted(known))
        if limit >= 0:
            families = families[:limit]
        entries = {family: list(known[family]) for family in families}
        if limit_per_metric > 0:
            entries = {family: found[:limit_per_metric] for family, found in entries.items()}
        return Reply(encode(entries))


def _series_json(tables: Sequence[LabelTable], limit: int, ticket: Ticket) -> tuple[bytes, bool]:
    """Write label sets, sorted and without repeats; return also whether `limit` cut some.

    Args:
        tables: Each without repeats.
        limit: Most label sets; 0 for all.
        ticket: Asked now and then.
    """
    if len(tables) == 1:
        order = tables[0].order()
        cut = 0 < limit < len(order)
        return b"".join(label_pieces(tables[0].take(order[:limit] if cut else order))), cut
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for table in tables:
        for row in range(len(table)):
            if not row & 0xFFF:
                ticket.check()
            found[tuple(table.labels(row).items())] = None
    ordered = sorted(found)
    cut = 0 < limit < len(ordered)
    return encode([dict(labels) for labels in (ordered[:limit] if cut else ordered)]), cut
