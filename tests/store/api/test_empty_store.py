"""A store without samples: every endpoint answers as an empty Prometheus does, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from twins import Twins, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

PATHS = [
    "/query?query=up",
    "/query?query=up[5m]",
    "/query?query=1&time=5",
    "/query?query=1&time=1.5",
    "/query?query='a'&time=0",
    "/query?query=vector(1)&time=5",
    "/query?query=absent(up)&time=5",
    "/query?query=sum(up)",
    "/query_range?query=up&start=0&end=1&step=1",
    "/query_range?query=1&start=0&end=1&step=0.5",
    "/query_range?query=vector(time())&start=0&end=1&step=0.5",
    "/query_exemplars?query=up",
    "/query_exemplars?query=1",
    "/format_query?query=sum+by(a)(b)",
    "/parse_query?query=1",
    "/parse_query?query=-(1+%2B+2)",
    "/parse_query?query=time()",
    "/series?match[]=up",
    "/series?match[]=up&match[]=down&limit=1",
    "/labels",
    "/labels?match[]=up",
    "/label/job/values",
    "/label/U__a_2e_b/values",
    "/label/job/values?match[]=up&match[]=down",
    "/metadata",
    "/metadata?metric=up",
    "/targets",
    "/targets?state=active",
    "/targets?state=dropped",
    "/targets?state=x",
    "/targets/metadata",
    "/scrape_pools",
    "/rules",
    "/alerts",
    "/alertmanagers",
    "/notifications",
    "/status/walreplay",
    "/status/tsdb",
]


@pytest.fixture(scope="module")
def twins(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with Twins(tmp_path_factory.mktemp("empty"), peers) as twins:
        yield twins


@pytest.mark.parametrize("path", PATHS)
def test_answers_are_equal(twins: Twins, path: str) -> None:
    """Status, type and body."""
    ours, theirs = (ask(f"{url}/api/v1{path}") for url in (twins.ours, twins.theirs))

    assert (ours.status, ours.headers.get("Content-Type")) == (theirs.status, theirs.headers.get("Content-Type"))
    assert ours.body == theirs.body
