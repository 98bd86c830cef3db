"""Write points to files, as OTLP requests in JSON or protobuf; the receiver ``otlp_json_file`` reads them again.

A batch is acknowledged once it is written, which is before it is on the disk: see `FileConfig.flush_interval`.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.file_config import FileConfig
from headrace.exporters.file_mending import LENGTH
from headrace.exporters.file_writer import FileWriter
from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.errors import ConfigError, Refused
from headrace.pipeline.otlp_names import attribute_text
from headrace.pipeline.status import Status
from headrace.pipeline.to_otlp import OtlpEdge, warm_up
from headrace.pipeline.wire.otlp_encode import OtlpEncoder
from headrace.pipeline.wire.otlp_json_encode import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host
    from headrace.pipeline.status import Statuses

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_RETRY_S = 5.0
_NO_GROUP = "no_path_segment"
_NO_GROUP_TEXT = "a resource has no attribute that names its file"


class FileExporter:
    """Appends batches to files."""

    optional = False
    exclusive = True

    def __init__(self, settings: Settings, config: FileConfig) -> None:
        self._settings = settings
        self._config = config
        self._owner = f"{settings.kind}.{settings.id}"
        self._edge = OtlpEdge(settings.drops)
        self._encoder = OtlpEncoder()
        self._writers: OrderedDict[str, FileWriter] = OrderedDict()
        self._known: set[str] = set()
        self._busy = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None
        self._statuses: Statuses | None = None
        attributes = {"exporter": settings.id}
        counters = settings.counters
        self._sent = counters.counter(
            "otelcol_exporter_sent_metric_points", "Points written.", attributes, "{datapoint}"
        )
        self._failed = counters.counter(
            "otelcol_exporter_send_failed_metric_points", "Points that could not be written.", attributes, "{datapoint}"
        )

    async def start(self, host: Host) -> None:
        """Open the file; with `group_by` files are opened as they are needed.

        Raises:
            ConfigError: It cannot be opened.
        """
        self._statuses = host.statuses
        if not self._config.group_by.enabled:
            try:
                await asyncio.to_thread(self._writer, "")
            except OSError as error:
                why = f"cannot write {self._config.path}: {error.strerror or error}"
                raise ConfigError(f"{self._owner}.path", why) from None
        if self._config.flush_interval:
            self._flusher = asyncio.create_task(self._flush_often(), name=f"{self._owner} flusher")

    async def shutdown(self) -> None:
        """Write what is buffered and close; safe before `start` and twice."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
            self._flusher = None
        async with self._busy:
            await asyncio.to_thread(self._close)

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything: a batch is written before the next one is taken."""
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Write a batch.

        Raises:
            Refused: The disk is full, or the like; nothing of the batch is in the file. With `group_by` some of it may
                be in other files, and comes there twice when it is sent again.
        """
        converted = self._edge.convert(batch)
        parts = list(self._grouped(converted.batch))
        async with self._busy:
            try:
                for name, part in parts:
                    request = self._encoder.encode([part])
                    await asyncio.to_thread(self._write, name, request, len(part))
            except OSError as error:
                self._failed.add(len(batch))
                self._report(Status.RECOVERABLE_ERROR, f"{self._config.path}: {error.strerror or error}")
                raise Refused(f"cannot write {self._config.path}: {error.strerror or error}", _RETRY_S) from None
        self._report(Status.OK)
        written = sum(len(part) for _, part in parts)
        self._sent.add(written)
        lost = len(converted.batch) - written
        outcome = Outcome(len(converted.batch), {_NO_GROUP: lost} if lost else {}, _NO_GROUP_TEXT if lost else "")
        return converted.merged(len(batch), outcome)

    # -- groups --------------------------------------------------------------------------------------------

    def _grouped(self, batch: MetricBatch) -> Iterator[tuple[str, MetricBatch]]:
        """Yield the parts of a batch that go to one file each, with what stands for the ``*`` of its path."""
        if not len(batch):
            return
        if not self._config.group_by.enabled:
            yield "", batch
            return
        names = {one: self._segment(batch, one) for one in np.unique(_resources(batch)).tolist()}
        for name in sorted({name for name in names.values() if name is not None}):
            yield name, _of_resources(batch, [one for one, other in names.items() if other == name])
        lost = _of_resources(batch, [one for one, name in names.items() if name is None])
        if len(lost):
            self._settings.drops.add(_NO_GROUP, len(lost))

    def _segment(self, batch: MetricBatch, resource: int) -> str | None:
        """Return what a resource puts in place of the ``*``; None where it has nothing that may stand in a path."""
        if resource < 0:
            return None
        wanted = self._config.group_by.resource_attribute
        value = next((value for key, value in batch.table.resource(resource).attributes if key == wanted), None)
        text = attribute_text(value).strip("/")
        is_inside = all(part not in {"", ".", ".."} for part in text.split("/"))
        return text if is_inside and "\0" not in text else None

    # -- on a thread ---------------------------------------------------------------------------------------

    def _write(self, name: str, request: memoryview, points: int) -> None:
        config = self._config
        data = to_json(request) if config.format == "json" else bytes(request)
        if config.compression:
            data = zstd.compress(data, config.compression_params.level or None)
        frame = LENGTH.pack(len(data)) + data if config.is_framed else data + b"\n"
        self._writer(name).write(frame, points, flushes=not config.flush_interval)

    def _writer(self, name: str) -> FileWriter:
        """Return the writer of a file, which is opened where it is not."""
        writer = self._writers.get(name)
        if writer is None:
            while len(self._writers) >= self._config.group_by.max_open_files:
                self._writers.popitem(last=False)[1].close()
            path = Path(self._config.path.replace("*", name, 1) if self._config.group_by.enabled else self._config.path)
            append = self._config.append or name in self._known
            clock_ns = self._settings.clock_ns
            writer = self._writers[name] = FileWriter(path, self._config, clock_ns, self._lose, append=append)
            self._known.add(name)
            if writer.torn_bytes:
                self._settings.logger.warning("%s: its last %d bytes are no whole request", path, writer.torn_bytes)
        self._writers.move_to_end(name)
        return writer

    def _close(self) -> None:
        while self._writers:
            self._attempt(self._writers.popitem()[1], FileWriter.close)

    def _flush(self) -> None:
        for writer in self._writers.values():
            self._attempt(writer, FileWriter.flush)

    def _attempt(self, writer: FileWriter, action: Callable[[FileWriter], None]) -> None:
        """Flush or close; a fault is reported, since nobody waits for an answer."""
        try:
            action(writer)
        except OSError as error:
            self._report(Status.RECOVERABLE_ERROR, f"{writer.path}: {error.strerror or error}")

    def _lose(self, points: int) -> None:
        """Count points that were acknowledged and are not in the file."""
        self._settings.drops.add("not_flushed", points)
        self._settings.logger.error("%d points written to %s are lost", points, self._config.path)

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(self._config.flush_interval.total_seconds())
            async with self._busy:
                await asyncio.to_thread(self._flush)

    def _report(self, status: Status, why: str = "") -> None:
        if self._statuses is not None:
            self._statuses.report(self._owner, status, why)


def _resources(batch: MetricBatch) -> NDArray[np.int32]:
    """Return the resource of each point, -1 for none."""
    parts = [batch.series] if batch.histograms is None else [batch.series, batch.histograms.series]
    return batch.table.head_column(np.concatenate(parts), "resource")


def _of_resources(batch: MetricBatch, resources: list[int]) -> MetricBatch:
    """Return the points and exemplars of some resources."""

    def kept(series: NDArray[np.int32]) -> NDArray[np.bool_]:
        return np.isin(batch.table.head_column(series, "resource"), resources)

    histograms, exemplars = batch.histograms, batch.exemplars
    return replace(
        batch.select(kept(batch.series)),
        histograms=None if histograms is None else histograms.select(kept(histograms.series)),
        exemplars=None if exemplars is None else exemplars.select(kept(exemplars.series)),
    )


FACTORY = ExporterFactory(name="file", config=FileConfig, create=FileExporter, warm_up=warm_up)
