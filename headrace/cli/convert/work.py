"""What ``headrace convert`` does; imported when it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from headrace.cli.convert import prometheus, vmagent
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.faults import ConfigFaults, order
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.cli.convert.result import Converted
    from headrace.pipeline.config.faults import Fault

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
    """Print the configuration, or what is wrong; in either case also what could not be carried over."""
    made = convert()
    faults = [str(fault) for fault in sorted(set(made.faults), key=order)]
    if not faults:
        text = made.text()
        click.echo(text, nl=False)
        faults = [f"not supported: {fault.key}: {fault.why}" for fault in _refused(text)]
    for line in (*faults, *(f"not carried over: {line}" for line in made.missing)):
        click.echo(line, err=True)
    return _BAD_CONFIG if faults else 0


def _refused(text: str) -> Sequence[Fault]:
    """Return why a configuration does not load."""
    try:
        load_files([f"yaml:{text}"], ComponentRegistry(), substitution=Substitution(_Environment(os.environ)))
    except ConfigFaults as error:
        return error.faults
    return ()
