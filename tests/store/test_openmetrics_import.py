"""Importing files: everything arrives once, in blocks, however often the import is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.kernels.jit import DISABLED
from headrace.pipeline.errors import InvalidInput, Locked, StoreFailed
from headrace.store.backfill import Backfill
from headrace.store.files import Files
from headrace.store.inspection import check_block
from headrace.store.matchers import Matcher, MatchType
from headrace.store.openmetrics_import import ImportOptions, import_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.store.openmetrics_import import FileImport

ALL = (Matcher("__name__", MatchType.REGEX, ".+"),)
T0 = 1_700_000_000
MANIFEST = "workspaces/default/manifest.json"
PROMETHEUS_NAN = 0x7FF8000000000001
Contents = dict[tuple[tuple[str, str], ...], list[tuple[int, int]]]


def page(series: int = 9, samples: int = 400, step_s: int = 60) -> tuple[str, Contents]:
    """A file series by series, and what is in it."""
    rng = np.random.default_rng(5)
    lines = ["# HELP m_seconds Time.", "# TYPE m_seconds counter"]
    contents: Contents = {}
    for i in range(series):
        labels = (("__name__", "m_seconds_total"), ("host", f"h{i}"), ("job", 'a"b\\c'))
        rows = []
        for k in range(samples):
            value = float(rng.integers(0, 1000)) / 8
            rows.append(((T0 + step_s * k) * 1000 + 250, int(np.float64(value).view(np.uint64))))
            lines.append(f'm_seconds_total{{job="a\\"b\\\\c",host="h{i}"}} {value} {T0 + step_s * k}.25')
        contents[labels] = rows
    lines += ["# TYPE q summary", f'q{{quantile="0.50"}} NaN {T0}', "# EOF", ""]
    contents[(("__name__", "q"), ("quantile", "0.5"))] = [(T0 * 1000, PROMETHEUS_NAN)]
    return "\n".join(lines), contents


def contents_of(backfill: Backfill) -> Contents:
    found = backfill.engine.select(ALL, -(1 << 60), 1 << 60)
    out = {}
    for i in range(len(found)):
        a, b = int(found.offsets[i]), int(found.offsets[i + 1])
        values = found.values[a:b].view(np.uint64).tolist()
        out[tuple(found.labels.labels(i).items())] = list(zip(found.times_ms[a:b].tolist(), values, strict=True))
    return out


def small(**options: Any) -> ImportOptions:
    """Many pieces, many frames, several ranges of refs a window."""
    return ImportOptions(**{"piece_bytes": 3000, "samples_at_once": 150, **options})


def imported(directory: Path, text: str, options: ImportOptions | None = None) -> tuple[Contents, FileImport]:
    directory.mkdir(exist_ok=True)
    (directory / "in.om").write_text(text)
    with Backfill(directory / "data", "default") as backfill:
        result = import_file(directory / "in.om", backfill, options or small())
        assert {check_block(block) for block in backfill.engine.blocks} == {""}
        return contents_of(backfill), result


@pytest.mark.parametrize("options", [small(), ImportOptions(), small(window_ms=12 * 3600 * 1000)], ids=str)
def test_everything_arrives(tmp_path: Path, options: ImportOptions) -> None:
    """Bit by bit, in one block a window, and again after the directory is opened anew."""
    text, contents = page()
    found, result = imported(tmp_path, text, options)
    assert found == contents
    assert result.samples == result.written == sum(map(len, contents.values()))
    windows = {t // options.window_ms for rows in contents.values() for t, _ in rows}
    assert result.blocks == len(windows) > 0
    assert not (tmp_path / "data" / "imports").exists() or not list((tmp_path / "data" / "imports").iterdir())
    again, result = imported(tmp_path, text, options)
    assert again == contents
    assert result.known
    assert result.blocks == 0


def test_prometheus_text_has_milliseconds(tmp_path: Path) -> None:
    """And needs no end."""
    found, _ = imported(tmp_path, f"up 1 {T0}123\nup 2 {T0}124\n", small(openmetrics=False))
    assert [t for t, _ in found[(("__name__", "up"),)]] == [T0 * 1000 + 123, T0 * 1000 + 124]


def test_labels_take_the_place_of_labels(tmp_path: Path) -> None:
    """An empty value removes one."""
    text = f'up{{job="a",host="x"}} 1 {T0}\n# EOF\n'
    found, _ = imported(tmp_path, text, small(labels={"host": "", "job": "b", "zone": "z"}))
    assert set(found) == {(("__name__", "up"), ("job", "b"), ("zone", "z"))}


def test_of_repeats_the_first_counts(tmp_path: Path) -> None:
    """Within the file; and what a block has already stands as well."""
    lines = [f"up 5 {T0}", f"up 6 {T0}", f"up 1 {T0 - 30}", "# EOF", ""]
    found, result = imported(tmp_path, "\n".join(lines))
    five, one = (int(np.float64(v).view(np.uint64)) for v in (5, 1))
    assert found == {(("__name__", "up"),): [((T0 - 30) * 1000, one), (T0 * 1000, five)]}
    assert (result.samples, result.written) == (3, 2)
    found, _ = imported(tmp_path, f"up 7 {T0}\nup 1 {T0 + 1}\n# EOF\n")
    assert found[(("__name__", "up"),)][1:] == [(T0 * 1000, five), ((T0 + 1) * 1000, one)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("m_seconds_total x 5", "line 2000: the value is not a number: 'm_seconds_total x 5'", id="value"),
        pytest.param("up 1", "line 2000: the sample has no timestamp: 'up 1'", id="time"),
        pytest.param('up{a="b",a="c"} 1 5', "line 2000: a label name occurs twice", id="labels"),
        pytest.param("# EOF", "line 2001: something follows # EOF", id="end"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_in_force(tmp_path: Path, line: str, why: str) -> None:
    """By its number in the file, though the file is read in pieces."""
    lines = page()[0].split("\n")
    lines.insert(1999, line)
    (tmp_path / "in.om").write_text("\n".join(lines))
    with Backfill(tmp_path / "data", "default") as backfill:
        with pytest.raises(InvalidInput, match=why):
            import_file(tmp_path / "in.om", backfill, small())
        assert contents_of(backfill) == {}


def test_a_file_that_was_mended_is_imported(tmp_path: Path) -> None:
    """The error's traces do not disturb it."""
    text, contents = page()
    with pytest.raises(InvalidInput, match="does not end with # EOF"):
        imported(tmp_path, text.removesuffix("# EOF\n"))
    assert imported(tmp_path, text)[0] == contents


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    """With the process that has it."""
    with Backfill(tmp_path, "default"), pytest.raises(Locked, match=str(os.getpid())):
        Backfill(tmp_path, "default")


