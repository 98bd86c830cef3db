"""docs/lab.md does what it says: its commands are run as they stand, and what it shows is what comes.

Ports are replaced by free ones, and scrapes happen every second instead of every fifteen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.kernels import cache
from running import free_port

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lab.md"
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = ("9009", "8000", "8001", "9090", "9100")
MARK = "@@ block"


def blocks() -> list[tuple[str, list[str]]]:
    """Return the commands, each with the lines that have to be in what they print."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "bash":
            found.append((text, []))
        else:
            found[-1][1].extend(line.rstrip() for line in text.splitlines() if line.strip())
    return found


def test_the_page(tmp_path: Path, peers: Path) -> None:
    ports = {port: str(free_port()) for port in PORTS}

    def moved(text: str) -> str:
        for port, free in ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){port}\b|(?<=--port ){port}\b", free, text)
        return text.replace("scrape_interval: 15s", "scrape_interval: 1s")

    (tmp_path / "configs").mkdir()
    quiet = "service:\n  telemetry: {metrics: {level: none}}\n"
    config = moved((ROOT / "configs" / "lab.yaml").read_text()).replace("service:\n", quiet)
    (tmp_path / "configs" / "lab.yaml").write_text(config)
    steps = blocks()
    script = "\n".join(f'printf "\\n{MARK} {n}\\n"\n{moved(commands)}' for n, (commands, _) in enumerate(steps))
    path = f"{Path(sys.executable).parent}:{peers}:{os.environ['PATH']}"
    compiled = str(cache.directory().parent)  # not to compile everything again for another HOME
    env = {**os.environ, "PATH": path, "HOME": str(tmp_path), "AWS_PAGER": "", "NUMBA_CACHE_DIR": compiled}
    # Its own session, so that whatever a failure leaves behind ends with it.
    wrapped = f"trap 'for f in lab/*.pid; do kill $(cat $f) 2>/dev/null; done' EXIT\n{script}"
    done = subprocess.run(
        ["bash", "-c", wrapped], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    outputs = dict(enumerate(re.split(rf"^{MARK} \d+\n", done.stdout, flags=re.MULTILINE)[1:]))
    print(done.stdout)  # noqa: T201 -- what a run with -s shows
    for n, (commands, expected) in enumerate(steps):
        for line in expected:
            shown = f"block {n}:\n{commands}\nprinted:\n{outputs.get(n, 'nothing')}\n{done.stderr[-3000:]}"
            assert line in outputs.get(n, ""), f"{line!r} is not in what it prints, {shown}"
    assert len(steps) == len(outputs)
