"""The chain of the audit log holds over restarts and rotation, and shows every alteration."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from headrace.store.access.audit import FIRST, AuditLog, BrokenChain, files, read, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(directory: Path, count: int, **options: int) -> None:
    log = AuditLog(directory, **options)
    log.open()
    for n in range(count):
        log.append({"eventName": "RemoteWrite", "n": n, "text": "ü\n"})
    log.close()


def test_lines_are_json_in_a_chain(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (path,) = files(tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["n"] for line in lines] == [0, 1, 2]
    assert [line["previousHash"] for line in lines] == [FIRST, lines[0]["hash"], lines[1]["hash"]]
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify(tmp_path) == (1, 3, lines[2]["hash"], True)


def test_restarts_and_rotation_go_on_in_the_same_chain(tmp_path: Path) -> None:
    for _ in range(4):
        write(tmp_path, 10, max_bytes=900)
    assert verify(tmp_path).lines == 40
    assert verify(tmp_path).files > 4
    assert [record["n"] for record in read(tmp_path)] == [*range(10)] * 4


def test_old_files_are_removed_and_the_rest_still_verifies(tmp_path: Path) -> None:
    write(tmp_path, 40, max_bytes=900, max_files=3)
    found = verify(tmp_path)
    assert found.files == 3
    assert not found.oldest_complete


def test_a_line_cut_off_by_a_crash_is_dropped_and_the_chain_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    with pytest.raises(BrokenChain, match=":4: the line is cut off"):
        verify(tmp_path)
    log = AuditLog(tmp_path)
    log.open()
    assert log.torn_bytes == 50
    log.append({"eventName": "Next"})
    log.close()
    assert verify(tmp_path).lines == 4


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda lines: [lines[0], lines[2]], ":2: follows the line with hash"),
        (lambda lines: [lines[1], lines[2]], ":1: follows the line with hash"),
        (lambda lines: [lines[1], lines[0], lines[2]], ":1: follows the line with hash"),
        (lambda lines: lines[:2], "lines are missing at the end"),
        (lambda _: [], "lines are missing at the end"),
        (lambda lines: [*lines, b'{"a":1}\n'], ":4: is no line of an audit log"),
        (lambda lines: [lines[0].replace(b'"n":0', b'"n":1'), *lines[1:]], ":1: the line was altered"),
    ],
)  # fmt: skip
def test_removed_and_exchanged_lines(tmp_path: Path, edit: Callable[[list[bytes]], list[bytes]], text: str) -> None:
    write(tmp_path, 3)
    (path,) = files(tmp_path)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(BrokenChain, match=text):
        verify(tmp_path)


@pytest.mark.fuzz
def test_one_altered_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    write(tmp_path, 12, max_bytes=1000)
    found = files(tmp_path)
    dice = random.Random(3)
    for _ in range(int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))):
        path = dice.choice([path for path in found if path.stat().st_size])
        data = path.read_bytes()
        at = dice.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :])
        with pytest.raises(BrokenChain):
            verify(tmp_path)
        path.write_bytes(data)
    assert verify(tmp_path).lines == 12


def test_an_empty_log(tmp_path: Path) -> None:
    assert verify(tmp_path) == (0, 0, FIRST, False)
    write(tmp_path, 0)
    assert verify(tmp_path).lines == 0
