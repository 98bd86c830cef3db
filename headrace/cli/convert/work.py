"""What ``headrace convert`` does; imported when it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from headrace.cli.convert import prometheus, vmagent
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution
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


class _Environment(dict[str, str]):
    """The variables there are here; others will be set where the configuration is used."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "set elsewhere"

    def get(self, name: str, default: object = None) -> str:
        del default
        return self[name]


def _print(convert: Callable[[], Converted]) -> int:
    try:
        made = convert()
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    text = made.text()
    click.echo(text, nl=False)
    for line in made.missing:
        click.echo(f"not carried over: {line}", err=True)
    return _load(text)


def _load(text: str) -> int:
    """Return the exit code of a configuration that was made; where it does not load, the reasons are told."""
    try:
        load_files([f"yaml:{text}"], ComponentRegistry(), substitution=Substitution(_Environment(os.environ)))
    except ConfigFaults as error:
        for fault in error.faults:
            click.echo(f"not supported: {fault.key}: {fault.why}", err=True)
        return _BAD_CONFIG
    except ConfigError as error:
        click.echo(str(error), err=True)
        return _BAD_CONFIG
    return 0
