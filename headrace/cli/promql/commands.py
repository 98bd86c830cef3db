"""The commands alone; their work is in `work`, which is imported when one of them runs."""

from __future__ import annotations

import sys

import click

from headrace.cli.query.commands import asking


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


@promql.command()
@click.argument("query")
@click.option("--data", metavar="DIRECTORY", help="Data directory of a daemon that is stopped, instead of a server.")
@click.option("--workspace", default="default", show_default=True, metavar="ID", help="Which one, with --data.")
@click.option("--time", "at", metavar="TIME", help="When; by default now, with --data at the newest sample.")
@click.option("--start", metavar="TIME", help="Evaluate at steps from here; RFC 3339, Unix seconds, now or -1h.")
@click.option("--end", metavar="TIME", help="Up to here; by default as --time.")
@click.option("--step", default="15s", show_default=True, metavar="DURATION", help="Between steps.")
@click.option("--analyze", is_flag=True, help="Evaluate it, and say what each part took.")
@asking
def explain(query: str, **options: str) -> None:
    """Show how a server evaluates an expression: what is pushed down, how many series and samples that reads."""
    from headrace.cli.promql import plans

    sys.exit(plans.explain(query, options))
