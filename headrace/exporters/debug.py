"""Print what passes; the Collector's ``debug``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TextIO

from pydantic import Field, model_validator

from headrace.exporters.debug_lines import Verbosity, describe
from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host

_REFUSED = {"sending_queue": "lines are printed before the next batch is taken, so none wait"}
_STREAMS = {"stdout", "stderr"}


class DebugConfig(ComponentConfig):
    """Settings of the ``debug`` exporter."""

    verbosity: Verbosity = Verbosity.BASIC
    """``basic`` prints one line a batch, ``normal`` one line a point, ``detailed`` also start times, flags, units,
    resources, scopes, buckets and exemplars."""

    sampling_initial: Annotated[int, Field(ge=1)] = 2
    """Batches printed in each second before sampling begins."""

    sampling_thereafter: Annotated[int, Field(ge=0)] = 1
    """After those, of so many batches one is printed; 0 prints none."""

    use_internal_logger: bool = True
    """Print to the daemon's log; else to `output_paths`."""

    output_paths: Annotated[tuple[str, ...], Field(min_length=1)] = ("stdout",)
    """Where to print to without the internal logger: ``stdout``, ``stderr``, or files, which are appended to."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sending_queue") == {"enabled": False}:
            given = {**given, "sending_queue": None}
        return refuse(given, _REFUSED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.use_internal_logger and self.output_paths != ("stdout",):
            raise ValueError("output_paths needs use_internal_logger: false")
        return self


class DebugExporter:
    """Prints batches."""

    optional = False

    def __init__(self, settings: Settings, config: DebugConfig) -> None:
        self._settings = settings
        self._config = config
        self._files: list[TextIO] = []
        self._second = -1
        self._batches = 0
        self._sent = settings.counters.counter(
            "otelcol_exporter_sent_metric_points", "Points printed.", {"exporter": settings.id}, "{datapoint}"
        )

    async def start(self, host: Host) -> None:
        """Open the files.

        Raises:
            ConfigError: One cannot be opened.
        """
        del host
        for path in () if self._config.use_internal_logger else self._config.output_paths:
            if path not in _STREAMS:
                try:
                    self._files.append(Path(path).open("a", encoding="utf-8"))  # noqa: ASYNC230, SIM115 -- at start; closed by shutdown
                except OSError as error:
                    key = f"{self._settings.kind}.{self._settings.id}.output_paths"
                    raise ConfigError(key, f"cannot write {path}: {error.strerror}") from None

    async def shutdown(self) -> None:
        """Close the files."""
        for file in self._files:
            with contextlib.suppress(OSError):  # what is in its buffer was counted when it could not be written
                file.close()
        self._files.clear()

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything."""
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Print the batch, if it is its turn; a full disk is counted and holds nobody up."""
        if self._its_turn():
            try:
                self._print(list(describe(batch, self._config.verbosity)))
            except OSError as error:
                self._settings.drops.add("not_printed", len(batch))
                self._settings.logger.warning("cannot print %d points: %s", len(batch), error.strerror)
                return Outcome(len(batch))
        self._sent.add(len(batch))
        return Outcome(len(batch))

    def _its_turn(self) -> bool:
        second = int(self._settings.monotonic_s())
        if second != self._second:
            self._second, self._batches = second, 0
        self._batches += 1
        late = self._batches - self._config.sampling_initial
        every = self._config.sampling_thereafter
        return late <= 0 or (every > 0 and late % every == 0)

    def _print(self, lines: list[str]) -> None:
        if self._config.use_internal_logger:
            for line in lines:
                self._settings.logger.info("%s", line)
            return
        streams = [getattr(sys, path) for path in self._config.output_paths if path in _STREAMS]
        for stream in (*streams, *self._files):
            print("\n".join(lines), file=stream, flush=True)


FACTORY = ExporterFactory(name="debug", config=DebugConfig, create=DebugExporter)
