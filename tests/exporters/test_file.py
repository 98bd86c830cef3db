"""The ``file`` exporter: what it writes comes back through the receiver ``otlp_json_file``."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from pydantic import ValidationError

import otlp_model as model
from file_lab import FORMATS, POINT, S, Written, message, reading, replayed
from headrace.exporters.file import FACTORY
from headrace.exporters.file_config import FileConfig
from headrace.exporters.file_writer import FileWriter
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.errors import ConfigError, Refused
from headrace.pipeline.host import Host
from headrace.pipeline.status import Status
from headrace.pipeline.wire.otlp_encode import OtlpEncoder
from headrace.testing.batches import make_batch, rows
from headrace.testing.clock import ManualClock
from headrace.testing.exporters import ExporterContract

if TYPE_CHECKING:
    from pathlib import Path


async def test_json(tmp_path: Path) -> None:
    """A line for each batch, as the specification wants it: integers as text, ids in hexadecimal digits."""
    path = tmp_path / "out.json"
    written = Written(str(path))
    await written.write(message(), message(value=2))
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    (resource,) = json.loads(lines[0])["resourceMetrics"]
    assert resource["resource"]["attributes"] == [{"key": "a", "value": {"stringValue": "ü"}}]
    metric = resource["scopeMetrics"][0]["metrics"][0]
    point = metric["sum"]["dataPoints"][0]
    assert (metric["name"], metric["unit"], metric["sum"]["aggregationTemporality"]) == ("m", "By", 2)
    assert (point["asInt"], point["timeUnixNano"]) == ("1", "5000000000")
    assert (point["exemplars"][0]["traceId"], point["exemplars"][0]["spanId"]) == ("ab" * 16, "cd" * 8)
    assert await replayed(str(path)) == [POINT, (POINT[0], 5 * S, 2.0)]


@pytest.mark.parametrize(
    ("exporter", "receiver"),
    [
        ({"format": "proto"}, {"format": "proto"}),
        ({"format": "proto", "compression": "zstd"}, {"format": "proto", "zstd": True}),
        ({"compression": "zstd", "compression_params": {"level": 11}}, {"zstd": True}),
    ],
)
async def test_other_formats(tmp_path: Path, exporter: dict[str, Any], receiver: dict[str, Any]) -> None:
    """Requests behind their lengths, compressed each by itself; the receiver reads all of them."""
    path = tmp_path / "out"
    await Written(str(path), **exporter).write(message(), message("other"))
    found = await replayed(str(path), **receiver)
    assert [name for name, _, _ in found] == [POINT[0], 'other{code="7", route="/a"}']
    if exporter == {"format": "proto"}:
        data = path.read_bytes()
        size = int.from_bytes(data[:4], "big")
        first = ExportMetricsServiceRequest.FromString(data[4 : 4 + size])
        assert first.resource_metrics[0].scope_metrics[0].metrics[0].name == "m"


async def test_prometheus_sources(tmp_path: Path) -> None:
    """Their series are written as well, and read under the same names."""
    written = Written(str(tmp_path / "out"))
    await written.exporter.start(written.host)
    table = written.host.workspaces.table("default")
    batch = make_batch([{"__name__": "up", "job": "x"}], table=table, value=3.0)
    outcome = await written.exporter.deliver(batch)
    await written.exporter.shutdown()
    assert outcome.accepted == 1
    assert [row[2] for row in await replayed(str(tmp_path / "out"))] == [3.0]


async def test_append_or_begin_anew(tmp_path: Path) -> None:
    """What was there is kept where that is asked for."""
    path = tmp_path / "out"
    for append, lines in ((False, 1), (True, 2), (False, 1)):
        await Written(str(path), append=append).write(message())
        assert path.read_text().count("\n") == lines


def found_in(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*.json")}


async def test_groups(tmp_path: Path) -> None:
    """A file for each value of the attribute; what names no file, or one elsewhere, is dropped and counted."""
    written = Written(
        str(tmp_path / "deep/*/out.json"), group_by={"enabled": True, "max_open_files": 1}, create_directory=True
    )
    await written.write(
        message("a", "one"), message("b", "two/x"), message("c", "one"), message("d"), message("e", "../up"),
        message("f", ""),
    )  # fmt: skip
    found = found_in(tmp_path)
    assert set(found) == {"deep/one/out.json", "deep/two/x/out.json"}
    names = [name[0] for name, _, _ in await replayed(str(found["deep/one/out.json"]))]
    assert names == ["a", "c"]
    assert written.settings.drops.by_reason() == {"no_path_segment": 6}


def writer(path: Path, clock: ManualClock, **rotation: Any) -> FileWriter:
    config = FileConfig(path=str(path), rotation=rotation)
    return FileWriter(path, config, clock.clock_ns, lambda _points: None, append=False)


def test_rotation(tmp_path: Path) -> None:
    """A file that would grow too large is put aside under the time; the oldest go."""
    clock = ManualClock(1_700_000_000_123_000_000)
    out = writer(tmp_path / "out.json", clock, max_megabytes=1, max_backups=2)
    for number in range(5):
        out.write(bytes([48 + number]) * ((700 << 10) - 1) + b"\n", 1, flushes=False)
        clock.advance(1)
    out.close()
    aside = sorted(path.name for path in tmp_path.iterdir())
    assert aside == ["out-2023-11-14T22-13-23.123.json", "out-2023-11-14T22-13-24.123.json", "out.json"]
    assert [(tmp_path / name).read_bytes()[:1] for name in aside] == [b"2", b"3", b"4"]
    # A file that is there is gone on with, and a small one is not put aside.
    (tmp_path / "out-notes.json").write_text("kept")
    again = writer(tmp_path / "out.json", clock, max_megabytes=1, max_days=1)
    again.write(b"x" * 100, 1, flushes=False)
    clock.advance(3 * 86_400)
    again.write(b"y" * (900 << 10), 1, flushes=False)
    again.close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["out-2023-11-17T22-13-25.123.json", "out-notes.json", "out.json"]
    assert (tmp_path / left[0]).stat().st_size == (700 << 10) + 100


def test_two_rotations_in_a_millisecond(tmp_path: Path) -> None:
    """No file takes the place of another."""
    out = writer(tmp_path / "out", ManualClock(), max_megabytes=1)
    for _ in range(4):
        out.write(b"x" * (1 << 20), 1, flushes=False)
    out.close()
    assert len(list(tmp_path.iterdir())) == 4


class Full:
    """A file on a disk that is full."""

    closed = False

    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        raise OSError(28, "No space left on device")


def fill(out: FileWriter) -> None:
    """Have the disk be full from now on, until the file is opened again."""
    whole, out._file = out._file, Full()  # type: ignore[assignment]
    whole.close()


async def test_a_full_disk_refuses(tmp_path: Path) -> None:
    """The sender is told to try again, the status says why, and the file holds whole requests only."""
    path = tmp_path / "out"
    written = Written(str(path))
    await written.exporter.start(written.host)
    await written.exporter.deliver(written.otlp.of(message()))
    (out,) = written.exporter._writers.values()
    fill(out)
    with pytest.raises(Refused, match="No space left"):
        await written.exporter.deliver(written.otlp.of(message(value=2)))
    assert written.host.statuses.of("exporters.file").status is Status.RECOVERABLE_ERROR
    await written.exporter.deliver(written.otlp.of(message(value=2)))
    assert written.host.statuses.of("exporters.file").status is Status.OK
    await written.exporter.shutdown()
    assert [value for _, _, value in await replayed(str(path))] == [1.0, 2.0]
    assert written.settings.drops.by_reason() == {}


async def test_what_was_acknowledged_and_not_flushed(tmp_path: Path) -> None:
    """A later write that fails takes it along: it is counted as lost, and what comes after stands in the file."""
    path = tmp_path / "out"
    written = Written(str(path), flush_interval="1h")
    await written.exporter.start(written.host)
    await written.exporter.deliver(written.otlp.of(message()))
    (out,) = written.exporter._writers.values()
    fill(out)
    with pytest.raises(Refused, match="No space left"):
        await written.exporter.deliver(written.otlp.of(message(value=2)))
    assert written.settings.drops.by_reason() == {"not_flushed": 2}
    await written.exporter.deliver(written.otlp.of(message(value=3)))
    fill(out)
    written.exporter._flush()
    assert written.host.statuses.of("exporters.file").error == f"{path}: No space left on device"
    assert written.settings.drops.by_reason() == {"not_flushed": 4}
    await written.exporter.deliver(written.otlp.of(message(value=4)))
    await written.exporter.shutdown()
    assert [value for _, _, value in await replayed(str(path))] == [4.0]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is an error at start, or made where that is asked for."""
    path = tmp_path / "a/b/out"
    with pytest.raises(ConfigError, match="No such file"):
        await Written(str(path)).write()
    await Written(str(path), create_directory=True, directory_permissions="0700").write()
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"encoding": "x"}, "encoding"),
        ({"append": True, "compression": "zstd"}, "append goes"),
        ({"append": True, "rotation": {}}, "append goes"),
        ({"group_by": {"enabled": True}}, r"one \*"),
        ({"path": "*/x", "group_by": {"enabled": True}}, r"begin with \*"),
        ({"directory_permissions": 755}, "octal"),
        ({"format": "xml"}, "json"),
    ],
)
def test_settings_that_are_refused(config: dict[str, Any], why: str) -> None:
    """With the reason; an empty rotation has the defaults."""
    with pytest.raises(ValidationError, match=why):
        FileConfig(**{"path": "x", **config})
    rotation = FileConfig(path="x", rotation=None).rotation
    assert rotation is not None
    assert (rotation.max_megabytes, rotation.max_days, rotation.max_backups) == (100, 0, 100)


