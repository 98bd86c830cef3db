"""Target groups in files: read, followed, and kept where a file breaks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery.file import FileDiscovery, FileSdConfig, parse_groups

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", '[{"targets": ["a:1"], "labels": {"x": "y"}}]'), ("a.yml", "- targets: [a:1]\n  labels: {x: y}\n"),
     ("a.yaml", '- {"targets": ["a:1"], "labels": {"x": "y"}}')],
)  # fmt: skip
def test_files_are_json_or_yaml(name: str, text: str) -> None:
    """By their name."""
    [group] = parse_groups(name, text)
    assert (group.targets, group.labels) == (("a:1",), {"x": "y"})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.json", "{", "Expecting"),
        ("a.yml", "a: [", "not YAML"),
        ("a.yml", "a: b", "no list of target groups"),
        ("a.json", '[{"targets": ["a:1"]}, {"target": []}]', "target group 2: target"),
        ("a.json", '[{"targets": ["http://a/"]}]', "target group 1: targets: .*valid hostname"),
        ("a.json", "[null]", "target group 1"),
        ("a.json", "[" * 100_000, "recursion|Expecting|not"),
    ],
)
def test_files_that_are_refused(name: str, text: str, why: str) -> None:
    """Group and field are named."""
    with pytest.raises(ValueError, match=why):
        parse_groups(name, text)


def discovery(lab: DiscoveryLab, *files: str) -> FileDiscovery:
    return FileDiscovery(lab.settings, FileSdConfig(files=files))


def write(path: Path, *targets: str) -> None:
    """Replace a file as a careful writer does."""
    spare = path.with_suffix(".new")
    spare.write_text(json.dumps([{"targets": [target]} for target in targets]))
    spare.replace(path)


async def test_files_come_change_and_go(lab: DiscoveryLab, tmp_path: Path) -> None:
    """A look finds what is different; unchanged files are not read again."""
    found = discovery(lab, f"{tmp_path}/t*.json")
    assert not found.refresh()
    write(tmp_path / "t1.json", "a:1")
    lab.publish(found.refresh())
    write(tmp_path / "t2.json", "b:1")
    lab.publish(found.refresh())
    assert lab.targets()[1] == {"__address__": "b:1", "__meta_filepath": f"{tmp_path}/t2.json"}
    assert not found.refresh()
    write(tmp_path / "t1.json", "c:1", "d:1")
    lab.publish(found.refresh())
    assert lab.addresses() == ["b:1", "c:1", "d:1"]
    write(tmp_path / "t1.json", "c:1")
    lab.publish(found.refresh())
    assert lab.addresses() == ["b:1", "c:1"]
    (tmp_path / "t2.json").unlink()
    lab.publish(found.refresh())
    assert lab.addresses() == ["c:1"]


async def test_a_file_cannot_claim_to_be_another(lab: DiscoveryLab, tmp_path: Path) -> None:
    """The label with the path is ours."""
    path = tmp_path / "t.json"
    path.write_text('[{"targets": ["a:1"], "labels": {"__meta_filepath": "x"}}]')
    lab.publish(discovery(lab, str(path)).refresh())
    assert lab.targets()[0]["__meta_filepath"] == str(path)


async def test_a_broken_file_keeps_its_targets(
    lab: DiscoveryLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted each time, and told once a fault, with the file and the reason."""
    path = tmp_path / "t.json"
    found = discovery(lab, str(path))
    write(path, "a:1")
    lab.publish(found.refresh())
    path.write_text("{")
    lab.publish(found.refresh())
    lab.publish(found.refresh(everything=True))
    assert lab.addresses() == ["a:1"]
    assert lab.failures("file") == 2
    assert caplog.text.count(str(path)) == 1
    path.write_bytes(b"\xff\xfe")
    lab.publish(found.refresh())
    assert lab.failures("file") == 3
    write(path, "b:1")
    lab.publish(found.refresh())
    assert lab.addresses() == ["b:1"]


async def test_a_change_that_stat_does_not_show_is_found_in_time(lab: DiscoveryLab, tmp_path: Path) -> None:
    """Everything is read again at the refresh interval."""
    path = tmp_path / "t.json"
    found = discovery(lab, str(path))
    path.write_text('[{"targets": ["a:1"]}]')
    stamp = path.stat()
    lab.publish(found.refresh())
    path.write_text('[{"targets": ["b:1"]}]')
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert not found.refresh()
    lab.publish(found.refresh(everything=True))
    assert lab.addresses() == ["b:1"]


async def test_files_are_watched(lab: DiscoveryLab, tmp_path: Path) -> None:
    """What is written is published by itself."""
    path = tmp_path / "t.json"
    found = FileDiscovery(lab.settings, FileSdConfig.model_validate({"files": [str(path)], "refresh_interval": "10ms"}))
    async with lab.running(found):
        await lab.until(lambda: lab.published > 1, "it looks")
        write(path, "a:1")
        await lab.until(lambda: lab.addresses() == ["a:1"], "the target is published")
