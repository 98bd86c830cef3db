"""What all tests share; helpers live in ``tests/support`` and are imported by module name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

import peer_programs
from conformance_counts import ConformanceCounts
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator

hypothesis.settings.register_profile(
    # The first example of a test compiles kernels, and plain Python is a hundred times slower.
    "headrace",
    deadline=None,
    max_examples=20 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 100,
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("headrace")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the project's own options."""
    parser.addoption("--conformance-json", metavar="FILE", help="write the counts of published suites to FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Count the conformance cases; in a run by xdist only its controller writes them."""
    output = config.getoption("--conformance-json")
    writes = output and not hasattr(config, "workerinput")
    config.pluginmanager.register(ConformanceCounts(Path(output) if writes else None))


@pytest.fixture(scope="session")
def peers() -> Path:
    """The folder of the programs that `make peers` unpacks; the test is skipped, in the CI failed, without."""
    return peer_programs.require()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Start programs that end with the test; their logs are in its `tmp_path`."""
    with Programs(tmp_path) as running:
        yield running
