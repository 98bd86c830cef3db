"""``headrace tsdb``, in this process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import main
from headrace.store.lock import DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_700_000_000


def tsdb(*args: object) -> Result:
    return CliRunner().invoke(main, ["tsdb", *map(str, args)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [f'up{{i="{i}"}} {k} {T0 + 60 * k}' for i in range(2) for k in range(200)]
    (tmp_path / "in.om").write_text("\n".join(["# TYPE up gauge", *lines, "# EOF", ""]))
    result = tsdb("import", "openmetrics", tmp_path / "in.om", "--data", tmp_path / "data", "--label", "zone=z")
    assert result.exit_code == 0
    assert result.stderr == "400 samples read, 400 written into 2 blocks\n"
    return tmp_path / "data"


def test_import_again_does_nothing(data: Path) -> None:
    """And says so, unless it is to be quiet."""
    command = ("import", "openmetrics", data.parent / "in.om", "--data", data, "--label", "zone=z")
    assert "imported before; nothing is done" in tsdb(*command).stderr
    assert tsdb(*command, "--quiet").output == ""


def test_list(data: Path) -> None:
    """As a table and as JSON."""
    table = tsdb("list", "--data", data).stdout.splitlines()
    assert table[0].split() == ["workspace", "block", "from", "to", "series", "samples", "chunks", "bytes", "level"]
    assert table[1].startswith("default        1  2023-11-14 22:13:20  2023-11-14 23:59:20")
    rows = json.loads(tsdb("list", "--data", data, "--json").stdout)
    assert sum(row["samples"] for row in rows) == 400
    assert {row["series"] for row in rows} == {2}


def test_analyze(data: Path) -> None:
    """All blocks, or some."""
    result = json.loads(tsdb("analyze", "--data", data, "--json").stdout)
    assert result["series"] == 2
    assert result["pairs"][:2] == [["__name__=up", 2], ["zone=z", 2]]
    assert "Label pairs by series:\n" in tsdb("analyze", "--data", data, "--block", 2).stdout
    missing = tsdb("analyze", "--data", data, "--block", 77)
    assert (missing.exit_code, missing.stderr) == (1, "workspace default: there is no block 77\n")


def test_dump(data: Path) -> None:
    """What matches, in a time."""
    some = ("dump", "--data", data, "--match", 'up{i="1"}', "--min-time", T0, "--max-time", T0 + 60)
    assert tsdb(*some).stdout == (
        f'{{__name__="up", i="1", zone="z"}} 0 {T0}000\n{{__name__="up", i="1", zone="z"}} 1 {T0 + 60}000\n'
    )
    assert tsdb(*some, "--format", "openmetrics").stdout == (
        f'up{{i="1",zone="z"}} 0 {T0}.000\nup{{i="1",zone="z"}} 1 {T0 + 60}.000\n# EOF\n'
    )


def test_verify_and_repair(data: Path) -> None:
    """Exit code 1 for damage; after a repair only notes are left."""
    assert tsdb("verify", "--data", data).stdout == "all is well\n"
    block = data / "workspaces" / "default" / "00000002.block"
    block.write_bytes(block.read_bytes()[:-1])
    result = tsdb("verify", "--data", data)
    assert result.exit_code == 1
    assert f"damaged: {block}: no block, or cut short\n1 damaged\n" == result.stdout
    assert json.loads(tsdb("verify", "--data", data, "--json").stdout)[0]["serious"]
    assert "is set aside\nnothing is changed" in tsdb("repair", "--data", data, "--dry-run").stdout
    assert "is set aside\n" in tsdb("repair", "--data", data).stdout
    after = tsdb("verify", "--data", data)
    assert after.exit_code == 0
    assert "note: " in after.stdout
    assert tsdb("repair", "--data", data).stdout == "there is nothing to do\n"


def test_snapshot(data: Path) -> None:
    """A directory with the same blocks."""
    made = tsdb("snapshot", "--data", data).stdout.strip()
    assert made.startswith(f"{data}/snapshots/")
    assert tsdb("list", "--data", made).stdout == tsdb("list", "--data", data).stdout


def test_writing_commands_need_the_directory_for_themselves(data: Path) -> None:
    """Reading ones do not."""
    lock = DirectoryLock(data)
    source = data.parent / "in.om"
    for command in (("import", "openmetrics", source), ("repair",), ("snapshot",), ("import", "prometheus", data)):
        result = tsdb(*command, "--data", data)
        assert result.exit_code == 1
        assert f"data directory {data} is in use by process" in result.stderr
    for name in ("list", "analyze", "dump", "verify"):
        assert tsdb(name, "--data", data).exit_code == 0
    lock.release()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        pytest.param(("--label", "zone"), "--label: must be NAME=VALUE, got 'zone'", id="label"),
        pytest.param(
            ("--max-block-duration", "3h"), "--max-block-duration: must be a multiple of 2h, got 3h", id="odd"
        ),
        pytest.param(("--max-block-duration", "x"), '--max-block-duration: cannot parse "x"', id="no-duration"),
    ],
)
def test_bad_options_are_named(data: Path, options: tuple[str, ...], why: str) -> None:
    """With the value, and exit code 2."""
    result = tsdb("import", "openmetrics", data.parent / "in.om", "--data", data, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(why)


def test_bad_selectors_and_times_are_named(data: Path) -> None:
    """With the text of the parser."""
    result = tsdb("dump", "--data", data, "--match", "{")
    assert (result.exit_code, result.stderr.startswith("--match: '{': ")) == (2, True)
    result = tsdb("dump", "--data", data, "--min-time", "soon")
    assert (result.exit_code, result.stderr) == (2, '--min-time: cannot parse "soon" to a valid timestamp\n')


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A directory that is none of ours, a bad line, and no blocks."""
    assert tsdb("list", "--data", tmp_path).stderr == (
        f"{tmp_path}: is no data directory, there is no directory workspaces in it\n"
    )
    (tmp_path / "in.om").write_text("up 1\n# EOF\n")
    result = tsdb("import", "openmetrics", tmp_path / "in.om", "--data", tmp_path / "data")
    assert (result.exit_code, result.stderr) == (
        1, f"{tmp_path}/in.om: line 1: the sample has no timestamp: 'up 1'\n"
    )  # fmt: skip
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "00000000").write_bytes(b"x")
    result = tsdb("import", "prometheus", tmp_path, "--data", tmp_path / "data")
    assert "is not imported" in result.stderr
    assert "there are no blocks of Prometheus" in result.stderr
