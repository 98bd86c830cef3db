"""``headrace tsdb``: the commands alone; their work is in `tsdb_work`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_data_option = click.option(
    "--data", "data", required=True, metavar="DIR", help="Data directory: the store exporter's `directory`."
)
_workspace_option = click.option("--workspace", default="default", show_default=True, metavar="ID", help="Workspace.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress, no summary.")


def _run(work: str, **options: Any) -> None:
    from headrace.cli import tsdb_work

    sys.exit(tsdb_work.run(getattr(tsdb_work, work), options))


def _importing(command: Callable[..., Any]) -> Callable[..., Any]:
    return _data_option(_workspace_option(_quiet_option(command)))


@click.group()
def tsdb() -> None:
    """Look after a data directory: history, blocks, snapshots."""


@tsdb.group("import")
def import_() -> None:
    """Write history straight into blocks. The daemon must not run; an import that was cut off goes on where it was."""


@import_.command("openmetrics")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@_importing
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Give all series this label.")
@click.option(
    "--format", "form", type=click.Choice(["openmetrics", "text"]), default="openmetrics", show_default=True,
    help="OpenMetrics (seconds, ends with # EOF), or Prometheus' text format (milliseconds).",
)  # fmt: skip
@click.option(
    "--max-block-duration", default="2h", show_default=True, metavar="2h",
    help="Time that a block covers: 2h, or a multiple; small blocks are merged later by themselves.",
)  # fmt: skip
def import_openmetrics(**options: Any) -> None:
    """Import a file of samples with timestamps, of any size."""
    _run("import_openmetrics", **options)


@import_.command("prometheus")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@_importing
def import_prometheus(**options: Any) -> None:
    """Import the blocks of a Prometheus: its data directory, a snapshot, or one block.

    What is in no block yet, in wal and chunks_head, is not imported: make a snapshot first.
    """
    _run("import_prometheus", **options)


@tsdb.command("list")
@_data_option
@_json_option
def list_(**options: Any) -> None:
    """List the blocks of all workspaces."""
    _run("list_blocks", **options)


@tsdb.command()
@_data_option
@_workspace_option
@click.option("--block", "numbers", multiple=True, type=int, metavar="N", help="Only this block; may be repeated.")
@click.option("--limit", default=20, show_default=True, help="Entries of each list.")
@_json_option
def analyze(**options: Any) -> None:
    """Tell what blocks are made of: sizes, cardinality, churn."""
    _run("analyze", **options)


@tsdb.command()
@_data_option
@_workspace_option
@click.option("--match", "matches", multiple=True, metavar="SELECTOR", help="Only these series; may be repeated.")
@click.option("--min-time", default="", metavar="TIME", help="First time: seconds since 1970, or RFC 3339.")
@click.option("--max-time", default="", metavar="TIME", help="Last time.")
@click.option("--format", "form", type=click.Choice(["text", "openmetrics"]), default="text", show_default=True)
def dump(**options: Any) -> None:
    """Print the samples of blocks."""
    _run("dump", **options)


@tsdb.command()
@_data_option
@_json_option
def verify(**options: Any) -> None:
    """Read everything and tell what is damaged; exits with 1 where anything is."""
    _run("verify", **options)


@tsdb.command()
@_data_option
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option(
    "--salvage", is_flag=True,
    help="Write what still decodes of a damaged block into a new one; no checksum covers it, values may err.",
)  # fmt: skip
def repair(**options: Any) -> None:
    """Set damaged blocks aside and remove what writes that were cut off have left. The daemon must not run."""
    _run("repair", **options)


@tsdb.command()
@_data_option
def snapshot(**options: Any) -> None:
    """Make a snapshot and print where. The daemon must not run; a running one makes it by its API."""
    _run("snapshot", **options)
