"""The daemon takes what the operating system allows."""

from __future__ import annotations

import resource
import subprocess
import sys

from headrace.cli.limits import raise_open_files

_CODE = """
import resource
from headrace.cli.limits import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
raise_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_open_files_are_raised() -> None:
    """From the soft limit to the hard one."""
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["300", "300"]


def test_a_limit_that_is_there_already_stays() -> None:
    """Twice is as good as once."""
    raise_open_files()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
