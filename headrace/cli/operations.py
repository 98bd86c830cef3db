"""Commands around a running daemon and its configuration."""

from __future__ import annotations

import sys

import click

url_option = click.option(
    "--url", default="http://localhost:8888", show_default=True, help="Where the daemon serves its own metrics."
)
header_option = click.option(
    "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Header to send along, such as credentials."
)


@click.command()
@click.argument("edges", nargs=-1, metavar="[EDGE]...")
@click.option("--list", "list_edges", is_flag=True, help="List the edges and end.")
@click.option("--match", default="", metavar="SELECTOR", help='Only these series, such as http_requests{code=~"5.."}.')
@click.option("--limit", type=click.IntRange(1), help="Samples in a second at most; 1000 by default.")
@click.option("--count", type=click.IntRange(0), default=0, help="End after so many samples.")
@click.option("--for", "lasts", default="", metavar="DURATION", help="End after so long, such as 30s.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one sample a line.")
@click.option("--record", metavar="FILE", help="Write whole batches, of what receivers send by default, for plan.")
@url_option
@header_option
def tap(url: str, **options: object) -> None:
    """Show live samples of a running daemon.

    EDGE is a name of `--list`, in which * stands for any text; without one all edges are shown.
    """
    from headrace.cli.tap import show

    sys.exit(show(url, options))


@click.command()
@click.option(
    "--against",
    multiple=True,
    required=True,
    metavar="FILE",
    help="The configuration in question; may be repeated, later ones lie over earlier ones.",
)
@click.option(
    "--config",
    "files",
    multiple=True,
    metavar="FILE",
    help="The present configuration, to compare with; without it, with what was received.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One setting over those of --against.")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="Python file that defines components.")
@click.option(
    "--traffic",
    metavar="FILE",
    help="A recording of `headrace tap --record`, or a file of a file exporter; without it, what passes by now.",
)
@click.option("--receiver", default="", metavar="ID", help="Whom the requests of a file came to that does not say.")
@click.option("--for", "lasts", default="30s", show_default=True, metavar="DURATION", help="How long to listen.")
@click.option("--metrics", "most", type=click.IntRange(0), default=20, show_default=True, help="Metrics to name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@url_option
@header_option
def plan(**options: object) -> None:
    """Show what another configuration would make of traffic: series and samples kept, renamed, dropped, added.

    Processors and connectors run in memory, on recorded traffic or on what a running daemon receives. Nothing is
    scraped, sent, stored or saved.
    """
    from headrace.cli.plan.work import plan

    sys.exit(plan(options))


@click.group()
def convert() -> None:
    """Print the equivalent of another program's configuration, and what could not be carried over.

    The exit code is 0 where there is an equivalent, and 2 where the input is wrong, whether or not that part could be
    carried over, or where the result does not load; the reasons are told. A wrong command line is 2 as well.
    """


@convert.command("prometheus")
@click.argument("file", metavar="PROMETHEUS.YML")
@click.option("--store", "data_dir", default="", metavar="DIR", help="Also keep the samples in a store there.")
def convert_prometheus(file: str, data_dir: str) -> None:
    """Convert a prometheus.yml: jobs, remote_write, retention."""
    from headrace.cli.convert.work import from_prometheus

    sys.exit(from_prometheus(file, data_dir))


@convert.command("vmagent", context_settings={"ignore_unknown_options": True})
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="-- [FLAG]...")
def convert_vmagent(flags: tuple[str, ...]) -> None:
    """Convert the flags of a vmagent, written after two dashes."""
    from headrace.cli.convert.work import from_vmagent

    sys.exit(from_vmagent(flags))
