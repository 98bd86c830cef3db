"""``/query_exemplars``: the exemplars of all series that an expression selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.api.envelope import encode
from headrace.store.api.errors import ApiError
from headrace.store.api.results import format_time, format_value
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.ast import VectorSelector, walk
from headrace.store.promql.language.parser import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.store.api.backend import Exemplar, SeriesIndex
    from headrace.store.api.ticket import Ticket
    from headrace.store.matchers import Matcher


def selectors_of(query: str) -> list[Sequence[Matcher]]:
    """Return the selectors of an expression, without their offsets and ranges.

    Raises:
        ApiError: It does not parse.
    """
    try:
        found = parse(query)
    except ParseError as error:
        raise ApiError("bad_data", str(error)) from None
    return [node.matchers for node in walk(found) if isinstance(node, VectorSelector)]


def answer(
    index: SeriesIndex, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int, ticket: Ticket
) -> bytes:
    """Return, as JSON, what any of the selectors selects; series ascend by their labels."""
    found: dict[tuple[tuple[str, str], ...], Sequence[Exemplar]] = {}
    for matchers in selectors:
        ticket.check()
        for labels, own in index.exemplars(matchers, start_ms, end_ms):
            found[tuple(sorted(labels.items()))] = own
    return b"[" + b",".join(_series(dict(key), found[key], ticket) for key in sorted(found)) + b"]"


def _series(labels: Mapping[str, str], own: Sequence[Exemplar], ticket: Ticket) -> bytes:
    ticket.check()
    rows = (
        b'{"labels":' + encode(dict(one.labels))
        + f',"value":"{format_value(one.value)}","timestamp":{format_time(one.time_ms)}}}'.encode("ascii")
        for one in own
    )  # fmt: skip
    return b'{"seriesLabels":' + encode(labels) + b',"exemplars":[' + b",".join(rows) + b"]}"
