"""Errors of PromQL, in Prometheus' words."""

from __future__ import annotations

from headrace.pipeline.errors import QueryError


class ParseError(QueryError):
    """The text of a query is not PromQL.

    Args:
        query: The whole text.
        position: Character offset of the fault.
        why: What is wrong.
    """

    def __init__(self, query: str, position: int, why: str) -> None:
        self.position = position
        self.why = why
        super().__init__(f"{place(query, position)}: parse error: {why}")


class InvalidDuration(ParseError):  # noqa: N818 -- named for the condition
    """A computed duration cannot be one, which shows only when the times of the query are known.

    Args:
        query: The whole text.
        start: Character offset of the expression.
        end: One past it.
        why: What is wrong.
    """

    def __init__(self, query: str, start: int, end: int, why: str) -> None:
        super().__init__(query, start, why)
        # Prometheus gives offsets in bytes here, not line and column.
        begin, stop = (len(query[:at].encode("utf-8", "surrogateescape")) if query else at for at in (start, end))
        self.args = (f"{begin}:{stop}: {why}",)


class ExecutionError(QueryError):
    """A query is PromQL but cannot be evaluated on this data."""


class QueryTimeout(ExecutionError):  # noqa: N818 -- named for the condition
    """A query took longer than it may."""


class QueryCanceled(ExecutionError):  # noqa: N818 -- named for the condition
    """Whoever asked went away."""


def place(query: str, position: int) -> str:
    """Return ``line:column`` of a character offset; columns count bytes, both from 1."""
    if not query:
        return "unknown position"
    before = query[:position]
    line = before.count("\n") + 1
    column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogateescape")) + 1
    return f"{line}:{column}"
