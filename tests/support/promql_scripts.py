"""The test scripts of PromQL: Prometheus' own, where they are at hand, and ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.testing.promql_script_reading import Case, read_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "conformance" / "promql"
SCRIPTS = {path.name: path for path in sorted(PUBLISHED.glob("*.test"))} if PUBLISHED.is_dir() else {}
OWN = {path.name: path for path in sorted((ROOT / "tests" / "promql").glob("*.test"))}


def case_parameters(scripts: Mapping[str, Path] = SCRIPTS) -> list[ParameterSet]:
    """Return the name of the script and the line of each case, for `pytest.mark.parametrize`."""
    return [
        pytest.param(name, command.line, id=f"{name}:{command.line}")
        for name, path in scripts.items()
        for command in read_script(path.read_text())
        if isinstance(command, Case)
    ]
