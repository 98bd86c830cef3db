"""The endpoints about the text of expressions: laying it out, and its tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.store.api import params
from headrace.store.api.envelope import encode
from headrace.store.api.errors import invalid_parameter
from headrace.store.api.reply import Reply
from headrace.store.promql.errors import ParseError
from headrace.store.promql.language.ast_json import as_json
from headrace.store.promql.language.parser import parse
from headrace.store.promql.language.printer import pretty

if TYPE_CHECKING:
    from headrace.pipeline.http.request import Request
    from headrace.store.promql.language.ast import Expr
    from headrace.store.promql.language.parser import ParserOptions


class LanguageApi:
    """Handlers.

    Args:
        language: Which parts of PromQL are on.
    """

    def __init__(self, language: ParserOptions) -> None:
        self._language = language

    async def format_query(self, request: Request) -> Reply:
        """Return an expression laid out on lines."""
        return Reply(encode(pretty(await self._parsed(request))))

    async def parse_query(self, request: Request) -> Reply:
        """Return the tree of an expression."""
        return Reply(encode(_ordered(as_json(await self._parsed(request)))))

    async def _parsed(self, request: Request) -> Expr:
        form = await request.form()
        try:
            return parse(params.go_text(form.get("query")), self._language)
        except ParseError as error:
            raise invalid_parameter("query", str(error)) from None


def _ordered(tree: Any) -> Any:
    """Return a tree whose members stand in order of their names, as Go writes maps."""
    if isinstance(tree, dict):
        return {name: _ordered(tree[name]) for name in sorted(tree)}
    return [_ordered(one) for one in tree] if isinstance(tree, list) else tree
