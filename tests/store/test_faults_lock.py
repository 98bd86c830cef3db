"""Two daemons on one data directory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import Locked
from headrace.store.lock import DirectoryLock
from running import HEADRACE, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs


@pytest.mark.slow
def test_the_second_daemon_ends(programs: Programs, tmp_path: Path) -> None:
    """With exit code 1 and a message that names directory and process; the first one is not disturbed."""
    data = tmp_path / "data"

    def command(port: int) -> list[str | Path]:
        return [HEADRACE, "serve", "--data-dir", data, "--listen", f"127.0.0.1:{port}"]

    port = free_port()
    first = programs.start("first", command(port))
    first.wait_http(f"http://127.0.0.1:{port}/-/ready", 120)
    second = programs.start("second", command(free_port()))
    assert second.wait_exit(120) == 1
    assert f"data directory {data} is in use by process {first.pid}" in second.log_text()
    first.wait_http(f"http://127.0.0.1:{port}/-/ready", 10)
    assert first.stop() == 0


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    """A file that is left says nothing; a holder that is there is named."""
    (tmp_path / "lock").write_text("12345\n")
    held = DirectoryLock(tmp_path)
    with pytest.raises(Locked, match=rf"data directory {tmp_path} is in use by process {os.getpid()}"):
        DirectoryLock(tmp_path)
    held.release()
    held.release()
    DirectoryLock(tmp_path).release()


def test_a_full_disk_does_not_keep_a_daemon_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock, only its name is not in the file."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    held = DirectoryLock(tmp_path)
    monkeypatch.undo()
    with pytest.raises(Locked, match="is in use by process unknown"):
        DirectoryLock(tmp_path)
    held.release()
