"""Make packages of components from templates."""

from __future__ import annotations

import re
from importlib import metadata, resources
from pathlib import Path
from string import Template

from headrace.pipeline.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_SETTINGS = {
    "receiver": "interval: 1s",
    "processor": "value: lake",
    "exporter": "path: points.txt",
    "extension": "path: pid",
}
"""What the example configuration sets, by kind."""


def make_package(name: str, kind: str, directory: str) -> list[Path]:
    """Write a package for a new component.

    Args:
        name: Of the folder and the project, in small letters; the component's type has underscores for dashes.
        kind: ``receiver``, ``processor``, ``exporter`` or ``extension``.
        directory: Where the folder is made.

    Returns:
        The files that were written.

    Raises:
        ConfigError: The name cannot be one, or the folder cannot be made.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(name, "must be small letters and digits, in words joined by a dash")
    type_ = name.replace("-", "_")
    if type_ == "headrace" or type_ in _taken():
        raise ConfigError(name, "is the name of a package that Headrace needs")
    root = Path(directory) / name
    values = _values(name, type_, kind)
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "example.yaml": "example.yaml",
        f"{type_}/__init__.py": "init.py",
        f"{type_}/component.py": f"{kind}.py",
        "tests/test_component.py": f"{kind}_test.py",
    }
    try:
        root.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(str(root), f"cannot be made: {error.strerror}") from None
    return [_write(root / path, template, values) for path, template in files.items()]


def _taken() -> set[str]:
    """Return the modules of packages that are installed: one of that name would hide them."""
    return set(metadata.packages_distributions())


def _values(project: str, type_: str, kind: str) -> dict[str, str]:
    """Return what templates are filled with."""
    own = f"{type_}: {{{_SETTINGS[kind]}}}"
    named = {one: type_ if one == kind else "" for one in _SETTINGS}
    bodies = {one: own if one == kind else "" for one in _SETTINGS}
    return {
        "project": project,
        "package": type_,
        "type": type_,
        "kind": kind,
        "name": "".join(word.capitalize() for word in type_.split("_")),
        "version": metadata.version("headrace"),
        "receivers": bodies["receiver"] or "hostmetrics: {scrapers: {load: }}",
        "processors": bodies["processor"],
        "exporters": bodies["exporter"] or "debug: {verbosity: normal}",
        "extensions": bodies["extension"],
        "running": named["extension"],
        "from": named["receiver"] or "hostmetrics",
        "through": named["processor"],
        "to": named["exporter"] or "debug",
    }


def _write(path: Path, template: str, values: dict[str, str]) -> Path:
    text = (resources.files("headrace.cli") / "plugin_templates" / f"{template}.txt").read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(values))
    return path
