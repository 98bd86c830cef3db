"""Memory is given back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_CODE = """
from headrace.cli.memory import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

held = [bytes(2000) for _ in range(100_000)]
last = bytes(2000)
before = resident()
del held
freed = resident()
give_back()
print(before, freed, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free and can be asked for it")
def test_free_pages_below_a_used_one_are_given_back() -> None:
    """Two hundred MB are freed; what is still held above them keeps them in the process until it asks."""
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=60, check=True)
    before, freed, after = map(int, done.stdout.split())
    assert freed > before - 20
    assert after < before - 150
