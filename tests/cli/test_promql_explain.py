"""``headrace promql explain`` in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

START = 1_700_000_000_000


async def fill(directory: Path) -> None:
    store = Store(directory, StoreOptions(Sync.NEVER, 0, EngineOptions()), clock_ms=lambda: START + 900_000)
    store.open()
    engine = store.engine("default")
    refs = engine.refs([(("__name__", "m_total"), ("i", str(i))) for i in range(3)])
    for scrape in range(60):
        await engine.append(SeriesBatch(refs, np.full(3, START + scrape * 15_000), np.full(3, float(scrape))))
    await store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of three series."""
    asyncio.run(fill(tmp_path))
    return tmp_path


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["promql", "explain", *map(str, arguments)])


def test_a_plan_is_shown(data: Path) -> None:
    """Without times, the query is explained at the newest sample."""
    result = explain("sum(rate(m_total[5m]))", "--data", data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "sum  [pushed down: 1 batches into 1 groups]",
        "└─ rate()  [one walk of each series]",
        "   └─ m_total[5m]  [3 series, about 60 samples]",
    ]


def test_an_analysis_is_shown(data: Path) -> None:
    """Nodes say what they took, over the range that is asked for."""
    times = ("--start", START / 1000, "--end", START / 1000 + 600, "--step", "1m")
    result = explain("sum(m_total)", "--data", data, "--analyze", *times)
    assert result.exit_code == 0
    assert " ms: 1 series, 33 samples looked at, 99 bytes]" in result.stdout


def test_faults_have_their_exit_codes(data: Path) -> None:
    """Wrong options are 2, what cannot be explained is 1."""
    assert explain("m_total", "--data", data, "--time", "yesterday").exit_code == 2
    assert explain("m_total", "--data", data, "--workspace", "none").exit_code == 1
    result = explain("sum(", "--data", data)
    assert result.exit_code == 1
    assert result.stderr.endswith("^\n")
