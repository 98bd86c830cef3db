"""The walk through adding a processor in CONTRIBUTING.md works as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Puts the example where it would be, had it been added to the package.
CONFTEST = """
import importlib.util, pathlib, sys
name = "headrace.processors.future_guard"
spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name("future_guard.py"))
module = sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""


def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    """The processor of the walk passes the contract and the cases that stand beside it."""
    module, test = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "future_guard.py").write_text(module)
    (tmp_path / "test_future_guard.py").write_text(test)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b([89]|\d\d) passed", done.stdout), done.stdout
