"""The commands of ``headrace plugin``."""

from __future__ import annotations

import sys

import click


@click.group()
def plugin() -> None:
    """Write components of your own."""


@plugin.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["receiver", "processor", "exporter", "extension"]),
    default="processor",
    show_default=True,
    help="What the component is.",
)
@click.option("--directory", default=".", show_default=True, metavar="DIR", help="Where the folder NAME is made.")
def new(name: str, kind: str, directory: str) -> None:
    """Make an installable package with a component that works, its tests and an example configuration."""
    from headrace.cli.plugin_work import make_package
    from headrace.pipeline.errors import ConfigError

    try:
        made = make_package(name, kind, directory)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    for path in made:
        click.echo(str(path))
