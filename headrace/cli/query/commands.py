"""The commands alone; their work is in `work`, which is imported when one of them runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SERVER = "http://127.0.0.1:9009"
_DECORATORS = (
    click.option(
        "-u", "--url", "server", default=_SERVER, show_default=True, envvar="HEADRACE_QUERY_URL", metavar="URL",
        help="Server, with the path before /api/v1; or give it as the first argument.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the answer's data as JSON."),
    click.option("--timeout", default="2m", show_default=True, metavar="DURATION", help="Wait no longer than this."),
    click.option(
        "--headers-file", envvar="HEADRACE_QUERY_HEADERS_FILE", metavar="FILE",
        help="Headers to send, lines like `Name: value`.",
    ),
    click.option("--username", envvar="HEADRACE_QUERY_USERNAME", metavar="NAME", help="For basic authentication."),
    click.option(
        "--password-file", envvar="HEADRACE_QUERY_PASSWORD_FILE", metavar="FILE",
        help="Its password; or put that into HEADRACE_QUERY_PASSWORD.",
    ),
    click.option(
        "--bearer-token-file", envvar="HEADRACE_QUERY_BEARER_TOKEN_FILE", metavar="FILE",
        help="Bearer token; or put it into HEADRACE_QUERY_BEARER_TOKEN.",
    ),
    click.option("--ca-file", envvar="HEADRACE_QUERY_CA_FILE", metavar="FILE", help="Authorities to trust for HTTPS."),
)  # fmt: skip
_TIMES = "RFC 3339, Unix seconds, now, or -1h."


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that ask a server."""
    for decorate in reversed(_DECORATORS):
        command = decorate(command)
    return command


def _window(command: Callable[..., Any]) -> Callable[..., Any]:
    end = click.option("--end", metavar="TIME", help=f"End; by default now. {_TIMES}")(command)
    return click.option("--start", metavar="TIME", help=f"Start. {_TIMES}")(end)


def _run(work: str, arguments: Sequence[str], least: int, most: int, options: dict[str, Any]) -> None:
    """Do `work` with `least` to `most` arguments after the server's URL, if that is given."""
    given = list(arguments)
    if given and given[0].startswith(("http://", "https://")):
        options["server"] = given.pop(0)
    if not least <= len(given) <= most:
        what = f"{least}" if least == most else f"{least} to {most}"
        raise click.UsageError(f"expected {what} argument{'' if most == 1 else 's'} besides the URL, got {len(given)}")
    from headrace.cli.query import work as works

    sys.exit(works.run(getattr(works, work), given, options))


@click.group()
def query() -> None:
    """Ask a server that speaks Prometheus' HTTP API."""


@query.command()
@click.argument("arguments", nargs=-1, metavar="[URL] EXPRESSION")
@click.option("--time", "at", metavar="TIME", help=f"When; by default now. {_TIMES}")
@asking
def instant(arguments: Sequence[str], **options: Any) -> None:
    """Evaluate an expression at one time."""
    _run("instant", arguments, 1, 1, options)


@query.command(name="range")
@click.argument("arguments", nargs=-1, metavar="[URL] EXPRESSION")
@_window
@click.option("--step", metavar="DURATION", help="By default a 250th of the time, at least 1s.")
@click.option("--plot", is_flag=True, help="Draw a plot.")
@asking
def range_(arguments: Sequence[str], **options: Any) -> None:
    """Evaluate an expression at steps, by default over the last hour."""
    _run("over_range", arguments, 1, 1, options)


@query.command()
@click.argument("arguments", nargs=-1, metavar="[URL] [SELECTOR]...")
@click.option("--match", "selectors", multiple=True, metavar="SELECTOR", help="Which; may be repeated.")
@_window
@click.option("--limit", type=int, default=0, metavar="N", help="No more than this.")
@asking
def series(arguments: Sequence[str], **options: Any) -> None:
    """List the series that selectors match."""
    _run("series", arguments, 0, 1000, options)


@query.command()
@click.argument("arguments", nargs=-1, metavar="[URL] [NAME]")
@click.option("--match", "selectors", multiple=True, metavar="SELECTOR", help="Of these series; may be repeated.")
@_window
@click.option("--limit", type=int, default=0, metavar="N", help="No more than this.")
@asking
def labels(arguments: Sequence[str], **options: Any) -> None:
    """List the names of labels, or the values of one."""
    _run("labels", arguments, 0, 1, options)


@query.command()
@click.argument("arguments", nargs=-1, metavar="[URL] [METRIC]")
@click.option("--limit", type=int, default=0, metavar="N", help="No more metrics than this.")
@asking
def metadata(arguments: Sequence[str], **options: Any) -> None:
    """List types, units and help texts of metrics, or of one."""
    _run("metadata", arguments, 0, 1, options)
