"""Where node and the packages of a test are, and what to do without them; the rule is that of `peer_programs`."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def require(folder: Path) -> str:
    """Return the command of node, or end the test: skipped for a person, failed in the CI.

    Args:
        folder: Has the package.json whose packages `make npm` installs.
    """
    node = shutil.which("node")
    if node and (folder / "node_modules").is_dir():
        return node
    reason = f"{folder} has no node_modules: `make npm` brings them" if node else "node is missing"
    reason += "; it needs node 18 or newer, and npm (on Debian: sudo apt-get install nodejs npm)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
