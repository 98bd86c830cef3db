"""The harness of `bench.collectors` taken apart: its entries, its targets and its sink, for other measurements."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.compare_stores import free_port
from bench.scrape_stand import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HARNESS = Path(__file__).parents[2] / "shared" / "bench" / "collectors"
ENTRIES = Path(__file__).with_name("collectors.json")

_READY = 15
"""Number of the counter that is set once a part is ready."""


def known_entries(harness: Path) -> dict[str, Any]:
    """Return our entry, and those of the harness whose programs are there."""
    sys.path.insert(0, str(harness.resolve()))
    return {**json.loads(ENTRIES.read_text()), **importlib.import_module("peers").ENTRIES}


class Scenario:
    """A scenario of an entry with its templates filled in.

    Args:
        spec: The scenario.
        folder: For its files.
        values: More variables of the templates.
    """

    def __init__(self, spec: Mapping[str, Any], folder: Path, values: Mapping[str, str]) -> None:
        ports = {name: str(free_port()) for name in ("HTTP", "GRPC", "ADMIN")}
        self.values = {"DIR": str(folder), **ports, **values}
        for name, text in spec.get("files", {}).items():
            (folder / name).write_text(self.filled(text))
        variables = [f"{name}={value}" for name, value in spec.get("env", {}).items()]
        program, *arguments = shlex.split(self.filled(spec["cmd"]))
        own = Path(sys.executable).parent / program  # the same where it has a path of its own
        self.command = ["env", *variables, str(own) if own.exists() else program, *arguments]
        self.ports = [int(self.filled(port)) for port in spec["ready"]]

    def filled(self, text: str) -> str:
        """Return a template with its variables filled in."""
        return re.sub(r"@([A-Z0-9_]+)@", lambda match: self.values[match[1]], text)

    def is_ready(self) -> bool:
        """Tell whether all its ports are open."""
        return all(map(_is_open, self.ports))


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))


class Part(Watched):
    """A program of the harness that counts what it does; ready when it is made.

    Args:
        harness: Folder.
        script: File in it.
        folder: For the counters and the log.
        arguments: Of the script, behind the file of the counters.
    """

    def __init__(self, harness: Path, script: str, folder: Path, *arguments: str) -> None:
        path = folder / f"{script}.counters"
        sys.path.insert(0, str(harness.resolve()))
        self.counters = importlib.import_module("shm").Ctr(str(path), create=True)
        command = [sys.executable, str(harness.resolve() / script), str(path), *arguments]
        super().__init__(command, folder / f"{script}.log")
        until(lambda: bool(self.counters[_READY]), self)


def until(holds: Callable[[], bool], program: Watched, timeout_s: float = 300) -> float:
    """Wait for something that a program does; return the seconds that it took.

    Raises:
        RuntimeError: It did not come, or the program ended.
    """
    began_s = time.monotonic()
    while not holds():
        if program.process.poll() is not None or time.monotonic() - began_s > timeout_s:
            raise RuntimeError(f"it did not come: {program.log.read_text(errors='replace')[-800:]}")
        time.sleep(0.005)
    return time.monotonic() - began_s
