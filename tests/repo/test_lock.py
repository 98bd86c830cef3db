"""The locked requirements: complete, hashed, free of any index, and explained."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]


def entries(name: str) -> list[str]:
    """Return the logical lines of a requirements file: comments dropped, continued lines joined."""
    text = re.sub(r"^\s*#.*$\n?", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def pins(name: str) -> dict[str, str]:
    """Return the locked version of each project in a requirements file."""
    locked = [Requirement(entry.split(" --hash")[0]) for entry in entries(name)]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in locked}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_entry_is_one_hashed_release(name: str) -> None:
    """Each entry names one release with its hashes, and no line is an option that would name an index."""
    for entry in entries(name):
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_daemon_and_its_tools_share_releases() -> None:
    """What `make setup` installs holds the daemon's requirements at the same releases."""
    development = pins("requirements-dev.txt")
    assert pins("requirements.txt").items() <= development.items()


@pytest.mark.parametrize(
    ("wanted", "name"),
    [(one, "requirements.txt") for one in RUNTIME] + [(one, "requirements-dev.txt") for one in DEVELOPMENT],
    ids=str,
)
def test_every_dependency_is_locked(wanted: Requirement, name: str) -> None:
    """The lock satisfies pyproject.toml; `make lock` brings it up to date."""
    version = pins(name).get(canonicalize_name(wanted.name))
    assert version is not None, f"{wanted.name} is not in {name}"
    assert wanted.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("folder", ["codemirror", "opentelemetry"])
def test_javascript_is_locked_by_hashes(folder: str) -> None:
    """Every package that tests run has its hash, and none an address that would name a registry."""
    lock = json.loads((ROOT / "tests" / "e2e" / "clients" / folder / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    for name, one in packages.items():
        assert one["integrity"].startswith("sha512-"), name
        assert "resolved" not in one, name


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md has one row for each direct dependency, and none for anything else."""
    rows = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(one.name for one in [*RUNTIME, *DEVELOPMENT])