def shown(read: model.Read) -> list[str]:
    """Return points as texts: NaN is not equal to itself. Of one without a value only identity and times count."""
    return sorted(repr(row) for row in [*read.numbers, *(row[:5] if row[3] else row for row in read.histograms)])


def exemplars(message: Any) -> list[tuple[Any, ...]]:
    """Return the exemplars of a request, with everything that they hold."""
    found = []
    for resource in message.resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            which = metric.WhichOneof("data") or ""
            for point in getattr(metric, which).data_points if which else ():
                found += [(metric.name, one.SerializeToString()) for one in getattr(point, "exemplars", ())]
    return sorted(found)


@pytest.mark.parametrize(("exporter", "receiver"), FORMATS)
async def test_the_round_trip_is_exact(tmp_path: Path, exporter: dict[str, Any], receiver: dict[str, Any]) -> None:
    """Points of every kind come back as they were written, to the last bit, by protobuf's own reading of both sides."""
    rng = random.Random(6)
    messages = [model.make(rng) for _ in range(500)]
    path = str(tmp_path / "out")
    written = Written(path, **exporter)
    await written.exporter.start(written.host)
    for one in messages:
        decoded = written.otlp.decoder.decode(one.SerializeToString(), BatchContext())
        await written.exporter.deliver(decoded.batch)
    await written.exporter.shutdown()
    reader, sink = reading(path, **receiver)
    await reader.start(Host())
    await reader.shutdown()
    await reader.poll()
    encoder = OtlpEncoder()
    came = [ExportMetricsServiceRequest.FromString(bytes(encoder.encode([batch]))) for batch in sink.batches]
    expected = [text for one in messages for text in shown(model.read(one))]
    assert len(expected) > 300
    assert sorted(text for one in came for text in shown(model.read(one))) == sorted(expected)


