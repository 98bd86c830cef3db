"""Dead letters: written with a reason, closed, replayed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from headrace.exporters.dead_letter import DeadLetterExporter, DeadLetterExporterConfig
from headrace.extensions.dead_letter import DeadLetterBox, DeadLetterExtensionConfig
from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import Refused, StoreFailed
from headrace.pipeline.host import Host
from headrace.pipeline.sending import Permanent, Sender, SendingConfig
from headrace.receivers.dead_letter import DeadLetterReceiver, DeadLetterReceiverConfig
from headrace.testing.batches import make_batch, make_settings, rows, with_native

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch


class TakingSink:
    """Takes batches, after it has refused as often as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[MetricBatch] = []

    def check(self, points: int, size_bytes: int) -> None:
        """Refuse nothing."""

    async def send(self, batch: MetricBatch) -> Outcome:
        if self.refusals:
            self.refusals -= 1
            raise Refused("not now", 0.001)
        self.taken.append(batch)
        return Outcome(len(batch))


def names(directory: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in directory.glob(pattern))


def box(directory: Path, **options: Any) -> DeadLetterBox:
    return DeadLetterBox(
        make_settings("dead_letter", kind="extensions"), DeadLetterExtensionConfig(directory=str(directory), **options)
    )


async def replay(directory: Path, sink: TakingSink, letters: int, **options: Any) -> None:
    config = DeadLetterReceiverConfig(include=[f"{directory}/*.letters"], poll_interval="1ms", **options)
    receiver = DeadLetterReceiver(make_settings("dead_letter", kind="receivers"), config, sink)
    await receiver.start(Host())
    while len(sink.taken) < letters or names(directory, "*.letters"):  # noqa: ASYNC110 -- nothing tells
        await asyncio.sleep(0.001)
    await receiver.shutdown()


async def test_what_a_destination_refuses_is_kept_and_replayed(tmp_path: Path) -> None:
    """From the exporter's queue to a file with the reason, and back into a pipeline, once."""
    host = Host()
    letters = box(tmp_path)
    await letters.start(host)
    host.extensions["dead_letter"] = letters

    async def send(batches: Sequence[MetricBatch]) -> None:
        if "bad" in rows(batches[0])[0][0]:
            raise Permanent("400: out of order")

    config = SendingConfig(sending_queue={"dead_letter": "dead_letter"})
    sender = Sender(make_settings("out", kind="exporters"), config, send)
    await sender.start(host)
    bad = with_native(make_batch(["bad", "other"], value=7.0), ["h"])
    for batch in (make_batch(["good"]), bad):
        await sender.deliver(batch)
    await sender.shutdown()
    await letters.shutdown()
    (line,) = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert {**line, "file": ""} == {
        "time": "2023-11-14T22:13:20+00:00", "exporter": "out", "reason": "rejected_by_server",
        "why": "400: out of order", "example": "bad", "points": 3, "file": "",
    }  # fmt: skip
    sink = TakingSink(refusals=3)
    await replay(tmp_path, sink, 1)
    (found,) = sink.taken
    assert rows(found) == rows(bad)
    assert found.native is not None
    assert names(tmp_path, "*.replayed") == [line["file"] + ".letters.replayed"]


async def test_reasons_choose(tmp_path: Path) -> None:
    """Others are passed over, and the file is done all the same."""
    letters = box(tmp_path)
    await letters.start(Host())
    for reason in ("send_failed", "rejected_by_server"):
        await letters.keep(make_batch([reason]), reason, "", "out")
    await letters.shutdown()
    sink = TakingSink()
    await replay(tmp_path, sink, 1, reasons=["send_failed"], delete=True)
    assert [rows(batch)[0][0] for batch in sink.taken] == ["send_failed"]
    assert names(tmp_path) == ["letters.jsonl"]


async def test_files_are_closed_when_they_are_full(tmp_path: Path) -> None:
    """Each stands alone; one that a process left open is closed by the next."""
    letters = box(tmp_path, max_file_size=1000)
    await letters.start(Host())
    batch = make_batch([f"m{i}" for i in range(20)])
    for _ in range(5):
        await letters.keep(batch, "r", "", "out")
    assert len(names(tmp_path, "*.open")) == 1
    again = box(tmp_path)
    await again.start(Host())
    assert not names(tmp_path, "*.open")
    assert len(names(tmp_path, "*.letters")) > 2
    sink = TakingSink()
    await replay(tmp_path, sink, 5)
    assert [rows(found) for found in sink.taken] == [rows(batch)] * 5


async def test_the_limit(tmp_path: Path) -> None:
    """Beyond it letters are only counted, by an exporter's queue, and refused, in a pipeline."""
    letters = box(tmp_path / "box", max_size=1)
    await letters.start(Host())
    await letters.keep(make_batch(["a"]), "r", "", "out")
    with pytest.raises(StoreFailed, match="no more are kept"):
        await letters.keep(make_batch(["a"]), "r", "", "out")
    await letters.shutdown()
    config = DeadLetterExporterConfig(directory=str(tmp_path / "out"), max_size=1)
    exporter = DeadLetterExporter(make_settings("dead_letter", kind="exporters"), config)
    await exporter.start(Host())
    assert (await exporter.deliver(make_batch(["a"]))).accepted == 1
    with pytest.raises(Refused):
        await exporter.deliver(make_batch(["a"]))
    await exporter.shutdown()


async def test_damage(tmp_path: Path) -> None:
    """Costs the letter that it hits, which is counted."""
    letters = box(tmp_path)
    await letters.start(Host())
    for name in ("a", "b"):
        await letters.keep(make_batch([name]), "r", "", "out")
    await letters.shutdown()
    path = tmp_path / names(tmp_path, "*.letters")[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    sink = TakingSink()
    await replay(tmp_path, sink, 1)
    assert [rows(batch)[0][0] for batch in sink.taken] == ["a"]
