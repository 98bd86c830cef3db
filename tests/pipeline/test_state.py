"""Files of stateful processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import StoreFailed
from headrace.pipeline.state import StateDirectory

if TYPE_CHECKING:
    from pathlib import Path


def test_save_and_load(tmp_path: Path) -> None:
    """The last one counts; names may hold what file names may not."""
    state = StateDirectory(tmp_path / "state")
    assert state.load("metrics/a.cardinality_limit/x") is None
    state.save("metrics/a.cardinality_limit/x", b"one")
    state.save("metrics/a.cardinality_limit/x", b"two")
    assert state.load("metrics/a.cardinality_limit/x") == b"two"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["metrics_a.cardinality_limit_x.state"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="file"):
        StateDirectory(tmp_path / "file").save("x", b"")