async def test_exemplars_come_back(tmp_path: Path) -> None:
    """With their ids, labels, times and values."""
    written = Written(str(tmp_path / "out"))
    await written.write(message())
    reader, sink = reading(str(tmp_path / "out"))
    await reader.start(Host())
    await reader.shutdown()
    await reader.poll()
    (batch,) = sink.batches
    came = ExportMetricsServiceRequest.FromString(bytes(OtlpEncoder().encode([batch])))
    assert exemplars(came) == exemplars(message())


@pytest.mark.parametrize(("exporter", "receiver"), FORMATS)
async def test_a_crash_leaves_one_torn_request_at_most(
    tmp_path: Path, exporter: dict[str, Any], receiver: dict[str, Any]
) -> None:
    """Wherever the file was cut: those before it are read, the torn one is reported, and an exporter goes on behind."""
    path = tmp_path / "out"
    await Written(str(path), **exporter).write(message(value=1), message(value=2))
    whole = path.read_bytes()
    await Written(str(path), **exporter).write(message(value=1))
    first = path.stat().st_size
    for cut in (first + 1, first + 3, first + 5, (first + len(whole)) // 2, len(whole) - 2):
        path.write_bytes(whole[:cut])
        reader, sink = reading(str(path), **receiver)
        host, clock = Host(), ManualClock()
        object.__setattr__(reader._settings, "monotonic_s", clock.monotonic_s)
        await reader.start(host)
        await reader.shutdown()
        for _ in range(3):
            await reader.poll()
            clock.advance(4)
        assert [row[2] for batch in sink.batches for row in rows(batch)] == [1.0]
        why = f"{path} ends in the middle of a request, after {cut - first} bytes of it"
        assert host.statuses.of("receivers.otlp_json_file").error == why
        # An exporter that begins anew goes on behind it, and the reader too.
        await Written(str(path), rotation={}, **exporter).write(message(value=3))
        await reader.poll()
        assert [row[2] for batch in sink.batches for row in rows(batch)] == [1.0, 3.0], cut
        path.unlink()


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Lengths that make no sense keep the exporter from cutting the file off."""
    path = tmp_path / "notes.txt"
    path.write_text("not mine, and long enough")
    with pytest.raises(ConfigError, match="no requests behind their lengths"):
        await Written(str(path), format="proto", append=True).write()
    assert path.read_text() == "not mine, and long enough"


class TestFile(ExporterContract):
    """Into a file that is counted."""

    factory = FACTORY

    def configuration(self) -> dict[str, Any]:
        return {"path": str(self.directory / "out.json")}

    def arrived(self) -> int:
        return (self.directory / "out.json").read_text().count("asDouble")
