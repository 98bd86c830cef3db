"""What ``headrace convert`` does; imported when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.convert import prometheus, vmagent
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import load_files
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.cli.convert.result import Converted

_BAD_CONFIG = 2


def from_prometheus(path: str, data_dir: str) -> int:
    """Print the equivalent of a prometheus.yml; return the exit code."""
    return _print(lambda: prometheus.convert(path, data_dir))


def from_vmagent(arguments: Sequence[str]) -> int:
    """Print the equivalent of vmagent's flags; return the exit code."""
    return _print(lambda: vmagent.convert(arguments))


def _print(convert: Callable[[], Converted]) -> int:
    try:
        made = convert()
        text = made.text()
        click.echo(text, nl=False)
        load_files([f"yaml:{text}"], ComponentRegistry())
    except ConfigFaults as error:
        for fault in error.faults:
            click.echo(f"not supported: {fault.key}: {fault.why}", err=True)
        return _BAD_CONFIG
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    for line in made.missing:
        click.echo(f"not carried over: {line}", err=True)
    return 0
