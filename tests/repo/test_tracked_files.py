"""What is committed works on any machine: no file names a place of one, or a package registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Taken apart, since this file is tracked as well.
PLACES = (
    r"(?<![\w.~-])/(?:work|root|Users)/",
    r"(?<![\w.~-])/home/[a-z]+/",
    r"\bpy" + r"pi\.org",
    r"pythonhosted" + r"\.org",
    r"(?:deb|security|ftp|snapshot)\.deb" + r"ian\.org",
    r"registry\.npm" + r"js\.org",
    r"index-url|find-links",
)
UNFINISHED = r"\b(?:TO" + r"DO|FIX" + r"ME|TB" + r"D)\b"


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: a source distribution has no list of tracked files")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def hits(pattern: str) -> list[str]:
    """Return the places, as file:line, of all text matching `pattern` in tracked files."""
    compiled = re.compile(pattern)
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        lines = data.decode(errors="replace").splitlines()
        found += [f"{path.relative_to(ROOT)}:{n}: {line}" for n, line in enumerate(lines, 1) if compiled.search(line)]
    return found


@pytest.mark.parametrize("pattern", PLACES)
def test_no_file_names_a_machine_or_a_registry(pattern: str) -> None:
    """Paths of one machine and hosts of package registries appear in no tracked file."""
    own = "tests/repo/test_tracked_files.py:"
    found = [hit for hit in hits(pattern) if not hit.startswith(own)]
    assert not found, "\n".join(found)


def test_no_file_is_left_unfinished() -> None:
    """No tracked file holds a note to come back to it."""
    found = hits(UNFINISHED)
    assert not found, "\n".join(found)


def test_changelog_fragments_are_named_for_their_issue_and_kind() -> None:
    """Every fragment is called ISSUE.KIND.md, as changes/README.md says, and says something."""
    for path in (ROOT / "changes").glob("*"):
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"\d+(-[a-z0-9-]+)?\.(feature|change|fix|removal|security)\.md", path.name), path.name
        assert path.read_text().strip(), f"{path.name} is empty"


def test_every_decision_has_a_number_of_its_own() -> None:
    """Each record in docs/adr is called NNNN-title.md, and no two share a number."""
    names = [path.name for path in (ROOT / "docs" / "adr").glob("*.md") if path.name != "README.md"]
    assert names
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name) for name in names), names
    assert len({name[:4] for name in names}) == len(names), sorted(names)
