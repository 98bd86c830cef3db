"""The receiver ``otlp_json_file``: files that grow, are put aside and read again."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from file_lab import LINE, Written, message, reading
from headrace.extensions.file_storage import FileStorage, FileStorageConfig
from headrace.pipeline.errors import ConfigError, StoreFailed
from headrace.pipeline.host import Host
from headrace.pipeline.state import StateDirectory
from headrace.receivers.otlp_json_file import FACTORY as RECEIVER
from headrace.receivers.otlp_json_file import OtlpJsonFileConfig, OtlpJsonFileReceiver
from headrace.testing.batches import make_settings, rows
from headrace.testing.receivers import ReceiverContract

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_fault_does_not_end_the_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a broken pipeline did not take is offered again."""
    path = tmp_path / "in.json"
    path.write_text(json.dumps(LINE) + "\n")
    receiver, sink = reading(str(path), poll_interval="1ms")
    faults, send = [RuntimeError("broken")], sink.send

    async def faulty(batch: Any) -> Any:
        if faults:
            raise faults.pop()
        return await send(batch)

    sink.send = faulty  # type: ignore[method-assign]
    await receiver.start(Host())
    async with asyncio.timeout(5):
        while not sink.batches:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)
    await receiver.shutdown()
    assert "reading files broke" in caplog.text


async def test_a_file_that_grows(tmp_path: Path) -> None:
    """Whole requests are read once, also from a file that is put aside; one that is cut off is read anew."""
    path = tmp_path / "in.json"
    line = Written(str(tmp_path / "made"))
    await line.write(message())
    text = (tmp_path / "made").read_bytes()
    path.write_bytes(text)
    receiver, sink = reading(str(tmp_path / "in*"), start_at="end")
    await receiver.start(Host())
    await receiver.shutdown()
    await receiver.poll()
    assert sink.batches == []  # it was there at start
    with path.open("ab") as file:
        file.write(text[:100])
        file.flush()
        await receiver.poll()
        assert sink.batches == []
        file.write(text[100:])
    await receiver.poll()
    assert len(sink.batches) == 1
    path.rename(tmp_path / "in-aside.json")
    path.write_bytes(b"\n" + text + b'{"resourceMetrics": 5}\n' + text)
    await receiver.poll()
    assert len(sink.batches) == 3
    path.write_bytes(text)
    await receiver.poll()
    await receiver.poll()
    assert len(sink.batches) == 4


async def test_replay(tmp_path: Path) -> None:
    """Files may be read again and again; those that are excluded never."""
    for name in ("a.json", "b.json"):
        await Written(str(tmp_path / name)).write(message(name[0]))
    receiver, sink = reading(str(tmp_path / "*.json"), replay_file=True, exclude=(str(tmp_path / "b*"),))
    await receiver.start(Host())
    await receiver.shutdown()
    sink.batches.clear()
    for _ in range(2):
        await receiver.poll()
    assert [rows(batch)[0][0][0] for batch in sink.batches] == ["a", "a"]


async def test_a_file_that_is_no_such(tmp_path: Path) -> None:
    """Reading it ends with an error that is counted once."""
    path = tmp_path / "in"
    path.write_bytes(b"\xff" * 100)
    receiver, sink = reading(str(path), format="proto")
    host = Host()
    await receiver.start(host)
    await receiver.shutdown()
    for _ in range(2):
        await receiver.poll()
    assert sink.batches == []
    assert receiver._settings.drops.by_reason() == {"corrupt_file": 1}
    assert "cannot read" in host.statuses.of("receivers.otlp_json_file").error


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"storage": "file_storage", "replay_file": True}, "storage does not go with replay_file"),
        ({"include": []}, "include"),
        ({"delete_after_read": True}, "files are never deleted"),
        ({"encoding": "utf-16"}, "OTLP is UTF-8"),
        ({"compression": "gzip"}, "zstd: true"),
        ({"max_log_size": "1MiB"}, "fixed limit"),
        ({"multiline": {"line_start_pattern": "x"}}, "request by request"),
    ],
)
def test_settings_of_the_receiver_that_are_refused(config: dict[str, Any], why: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=why):
        OtlpJsonFileConfig.model_validate({"include": ["x"], **config})


