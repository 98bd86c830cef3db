"""Where the programs are that Headrace is compared with, and what to do without them.

`make peers` unpacks them. A person without them sees the tests skipped, with the command that brings
them; the CI fails instead, because a comparison that silently never runs proves nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NEEDED = ("prometheus", "promtool", "victoria-metrics", "vmagent", "prometheus-node-exporter")


def directory() -> Path:
    """Return the folder of the programs: ``$HEADRACE_PEERS/bin``, else ``~/.cache/headrace-peers/bin``."""
    root = os.environ.get("HEADRACE_PEERS")
    return (Path(root) if root else Path.home() / ".cache" / "headrace-peers") / "bin"


def missing(folder: Path) -> list[str]:
    """Return the names of those programs that `folder` does not hold, in the order of NEEDED."""
    return [name for name in NEEDED if not os.access(folder / name, os.X_OK)]


def require() -> Path:
    """Return the folder of the programs, or end the test: skipped for a person, failed in the CI."""
    folder = directory()
    absent = missing(folder)
    if not absent:
        return folder
    reason = f"{folder} lacks {', '.join(absent)}: `make peers` brings them"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
