"""The commands alone; their work is in `work`, which is imported when one of them runs."""

from __future__ import annotations

import sys

import click


@click.group()
def promql() -> None:
    """Format and take apart PromQL, without a server."""


@promql.command()
@click.argument("source", default="-", metavar="[FILE|-|QUERY]")
@click.option("--one-line", is_flag=True, help="Keep everything on one line.")
@click.option("--check", is_flag=True, help="Print nothing; exit with 1 unless the text is formatted already.")
def fmt(source: str, *, one_line: bool, check: bool) -> None:
    """Format an expression: a file's, standard input's, or the argument itself."""
    from headrace.cli.promql import work

    sys.exit(work.format_source(source, one_line=one_line, check=check))


@promql.command()
@click.argument("source", default="-", metavar="[FILE|-|QUERY]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as /api/v1/parse_query gives it.")
def parse(source: str, *, as_json: bool) -> None:
    """Show the tree of an expression, with the type that each part yields."""
    from headrace.cli.promql import work

    sys.exit(work.show_tree(source, as_json=as_json))