async def poll_once(folder: Path, **config: Any) -> list[float]:
    """Read what is new, as a daemon that starts and ends; return the values."""
    receiver, sink = reading(str(folder / "in*"), storage="kept", **config)
    config_ = FileStorageConfig(directory=str(folder / "state"))
    storage = FileStorage(make_settings("file_storage", kind="extensions"), config_)
    host = Host(extensions={"kept": storage})
    await storage.start(host)
    try:
        await receiver.start(host)
    except StoreFailed:
        await storage.shutdown()
        raise
    task, receiver._task = receiver._task, None
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await receiver.poll()
    await receiver._save()
    await storage.shutdown()
    return [row[2] for batch in sink.batches for row in rows(batch)]


@pytest.mark.parametrize("start_at", ["beginning", "end"])
async def test_offsets_are_kept(tmp_path: Path, start_at: str) -> None:
    """A daemon that starts again reads what came meanwhile, also from renamed files, and new files from the start."""
    lines = []
    for value in range(1, 6):
        await Written(str(tmp_path / "made")).write(message(value=value))
        lines.append((tmp_path / "made").read_bytes())
    path = tmp_path / "in.json"
    path.write_bytes(lines[0])
    assert await poll_once(tmp_path, start_at=start_at) == ([1.0] if start_at == "beginning" else [])
    assert await poll_once(tmp_path, start_at="beginning") == []
    with path.open("ab") as file:
        file.write(lines[1])
    path.rename(tmp_path / "in-old.json")
    assert await poll_once(tmp_path, start_at=start_at) == [2.0]
    # Another file under the same inode: as long, but it begins differently.
    other = tmp_path / "in-old.json"
    with other.open("r+b") as file:
        file.write(lines[2] + lines[3] + lines[4])
    assert await poll_once(tmp_path, start_at="beginning") == [3.0, 4.0, 5.0]


async def test_offsets_that_do_not_fit(tmp_path: Path) -> None:
    """They keep the receiver from starting, and so does a storage that there is none of."""
    StateDirectory(tmp_path / "state/states").save("receivers.otlp_json_file", b'[["x"]]')
    with pytest.raises(StoreFailed, match="do not fit"):
        await poll_once(tmp_path)
    receiver, _ = reading("x", storage="gone")
    with pytest.raises(ConfigError, match="gone"):
        await receiver.start(Host())


async def test_another_file_in_its_place(tmp_path: Path) -> None:
    """One that is rewritten between two looks is read from its beginning, though it is as long as before."""
    path = tmp_path / "in.json"
    for value in (1, 2):
        await Written(str(tmp_path / f"made-{value}")).write(message(f"m{value}", value=value))
    path.write_bytes((tmp_path / "made-1").read_bytes())
    receiver, sink = reading(str(path))
    await receiver.start(Host())
    await receiver.shutdown()
    await receiver.poll()
    path.write_bytes((tmp_path / "made-2").read_bytes() * 2)
    await receiver.poll()
    assert [row[2] for batch in sink.batches for row in rows(batch)] == [1.0, 2.0, 2.0]


class TestOtlpJsonFile(ReceiverContract):
    """From a file that grows."""

    factory = RECEIVER

    def configuration(self) -> dict[str, Any]:
        return {"include": [str(self.directory / "*.json")], "poll_interval": "10ms"}

    async def provoke(self, receiver: OtlpJsonFileReceiver) -> None:
        with (self.directory / "in.json").open("a") as file:
            file.write(json.dumps(LINE) + "\n")
        await asyncio.sleep(0.1)
