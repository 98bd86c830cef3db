"""The ``debug`` exporter: its lines, which batches it prints, and where to."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.exporters.debug import DebugConfig, DebugExporter
from headrace.exporters.debug_lines import Verbosity, describe, seconds
from headrace.pipeline.batch import Metadata
from headrace.pipeline.errors import ConfigError
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import NativeFlag
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, make_settings, with_native
from headrace.testing.clock import ManualClock
from otlp_batches import CUMULATIVE, OtlpBatches, attributes, request

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


def lines(message: Any, verbosity: Verbosity = Verbosity.DETAILED) -> list[str]:
    batch = OtlpBatches(SeriesTable()).of(message)
    return list(describe(batch.with_columns(metadata=()), verbosity))


def test_numbers() -> None:
    """Integers exactly, absent values by name; in detail what they belong to, and their exemplars."""
    message, scope = request({"service__name": "shop"}, "lib@1")
    sum_ = scope.metrics.add(name="sold", unit="{item}").sum
    sum_.aggregation_temporality, sum_.is_monotonic = CUMULATIVE, True
    for value, colour in ((2**53 + 1, "red"), (7, "blue")):
        point = sum_.data_points.add(time_unix_nano=5 * S + 1, start_time_unix_nano=S, as_int=value)
        attributes(point, colour=colour)
    exemplar = point.exemplars.add(time_unix_nano=4 * S, as_double=2.5, trace_id=b"\xab" * 16, span_id=b"\xcd" * 8)
    attributes(exemplar, user="me")
    gauge = scope.metrics.add(name="level").gauge
    gauge.data_points.add(time_unix_nano=5 * S, as_double=0.5)
    gauge.data_points.add(time_unix_nano=6 * S, flags=1)
    of = "type={} {}resource={{'service.name': 'shop'}} scope=lib"
    head = "metrics: 4 points, 3 series, 1 exemplars, workspace default, from otlp"
    assert lines(message) == [
        head,
        f'sold{{colour="red"}} 9007199254740993 @5.000000001 start=1 flags=1 {of.format("counter", "unit={item} ")}',
        f'sold{{colour="blue"}} 7 @5.000000001 start=1 flags=1 {of.format("counter", "unit={item} ")}',
        f"level 0.5 @5 start=0 flags=0 {of.format('gauge', '')}",
        f"level stale @6 start=0 flags=2 {of.format('gauge', '')}",
        f"exemplar of sold{{colour=\"blue\"}} 2.5 @4 span_id='{'cd' * 8}' trace_id='{'ab' * 16}' user='me'",
    ]
    assert lines(message, Verbosity.NORMAL)[3] == "level 0.5 @5"
    assert lines(message, Verbosity.BASIC) == [head]


def test_histograms() -> None:
    """Buckets with their bounds, or from an index on; quantiles; what was told of extremes."""
    message, scope = request()
    explicit = scope.metrics.add(name="h").histogram
    explicit.aggregation_temporality = CUMULATIVE
    explicit.data_points.add(
        time_unix_nano=S, count=3, sum=4, bucket_counts=[1, 2], explicit_bounds=[1], min=0.5, max=2
    )
    exponential = scope.metrics.add(name="e").exponential_histogram
    exponential.aggregation_temporality = CUMULATIVE
    point = exponential.data_points.add(time_unix_nano=S, count=4, sum=4, scale=3, zero_count=1, zero_threshold=0.25)
    point.positive.offset, point.negative.offset = -2, 5
    point.positive.bucket_counts.extend([1, 1])
    point.negative.bucket_counts.append(1)
    summary = scope.metrics.add(name="s").summary.data_points.add(time_unix_nano=S, count=2, sum=3)
    summary.quantile_values.add(quantile=0.5, value=1.5)
    buckets = "scale=3 zero=1.0@0.25 positive=[1.0, 1.0]@-2 negative=[1.0]@5"
    assert lines(message)[1:] == [
        "h count=3.0 sum=4.0 buckets=2 @1 min=0.5 max=2.0 1.0:1.0 inf:2.0 start=0 flags=0 type=histogram",
        f"e count=4.0 sum=4.0 buckets=3 @1 {buckets} start=0 flags=0 type=histogram",
        "s count=2.0 sum=3.0 quantiles=1 @1 0.5:1.5 start=0 flags=0 type=summary",
    ]


def test_native_histograms() -> None:
    """A line each; in detail with spans and counts, which are doubles where the row says so."""
    batch = with_native(make_batch([]), ["h"]).with_columns(exemplars=None)
    assert batch.native is not None
    line = "h count=1 sum=1.0 schema=0 buckets=1 @1700000000"
    assert list(describe(batch, Verbosity.NORMAL))[1:] == [line]
    details = "zero=0@0.0 spans=[[1, 1]] positive=1 counts=[1] hint=unknown start=0 flags=0 type=unknown"
    assert list(describe(batch, Verbosity.DETAILED))[1:] == [f"{line} {details}"]
    bits = np.array([2.5]).view(np.uint64)
    floats = replace(batch.native, count=bits, buckets=bits, flags=np.array([NativeFlag.FLOAT_COUNTS], np.uint8))
    (found,) = list(describe(batch.with_columns(native=floats), Verbosity.DETAILED))[1:]
    assert "count=2.5 " in found
    assert "counts=[2.5]" in found


def test_metadata() -> None:
    """What a source tells of a family, in detail."""
    batch = make_batch([]).with_columns(metadata=(Metadata("up", MetricType.GAUGE, "Is it?", "s"),))
    assert list(describe(batch, Verbosity.DETAILED))[1:] == ["family up type=gauge unit=s help='Is it?'"]


@pytest.mark.parametrize(("ns", "text"), [(0, "0"), (-1, "-0.000000001"), (-2 * S, "-2"), (1_500_000_000, "1.5")])
def test_times(ns: int, text: str) -> None:
    """Seconds, exactly, also before 1970."""
    assert seconds(ns) == text


async def printed(tmp_path: Path, batches: int, **config: Any) -> tuple[list[int], DebugExporter]:
    """Return the numbers of the batches that are printed to a file."""
    clock = ManualClock()
    settings = make_settings("debug", kind="exporters", monotonic_s=clock.monotonic_s)
    path = tmp_path / "out"
    chosen = {"verbosity": "normal", "use_internal_logger": False, "output_paths": [str(path)], **config}
    exporter = DebugExporter(settings, DebugConfig.model_validate(chosen))
    await exporter.start(Host())
    for number in range(batches):
        if number == batches // 2:
            clock.advance(1)
        await exporter.deliver(make_batch(["m"], value=float(number)))
    await exporter.shutdown()
    return [int(float(line.split()[1])) for line in path.read_text().splitlines() if line.startswith("m ")], exporter


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        ({}, list(range(20))),
        ({"sampling_thereafter": 0}, [0, 1, 10, 11]),
        ({"sampling_initial": 1, "sampling_thereafter": 4}, [0, 4, 8, 10, 14, 18]),
    ],
)
async def test_sampling(tmp_path: Path, config: dict[str, Any], numbers: list[int]) -> None:
    """In each second the first ones, then each so many-th, or none."""
    assert (await printed(tmp_path, 20, **config))[0] == numbers


async def test_where_to(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """To streams and files, which are appended to; to the daemon's log unless told otherwise."""
    for _ in range(2):
        numbers, _ = await printed(tmp_path, 1, output_paths=["stdout", "stderr", str(tmp_path / "out")])
    assert numbers == [0, 0]
    out, err = capsys.readouterr()
    assert out == err != ""
    with caplog.at_level(logging.INFO):
        await DebugExporter(make_settings("debug", kind="exporters"), DebugConfig()).deliver(make_batch(["m"]))
    assert "metrics: 1 points" in caplog.text
    with pytest.raises(ConfigError, match="cannot write /nowhere/x"):
        await printed(tmp_path, 1, output_paths=["/nowhere/x"])


async def test_a_full_disk_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """What could not be printed is counted."""
    settings = make_settings("debug", kind="exporters")
    exporter = DebugExporter(settings, DebugConfig(use_internal_logger=False, output_paths=("/dev/full",)))
    await exporter.start(Host())
    assert (await exporter.deliver(make_batch(["m", "n"]))).accepted == 2
    await exporter.shutdown()
    assert settings.drops.by_reason() == {"not_printed": 2}
    assert "No space left" in caplog.text


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"sending_queue": {"enabled": True}}, "sending_queue"),
        ({"output_paths": ["x"]}, "use_internal_logger: false"),
        ({"verbosity": "loud"}, "verbosity"),
        ({"sampling_initial": 0}, "sampling_initial"),
    ],
)
def test_settings_that_are_refused(config: dict[str, Any], why: str) -> None:
    """With the reason; a queue that is off is let pass."""
    with pytest.raises(ValidationError, match=why):
        DebugConfig.model_validate(config)
    assert DebugConfig.model_validate({"sending_queue": {"enabled": False}}) == DebugConfig()
