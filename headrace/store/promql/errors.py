"""Errors of PromQL, in Prometheus' words."""

from __future__ import annotations

from headrace.pipeline.errors import QueryError


class ParseError(QueryError):
    """The text of a query is not PromQL.

    Args:
        query: The whole text.
        position: Byte offset of the fault.
        why: What is wrong.
    """

    def __init__(self, query: str, position: int, why: str) -> None:
        self.position = position
        self.why = why
        super().__init__(f"{place(query, position)}: parse error: {why}")


class ExecutionError(QueryError):
    """A query is PromQL but cannot be evaluated on this data."""


class QueryTimeout(ExecutionError):  # noqa: N818 -- named for the condition
    """A query took longer than it may."""


class QueryCanceled(ExecutionError):  # noqa: N818 -- named for the condition
    """Whoever asked went away."""


def place(query: str, position: int) -> str:
    """Return ``line:column`` of a character offset; columns count bytes, both from 1."""
    before = query[:position]
    line = before.count("\n") + 1
    column = len(before[before.rfind("\n") + 1 :].encode()) + 1
    return f"{line}:{column}"
