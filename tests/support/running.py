"""Programs that a test starts on loopback, waits for and ends.

Every program is ended through its own process object, never by name, and its output goes into a file
that an error quotes. Use the `programs` fixture, or `Programs` itself in a fixture of wider scope::

    def test_ready(programs: Programs) -> None:
        port = free_port()
        daemon = programs.start("headrace", [HEADRACE, "run", "--config", config])
        daemon.wait_http(f"http://127.0.0.1:{port}/-/ready")
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

HEADRACE = Path(sys.executable).with_name("headrace")
"""The command of the environment that the tests run in."""

LOG_TAIL_BYTES = 4000

# Below the range that outgoing connections draw from, so that none of them takes a port in between.
_PORTS = range(10_000, 32_000)
_random = random.Random()
_issued: set[int] = set()


class NotReady(AssertionError):  # noqa: N818 -- named for the condition
    """A program ended early or did not answer in time; the text quotes the end of its log."""


def free_port() -> int:
    """Return a TCP port that nothing listens on at 127.0.0.1 and that this process was not given before."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _issued:
            _issued.add(port)
            return port


def wait_until(check: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Return once `check()` holds.

    Raises:
        NotReady: It still does not after `timeout_s`; `what` says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)


class Program:
    """One running program.

    Args:
        name: What errors call it.
        command: The program and its arguments.
        log: File that takes its standard output and error, appended.
        env: Variables on top of this process' own.
        cwd: Its working folder.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self.process.pid

    def wait_http(self, url: str, timeout_s: float = 60.0) -> None:
        """Return once a GET of `url` answers 200.

        Raises:
            NotReady: The program ended, or gave no such answer within `timeout_s`.
        """
        self.wait_until(lambda: _answers(url), f"GET {url} answers 200", timeout_s)

    def wait_log(self, text: str, timeout_s: float = 60.0) -> None:
        """Return once the log holds `text`, under the conditions of `wait_http`."""
        self.wait_until(lambda: text in self.log_text(), f"log says {text!r}", timeout_s)

    def wait_until(self, check: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Return once `check()` holds, under the conditions of `wait_http`."""

        def holds() -> bool:
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            return check()

        try:
            wait_until(holds, f"{self.name}: {what}", timeout_s)
        except NotReady as error:
            if self.process.returncode is not None:
                raise
            raise NotReady(f"{error}\n{self.log_tail()}") from None

    def wait_exit(self, timeout_s: float = 30.0) -> int:
        """Return the exit code (negative: the signal) of a program that ends by itself.

        Raises:
            subprocess.TimeoutExpired: It does not within `timeout_s`.
        """
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = 20.0) -> int:
        """Ask the program to end (SIGTERM) and return its exit code; safe to call again.

        Raises:
            NotReady: It had to be killed after `timeout_s`.
        """
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NotReady(f"{self.name} ignored SIGTERM for {timeout_s:g} s:\n{self.log_tail()}") from None

    def kill(self) -> None:
        """End the program at once (SIGKILL), as a power cut would."""
        self.process.kill()
        self.process.wait()

    def log_text(self) -> str:
        """Return everything the program has written so far."""
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        """Return the end of the log, for an error message."""
        return self.log_text()[-LOG_TAIL_BYTES:]


class Programs:
    """The programs of one test or fixture; leaving the context kills those still running.

    Args:
        folder: Where the logs go, one a program.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Program] = []

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Program:
        """Start `command`; it is not waited for."""
        log = self._folder / f"{name}-{len(self._started)}.log"
        program = Program(name, command, log, env=env, cwd=cwd)
        self._started.append(program)
        return program

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The newest first: what was started later usually sends to what was started earlier.
        for program in reversed(self._started):
            if program.process.poll() is None:
                program.kill()


def _answers(url: str) -> bool:
    try:
        # Straight to loopback, whatever proxy the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