def test_little_disk_stops_it_and_it_goes_on(tmp_path: Path) -> None:
    """Before the disk is full."""
    text, contents = page()
    (tmp_path / "in.om").write_text(text)
    full = Backfill(tmp_path / "data", "default", min_free_bytes=1 << 62)
    with full, pytest.raises(StoreFailed, match="bytes of disk are free"):
        import_file(tmp_path / "in.om", full, small())
    assert imported(tmp_path, text)[0] == contents


class Killed(BaseException):
    """Stands for the end of the process."""


class FilesUntil(Files):
    """Files that do nothing any more after so many operations."""

    def __init__(self, operations: int) -> None:
        self.left = operations

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def write(self, fd: int, data: Any) -> None:
        self._count()
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._count()
        super().sync(fd)

    def replace(self, source: Path, target: Path) -> None:
        self._count()
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        self._count()
        super().remove(path)


def test_cut_off_at_any_operation_it_goes_on(tmp_path: Path) -> None:
    """The process ends before each of its operations on files in turn, again and again, and the data are right."""
    text, contents = page(series=4, samples=200, step_s=120)
    (tmp_path / "in.om").write_text(text)
    data = tmp_path / "data"
    ends = 0
    for operations in range(20, 4000, 7):
        try:
            backfill = Backfill(data, "default", files=FilesUntil(operations))
        except Killed:
            continue
        try:
            result = import_file(tmp_path / "in.om", backfill, small())
        except Killed:
            ends += 1
            # What a process that ended would not have done either.
            backfill.engine.close()
            release(backfill)
            continue
        assert result.resumed
        assert contents_of(backfill) == contents
        break
    assert ends > 5
    release(backfill)
    with Backfill(data, "default") as backfill:
        assert contents_of(backfill) == contents
        assert import_file(tmp_path / "in.om", backfill, small()).known


def release(backfill: Backfill) -> None:
    backfill.files.left = 1 << 30  # type: ignore[attr-defined]
    backfill.close()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(lambda data: list(data.glob("imports/*/state.json")), id="reading"),
        pytest.param(lambda data: list(data.glob("workspaces/default/*.block")), id="writing"),
        pytest.param(
            lambda data: [p for p in data.glob(MANIFEST) if b'"blocks": [1' in p.read_bytes()], id="committed"
        ),
    ],
)
def test_kill_9(tmp_path: Path, moment: Callable[[Path], list[Path]]) -> None:
    """The command is killed while it reads, while it writes, and after its first blocks; the next run ends it."""
    text, contents = page(series=20, samples=150 if DISABLED else 8_000)
    (tmp_path / "in.om").write_text(text)
    windows = {t // 7_200_000 for rows in contents.values() for t, _ in rows}
    resumed = False
    for attempt in range(8):  # It may be done by the time the signal comes.
        data = tmp_path / f"data-{attempt}"
        kill_import(tmp_path / "in.om", data, moment)
        with Backfill(data, "default") as backfill:
            result = import_file(tmp_path / "in.om", backfill, ImportOptions())
            assert contents_of(backfill) == contents
            assert [check_block(block) for block in backfill.engine.blocks] == [""] * len(backfill.engine.blocks)
        assert len(windows) == len(list(data.glob("workspaces/default/*.block")))
        assert result.resumed != result.known
        resumed |= result.resumed
        if resumed:
            break
    assert resumed, "it was never killed in time"


def kill_import(page: Path, data: Path, moment: Callable[[Path], list[Path]]) -> None:
    """Import in another process, and kill it as soon as `moment` finds something in its directory."""
    program = "from headrace.cli.main import main; main()"
    arguments = ["tsdb", "import", "openmetrics", str(page), "--data", str(data)]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not moment(data) and process.poll() is None:
        assert time.monotonic() < deadline
    process.kill()
    assert process.wait() in {0, -signal.SIGKILL}
