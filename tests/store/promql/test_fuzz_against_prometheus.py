"""Random expressions over random series give what a real Prometheus answers: a short run of `make fuzz-promql`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from promql_fuzz.run import Job, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peer

CASES = 500


@pytest.mark.parametrize("number", range(4))
def test_nothing_differs(number: int, peers: Path) -> None:
    """Errors, labels, numbers, annotations and samples counted are equal, save for what changed on purpose."""
    report = run(Job(seed=20, number=number, cases=CASES))
    assert report.cases == CASES
    assert report.answers > CASES / 4
    assert not report.differences, "\n".join(f"{one['detail']}\n{one['script']}" for one in report.found)
