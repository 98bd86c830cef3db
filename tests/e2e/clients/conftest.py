"""The two servers that all clients here are pointed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from running import Programs
from two_servers import TwoServers, start_two_servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def servers(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoServers]:
    """Headrace and Prometheus with the same series."""
    folder = tmp_path_factory.mktemp("servers")
    with Programs(folder) as programs:
        yield start_two_servers(programs, folder, peers)
