"""What the commands of ``headrace promql`` do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.promql.pointing import pointed
from headrace.store.promql.errors import ParseError, place
from headrace.store.promql.language.ast import Aggregate, MatrixSelector
from headrace.store.promql.language.ast_json import as_json as tree_json
from headrace.store.promql.language.parser import ALL_FEATURES, parse
from headrace.store.promql.language.printer import brief, pretty, printed

if TYPE_CHECKING:
    from headrace.store.promql.language.ast import Expr

_FAILED = 1
_BRANCH, _LAST, _LINE, _SPACE = "├─ ", "└─ ", "│  ", "   "


def format_source(source: str, *, one_line: bool, check: bool) -> int:
    """Print an expression in normal form; return the exit code."""
    text = _read(source)
    expr = _parsed(text)
    if expr is None:
        return _FAILED
    wanted = printed(expr) if one_line else pretty(expr)
    if check:
        return 0 if text.strip("\n") == wanted else _FAILED
    click.echo(wanted)
    return 0


def show_tree(source: str, *, as_json: bool) -> int:
    """Print the tree of an expression; return the exit code."""
    expr = _parsed(_read(source))
    if expr is None:
        return _FAILED
    if as_json:
        json.dump(tree_json(expr), sys.stdout, indent=2, ensure_ascii=False)
        click.echo()
    else:
        click.echo("\n".join(_tree(expr, "", "")))
    return 0


def _tree(expr: Expr, first: str, others: str) -> list[str]:
    lines = [f"{first}{brief(expr)}  ({type(expr).__name__}, {expr.type})"]
    children = _children(expr)
    for i, child in enumerate(children):
        last = i == len(children) - 1
        lines += _tree(child, others + (_LAST if last else _BRANCH), others + (_SPACE if last else _LINE))
    return lines


def _children(expr: Expr) -> list[Expr]:
    """Return what stands below `expr`, in the order of the text; a range is shown with its selector."""
    if isinstance(expr, MatrixSelector):
        return []
    children = list(expr.children())
    return children[::-1] if isinstance(expr, Aggregate) else children


def _read(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    path = Path(source)
    try:
        return path.read_text() if path.is_file() else source
    except OSError:  # too long for the name of a file
        return source


def _parsed(text: str) -> Expr | None:
    try:
        return parse(text, ALL_FEATURES)
    except ParseError as error:
        click.echo(str(error), err=True)
        if text:
            click.echo(pointed(text, place(text, error.position)), err=True)
        return None
